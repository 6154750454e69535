"""Kills trainings at random moments until so many kills have been, and compares the models with those of no kill.

    python -m benchmarks.kills [--kills 200] [--seed 0]

Each training is a process of its own, killed by SIGKILL and begun again by the same command until it is done; then the
next one begins, in an empty folder. Cases are those of `tests/data/rows/killed.py`, in turn: each regime, more than two
classes, and losses whose number is chosen. The exit status is 1 where a model differs by a bit from that of a training
that nobody killed and that kept no checkpoint, or where an answer that had been written was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import cycle
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.data.rows.killed import CASES, Trainer, bits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, trainer, done, bad = np.random.default_rng(asked.seed), Trainer(), 0, 0
    print(f"{'case':32s} {'calls':>5s} {'kills':>5s} {'in training':>11s} {'answers':>7s} {'last, s':>9s}  model")
    expected: dict[str, tuple[str, float]] = {}
    for case in cycle(CASES):
        if done >= asked.kills:
            break
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if case not in expected:
                expected[case] = trainer.unkilled(case, folder / "unkilled")
            wanted, seconds = expected[case]
            calls = list(trainer.lives(case, folder, seconds, rng))
            same = bits(folder / "model") == wanted
        kept = [call.answers for call in calls]
        lost = kept != sorted(kept)
        kills = sum(call.killed for call in calls)
        inside = sum(call.killed and call.answers > 0 for call in calls)
        done, bad = done + kills, bad + (not same or lost)
        says = "answers lost" if lost else "the same" if same else "ANOTHER"
        figures = f"{len(calls):5d} {kills:5d} {inside:11d} {kept[-1]:7d} {calls[-1].seconds:9.2f}"
        print(f"{case:32s} {figures}  {says}", flush=True)
    trainer.end()
    print(f"{done} kills, {bad} models that differ")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
