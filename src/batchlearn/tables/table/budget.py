"""How much memory the rows of a command may take, and where what does not fit is kept."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from batchlearn.errors import UsageError, quoted

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?I?)B?", re.IGNORECASE)
# Of what is free at the start: others need some too.
_SHARE = 2 / 3
_HOME = Path(os.path.expanduser("~"))
# Temporary files are in memory on many machines.
_CACHE = [_HOME / ".cache" / "batchlearn" if _HOME.is_absolute() else Path(tempfile.gettempdir())]
# Where groups of processes are, and what holds a group's limit and what it takes, in both versions of the interface.
_GROUPS = Path("/sys/fs/cgroup")
_OF_GROUP = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes of memory that may be taken, and the folder for what goes beyond them."""

    memory: int
    folder: Path

    def part(self, memory: float) -> MemoryBudget:
        """Return a budget of so many bytes, none where they are negative, with the same folder."""
        return MemoryBudget(max(int(memory), 0), self.folder)


UNLIMITED = MemoryBudget(1 << 62, Path())
"""For who may not ask the system what is free."""
in_force: ContextVar[MemoryBudget] = ContextVar("in_force", default=UNLIMITED)
"""What tables and rows may take now; `within` of segments.py sets it."""


def keep_rows_in(folder: Path) -> None:
    """Have the rows of this process that do not fit into memory go to a folder."""
    _CACHE[:] = [folder]


def budget_of(memory: str | int | None = None, folder: Path | None = None) -> MemoryBudget:
    """Return the budget of a command.

    Args:
        memory: Bytes, or a size such as "4GB" or "512 MiB"; two thirds of what is free unless given.
        folder: Where rows go that do not fit; that of `keep_rows_in`, `~/.cache/batchlearn`, unless given.

    Raises:
        UsageError: The size cannot be read.
    """
    folder = _CACHE[-1] if folder is None else folder
    if memory is None:
        free = free_memory()
        return MemoryBudget(UNLIMITED.memory if free is None else int(_SHARE * free), folder)
    size = _SIZE.fullmatch(str(memory).strip())
    if size is None:
        raise UsageError(
            f"The memory is to be {quoted(memory)}; it needs to be a number of bytes or a size such as 4GB or 512MiB.",
            code="memory-not-a-size",
        )
    return MemoryBudget(int(float(size[1]) * _UNITS[size[2].upper()]), folder)


def free_memory() -> int | None:
    """Return the bytes of memory that this process can still take, within its group; None where nothing says it."""
    known = [each for each in (_meminfo(), *_free_in_groups(_read(Path("/proc/self/cgroup")))) if each is not None]
    return min(known) if known else physical_memory()


def _free_in_groups(own: str) -> Iterator[int]:
    """Yield what is left of the limits of the groups that a process is in, by what /proc says of it.

    The path is that of the host where a container has no view of its own: its last folders that are there count.
    """
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller, names in _OF_GROUP.items():
            if controller in controllers.split(","):
                place = _GROUPS / controller / path.lstrip("/")
                for folder in (place, *place.parents):
                    if folder == _GROUPS.parent:
                        break
                    limit, taken = (_read(folder / name).strip() for name in names)
                    if limit.isdigit() and taken.isdigit():
                        yield max(int(limit) - int(taken), 0)


def _read(path: Path) -> str:
    """Return the text of a file, nothing where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def physical_memory() -> int | None:
    """Return the bytes of memory of this machine, or None where it does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _meminfo() -> int | None:
    """Return what the kernel says is available without taking it from others."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")))
    return None if found is None else 1024 * int(found[1])
