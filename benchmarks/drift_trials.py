"""How often a training says "a sign of drift", where nothing changes and where something does.

    python benchmarks/drift_trials.py [--tables 200] [--write]

Whole trainings of the default recipe on tables of independent rows, in order of a time that means nothing, and on a
quarter as many in which an effect changes with time, or there is none; how many say that later rows do worse or better
than the leave-one-out score of the earlier ones. Exits with 1 where independent rows are said to drift in more tables
than a rate of 1 % on each side would give in one of a thousand runs, or where there is no time and drift is spoken of.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import binom

import batchlearn as bl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "judging.md"
RATE = 0.01  # on each side


class World(NamedTuple):
    name: str
    loss: str
    rows: int
    trend: float = 0.0
    lasting: float = 0.0  # correlation of a row's shock with that of the row before
    timed: bool = True


WORLDS = (
    *(World("independent rows", loss, rows) for loss in ("logistic", "poisson", "squared") for rows in (800, 3000)),
    World("independent rows, no time", "logistic", 800, timed=False),
    World("shocks that last (0.9 from row to row)", "squared", 3000, lasting=0.9),
    World("an effect falls by half", "logistic", 3000, trend=0.5),
    World("an effect is gone", "logistic", 3000, trend=1.0),
    World("an effect is gone", "squared", 800, trend=1.0),
)


def table(world: World, rng: np.random.Generator) -> pa.Table:
    """Draw rows: four numbers and a category; `trend` turns the first effect in the last fifth of the rows."""
    columns = rng.normal(size=(4, world.rows))
    level = rng.integers(0, 8, world.rows)
    now = np.where(np.arange(world.rows) < 0.8 * world.rows, 1.0, 1.0 - world.trend)
    eta = now * columns[0] - 0.5 * columns[1] + 0.3 * rng.normal(size=8)[level] + 0.2 * columns[2] ** 2
    if world.lasting:
        shock = np.sqrt(1.0 - world.lasting**2) * rng.normal(size=world.rows)
        for k in range(1, world.rows):
            shock[k] += world.lasting * shock[k - 1]
        eta = eta + shock
    made = {f"x{k}": column for k, column in enumerate(columns)}
    made |= {"level": [f"level {one}" for one in level]}
    if world.timed:
        made["t"] = np.arange(world.rows)
    labels = {
        "logistic": lambda: np.where(rng.random(world.rows) < 1.0 / (1.0 + np.exp(-eta)), "yes", "no"),
        "poisson": lambda: rng.poisson(np.exp(np.minimum(0.5 * eta, 5.0))),
        "squared": lambda: eta + rng.standard_t(4.0, size=world.rows),
    }
    return pa.table(made | {"y": labels[world.loss]()})


def sides(world: World, tables: int, seed: int) -> list[str | None]:
    """Return what is said of each table."""
    found = []
    for number in range(tables):
        rows = table(world, np.random.default_rng((seed, number, world.rows, int(100 * world.trend))))
        read = bl.read(rows, target="y", time="t" if world.timed else None)
        evaluation = bl.train(read, bl.Recipe(loss=world.loss)).evaluation
        assert evaluation is not None
        if not world.timed:
            assert evaluation.drift is None
        found.append(None if evaluation.drift is None else evaluation.drift.side)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge what is said of drift.")
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    began, independent = time.perf_counter(), list[str | None]()
    lines = ["| loss | rows | world | tables | said to be worse | better |", "|---|---:|---|---:|---:|---:|"]
    print("\n".join(lines), flush=True)
    for world in WORLDS:
        judged = world.timed and not world.trend and not world.lasting
        found = sides(world, options.tables if judged else max(options.tables // 4, 1), options.seed)
        independent += found if judged else []
        lines.append(
            f"| {world.loss} | {world.rows:,} | {world.name} | {len(found)} | {found.count('worse')} "
            f"| {found.count('better')} |"
        )
        print(lines[-1], flush=True)
    said, most = len(independent) - independent.count(None), int(binom.ppf(0.999, len(independent), 2 * RATE))
    print(f"independent rows in order of time: {said} of {len(independent)}, at most {most}")
    print(f"{time.perf_counter() - began:.0f} s")
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        start, stop = page.index("<!-- drift table -->"), page.index("<!-- end of drift table -->")
        text = "\n".join(lines)
        PAGE.write_text(f"{page[:start]}<!-- drift table -->\n\n{text}\n\n{page[stop:]}", encoding="utf-8")
    return int(said > most)


if __name__ == "__main__":
    sys.exit(main())
