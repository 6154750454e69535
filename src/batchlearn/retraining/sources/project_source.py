"""A feed: the rows of a project as tables, whatever they come from.

Files are read where they are: a pattern may match more of them every day. A query is fetched into Parquet parts that
are never changed: each turn fetches only what came since the last one.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.artifacts.store import FolderStore, damaged
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.errors import DataError, RegistryError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.registry.ledger import EVENTS
from batchlearn.registry.promotions import PROMOTIONS
from batchlearn.registry.version import VERSIONS
from batchlearn.retraining.project import REPORTS, Project, SourceSettings
from batchlearn.retraining.sources.label_times import MOSTLY, RECENT, LabelTimes
from batchlearn.tables.conditions import Condition, Not, Written, together, written
from batchlearn.tables.database import Mark, Query, QueryView, open_view
from batchlearn.tables.files import Stamp, find
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Roles, Table, open_by

SNAPSHOTS = "snapshots"
_KEY = b"batchlearn"


@dataclass(frozen=True)
class ProjectSource:
    """Rows of files, or of anything else that `read` takes, without those that were forgotten.

    `stamps` are the files as they were when the feed was opened: a table of others is never given.
    """

    data: object
    settings: SourceSettings
    forgotten: tuple[str, ...] = ()
    origin_entries: tuple[tuple[str, Any], ...] = ()
    stamps: tuple[Stamp, ...] = ()
    readings: Mapping[str, ColumnReading] = field(default_factory=dict)
    """How the live model reads its columns: a new one reads them likewise."""
    begun: bool = False
    """Whether there is a version: since then a column that `drop` names may be gone."""

    @property
    def origin(self) -> dict[str, Any]:
        """Return what was said of the origin when the feed was opened."""
        return dict(self.origin_entries)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Say which rows of a query cannot be seen: those without a label time are not fetched."""
        waiting, share = self.origin.get("without_a_mark", 0), self.origin.get("recent_with_a_mark", 1.0)
        if not waiting:
            return ()
        column = self.settings.labelled or self.settings.time
        return (
            Note(
                Code.ROWS_NOT_FETCHED,
                {"rows": waiting, "column": column, "share": None if share >= MOSTLY else share},
            ),
        )

    def table(self, *conditions: Condition | None) -> Table:
        """Read with the roles of the settings; when a label was known is no feature.

        DataError where a file is not as it was when the feed was opened.
        """
        for stamp in self.stamps:
            stamp.check()
        given = self.settings
        dropped = dict.fromkeys([*given.roles.drop, *([given.labelled] if given.labelled else [])])
        where = written(given.reading.where)
        try:
            return self._read(dropped, together(where, *(Not(Written(one)) for one in self.forgotten), *conditions))
        except DataError as problem:
            if problem.code != "column-missing" or not self.forgotten:
                raise
            self._read(dropped, together(where, *conditions))  # what is missing for another reason is said as it is
            raise DataError(
                f"{problem.message.rstrip('?')}; part of the condition is what was forgotten: "
                f"{'; '.join(self.forgotten)}. Keep the columns that it names in the source; drop in [source] leaves "
                "them out of the model.",
                code=problem.code,
            ) from problem

    def _read(self, dropped: Iterable[str], where: Condition | None) -> Table:
        roles = replace(self.settings.roles, drop=tuple(dropped))
        # The condition of the settings is part of `where`.
        rules = replace(self.settings.reading, where=None)
        try:
            return open_by(self.data, roles, rules, where=where).like(self.readings)
        except DataError as problem:
            if problem.code != "column-missing" or not self.begun:
                raise
            there = {use.name for use in open_by(self.data, Roles(), rules).uses()}
            if there.issuperset(roles.drop):
                raise
            lessened = replace(roles, drop=tuple(name for name in roles.drop if name in there))
            return open_by(self.data, lessened, rules, where=where).like(self.readings)

    def like(self, readings: Mapping[str, ColumnReading]) -> ProjectSource:
        """Return the same rows with their columns read as a model reads them."""
        return replace(self, readings=readings)

    def times(self) -> LabelTimes:
        """Look the columns up."""
        given = self.settings
        return LabelTimes.of(self.table(), given.time, given.labelled, given.wait)


def open_source(project: Project, forgotten: Sequence[str] = ()) -> ProjectSource:
    """Return the rows of a project as they are now; a query is fetched up to date. DataError, UsageError."""
    settings = project.settings.source
    if settings.files is None:
        folder, said = fetch(project.store, settings, project.root)
        found = find(project.store.path(folder))
    else:
        # What the registry keeps are no rows of the source, whatever a pattern such as "**/*.parquet" matches.
        own = [project.root / name for name in (VERSIONS, PROMOTIONS, EVENTS, SNAPSHOTS, REPORTS)]
        found = find(inside(project.root, settings.files), but=own)
        said = {}
    # Pinned: a file that appears while a turn is under way belongs to the next one.
    stamps = tuple(Stamp.of(path) for path in found.paths)
    files = [
        {"path": _inside(stamp.path, project.root), "bytes": stamp.size, "modified": stamp.modified} for stamp in stamps
    ]
    origin, begun = (("files", files), *said.items()), bool(project.store.names(VERSIONS))
    return ProjectSource(found, settings, tuple(forgotten), origin, stamps, begun=begun)


def inside(root: Path, pattern: str) -> str:
    """Return a pattern for files, of which only its own signs mean something: not those in the project's path."""
    return pattern if os.path.isabs(pattern) else os.path.join(glob.escape(str(root)), pattern)


def _inside(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


# --- queries --------------------------------------------------------------------------------------------------------


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
