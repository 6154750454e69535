"""Snapshots: what a query of a project gave, kept in Parquet parts that are never changed.

Each turn fetches only what came since the last one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.artifacts.store import FolderStore, damaged
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.errors import DataError, RegistryError, quoted
from batchlearn.retraining.project import SourceSettings
from batchlearn.retraining.sources.label_times import RECENT
from batchlearn.tables.database import Mark, Query, QueryView, open_view

SNAPSHOTS = "snapshots"
_KEY = b"batchlearn"


class _SnapshotParts(NamedTuple):
    """How far the parts in a folder go; the last one says so itself, so that a part is there whole or not at all."""

    folder: str
    number: int = 0
    rows: int = 0
    mark: Mark | None = None
    times: str | None = None
    schema: pa.Schema | None = None
    whole: bool = True  # whether every part up to the last is there, with the rows that the last one counts


def fetch(store: FolderStore, settings: SourceSettings, root: Path) -> tuple[str, dict[str, Any]]:
    """Fetch what a query has that its parts have not; return the folder of the parts, and what to put on record.

    Rows are marked by the time of their label, or by their own time where no label comes late. Where the past is not
    what was fetched, because rows were removed or came with an old mark, or where a part is gone, all is fetched again
    into a folder of its own.
    """
    times = tuple(name for name in (settings.time, settings.labelled) if name is not None)
    query = Query(root / (settings.database or ""), settings.query or "", settings.labelled or settings.time, times)
    # A folder belongs to one query: another query has other rows.
    key = hashlib.sha256(json.dumps([settings.database, settings.query, query.mark]).encode()).hexdigest()[:12]
    generations = [int(name[-6:]) for name in store.names(SNAPSHOTS) if re.fullmatch(rf"{key}-\d{{6}}", name)]
    generation = max(generations, default=1)
    before = _parts(store, f"{SNAPSHOTS}/{key}-{generation:06d}")
    with open_view(query) as view:
        unmarked = view.unmarked()
        recent = view.marked_of_last(settings.time, RECENT) if unmarked else 1.0
        same = before.whole and (before.mark is None or view.digest(before.mark) == before.times)
        after = _with_new_rows(store, before, view) if same else None
        again = after is None
        if after is None:
            empty = _SnapshotParts(f"{SNAPSHOTS}/{key}-{generation + 1:06d}")
            after = _with_new_rows(store, empty, view) or empty
    if not after.rows:
        raise DataError(f"The query has no row with a value in {quoted(query.mark)}; rows are needed.", code="no-rows")
    said = {
        "database": settings.database,
        "query": settings.query,
        "parts": {"folder": after.folder, "number": after.number, "rows": after.rows, "mark": after.mark},
        "fetched": after.rows if again else after.rows - before.rows,
        "fetched_again": again,
        "without_a_mark": unmarked,
        "recent_with_a_mark": recent,
    }
    return after.folder, said


def _parts(store: FolderStore, folder: str) -> _SnapshotParts:
    names = [name for name in store.names(folder) if name.endswith(".parquet")]
    if not names:
        return _SnapshotParts(folder)
    path = store.path(f"{folder}/{names[-1]}")
    try:
        schema = pq.read_schema(path)
        said = parse(schema.metadata[_KEY])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, Malformed) as problem:
        raise damaged(f"{folder}/{names[-1]}", f"it is no part of a snapshot ({problem})") from problem
    rows = sum(_rows_of(store, f"{folder}/{name}") for name in names)
    whole = names == [_part_name(number) for number in range(1, len(names) + 1)] and rows == said["rows"]
    return _SnapshotParts(
        folder, len(names), said["rows"], said["mark"], said["times"], schema.remove_metadata(), whole
    )


def _part_name(number: int) -> str:
    return f"{number:06d}.parquet"


def _rows_of(store: FolderStore, name: str) -> int:
    try:
        return int(pq.read_metadata(store.path(name)).num_rows)
    except (pa.ArrowInvalid, OSError) as problem:
        raise damaged(name, f"it is no part of a snapshot ({problem})") from problem


def _with_new_rows(store: FolderStore, before: _SnapshotParts, view: QueryView) -> _SnapshotParts | None:
    """Write the rows beyond the last mark as one more part; None where they do not fit the earlier ones."""
    fresh, mark = view.after(before.mark)
    if mark is None or not fresh.num_rows:
        return before
    fitting = fresh if before.schema is None else _fitted(fresh, before.schema)
    if fitting is None:
        return None
    rows, times = before.rows + fresh.num_rows, view.digest(mark)
    after = before._replace(number=before.number + 1, rows=rows, mark=mark, times=times)
    stated = fitting.replace_schema_metadata({_KEY: dump({"rows": rows, "mark": mark, "times": times})})
    sink = io.BytesIO()
    pq.write_table(stated, sink, write_page_checksum=True)
    name = f"{before.folder}/{_part_name(after.number)}"
    if not store.put_if_absent(name, sink.getvalue()):
        raise RegistryError(
            f"{quoted(name)} was written by another program in the meantime; run the command again.",
            code="snapshot-conflict",
        )
    return after


def _fitted(fresh: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """Return new rows in the types of earlier ones; None where a column was without values until now, or is gone."""
    if fresh.schema.names != schema.names:
        return None
    arrays = []
    for stored in schema:
        column = fresh.column(stored.name)
        if column.type != stored.type:
            if column.null_count < len(column):
                return None
            column = pa.nulls(len(column), stored.type)
        arrays.append(column)
    return pa.table(dict(zip(schema.names, arrays, strict=True)))
