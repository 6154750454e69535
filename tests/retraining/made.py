"""Projects whose rows come day by day and whose labels come late."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.artifacts.disk import LOCAL_DISK, Disk
from batchlearn.artifacts.store import FolderStore
from batchlearn.formatting.notes import recorded
from batchlearn.kernels.design import Floats
from batchlearn.models.files import load
from batchlearn.progress import finish
from batchlearn.registry.place import SETTINGS
from batchlearn.retraining.child import Rehearsal
from batchlearn.retraining.project import open_project
from batchlearn.retraining.shell.records import CycleContext
from batchlearn.retraining.shell.turn import CycleResult, run_turn
from batchlearn.retraining.sources.label_times import parse_instant
from batchlearn.retraining.sources.project_source import open_source

ROWS = 60  # a day
DELAY = 3  # days until a label is known
SETTINGS_TEXT = """\
[source]
files = "data/*.parquet"
target = "bought"
time = "seen"
labelled = "known"
drop = ["user"]

[recipe]
alpha = 0.01

[policy]
when = "rows"
rows = 300
"""


def day(number: int) -> str:
    return str(datetime.date(2026, 1, 1) + datetime.timedelta(days=number))


def orders(first: int, last: int, slope: float = 1.5, seed: int = 0) -> pa.Table:
    """Make the orders of some days; whether one is paid is known three days later."""
    rng = np.random.default_rng([seed, first])
    rows = ROWS * (last - first)
    seconds = np.sort(rng.integers(1, 86_400, (last - first, ROWS)), axis=1) + 86_400 * np.arange(first, last)[:, None]
    seen = np.datetime64("2026-01-01", "us") + seconds.ravel() * 10**6
    size = rng.normal(size=rows)
    colour = rng.choice(["red", "green", "blue"], size=rows)
    return pa.table(
        {
            "seen": seen,
            "known": seen + np.timedelta64(DELAY, "D"),
            "user": rng.integers(0, 40, rows),
            "size": size,
            "colour": colour.tolist(),
            "bought": slope * size + (colour == "red") + rng.logistic(size=rows) > 0.5,
        }
    )


def make_project(root: Path, text: str = SETTINGS_TEXT, changes: Mapping[str, str] | None = None) -> Path:
    """Write the settings, with some of their text changed."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data").mkdir(exist_ok=True)
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    (root / SETTINGS).write_text(text)
    return root


def add_days(root: Path, first: int, last: int, slope: float = 1.5) -> None:
    """Put the orders of some days into a file of their own."""
    pq.write_table(orders(first, last, slope), root / "data" / f"{first:03d}.parquet")


def into_database(path: Path, table: pa.Table) -> None:
    """Append orders to the table of a SQLite database."""
    names = ("user", "size", "colour", "bought")
    rows = [
        [*(row[time].isoformat(" ", "seconds") for time in ("seen", "known")), *(row[name] for name in names)]
        for row in table.to_pylist()
    ]
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (seen, known, user, size, colour, bought)")
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def context(root: Path, now: str, disk: Disk = LOCAL_DISK) -> CycleContext:
    project = replace(open_project(root), store=FolderStore(root, disk))
    instant = parse_instant(now, stamped=True)
    return CycleContext(project, open_source(project), instant, f"{now}T00:00:00Z", "ann", 1, rehearse_here)


def rehearse_here(model: Path, sample: Path, expected: Floats) -> Rehearsal:
    """Load and score in this process, which takes a tenth of the time of a new one."""
    same = load(model).predict(sample).response.tobytes() == expected.tobytes()
    return Rehearsal(same, recorded("Scored in the process of the test."))


def turn(root: Path, now: str, disk: Disk = LOCAL_DISK, **flags: Any) -> CycleResult:
    """Turn the cycle once, as on the day `now`."""
    return finish(run_turn(context(root, now, disk), **flags))


def begun_project(root: Path) -> Path:
    """Make a project with a champion of twenty days and ten more days to learn from."""
    make_project(root)
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    add_days(root, 20, 30)
    return root
