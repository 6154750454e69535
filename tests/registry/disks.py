"""Disks that die, and disks that lose what was not flushed when the power goes."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batchlearn.artifacts.disk import LOCAL_DISK


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and nothing that runs while it passes reaches the disk."""


@dataclass
class Op:
    """One operation with its paths relative to the root of the store."""

    name: str
    path: str
    target: str = ""
    data: bytes = b""


@dataclass
class RecordingDisk:
    """Does everything, and notes it; dies before operation number `last`, of `create` after half of its bytes.

    `forgotten` is the number of a flush that is left out; before operation `stop` the process stops until it is told
    to go on.
    """

    root: Path
    last: int | None = None
    stop: int | None = None
    forgotten: int | None = None
    ops: list[Op] = field(default_factory=list)
    dead: bool = False

    def _do(self, op: Op, act: Callable[[], None]) -> None:
        if self.dead or len(self.ops) == self.last:
            if not self.dead and op.name == "create":
                LOCAL_DISK.create(self.root / op.path, op.data[: len(op.data) // 2])
            self.dead = True
            raise Killed
        if len(self.ops) == self.stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        flushes = sum(earlier.name == "flush" for earlier in self.ops)
        if op.name == "flush" and flushes == self.forgotten:
            op = Op("flush that is left out", op.path)
        self.ops.append(op)
        act()

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def make_folder(self, path: Path) -> None:
        self._do(Op("make_folder", self._name(path)), lambda: LOCAL_DISK.make_folder(path))

    def create(self, path: Path, data: bytes) -> None:
        self._do(Op("create", self._name(path), data=data), lambda: LOCAL_DISK.create(path, data))

    def flush(self, path: Path) -> None:
        self._do(Op("flush", self._name(path)), lambda: LOCAL_DISK.flush(path))

    def link(self, source: Path, target: Path) -> None:
        self._do(Op("link", self._name(source), self._name(target)), lambda: LOCAL_DISK.link(source, target))

    def rename(self, source: Path, target: Path) -> None:
        self._do(Op("rename", self._name(source), self._name(target)), lambda: LOCAL_DISK.rename(source, target))

    def remove(self, path: Path) -> None:
        self._do(Op("remove", self._name(path)), lambda: LOCAL_DISK.remove(path))

    def remove_folder(self, path: Path) -> None:
        self._do(Op("remove_folder", self._name(path)), lambda: LOCAL_DISK.remove_folder(path))


@dataclass(eq=False)
class File:
    data: bytes
    flushed: bool = False

    def after_a_loss(self) -> list[bytes]:
        """Return what may be left: all of it once flushed; else nothing, a half or all."""
        return [self.data] if self.flushed else [b"", self.data[: len(self.data) // 2], self.data]


@dataclass(eq=False)
class Folder:
    """Entries that survive, and the changes to them that are not flushed, in order: None removes a name."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[tuple[str, File | Folder | None]] = field(default_factory=list)

    def now(self, changes: int | None = None) -> dict[str, File | Folder]:
        entries = dict(self.durable)
        for name, entry in self.pending[:changes]:
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        return entries


def loaded(path: Path) -> Folder:
    """Return a folder of the disk as one of which everything is flushed."""
    entries: dict[str, File | Folder] = {}
    for one in path.iterdir():
        entries[one.name] = loaded(one) if one.is_dir() else File(one.read_bytes(), flushed=True)
    return Folder(entries)


class PowerModel:
    """What may be on the disk after a loss of power.

    The bytes of a file survive once it was flushed, the names in a folder once the folder was; until then the changes
    of one folder reach the disk in order, up to any of them, and those of different folders independently.
    """

    def __init__(self, before: Path) -> None:
        self.root = loaded(before)

    def _folder(self, name: str) -> Folder:
        entry: File | Folder = self.root
        for part in Path(name).parts:
            assert isinstance(entry, Folder)
            entry = entry.now()[part]
        assert isinstance(entry, Folder)
        return entry

    def _entry(self, name: str) -> File | Folder:
        path = Path(name)
        return self._folder(str(path.parent)).now()[path.name] if path.name else self.root

    def _change(self, name: str, entry: File | Folder | None) -> None:
        path = Path(name)
        self._folder(str(path.parent)).pending.append((path.name, entry))

    def apply(self, op: Op) -> None:
        match op.name:
            case "make_folder":
                self._change(op.path, Folder())
            case "create":
                self._change(op.path, File(op.data))
            case "link":
                self._change(op.target, self._entry(op.path))
            case "rename":
                moved = self._entry(op.path)
                self._change(op.path, None)
                self._change(op.target, moved)
            case "remove" | "remove_folder":
                self._change(op.path, None)
            case "flush":
                entry = self._entry(op.path)
                if isinstance(entry, File):
                    entry.flushed = True
                else:
                    entry.durable, entry.pending = entry.now(), []

    def states(self) -> Iterator[dict[str, bytes | None]]:
        """Yield each state without what is hidden: path -> bytes, None for a folder."""
        yield from _states(self.root, "")


def _states(folder: Folder, prefix: str) -> Iterator[dict[str, bytes | None]]:
    for changes in range(len(folder.pending) + 1):
        choices: list[list[dict[str, bytes | None]]] = []
        for name, entry in folder.now(changes).items():
            path = f"{prefix}{name}"
            if name.startswith("."):  # of no meaning to a reader
                continue
            if isinstance(entry, File):
                choices.append([{path: data} for data in entry.after_a_loss()])
            else:
                choices.append([{path: None, **inside} for inside in _states(entry, f"{path}/")])
        for chosen in itertools.product(*choices):
            yield {path: data for part in chosen for path, data in part.items()}


def materialised(state: dict[str, bytes | None], root: Path) -> Path:
    """Write a state to an empty folder."""
    for path, data in state.items():
        if data is None:
            (root / path).mkdir(parents=True, exist_ok=True)
    for path, data in state.items():
        if data is not None:
            (root / path).write_bytes(data)
    return root
