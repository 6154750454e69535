"""Eleven days of flights: one lands late, one is replaced, one is labelled later; each is told and learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import rehearse_here
from tests.retraining.sources.bases import Base, PostgresBase, SqliteBase

from batchlearn.artifacts.store import FolderStore
from batchlearn.cli.project.retrain import CycleOptions, cycle_context
from batchlearn.progress import finish
from batchlearn.registry.loading import load_version
from batchlearn.registry.place import SETTINGS
from batchlearn.registry.promotions import Reason, champion, promote
from batchlearn.registry.version import read_version
from batchlearn.retraining.project import open_project
from batchlearn.retraining.shell.turn import CycleResult, run_turn

COLUMNS = ["sched_dep", "crs_dep_time", "carrier", "distance", "dep_delayed_15min"]
STEP = 120  # every so many-th flight
QUERY = 'query = "SELECT * FROM flights"\nlanded = "landed"\ndrop = ["landed", "number"]'
TEXT = """
target = "dep_delayed_15min"
time = "sched_dep"

[recipe]
alpha = 0.001

[policy]
when = "rows"
rows = 1
start = "update"
"""
BY_HAND = Reason("each day's goes on from that of the day before", "ann", "2008-02-01T00:00:00Z", forced=True)


class Place(Protocol):
    """Where the flights are kept, to which days are brought, each under its number."""

    def settings(self) -> str: ...

    def bring(self, day: int, rows: pa.Table) -> None: ...


class Files:
    def __init__(self, root: Path) -> None:
        self.folder = root / "flights"
        self.folder.mkdir()

    def settings(self) -> str:
        return 'files = "flights/*.parquet"'

    def bring(self, day: int, rows: pa.Table) -> None:
        pq.write_table(rows, self.folder / f"{day:02d}.parquet")


class Database:
    """Rows that are brought again move the time at which they landed: a writer that keeps it has its changes seen."""

    def __init__(self, base: Base) -> None:
        self.base, self.landed = base, 0
        self.there: dict[int, tuple[Any, ...]] = {}
        kinds = "timestamp", "integer", "text", "integer", "integer"
        columns = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, kinds, strict=True))
        base.run(f"CREATE TABLE flights (landed integer, number integer, {columns})")

    def settings(self) -> str:
        return f"database = {json.dumps(self.base.address)}\n{QUERY}"

    def bring(self, day: int, rows: pa.Table) -> None:
        self.landed += 1
        given = {
            1000 * day + place: (str(row["sched_dep"]), *(row[name] for name in COLUMNS[1:]))
            for place, row in enumerate(rows.to_pylist())
        }
        fresh = {number: row for number, row in given.items() if self.there.get(number) != row}
        gone = [(number,) for number in fresh if number in self.there]
        if gone:
            self.base.run("DELETE FROM flights WHERE number = ?", gone)
        landed = [(self.landed, number, *row) for number, row in fresh.items()]
        self.base.run("INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?, ?)", landed)
        self.there |= fresh


@pytest.fixture(params=["files", "SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "files":
        return Files(tmp_path)
    if request.param == "SQLite":
        return Database(SqliteBase(tmp_path))
    return Database(PostgresBase(request.getfixturevalue("postgres")))


def turned(root: Path, **flags: Any) -> CycleResult:
    given = replace(cycle_context(open_project(root), CycleOptions(threads=1)), rehearse=rehearse_here)
    return finish(run_turn(given, **flags))


def counts(found: CycleResult) -> dict[str, int]:
    return {name: rows for name, rows in found.rows.items() if rows and name not in ("seen", "known")}


def flights_by_day(shared_data: Path) -> dict[int, pa.Table]:
    flights = pq.read_table(shared_data / "flights2008_jan.parquet", columns=COLUMNS)
    flights = flights.set_column(2, "carrier", flights["carrier"].cast(pa.string()))
    flights = flights.take(np.arange(0, flights.num_rows, STEP)).drop_null()
    return {day: flights.filter(pc.equal(pc.day(flights["sched_dep"]), day)) for day in range(1, 32)}


def test_each_day_is_told_and_learned_from(place: Place, shared_data: Path, tmp_path: Path) -> None:
    days = flights_by_day(shared_data)
    waits = pa.array(np.arange(days[25].num_rows) % 2 == 0)
    half = pc.if_else(waits, pa.scalar(None, pa.int8()), days[25]["dep_delayed_15min"])
    without = days[25].set_column(4, "dep_delayed_15min", half)
    replaced = days[22].set_column(3, "distance", pc.add(days[22]["distance"], pa.scalar(100, pa.int32())))
    (tmp_path / SETTINGS).write_text(f"[source]\n{place.settings()}{TEXT}")
    for day in range(1, 21):
        place.bring(day, days[day])
    assert turned(tmp_path).promoted
    store = FolderStore(tmp_path)

    for day in range(21, 32):
        if day != 24:
            place.bring(day, without if day == 25 else days[day])
        expected = {"new": days[day].num_rows}
        match day:
            case 24:
                expected = {}
            case 25:
                expected = {"new": days[25].num_rows - without["dep_delayed_15min"].null_count}
            case 27:
                place.bring(24, days[24])
                expected["late"] = days[24].num_rows
            case 28:
                place.bring(22, replaced)
                expected["changed"] = days[22].num_rows
            case 29:
                place.bring(25, days[25])
                expected["labelled"] = without["dep_delayed_15min"].null_count
        found = turned(tmp_path)
        assert counts(found) == expected, day
        assert found.decision == ("retrain" if expected else "keep")
        if expected:
            assert found.bracket is not None, day
            assert found.start == "update"
            promote(store, found.version or 0, BY_HAND, champion(store))
            assert found.certificate is not None
            assert found.certificate["status"] == "certified"
            assert len(found.alarms) == (day == 28)

    last = found
    assert last.certificate is not None
    everything = sum(days[day].num_rows for day in days)
    assert last.certificate["rows"] == everything
    # From scratch in the same encoding, which warm keeps, over all rows that are there: the same within both bounds.
    text = (tmp_path / SETTINGS).read_text().replace('start = "update"', 'start = "warm"')
    (tmp_path / SETTINGS).write_text(text)
    again = turned(tmp_path, anyway=True)
    assert again.certificate is not None
    assert again.certificate["rows"] == everything
    one, two = (load_version(store, read_version(store, found.version or 0)).model for found in (last, again))
    rows = pa.concat_tables([replaced if day == 22 else days[day] for day in days])
    apart = np.abs(one.predict(rows).response - two.predict(rows).response).max()
    assert apart <= last.certificate["prediction_bound"] + again.certificate["prediction_bound"]
