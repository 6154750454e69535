"""What the gate cannot see: a world that moves more slowly than the later rows last, and mistakes too rare to be met.

    python benchmarks/gate_limits.py --trials 400

prints, for real tables by time, how often the model that one test found better on the last tenth but one of models from
two halves of the first eight tenths is also ahead on the last tenth; how often a challenger that is promoted within 30
looks at the last fifth is ahead on all of it; and how often a challenger is promoted that is no
better on average because one row in a hundred costs it 50 more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from data_sets import FOLDER
from gate_tables import TABLES, RealTable, drawn, losses, part, real_halves
from tests.retraining.gate.trials import fitted, judge_once, promoted_within

from batchlearn.retraining.gate import Gate, judge

RARE, HUGE = 0.01, 50.0


def repeated(table: RealTable, rng: np.random.Generator) -> bool | None:
    """Say whether a verdict holds on the rows that come after those it was made on; None where it is undecided."""
    sample = drawn(table, True, rng)
    rows = len(sample.label)
    cut, middle = rows * 8 // 10, rows * 9 // 10
    order = rng.permutation(cut)
    ours, theirs = (fitted(sample.features[h], sample.label[h]) for h in (order[: cut // 2], order[cut // 2 :]))
    found = judge_once(Gate(), losses(part(sample, slice(cut, middle)), ours, theirs))
    after = losses(part(sample, slice(middle, None)), ours, theirs)
    ahead = float((after.challenger - after.champion).mean()) < 0.0
    return None if found.verdict == "not enough evidence" else ahead == (found.verdict == "promote")


def ahead_on_all(table: RealTable, rng: np.random.Generator) -> bool | None:
    """Say whether a challenger that is promoted within 30 looks, by time, is ahead on all later rows; None if not."""
    found = real_halves(table, "by time", rng)
    if promoted_within(Gate("anytime"), found) is None:
        return None
    return float((found.challenger - found.champion).mean()) < 0.0


def unlucky(rows: int, rng: np.random.Generator) -> bool:
    """Say whether a challenger with rare huge mistakes is promoted that is as good as the champion on average."""
    champion = rng.exponential(100.0, rows)
    apart = (rng.random(rows) < RARE) * HUGE - RARE * HUGE + rng.normal(size=rows)
    return judge(Gate(), champion, champion + apart).verdict == "promote"


def main() -> int:
    parser = argparse.ArgumentParser(description="Show the limits of the gate.")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for table in TABLES if FOLDER.is_dir() else ():
        if table.ordered:
            rng = np.random.default_rng(options.seed)
            ahead = [found for _ in range(options.trials) if (found := ahead_on_all(table, rng)) is not None]
            print(f"{table.name}: of {len(ahead)} promoted within 30 looks {sum(ahead)} are ahead on all later rows")
            rng = np.random.default_rng(options.seed)
            held = [found for _ in range(options.trials) if (found := repeated(table, rng)) is not None]
            print(
                f"{table.name}: {len(held)} of {options.trials} decided, {np.mean(held):.0%} of them again", flush=True
            )
    for rows in (100, 400, 1_000, 4_000):
        rng = np.random.default_rng(options.seed)
        share = np.mean([unlucky(rows, rng) for _ in range(5 * options.trials)])
        print(f"one row in {1 / RARE:.0f} costs {HUGE:.0f} more, {rows:,} rows: promoted {share:.1%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
