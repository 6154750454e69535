"""How often the gate is wrong, and how often it finds what is there, by the thousand.

    python benchmarks/gate_trials.py --trials 1000

prints seven tables, of which the first two count promotions:

- A/A: two models from disjoint halves of the same rows, judged on later rows half as many as each was trained on. How
  often the challenger is promoted by one test at 5 %, by looking on each of 30 days with mode "anytime", and, to see
  what these two avoid, by a test that is one-sided at 5 % and by asking the test for one look every day (in a twentieth
  of the trials).
- A challenger that is worse by exactly the margin, in mode "non-inferiority".
- A challenger that is better by about 1 %, on 20,000 rows, in a tenth as many trials: how often it is promoted, beside
  how often a test would that knew the true variance, which no test does.
- Two equal choices, of which a person made one against the gate: how often hindsight calls the person right or wrong
  within twelve trainings, and how often a test for one look would, asked with every training.
- Looks at two equal models that resemble each other or are of unequal size: how often mode "anytime" tells them apart.
- Such looks at a challenger that is better by so many standard deviations of a look: how often it is promoted.
- Two equal models where the labels of one class are known ten days late, in a fifth as many trials: how often they are
  told apart by looking at the rows labelled since, and at the rows of times whose labels have all come.

With ../shared/data beside the repository the same is done on real tables, with numeric columns only: shuffled; by time,
with the later rows at the end of the table; and in one stretch, where the later rows are in the order of time and as
near to each other, but of the same times as those trained on. By time the world may have moved, so that one of two
models from the same rows is truly better on the later ones: such lines are shown, and do not count. The exit status is
1 where otherwise more than 6.4 % of challengers are promoted that are no better, or no better than the margin, or of
equal models told apart by looks. Looks beyond what the test is made for (a correlation of 0.8) do not count either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from data_sets import FOLDER
from gate_tables import TABLES, better_on_real_rows, real_halves
from tests.retraining.gate.series import BEYOND, RATE, decided, decided_late, late_class
from tests.retraining.gate.series import WORLDS as LOOKS
from tests.retraining.gate.trials import (
    WORLDS,
    Losses,
    better,
    called_within,
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
ORACLE_DRAWS = 1_000
TRAININGS = 12
MOST_LOOKS = 60
SHIFTS = (0.5, 1.0, 2.0)
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


def drawn_by(name: str) -> Draw:
    """Return the A/A trials of a line."""
    if name in WORLDS:
        return partial(halves, WORLDS[name], TRAIN, LATER)
    table, order = name.split(", ", 1)
    return partial(real_halves, next(one for one in TABLES if one.name == table), order)


def alike(name: str, trials: int, seed: int) -> tuple[str, bool]:
    found = count(drawn_by(name), trials, seed, trials // 20)
    good = max(found.promoted, found.looks) <= ALLOWED * trials or name.endswith(BY_TIME)
    figures = f"{found.promoted:5} | {found.looks:5} | {found.rejected:5} | {found.one_sided:5}"
    return f"| {name} | {figures} | {found.naive / max(trials // 20, 1):.0%} |", good


def at_the_margin(name: str, trials: int, seed: int) -> tuple[str, bool]:
    rng, margin = np.random.default_rng(seed), one_column_apart(name)[3]
    gate = Gate("non-inferiority", margin=margin)
    verdicts = [judge_once(gate, better(name, LATER, rng, turned=True)).verdict for _ in range(trials)]
    promoted = verdicts.count("promote")
    return f"| {name} | {promoted:5} | {verdicts.count('reject'):5} | {margin:.2%} |", promoted <= ALLOWED * trials


def power(name: str, trials: int, seed: int) -> tuple[str, bool]:
    world, _, rows = name.partition(", rows: ")
    if world in WORLDS:
        draw, truth = partial(better, world, int(rows or POWER_ROWS)), one_column_apart(world)[3]
    else:
        draw, truth = better_on_real_rows(next(table for table in TABLES if table.name == name), POWER_ROWS)
    found = count(draw, trials // 10, seed, 0)
    shares = f"{found.promoted / (trials // 10):.0%} | {found.looks / (trials // 10):.0%}"
    known = f"{oracle(draw, seed):.0%}" if world in WORLDS else ""
    return f"| {name} | {shares} | {known} | {truth:.2%} |", True


def hindsight(name: str, trials: int, seed: int) -> tuple[str, bool]:
    rng, rows = np.random.default_rng(seed), int(name)
    found = [called_within(TRAININGS, rows, rng) for _ in range(trials)]
    called = sum(said != "not enough evidence" for said, _ in found)
    return f"| {rows} | {called} | {sum(naive for _, naive in found)} |", called <= ALLOWED * trials


def told_apart(name: str, trials: int, seed: int) -> tuple[str, bool]:
    rng = np.random.default_rng(seed)
    found = [decided(LOOKS[name](MOST_LOOKS, rng)) for _ in range(trials)]
    after = [looks for said, looks in found if said != "not enough evidence"]
    promoted = sum(said == "promote" for said, _ in found)
    line = f"| {name} | {sum(looks <= 30 for looks in after)} | {len(after)} | {promoted} | {len(after) - promoted} |"
    return line, len(after) <= ALLOWED * trials or name in BEYOND


def better_by(name: str, trials: int, seed: int) -> tuple[str, bool]:
    rng, shares = np.random.default_rng(seed), []
    for shift in SHIFTS:
        found = [decided(LOOKS[name](MOST_LOOKS, rng), -shift) for _ in range(trials)]
        after = [looks for said, looks in found if said == "promote"]
        shares.append(" / ".join(f"{sum(looks <= most for looks in after) / trials:.0%}" for most in (15, 30, 60)))
    return f"| {name} | {' | '.join(shares)} |", True


def late(name: str, trials: int, seed: int) -> tuple[str, bool]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials // 5):
        table = late_class(rng)
        found.append((decided_late(table, settle=False), decided_late(table, settle=True)))
        found[-1] += (decided_late(table, settle=True, challenger=RATE),)
    apart = [sum(one[way][0] != "not enough evidence" for one in found) for way in (0, 1)]
    better = sum(one[2][0] == "promote" for one in found)
    return f"| {name} | {apart[0]} | {apart[1]} | {better} |", apart[1] <= ALLOWED * len(found)


def oracle(draw: Draw, seed: int) -> float:
    """Return how often a two-sided z-test at 5 % promotes that is told the variance of the mean difference.

    Mean and variance are those of the mean difference over independent draws.
    """
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(ORACLE_DRAWS):
        losses = draw(rng)
        means.append(float((losses.challenger - losses.champion).mean()))
    return float(ndtr(-np.mean(means) / np.std(means, ddof=1) + ndtri(0.025)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the verdicts of the gate where the truth is known.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tables", type=int, nargs="+", default=range(1, 8), help="which of the seven, all by default")
    options = parser.parse_args()
    tables = TABLES if FOLDER.is_dir() else ()
    pairs = [*WORLDS, *(f"{table.name}, shuffled" for table in tables)]
    pairs += [f"{table.name}, {order}" for order in ("by time", "one stretch") for table in tables if table.ordered]
    rare = [f"1 % of a class, rows: {rows}" for rows in (40_000, 50_000)]
    better_ones = [*WORLDS, *rare, *(table.name for table in tables if table.weak)]
    parts = (
        ("A/A | one test | 30 looks | rejected by one test | one-sided 5 % | one test every day", alike, pairs),
        ("worse by the margin | promoted | rejected | margin", at_the_margin, [*WORLDS]),
        ("better | one test | 30 looks | variance known | by", power, better_ones),
        ("equal choices, new rows a training | called right or wrong | by one test each time", hindsight, ["200"]),
        ("equal models | 30 looks | 60 looks | of these promoted | rejected", told_apart, [*LOOKS]),
        ("better by, in standard deviations of a look (within 15 / 30 / 60) | 0.5 | 1 | 2", better_by, [*LOOKS]),
        ("one class ten days late | labelled since | settled | better, settled", late, ["40 days of 100 rows"]),
    )
    good = True
    with ProcessPoolExecutor(options.processes) as pool:
        for title, part, names in (parts[number - 1] for number in options.tables):
            print(f"| {title} |", flush=True)
            for line, fine in pool.map(partial(part, trials=options.trials, seed=options.seed), names):
                good &= fine
                print(line, flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
