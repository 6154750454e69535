"""Brackets of random changes of rows against 60-digit arithmetic, by the hundred.

    python benchmarks/bracket_trials.py --trials 2400

For each loss, each kind of change (rows added, removed, decayed, a window moved) and two kinds of models (a ridge;
bins, hours, levels and a pair with penalties of their own, whose centres are per row): brackets judged, those that were
wrong (must be 0; the exit status is 1 otherwise), the share that is two-sided without an old row, lower / true and
upper / true at the median, the share certified by at most three readings of all rows, and of the updated models that
are certified the largest distance from the optimum as a share of its bound. Wrong is also an update whose bound a
verification from all rows does not prove again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tests.objectives.oracle import exact
from tests.retraining.brackets import KINDS, MODELS, Truth, answer, trial, truth, violations

from batchlearn.retraining.bracket import BracketResult


def share_of_bound(found: BracketResult, true: Truth) -> float:
    """Return how far an update is above the optimum as a share of its bound; 0 where it is not certified."""
    bounds = found.reached.proof.bounds
    if bounds is None:
        return 0.0
    gap = true.oracle.value(exact(found.reached.parameters)) - true.oracle.value(true.optimum)
    return float(gap / bounds.loss)


def line(loss: str, kind: str, model: str, trials: int, seed: int) -> tuple[str, int]:
    wrong, two_sided, climbed, share = 0, 0, 0, 0.0
    lower, upper = [], []
    for number in range(trials):
        one = trial(seed * 1_000_000 + number, loss, kind, model=model)
        true, first, last = truth(one), answer(one, climbing=False), answer(one, climbing=True)
        problems = [*violations(one, first, true), *violations(one, last, true)]
        wrong += bool(problems)
        for problem in problems:
            print(f"  {loss}, {kind}, {model}, {number}: {problem}")
        lower.append(first.bracket.lower / float(true.gain))
        if first.bracket.upper_is_proved:
            two_sided += 1
            upper.append(first.bracket.upper / float(true.gain))
        climbed += last.bracket.upper_is_proved
        share = max(share, share_of_bound(first, true), share_of_bound(last, true))
    most = np.median(upper) if upper else float("nan")
    return (
        f"{loss:9} {kind:8} {model:6} {trials:6} {wrong:6} {two_sided / trials:10.1%} {np.median(lower):12.3f} "
        f"{most:12.3f} {climbed / trials:10.1%} {share:11.3f}"
    ), wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge brackets by 60-digit arithmetic.")
    parser.add_argument("--trials", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, wrong = time.perf_counter(), 0
    cells = list(itertools.product(MODELS, ("logistic", "poisson", "squared"), KINDS))
    print(
        f"{'loss':9} {'change':8} {'model':6} {'judged':>6} {'wrong':>6} {'two-sided':>10} {'lower/true':>12}", end=" "
    )
    print(f"{'upper/true':>12} {'certified':>10} {'gap/bound':>11}")
    for model, loss, kind in cells:
        text, more = line(loss, kind, model, max(options.trials // len(cells), 1), options.seed)
        print(text, flush=True)
        wrong += more
    print(f"{options.trials} changes, seed {options.seed}, {time.perf_counter() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
