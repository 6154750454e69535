"""A project that nobody looks after: cron calls it, the machine dies at random points, and the next call goes on."""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tests.cli.made import environment
from tests.retraining.shell.stations import World, end_of

from batchlearn.artifacts.store import FolderStore
from batchlearn.models.files import read_model
from batchlearn.registry.place import SETTINGS
from batchlearn.registry.promotions import needed_champion
from batchlearn.registry.version import KEPT, read_version, version_numbers

KEEP = 3
QUIET = (0, 10, 11)  # what a turn ends with that needs nobody, by docs/retraining.md
LONGEST = 600.0  # seconds a call may take
TEXT = """\
[source]
files = "data/*.parquet"
target = "rain"
time = "time"

[recipe]
{recipe}

[policy]
when = "every"
period = "80d"
start = "update"

[gate]
promote = "auto"
mode = "non-inferiority"
margin = 0.01
"""
# As cron calls it: see docs/retraining.md. What it prints is kept for each call.
CALL = (
    '"$PYTHON" -m batchlearn retrain --now "$NIGHT" --json > turn.json 2> turn.err; code=$?; '
    f'"$PYTHON" -m batchlearn registry prune --keep {KEEP} > prune.out 2>&1 || exit 99; exit $code'
)


@dataclass(frozen=True)
class Call:
    """One call by cron: `code` is None where it was killed, `seconds` after it began."""

    quarter: int
    night: datetime.date
    code: int | None
    seconds: float
    said: dict[str, Any] = field(default_factory=dict)


@dataclass
class Unattended:
    """The project of a world; the calls go through its quarters one after the other."""

    root: Path
    world: World
    longest_life: float = math.inf  # seconds until the machine dies, at most; never more than the last whole call took
    landed: dict[int, list[str]] = field(default_factory=dict)

    def begin(self, recipe: str = "") -> None:
        """Write the settings."""
        (self.root / "data").mkdir(parents=True)
        (self.root / SETTINGS).write_text(TEXT.format(recipe=recipe))

    def live_through(self, kills: int) -> Iterator[Call]:
        """Yield each call, of which so many are killed, each in a quarter of its own and none in the first."""
        rng, usual = np.random.default_rng([self.world.seed, 4]), 0.0
        for quarter in range(self.world.quarters):
            self.landed[quarter] = self.world.land(quarter, self.root / "data")
            night = end_of(quarter) + datetime.timedelta(days=1)
            left = self.world.quarters - quarter
            if usual and rng.random() < kills / left:
                killed = self.call(quarter, night, rng.uniform(0.0, min(usual, self.longest_life)))
                kills -= killed.code is None
                yield killed
                night += datetime.timedelta(days=1)
            done = self.call(quarter, night)
            usual = done.seconds
            yield done

    def call(self, quarter: int, night: datetime.date, dies_after: float | None = None) -> Call:
        """Do what cron does in a night; after so many seconds everything that it started is killed."""
        began = time.perf_counter()
        more = {"PYTHON": sys.executable, "NIGHT": str(night)}
        process = subprocess.Popen(
            ["/bin/sh", "-c", CALL], cwd=self.root, env=environment(more), start_new_session=True
        )
        try:
            code: int | None = process.wait(LONGEST if dies_after is None else dies_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
            assert dies_after is not None, f"a call took more than {LONGEST:.0f} s"
        seconds = time.perf_counter() - began
        said = {} if code is None else json.loads((self.root / "turn.json").read_text())
        return Call(quarter, night, code, seconds, said)

    def run(self, *arguments: str, root: Path | None = None) -> dict[str, Any]:
        """Run one command; return what it prints as JSON."""
        command = [sys.executable, "-m", "batchlearn", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=root or self.root, env=environment(), capture_output=True, text=True, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "exit_code": done.returncode}

    def kept(self) -> dict[int, int]:
        """Return the bytes of the totals that are there, by version."""
        store = FolderStore(self.root)
        paths = {number: read_version(store, number).path / KEPT for number in version_numbers(store)}
        return {number: path.stat().st_size for number, path in paths.items() if path.exists()}

    def distance_from_exact(self, folder: Path) -> tuple[float, float]:
        """Return how far the champion's probabilities are from those of training on its rows, and the bound on that.

        All its rows are read, from nothing that was kept, and to a thousandth of the usual tolerance; in the
        champion's encoding, because another one is another optimum.
        """
        store = FolderStore(self.root)
        champion = read_version(store, needed_champion(store).version)
        night = str(champion.description["data"]["as_of"])[:10]
        quarter = max(one for one in self.landed if end_of(one) < datetime.date.fromisoformat(night))
        root = shutil.copytree(self.root, folder, ignore=shutil.ignore_patterns("data"))
        (root / "data").mkdir()
        for name in (name for one in range(quarter + 1) for name in self.landed[one]):
            shutil.copy2(self.root / "data" / f"{name}.parquet", root / "data")
        text = (root / SETTINGS).read_text().replace('start = "update"', 'start = "warm"')
        (root / SETTINGS).write_text(text.replace("[recipe]", "[recipe]\ntolerance = 1e-11"))
        said = self.run("retrain", "--now", night, "--anyway", root=root)
        assert said["exit_code"] in QUIET, said
        assert said["start"] == "warm", said
        exact = read_version(FolderStore(root), said["version"])
        assert exact.description["data"]["rows"] == champion.description["data"]["rows"]
        rows = pq.read_table(root / "data").drop_columns(["rain"])
        ours, theirs = (read_model(one.model_path) for one in (champion, exact))
        apart = np.abs(ours.model.predict(rows).response - theirs.model.predict(rows).response).max()
        return float(apart), sum(float(one.record["certificate"]["prediction_bound"]) for one in (ours, theirs))

    def faults(self, calls: list[Call], kills: int, folder: Path) -> list[str]:
        """Return what a person would have had to see to, and what is not as it should be at the end."""
        found = [f"{one.night}: exit code {one.code}, {one.said}" for one in calls if one.code not in (None, *QUIET)]
        if (killed := sum(one.code is None for one in calls)) != kills:
            found.append(f"{killed} calls were killed, not {kills}")
        store = FolderStore(self.root)
        nights = [str(read_version(store, one).description["data"]["as_of"])[:10] for one in version_numbers(store)]
        for quarter in range(self.world.quarters):
            turns = [one for one in nights if str(end_of(quarter)) < one <= str(end_of(quarter + 1))]
            if len(turns) != 1:
                found.append(f"quarter {quarter} made {len(turns)} versions")
        said = self.run("registry", "check")
        found += [str(one) for one in said["findings"] if one["state"] != "never-promoted"]
        if len(self.kept()) > KEEP + 1:
            found.append(f"the totals of {sorted(self.kept())} are kept")
        apart, bound = self.distance_from_exact(folder)
        if not apart <= 1.001 * bound < 0.05:
            found.append(f"the champion is {apart:.1e} from the optimum, which the certificates bound by {bound:.1e}")
        return found
