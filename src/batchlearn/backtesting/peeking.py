"""Whether a policy looks at rows that had not arrived, beside what it is handed, which holds none of them.

A class of the user's may have been made with rows of the table, or read the table's own files, which in production hold
what has arrived and here everything. The first is seen before anything is trained, the second while it is asked, on
Linux (inotify). What it computed from later rows beforehand, or keeps in a copy of the file, nobody can see from here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from batchlearn.backtesting.history import History
from batchlearn.errors import BatchlearnError, UsageError, quoted
from batchlearn.retraining.policies import Policy
from batchlearn.retraining.sources.label_times import numbers_of
from batchlearn.tables.sources import arrow_table
from batchlearn.tables.table import Table

_REMEDY = (
    "In production it would find there what has arrived, and here what is still to come. Let it look at "
    "situation.evidence, which has losses, samples and a bracket of what had arrived; or leave it out."
)
_MOST_PARTS = 10_000
_TABULAR = ("numpy", "pandas", "polars", "pyarrow")
_OPENED = 0x20  # IN_OPEN of inotify(7)
_EVENT = struct.Struct("iIII")


def refuse_later_rows(name: str, policy: Policy, history: History) -> None:
    """Refuse a policy that holds labels, or columns as long as the table, of later than its first decision: UsageError.

    Looked at are its attributes, what these consist of, and what its method knows from around it.
    """
    decide: Any = getattr(type(policy), "decide", None)
    names = getattr(getattr(decide, "__code__", None), "co_names", ())
    around = [decide.__globals__[one] for one in names if one in decide.__globals__]
    enclosed = [cell.cell_contents for cell in getattr(decide, "__closure__", None) or ()]
    for held in _parts([policy, around, enclosed]):
        if _is_later(held, history):
            raise UsageError(
                f"The policy {quoted(name)} holds a {type(held).__name__} with rows of {history.table.name} that are "
                f"later than {history.shown(float(history.edges[0]))}, when it is asked first. {_REMEDY}",
                code="policy-peeks",
            )


def _parts(whole: object) -> Iterator[object]:
    """Yield what an object consists of, each part once, as far as it is worth looking."""
    waiting, known = [whole], set[int]()
    while waiting and len(known) < _MOST_PARTS:
        held = waiting.pop()
        if id(held) in known or isinstance(held, str | bytes | type | ModuleType):
            continue
        known.add(id(held))
        yield held
        if isinstance(held, Mapping):
            waiting += held.values()
        elif isinstance(held, list | tuple | set | frozenset):
            waiting += held
        elif type(held).__module__.split(".")[0] not in _TABULAR and not isinstance(held, Table):
            names = [*getattr(held, "__dict__", ()), *getattr(type(held), "__slots__", ())]
            waiting += [getattr(held, one) for one in names if hasattr(held, one)]


def _is_later(held: object, history: History) -> bool:
    """Whether an object is a table with labels of rows later than the first edge, or a column as long as the table."""
    target, time, rows = history.table.roles.target, history.times.seen, len(history.sighted)
    if isinstance(held, Table):
        return target in [column.name for column in held.columns]
    if isinstance(held, np.ndarray | pa.Array | pa.ChunkedArray | list | tuple):
        return len(held) == rows and rows > 1
    if not hasattr(held, "__arrow_c_stream__"):
        return False
    try:
        table = arrow_table(held)
    except BatchlearnError:
        return False
    if target not in table.column_names or time not in table.column_names:
        return target in table.column_names or (table.num_rows == rows and rows > 1)
    column: Any = table.column(time)
    stamped = pa.types.is_timestamp(column.type)
    seen = numbers_of((column.cast(pa.timestamp("us")) if stamped else column).combine_chunks())
    return bool(np.nanmax(seen, initial=-np.inf) > history.edges[0])


class FileWatch:
    """Which of some files are opened; nothing is seen where the system has no inotify."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.handle, self.watched, self.seen = -1, dict[int, Path](), list[Path]()
        if not paths or sys.platform != "linux":
            return
        library = ctypes.CDLL(None)
        self.handle = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths if self.handle >= 0 else ():
            self.watched[library.inotify_add_watch(self.handle, os.fsencode(path), _OPENED)] = path

    def opened(self) -> list[Path]:
        """Return the files that were opened since this was asked last."""
        found = list[Path]()
        while self.handle >= 0:
            try:
                read = os.read(self.handle, 65_536)
            except BlockingIOError:
                break
            place = 0
            while place < len(read):
                number, _, _, length = _EVENT.unpack_from(read, place)
                place += _EVENT.size + length
                found += [self.watched[number]] if number in self.watched else []
        return found

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Pass over what is opened inside, for evidence that a policy asks for."""
        self.seen += self.opened()
        yield
        self.opened()

    @contextmanager
    def refused(self, name: str) -> Iterator[None]:
        """Refuse what a policy opens inside: UsageError."""
        self.opened()
        self.seen = []
        yield
        found = [*self.seen, *self.opened()]
        if found:
            raise UsageError(
                f"The policy {quoted(name)} read {quoted(found[0].name)} while it was asked, a file of the table that "
                f"is replayed. {_REMEDY}",
                code="policy-peeks",
            )

    def __enter__(self) -> FileWatch:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


NOTHING_WATCHED = FileWatch(())
