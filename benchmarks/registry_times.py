"""Times the commands promote, rollback, history and status, each as a process of its own, as a person would type it.

    python -m benchmarks.registry_times [--rounds 200]

A round is a promotion, history, status and a rollback, so the registry grows by two generations and two events a round.
Half of the rounds run while another process reads and checks the registry without a pause, and a training holds the
project's lock. Printed are the seconds of the whole command, and those after its start-up, that is after Python has
loaded the package; the exit status is 1 where the latter was more than one. (RELIABILITY P14.) At the end: seconds of
reading who is live, of reading the history, and of a rollback where 1,000 and 10,000 promotions are on record.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.registry_kills import FIXTURE
from tests.registry.made import WHY, store_with

from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.registry.promotions import champion, promote, promotions, rollback

COMMANDS = {
    "promote": ("promote", "2", "--force", "--why", "timed"),
    "history": ("history",),
    "status": ("status",),
    "rollback": ("rollback",),
}
# What `python -m batchlearn` does, with a clock that starts once the modules of these commands are loaded.
TIMED = """
import sys, time
import batchlearn.cli, batchlearn.cli.project.promote, batchlearn.cli.project.history
began = time.perf_counter()
code = batchlearn.cli.main(sys.argv[1:])
print(time.perf_counter() - began, file=sys.stderr)
sys.exit(code)
"""
LOAD = """
from pathlib import Path
from batchlearn.registry.check import check
from batchlearn.artifacts.store import FolderStore
while True:
    check(FolderStore(Path(".")))
"""
ALLOWED = 1.0
GROWN = (1_000, 10_000)

Spent = dict[str, list["Times"]]


class Times(NamedTuple):
    """Seconds of one command."""

    whole: float
    after_start_up: float


def seconds(root: Path, arguments: Sequence[str]) -> Times:
    """Run a command to its end and return how long it took; it must succeed."""
    began = time.perf_counter()
    command = [sys.executable, "-c", TIMED, *arguments, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    return Times(time.perf_counter() - began, float(done.stderr))


def timed(root: Path, rounds: int) -> Spent:
    spent: Spent = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            spent[name].append(seconds(root, arguments))
    return spent


def growth() -> None:
    """Print what readers and a rollback take as the promotions on record grow."""
    with tempfile.TemporaryDirectory() as folder:
        store, stands = store_with(Path(folder), 2), None
        for generation in range(1, GROWN[-1] + 1):
            stands = promote(store, 1 + generation % 2, WHY, stands)
            if generation not in GROWN:
                continue
            ticks = [time.perf_counter()]
            for read in (champion, promotions, partial(rollback, reason=WHY, expected=stands)):
                read(store)
                ticks.append(time.perf_counter())
            took = [f"{after - before:.3f}" for before, after in pairwise(ticks)]
            print(f"{generation:,} promotions: champion {took[0]}, history {took[1]}, rollback {took[2]} s", flush=True)
            stands = promote(store, 1 + generation % 2, WHY, champion(store))


def shown(times: Sequence[float]) -> str:
    return f"median {statistics.median(times):.3f}, largest {max(times):.3f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="Time what changes or shows who is live.")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(FIXTURE, Path(folder) / "project"))
        quiet = timed(root, options.rounds - options.rounds // 2)
        load = subprocess.Popen([sys.executable, "-c", LOAD], cwd=root)
        try:
            with one_at_a_time(root):
                loaded = timed(root, options.rounds // 2)
        finally:
            load.kill()
            load.wait()
    for spent, beside in ((quiet, "alone"), (loaded, "beside readers and a training")):
        for name, times in spent.items():
            whole, after = ([getattr(one, part) for one in times] for part in Times._fields)
            print(f"{name}, {len(times)} times, {beside}: {shown(after)} after start-up; whole {shown(whole)}")
    growth()
    longest = max(one.after_start_up for spent in (quiet, loaded) for times in spent.values() for one in times)
    return int(longest > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
