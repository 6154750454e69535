"""The source of a project: its rows as tables, whatever they come from.

Files are read where they are: a pattern may match more of them every day. A query is fetched into Parquet parts, of
which a turn fetches those that are not what they were.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchlearn.errors import DataError
from batchlearn.formatting.notes import Code, Note
from batchlearn.registry.promotions import PROMOTIONS
from batchlearn.registry.records import EVENTS
from batchlearn.registry.version import VERSIONS
from batchlearn.retraining.project import REPORTS, Project, SourceSettings
from batchlearn.retraining.sources.label_times import LabelTimes
from batchlearn.retraining.sources.snapshots import SNAPSHOTS, fetch
from batchlearn.tables.conditions import Condition, Not, Written, together, written
from batchlearn.tables.files import Files, Format, Stamp, find
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Roles, Table, open_by
from batchlearn.tables.table.row_list import (
    LabelColumns,
    OpenPart,
    RowList,
    Standing,
    compare,
    list_rows,
    open_parts,
    path_below,
)
from batchlearn.tables.table.scan import compiled


@dataclass(frozen=True)
class ProjectSource:
    """Rows of files, or of anything else that `read` takes, without those that were forgotten.

    `stamps` are the files as they were when the source was opened: a table of others is never given. `names` are what
    the files are called in a list of rows, and below `root` is how their paths are told.
    """

    data: object
    settings: SourceSettings
    forgotten: tuple[str, ...] = ()
    origin_entries: tuple[tuple[str, Any], ...] = ()
    stamps: tuple[Stamp, ...] = ()
    names: tuple[str, ...] = ()
    root: Path = Path()
    readings: Mapping[str, ColumnReading] = field(default_factory=dict)
    """How the live model reads its columns: a new one reads them likewise."""
    rehash: bool = False
    """Whether the values of files are compared although their size and time of change are those of a list."""
    begun: bool = False
    """Whether there is a version: since then a column that `drop` names may be gone."""

    @property
    def origin(self) -> dict[str, Any]:
        """Return what was said of the origin when the source was opened."""
        return dict(self.origin_entries)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Say which files are empty, and how many rows of a query have no label time yet."""
        notes, waiting = [], self.origin.get("without_a_mark", 0)
        if isinstance(self.data, Files) and self.data.empty:
            first, *others = self.data.empty
            notes.append(Note(Code.FILES_EMPTY, {"file": path_below(first, self.root), "others": len(others)}))
        if waiting:
            notes.append(
                Note(Code.ROWS_NOT_FETCHED, {"rows": waiting, "column": self.settings.labelled, "share": None})
            )
        return tuple(notes)

    def table(self, *conditions: Condition | None) -> Table:
        """Read with the roles of the settings; when a label was known or a row landed is no feature.

        DataError where a file is not as it was when the source was opened.
        """
        for stamp in self.stamps:
            stamp.check()
        given = self.settings
        own = [name for name in (given.labelled, given.landed) if name is not None]
        dropped = dict.fromkeys([*given.roles.drop, *own])
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
        return LabelTimes.of(self.table(), given.time, given.labelled, given.wait, given.lateness)

    def compare(self, then: RowList) -> Standing:
        """Return how the rows of a list stand now."""
        return compare(self._parts, then, self.rehash)

    def list_rows(self, trained: Table, names: Iterable[str], before: RowList | None) -> RowList:
        """Return the rows that are there as a list.

        The values count of the named columns, of those that the condition on the rows names, and of the label.
        """
        label = LabelColumns(self.settings.target, self.settings.labelled)
        met = compiled(trained.condition, trained.columns)
        counted = {*names, *label.names, *(met.columns if met is not None else ())}
        columns = {name: trained.readings[name] for name in sorted(counted)}
        return list_rows(self._parts, trained, columns, label, before, self.rehash)

    @property
    def _parts(self) -> tuple[OpenPart, ...]:
        assert isinstance(self.data, Files)
        return open_parts(self.data, self.names, self.root, self.settings.reading, self.readings)


def open_source(project: Project, forgotten: Sequence[str] = (), rehash: bool = False) -> ProjectSource:
    """Return the rows of a project as they are now; a query is fetched up to date. DataError, UsageError."""
    settings = project.settings.source
    if settings.files is None:
        parts, said = fetch(project.store, settings, project.root)
        folder = project.store.path(said["parts"]["folder"])
        found = Files(tuple(part.path for part in parts), Format.PARQUET, folder, folder.name)
        names = tuple(part.name for part in parts)
    else:
        # What the registry keeps are no rows of the source, whatever a pattern such as "**/*.parquet" matches.
        own = [project.root / name for name in (VERSIONS, PROMOTIONS, EVENTS, SNAPSHOTS, REPORTS)]
        found = find(inside(project.root, settings.files), but=own, but_empty=True)
        said, names = {}, tuple(path_below(path, project.root) for path in found.paths)
    # Pinned: a file that appears while a turn is under way belongs to the next one.
    stamps = tuple(Stamp.of(path) for path in found.paths)
    begun = bool(project.store.names(VERSIONS))
    return ProjectSource(
        found, settings, tuple(forgotten), tuple(said.items()), stamps, names, project.root, begun=begun, rehash=rehash
    )


def inside(root: Path, pattern: str) -> str:
    """Return a pattern for files, of which only its own signs mean something: not those in the project's path."""
    return pattern if os.path.isabs(pattern) else os.path.join(glob.escape(str(root)), pattern)
