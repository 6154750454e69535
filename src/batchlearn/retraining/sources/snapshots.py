"""Snapshots: what a query of a project gave, kept in Parquet parts that are never changed.

A part holds the rows of one day of the query's time (of one range, where times are numbers). Each turn counts the rows
of the database by their times, and fetches the days that are not what was fetched: a day again as a part of the next
generation, beside the earlier one, which versions were trained on.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batchlearn.artifacts.store import FolderStore, damaged
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.errors import DataError, RegistryError, quoted
from batchlearn.retraining.project import SourceSettings
from batchlearn.retraining.sources.part_order import in_earlier_order
from batchlearn.tables.database import Moment, Query, QueryView, open_view, several_kinds
from batchlearn.tables.database.postgres import is_postgres
from batchlearn.tables.table.row_list import RowList

SNAPSHOTS = "snapshots"
_KEY = b"batchlearn"
_RANGES, _LARGEST_RANGES = "ranges.json", 4096
_PART = re.compile(r"(\d{4}-\d\d-\d\d|range-?\d+|untimed)\.(\d{6})\.parquet")
_UNTIMED, _RANGE = "untimed", "range"
_MICROSECONDS_A_DAY = 86_400_000_000
# So many ranges the times of the first fetch are cut into; later ones may lie far beyond, though not without limit.
_FIRST_RANGES, _FARTHEST_RANGE = 1000, 1e15

Day = int | None
"""A day since 1970, or a range of numbers; None for rows without a time."""


@dataclass(frozen=True)
class FetchedPart:
    """The rows of one day, as they are now."""

    name: str
    """What it is a part for, such as 2008-01-05: the same in every generation."""
    path: Path
    rows: int


class _DayCount(NamedTuple):
    """What is known of a day without reading its rows."""

    rows: int
    first: tuple[int, Moment | None]  # the first and last time in the order of the database, each with its place in it
    last: tuple[int, Moment | None]
    digest: str


class _StoredPart(NamedTuple):
    """The newest generation of a day's part."""

    generation: int
    rows: int
    digest: str
    schema: pa.Schema


@dataclass(frozen=True)
class _PartFolder:
    """Where the parts of a query are, which belong to it alone: another query has other rows."""

    store: FolderStore
    path: str
    width: float | None
    """Of a range; None where times are dates, and parts days."""

    def name(self, day: Day) -> str:
        """Return what a day is called."""
        if day is None:
            return _UNTIMED
        return str(np.datetime64(day, "D")) if self.width is None else f"{_RANGE}{day}"

    def file(self, day: Day, generation: int) -> str:
        """Return the name of a part in the store."""
        return f"{self.path}/{self.name(day)}.{generation:06d}.parquet"

    def days(self, view: QueryView, values: Sequence[Any]) -> list[Day]:
        """Return the day of each value of the time."""
        instants = view.instants(values)
        if pa.types.is_integer(instants.type) != (self.width is None) and instants.null_count < len(instants):
            raise several_kinds(view.query.time, "texts in some rows and numbers in others")
        plain = pc.fill_null(instants, 0).to_numpy(zero_copy_only=False)
        if self.width is None:
            days = plain // _MICROSECONDS_A_DAY
        else:
            days = np.floor(plain / self.width).clip(-_FARTHEST_RANGE, _FARTHEST_RANGE)
        return [None if value is None else int(day) for value, day in zip(values, days.tolist(), strict=True)]


def fetch(store: FolderStore, settings: SourceSettings, root: Path) -> tuple[tuple[FetchedPart, ...], dict[str, Any]]:
    """Fetch what a query has that its parts have not; return the parts there are now, and what to put on record.

    Parts come in the order of time, rows without one last. Rows of a day that is fetched again keep their order, and
    what came is behind them. DataError where there are no rows, or none whose label time is known.
    """
    query = query_of(settings, root)
    with open_view(query) as view:
        folder = _open_folder(store, settings, view)
        counts, unlabelled = _count(folder, view)
        rows = sum(day.rows for day in counts.values())
        if rows == unlabelled:
            mark = query.labelled or query.time
            raise DataError(f"The query has no row with a value in {quoted(mark)}; rows are needed.", code="no-rows")
        before = _stored(folder)
        stale = [day for day, count in counts.items() if not _holds(before.get(day), count, view)]
        fresh = dict(_fetched(folder, view, counts, before, stale))
        # A column may hold another kind of values than before in rows that keep their times.
        types = _types(fresh.values())
        odd = [day for day in counts if day not in fresh and _differs(before[day].schema, types)]
        fresh |= dict(_fetched(folder, view, counts, before, odd))
    now = {day: fresh.get(day) or before[day] for day in counts}
    several = [name for name, found in _types(now.values()).items() if len(found) > 1]
    if several:
        raise several_kinds(several[0], "values of one kind in some rows and of another in others")
    parts = tuple(
        FetchedPart(folder.name(day), store.path(folder.file(day, part.generation)), part.rows)
        for day, part in now.items()
    )
    said = {
        "database": settings.database,
        "query": settings.query,
        "parts": {"folder": folder.path, "number": len(parts), "rows": rows},
        "fetched": sum(part.rows for part in fresh.values()),
        "fetched_again": any(day in before for day in fresh),
        "without_a_mark": unlabelled if query.labelled else 0,
    }
    return parts, said


def superseded_parts(store: FolderStore, lists: Iterable[RowList]) -> Iterator[str]:
    """Yield the names of parts of earlier generations that none of these lists of rows is of."""
    listed = {part.file for one in lists for part in one.parts}
    for folder in store.names(SNAPSHOTS):
        newest: dict[str, str] = {}
        for file in store.names(f"{SNAPSHOTS}/{folder}"):
            if matched := _PART.fullmatch(file):
                earlier = newest.get(matched[1])
                newest[matched[1]] = file
                if earlier is not None and f"{SNAPSHOTS}/{folder}/{earlier}" not in listed:
                    yield f"{SNAPSHOTS}/{folder}/{earlier}"


def query_of(settings: SourceSettings, root: Path) -> Query:
    """Return the query of a project."""
    database, text = settings.database or "", settings.query or ""
    where = database if is_postgres(database) else root / database
    return Query(where, text, settings.time, settings.target, settings.labelled, settings.landed)


def _open_folder(store: FolderStore, settings: SourceSettings, view: QueryView) -> _PartFolder:
    """Return the folder of a query's parts; how wide a range is, the first fetch decides."""
    key = hashlib.sha256(json.dumps([settings.database, settings.query, settings.time]).encode()).hexdigest()[:12]
    ends = view.ends()
    instants = pa.nulls(0, pa.int64()) if ends is None else view.instants(ends)
    if pa.types.is_integer(instants.type):
        return _PartFolder(store, f"{SNAPSHOTS}/{key}-days", None)
    path = f"{SNAPSHOTS}/{key}-ranges"
    if _RANGES not in store.names(path):
        first, last = instants.to_pylist()
        store.put_if_absent(f"{path}/{_RANGES}", dump({"width": _round_width((last - first) / _FIRST_RANGES)}))
    try:
        width = float(parse(store.get(f"{path}/{_RANGES}", _LARGEST_RANGES))["width"])
    except (Malformed, KeyError, TypeError, ValueError) as problem:
        raise damaged(f"{path}/{_RANGES}", f"it does not say how wide a range is ({problem})") from problem
    if not 0.0 < width < math.inf:
        raise damaged(f"{path}/{_RANGES}", f"a range cannot be {width} wide")
    return _PartFolder(store, path, width)


def _round_width(width: float) -> float:
    """Return the next number of 1, 2 or 5 times a power of ten; 1 for a width that is none."""
    if not 0.0 < width < math.inf:
        return 1.0
    power = math.floor(math.log10(width))
    rounded = (float(f"{digit}e{power}") for digit in (1, 2, 5, 10, 20))
    return next(each for each in rounded if each >= width)


def _count(folder: _PartFolder, view: QueryView) -> tuple[dict[Day, _DayCount], int]:
    """Count the rows of each day, the days in order, and all whose label time is not known."""
    found: dict[Day, _DayCount] = {}
    # One a column, so that where a batch ends makes no difference.
    digests: dict[Day, list[Any]] = {}
    unlabelled, place = 0, 0
    mark = view.query.counted_by.index(view.query.labelled or view.query.time)
    for batch in view.counted():
        unlabelled += sum(rows for rows, at in zip(batch.rows, batch.times[mark], strict=True) if at is None)
        columns, begin = (*batch.times, batch.rows, batch.labels), 0
        for day, stretch in itertools.groupby(folder.days(view, batch.times[0])):
            end = begin + sum(1 for _ in stretch)
            for digest, values in zip(
                digests.setdefault(day, [hashlib.sha256() for _ in columns]), columns, strict=True
            ):
                digest.update("".join(f"{value}\n" for value in values[begin:end]).encode("utf-8", "surrogatepass"))
            first, last = (place + begin, batch.times[0][begin]), (place + end - 1, batch.times[0][end - 1])
            rows = sum(batch.rows[begin:end])
            if day in found:
                first, rows = found[day].first, found[day].rows + rows
            found[day] = _DayCount(rows, first, last, "")
            begin = end
        place += len(batch.rows)
    ordered = sorted(found, key=lambda day: (day is None, day or 0))
    joined = {day: hashlib.sha256(b"".join(one.digest() for one in digests[day])).hexdigest() for day in ordered}
    return {day: found[day]._replace(digest=joined[day]) for day in ordered}, unlabelled


# --- parts ----------------------------------------------------------------------------------------------------------


def _stored(folder: _PartFolder) -> dict[Day, _StoredPart]:
    """Read what the newest part of each day says of itself."""
    newest: dict[str, str] = {}
    for file in folder.store.names(folder.path):
        if matched := _PART.fullmatch(file):
            newest[matched[1]] = file  # names come in order, and a generation has six digits
    found: dict[Day, _StoredPart] = {}
    for name, file in newest.items():
        try:
            metadata = pq.read_metadata(folder.store.path(f"{folder.path}/{file}"))
            said = parse(metadata.metadata[_KEY])
            schema = metadata.schema.to_arrow_schema().remove_metadata()
            part = _StoredPart(int(file[-14:-8]), metadata.num_rows, str(said["counted"]), schema)
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, Malformed) as problem:
            raise damaged(f"{folder.path}/{file}", f"it is no part of a snapshot ({problem})") from problem
        if name == _UNTIMED:
            found[None] = part
        elif name.startswith(_RANGE):
            found[int(name.removeprefix(_RANGE))] = part
        else:
            found[int(np.datetime64(name, "D").astype(np.int64))] = part
    return found


def _holds(part: _StoredPart | None, count: _DayCount, view: QueryView) -> bool:
    """Say whether a part holds the rows that were counted."""
    return part is not None and part.digest == count.digest and part.schema.names == view.columns


def _types(parts: Iterable[_StoredPart]) -> dict[str, set[str]]:
    """Return the types of each column, by name, in parts that have values of it."""
    found: dict[str, set[str]] = {}
    for part in parts:
        for field in part.schema:
            if not pa.types.is_null(field.type):
                found.setdefault(field.name, set()).add(str(field.type))
    return found


def _differs(schema: pa.Schema, types: Mapping[str, set[str]]) -> bool:
    """Say whether a part has a column of another type than the others have."""
    stored = {field.name: str(field.type) for field in schema if not pa.types.is_null(field.type)}
    return any(types.get(name, {type_}) != {type_} for name, type_ in stored.items())


def _fetched(
    folder: _PartFolder,
    view: QueryView,
    counts: Mapping[Day, _DayCount],
    before: Mapping[Day, _StoredPart],
    days: Sequence[Day],
) -> Iterator[tuple[Day, _StoredPart]]:
    """Fetch the rows of some days, and write and yield a part for each as soon as it is whole."""
    wanted = set(days)
    for day, rows in _read(folder, view, counts, wanted):
        table, generation = view.table(rows), 1
        if day in before:
            query, generation = view.query, before[day].generation + 1
            earlier = pq.read_table(folder.store.path(folder.file(day, before[day].generation)))
            table = in_earlier_order(earlier, table, query.target, query.labelled, query.landed)
        digest = counts[day].digest
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({_KEY: dump({"counted": digest})}), sink, write_page_checksum=True)
        name = folder.file(day, generation)
        if not folder.store.put_if_absent(name, sink.getvalue()):
            raise RegistryError(
                f"{quoted(name)} was written by another program in the meantime; run the command again.",
                code="snapshot-conflict",
            )
        wanted.discard(day)
        yield day, _StoredPart(generation, table.num_rows, digest, table.schema)
    if wanted:
        day = next(each for each in counts if each in wanted)
        raise DataError(
            f"The query did not give the {counts[day].rows:,} rows of {quoted(folder.name(day))} that it had counted; "
            "it needs to give the same rows when it is asked again: leave out what changes from one time to the next, "
            "such as random().",
            code="query-unsteady",
        )


def _read(
    folder: _PartFolder, view: QueryView, counts: Mapping[Day, _DayCount], wanted: Collection[Day]
) -> Iterator[tuple[Day, list[tuple[Any, ...]]]]:
    """Yield each wanted day with its rows; days beside one another are read at once."""
    for is_wanted, stretch in itertools.groupby(counts, key=lambda day: day in wanted and day is not None):
        if not is_wanted:
            continue
        days = list(stretch)
        first = min((counts[day].first for day in days), key=itemgetter(0))[1]
        last = max((counts[day].last for day in days), key=itemgetter(0))[1]
        assert first is not None
        assert last is not None
        partly: dict[Day, list[tuple[Any, ...]]] = {day: [] for day in days}
        place = view.columns.index(view.query.time)
        for batch in view.between(first, last):
            # Where a database orders texts in another way than time does, rows of other days are among them.
            of_batch = folder.days(view, [row[place] for row in batch])
            for day, pairs in itertools.groupby(zip(of_batch, batch, strict=True), key=itemgetter(0)):
                if day in partly:
                    partly[day] += [row for _, row in pairs]
                    if len(partly[day]) == counts[day].rows:
                        yield day, partly.pop(day)
    if None in wanted:
        rows = [row for batch in view.untimed() for row in batch]
        if len(rows) == counts[None].rows:
            yield None, rows
