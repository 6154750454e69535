"""How much memory the rows of a command may take, and where what does not fit is kept."""

from __future__ import annotations

import os
import re
import tempfile
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
# The limit of a group of processes and what it takes already, in both versions of the kernel's interface.
_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes of memory that may be taken, and the folder for what goes beyond them."""

    memory: int
    folder: Path

    def part(self, memory: float) -> MemoryBudget:
        """Return a budget of so many bytes, none where they are negative, with the same folder."""
        return MemoryBudget(max(int(memory), 0), self.folder)


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
        return MemoryBudget(1 << 62 if free is None else int(_SHARE * free), folder)
    size = _SIZE.fullmatch(str(memory).strip())
    if size is None:
        raise UsageError(
            f"The memory is to be {quoted(memory)}; it needs to be a number of bytes or a size such as 4GB or 512MiB.",
            code="memory-not-a-size",
        )
    return MemoryBudget(int(float(size[1]) * _UNITS[size[2].upper()]), folder)


def free_memory() -> int | None:
    """Return the bytes of memory that this process can still take, within its group; None where nothing says it."""
    found = [_meminfo()]
    for limit, taken in _GROUPS:
        try:
            most, now = limit.read_text().strip(), int(taken.read_text())
        except (OSError, ValueError):
            continue
        found.append(None if most == "max" else max(int(most) - now, 0))
    known = [each for each in found if each is not None]
    return min(known) if known else physical_memory()


def physical_memory() -> int | None:
    """Return the bytes of memory of this machine, or None where it does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _meminfo() -> int | None:
    """Return what the kernel says is available without taking it from others."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
