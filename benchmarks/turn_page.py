"""Two turns of a project on flights of New York, January and then February: what the gate, the judge and the page say.

    python benchmarks/turn_page.py [share ...]

A flight is late if it arrives more than 15 minutes after its time. January is trained on, February comes, and the
second turn judges at each `share` of [gate] (0.2 unless given). Prints figures and alarms, and where the page is. Takes
half a minute to a minute a share on two cores.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from data_sets import FOLDER

from batchlearn.cli import main

COLUMNS = ["date", "month", "day", "sched_dep_min", "carrier", "flight", "tailnum", "origin", "dest", "distance"]
DAYS = ("2013-02-01T12:00", "2013-03-02")


def months(folder: Path) -> list[Path]:
    """Write January and February to files of their own, with what is known before a flight and whether it was late."""
    table = pq.read_table(FOLDER / "nycflights13.parquet")
    table = table.filter(pc.is_valid(table["arr_delay"]))
    table = table.select(COLUMNS).append_column("late", pc.greater(table["arr_delay"], 15.0))
    paths = [folder / f"{month:02d}.parquet" for month in (1, 2)]
    for month, path in enumerate(paths, start=1):
        pq.write_table(table.filter(pc.equal(table["month"], month)), path)
    return paths


def run(*arguments: str) -> dict[str, Any]:
    """Run a command and return its JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([*arguments, "--json"])
    said: dict[str, Any] = json.loads(out.getvalue())
    return said


def turns(root: Path, files: list[Path], share: float) -> dict[str, Any]:
    """Make a project, turn it once with January and once with February, and return the second turn."""
    (root / "data").mkdir(parents=True)
    pattern = str(root / "data" / "*.parquet")
    source = ("--source", pattern, "--target", "late", "--time", "date", "--every", "14d")
    for file, now in zip(files, DAYS, strict=True):
        (root / "data" / file.name).write_bytes(file.read_bytes())
        if now == DAYS[0]:
            run("init", *source, "--folder", str(root))
            settings = root / "batchlearn.toml"
            settings.write_text(settings.read_text().replace("# share = 0.2", f"share = {share}"))
        found = run("retrain", "--project", str(root), "--now", now)
    return found


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    files = months(folder)
    for share in map(float, sys.argv[1:] or ["0.2"]):
        found = turns(folder / f"share-{share:g}", files, share)
        print(f"share = {share:g}: {found['gate']['sentence']}")
        print(f"  losses: {found['gate']['losses']}")
        for told in (*found["alarms"], *found["notes"]):
            print(f"  - {told}")
        print(f"  page: {found['report']}")
