"""How often the gate is wrong, and how often it finds what is there, by the thousand.

    python benchmarks/gate_trials.py --trials 1000

prints three tables:

- A/A: two models from disjoint halves of the same rows, judged on later rows half as many as each was trained on. How
  often the challenger is promoted by one test at 5 %, by looking on each of 30 days with mode "anytime", and, to see
  what these two avoid, by a test that is one-sided at 5 % and by asking the test for one look every day.
- A challenger that is worse by exactly the margin, in mode "non-inferiority".
- A challenger that is better by about 1 %, on 20,000 rows.

With ../shared/data beside the repository the same is done on real tables, with numeric columns only, shuffled and by
time. By time the world may have moved, so that one of two models from the same rows is truly better on the later ones:
such lines are shown, and do not count. The exit status is 1 where one test or 30 looks promote more than 6.4 % of the
other A/A challengers. 1,000 trials take about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from data_sets import FOLDER
from gate_tables import TABLES, better_on_real_rows, real_halves
from tests.retraining.trials import (
    WORLDS,
    Losses,
    better,
    halves,
    judge_once,
    naively_promoted_within,
    one_column_apart,
    promoted_within,
)

from batchlearn.retraining.gate import Gate

ALLOWED = 0.064
BY_TIME = ", by time"
TRAIN, LATER = 6_000, 3_000
POWER_ROWS = 20_000
Draw = Callable[[np.random.Generator], Losses]


class Counts(NamedTuple):
    """Promotions and rejections of one kind of trial."""

    promoted: int
    rejected: int
    one_sided: int
    looks: int
    naive: int


def count(draw: Draw, trials: int, seed: int, naive: int) -> Counts:
    """Judge trials by every gate; the test for one look is asked every day in the first `naive` trials alone."""
    rng, totals = np.random.default_rng(seed), np.zeros(5, dtype=int)
    once, one_sided, anytime = Gate(), Gate(alpha=0.1), Gate("anytime")
    for trial in range(trials):
        losses = draw(rng)
        found = judge_once(once, losses).verdict
        totals += [
            found == "promote",
            found == "reject",
            judge_once(one_sided, losses).verdict == "promote",
            promoted_within(anytime, losses) is not None,
            trial < naive and naively_promoted_within(once, losses),
        ]
    return Counts(*(int(total) for total in totals))


def alike(draws: dict[str, Draw], trials: int, seed: int) -> bool:
    print(f"A/A, {trials} trials (every day: {trials // 5}): promoted by", end=" ")
    print("one test | rejected | one-sided 5 % | 30 looks | one test every day")
    good = True
    for name, draw in draws.items():
        began = time.perf_counter()
        found = count(draw, trials, seed, trials // 5)
        good &= max(found.promoted, found.looks) <= ALLOWED * trials or name.endswith(BY_TIME)
        print(f"  {name:25} {found.promoted:5} | {found.rejected:5} | {found.one_sided:5} | {found.looks:5} |", end="")
        print(f" {found.naive:5}   {time.perf_counter() - began:4.0f} s", flush=True)
    return good


def at_the_margin(trials: int, seed: int) -> None:
    print(f"Worse by exactly the margin, {LATER:,} rows, {trials} trials: promoted | rejected | margin")
    for name in WORLDS:
        rng, margin = np.random.default_rng(seed), one_column_apart(name)[3]
        gate = Gate("non-inferiority", margin=margin)
        verdicts = [judge_once(gate, better(name, LATER, rng, turned=True)).verdict for _ in range(trials)]
        print(f"  {name:25} {verdicts.count('promote'):5} | {verdicts.count('reject'):5} | {margin:.2%}", flush=True)


def power(draws: dict[str, tuple[Draw, float]], trials: int, seed: int) -> None:
    print(
        f"Better by about 1 %, {POWER_ROWS:,} rows, {trials} trials: promoted by one test | within 30 looks | better by"
    )
    for name, (draw, truth) in draws.items():
        found = count(draw, trials, seed, 0)
        print(f"  {name:25} {found.promoted / trials:6.1%} | {found.looks / trials:6.1%} | {truth:.2%}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the verdicts of the gate where the truth is known.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pairs: dict[str, Draw] = {name: partial(halves, world, TRAIN, LATER) for name, world in WORLDS.items()}
    gains: dict[str, tuple[Draw, float]] = {
        name: (partial(better, name, POWER_ROWS), one_column_apart(name)[3]) for name in WORLDS
    }
    if FOLDER.is_dir():
        pairs |= {f"{table.name}, shuffled": partial(real_halves, table, False) for table in TABLES}
        pairs |= {f"{table.name}{BY_TIME}": partial(real_halves, table, True) for table in TABLES if table.ordered}
        gains |= {table.name: better_on_real_rows(table, POWER_ROWS) for table in TABLES if table.weak}
    good = alike(pairs, options.trials, options.seed)
    at_the_margin(options.trials, options.seed)
    power(gains, options.trials // 2, options.seed)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
