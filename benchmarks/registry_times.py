"""Times the commands promote, rollback, history and status, each as a process of its own, as a person would type it.

    python -m benchmarks.registry_times [--rounds 200]

A round is a promotion, history, status and a rollback, so the registry grows by two generations and two events a round.
Half of the rounds run while another process reads and checks the registry without a pause, and a training holds the
project's lock. Seconds of the whole command are printed beside those of `python -c pass` with the same imports, its
start-up; the exit status is 1 where a command took a second more than the median of that. (RELIABILITY P14.)
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.registry_kills import FIXTURE

from batchlearn.retraining.cycle.lock import one_at_a_time

COMMANDS = {
    "promote": ("promote", "2", "--force", "--why", "timed"),
    "history": ("history",),
    "status": ("status",),
    "rollback": ("rollback",),
}
START_UP = "import batchlearn.cli, batchlearn.cli.project.promote, batchlearn.cli.project.history"
LOAD = """
from pathlib import Path
from batchlearn.registry.check import check
from batchlearn.registry.store import FolderStore
while True:
    check(FolderStore(Path(".")))
"""
ALLOWED = 1.0


def seconds(root: Path, *arguments: str) -> float:
    """Run a process to its end and return how long it took; it must succeed."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=root, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def timed(root: Path, rounds: int, spent: dict[str, list[float]]) -> None:
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            spent[name].append(seconds(root, "-m", "batchlearn", *arguments, "--json"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Time what changes or shows who is live.")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(FIXTURE, Path(folder) / "project"))
        start_up = statistics.median(seconds(root, "-c", START_UP) for _ in range(20))
        timed(root, options.rounds - options.rounds // 2, spent)
        load = subprocess.Popen([sys.executable, "-c", LOAD], cwd=root)
        try:
            with one_at_a_time(root):
                timed(root, options.rounds // 2, spent)
        finally:
            load.kill()
            load.wait()
    print(f"start-up: median {start_up:.2f} s")
    for name, times in spent.items():
        quiet, loaded = times[: -(options.rounds // 2) or None], times[options.rounds - options.rounds // 2 :]
        shown = f"median {statistics.median(quiet):.2f}, largest {max(quiet):.2f} s"
        under = f"; under load {statistics.median(loaded):.2f}, {max(loaded):.2f} s" if loaded else ""
        print(f"{name}, {len(times)} times: {shown}{under}", flush=True)
    return int(max(max(times) for times in spent.values()) > start_up + ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
