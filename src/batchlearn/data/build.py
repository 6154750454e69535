"""From a table to encoded rows: one pass for the profiles, one for the rows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding
from batchlearn.data.ledger import Ledger, walk
from batchlearn.data.profile import Profile, empty_profile
from batchlearn.data.rows.journal import Journal
from batchlearn.data.rows.kept import ChunkCollector
from batchlearn.data.rows.memory import MemoryRows, chunk_rows
from batchlearn.data.rows.stored import StoredChunk, joined
from batchlearn.data.split import Split, SplitKind
from batchlearn.errors import ResourceError
from batchlearn.tables.columns import floats
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.sources import ParquetSource
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import in_force, physical_memory
from batchlearn.tables.text.times import local_times

_BYTES_OF_A_LABEL = 8

Mask = NDArray[np.bool_]
Profiles = dict[str, Profile]


class PreparedRows(NamedTuple):
    """What is known of the rows before anything is fitted to them."""

    table: Table  # decoded once
    ledger: Ledger
    split: Split
    kind: SplitKind
    early: Profiles  # of the rows that the judged model learns from
    all: Profiles
    repeated: int  # used rows that are equal to another one in everything


def check_memory(table: Table) -> None:
    """Refuse rows that cannot fit into the memory of this machine, before one is read: ResourceError.

    A file of a few kilobytes can say that it holds billions of rows, and so can frequencies. Checked where the rows
    are counted in the file and none is left out by a condition, or their frequencies are, against the least that a row
    takes: its label and one byte a feature.
    """
    have, rows = physical_memory(), _counted(table)
    if rows is None or have is None:
        return
    least = rows * (_BYTES_OF_A_LABEL + len(table.features))
    if least > have:
        raise ResourceError(
            f"{table.name} holds {rows:,} rows, which take at least {least / 2**30:,.1f} GiB of memory; "
            f"this machine has {have / 2**30:,.1f} GiB. Leave out columns (--drop) or rows (--where), or use a larger "
            "machine.",
            code="memory",
        )


def _counted(table: Table) -> int | None:
    """Return the number of rows, repeated as often as their frequencies say; None where nothing says it beforehand."""
    frequency = table.roles.frequency
    if frequency is not None:
        once = replace(table, roles=replace(table.roles, weight_kind=None))
        return sum(int(np.nansum(floats(batch.column(frequency)))) for batch in once.scan([frequency]))
    return table.source.rows if isinstance(table.source, ParquetSource) and table.condition is None else None


def profile_parts(table: Table, ledger: Ledger, parts: list[Mask]) -> Generator[int, None, list[Profiles]]:
    """Profile the features over each part's rows in one pass; yields rows read, returns one set of profiles a part."""
    features = table.features
    found: list[Profiles] = [
        {column.name: empty_profile(column.kind, is_text=column.name in table.roles.text) for column in features}
        for _ in parts
    ]
    for entries, batch in walk(table, [column.name for column in features]):
        for part, profiles in zip(parts, found, strict=True):
            mask = part[entries]
            if not mask.any():
                continue
            kept = batch if mask.all() else batch.filter(pa.array(mask))
            weight = np.ones(kept.num_rows) if ledger.weight is None else ledger.weight[entries][mask]
            lots = ledger.lots.lot[entries][mask]
            for column, array in zip(features, kept.columns, strict=True):
                profiles[column.name].update(local_times(array, column.zone), weight, lots)
        yield batch.num_rows
    return found


def build_rows(
    table: Table,
    ledger: Ledger,
    encoding: Encoding,
    part: Mask,
    threads: int,
    *,
    fingerprinted: bool = True,
    journal: Journal | None = None,
) -> Generator[int, None, MemoryRows]:
    """Encode the rows of a part into chunks; yields rows read, returns the rows, whose answers the journal keeps.

    They are in a file where the budget in force has no room for them beside the columns. Their fingerprint takes
    about a fifth of the time: rows whose certificate nobody will see can do without.
    """
    fingerprint = Fingerprint() if fingerprinted else None
    layout = encoding.layout
    budget = in_force.get()
    room = budget.part(budget.memory / 2) if table.kept is None else table.kept.left
    cutter = _Cutter(chunk_rows(layout.lead + len(layout.groups)), ChunkCollector(room))
    roles = [name for name in (table.roles.weight, table.roles.offset, table.roles.exposure) if name]
    # The roles are in the ledger: they are read once more for the fingerprint alone, and the target where an intercept
    # is all there is, for rows of no column cannot be counted.
    known = [ledger.target.column, *roles] if fingerprinted or not encoding.columns else []
    names = list(dict.fromkeys([*encoding.columns, *known]))
    for entries, batch in walk(table, names):
        mask = part[entries]
        if mask.any():
            kept = batch if mask.all() else batch.filter(pa.array(mask))
            if fingerprint is not None:
                fingerprint.update(kept)
            dense, codes = encoding.encode(kept)
            cutter.add(
                StoredChunk(
                    dense,
                    codes,
                    ledger.label[entries][mask],
                    None if ledger.weight is None else ledger.weight[entries][mask],
                    None if ledger.offset is None else ledger.offset[entries][mask],
                    encoding.encode_texts(kept),
                )
            )
        yield batch.num_rows
    return MemoryRows(
        layout,
        cutter.finish(),
        encoding.shift,
        encoding.scale,
        threads=threads,
        fingerprint=None if fingerprint is None else fingerprint.hexdigest(),
        journal=journal,
    )


class _Cutter:
    """Cuts stretches of any length into chunks of one length, so that boundaries follow from row numbers alone."""

    def __init__(self, length: int, chunks: ChunkCollector) -> None:
        self._length = length
        self._waiting: list[StoredChunk] = []
        self._rows = 0
        self._done = chunks

    def add(self, stretch: StoredChunk) -> None:
        """Take in the next rows."""
        self._waiting.append(stretch)
        self._rows += len(stretch)
        if self._rows >= self._length:
            whole = joined(self._waiting)
            full = self._rows // self._length * self._length
            # Copies, so that a short rest does not keep a whole stretch alive.
            for start in range(0, full, self._length):
                self._done.add(whole.part(slice(start, start + self._length)).copied())
            self._waiting = [whole.part(slice(full, self._rows)).copied()] if full < self._rows else []
            self._rows -= full

    def finish(self) -> Sequence[StoredChunk]:
        """Return all chunks; the last may be short."""
        if self._waiting:
            self._done.add(joined(self._waiting))
        return self._done.finish()
