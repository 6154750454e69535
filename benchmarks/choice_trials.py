"""What the choice of a backtest is worth later: small streams whose world is known, many times.

    python benchmarks/choice_trials.py [--streams 25]

Each stream has 40 windows of 150 rows and two classes by eight numbers, learned by a penalised logistic regression. Of
never, calendars of 1, 2, 4 and 8 windows, doubling, a window of rows and new rows only the first 24 windows choose one
(`choose` of `batchlearn.backtesting.outcome`), and the last 16 say what it loses there beside the better of *never* and
*every window*, and how often it is worse than either for certain.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from batchlearn.backtesting.outcome import choose
from batchlearn.backtesting.replay import PolicyRun
from batchlearn.evaluation.intervals import paired_difference, resampling
from batchlearn.kernels.design import Floats
from batchlearn.retraining.policies import Never

WINDOWS, ROWS, FIRST, CHOOSING = 40, 150, 1_500, 24
# What is added to the first effect, and to the first column, by time from 0 to 1.
WORLDS: dict[str, Callable[[Floats], Floats]] = {
    "still": np.zeros_like,
    "columns drift": np.zeros_like,
    "drifts a little": lambda time: 0.5 * time,
    "drifts": lambda time: 1.5 * time,
    "turns early": lambda time: np.where(time < 0.2, 0.0, 1.5),
    "turns late": lambda time: np.where(time < 0.75, 0.0, 1.5),
    "seasons": lambda time: np.sin(8.0 * np.pi * time),
}


def fitted(x: Floats, label: Floats) -> Floats:
    """Fit by Newton's method; the penalty is 0.01."""
    found = np.zeros(x.shape[1])
    for _ in range(8):
        mean = 1.0 / (1.0 + np.exp(-x @ found))
        hessian = (x.T * (mean * (1.0 - mean))) @ x / len(x) + 0.01 * np.eye(x.shape[1])
        found -= np.linalg.solve(hessian, x.T @ (mean - label) / len(x) + 0.01 * found)
    return found


def replayed(world: str, rng: np.random.Generator) -> dict[str, tuple[Floats, list[int]]]:
    """Return the losses of each policy on the rows of all windows, and before which windows it trained."""
    rows = FIRST + WINDOWS * ROWS
    time = np.maximum(np.arange(rows) - FIRST, 0) / (rows - FIRST)
    x = np.column_stack([np.ones(rows), rng.normal(size=(rows, 8))])
    effects = np.tile(np.concatenate([[0.0], 0.7 * rng.normal(size=8)]), (rows, 1))
    x[:, 1] += 2.0 * time * (world == "columns drift")
    effects[:, 1] += WORLDS[world](time)
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-(x * effects).sum(axis=1)))).astype(float)

    def served(trains: list[int], most: int = rows, new: bool = False) -> tuple[Floats, list[int]]:
        model, last, lost = fitted(x[:FIRST], label[:FIRST]), FIRST - ROWS, []
        for window in range(WINDOWS):
            start = FIRST + window * ROWS
            if window in trains:
                part = slice(last if new else max(start - most, 0), start)
                model, last = fitted(x[part], label[part]), start
            eta = x[start : start + ROWS] @ model
            lost.append(np.logaddexp(0.0, eta) - label[start : start + ROWS] * eta)
        return np.concatenate(lost), trains

    doubled, known = list[int](), FIRST
    for window in range(1, WINDOWS):
        if FIRST + window * ROWS >= 1.5 * known:
            doubled, known = [*doubled, window], FIRST + window * ROWS
    calendars = {f"every {period}": [*range(period, WINDOWS, period)] for period in (1, 2, 4, 8)}
    found = {name: served(trains) for name, trains in calendars.items()}
    found |= {"never": served([]), "doubling": served(doubled)}
    found["window"] = served(calendars["every 4"], most=8 * ROWS)
    found["new rows"] = served(calendars["every 4"], new=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=25)
    streams = parser.parse_args().streams
    window = np.repeat(np.arange(WINDOWS), ROWS)
    first, later = window < CHOOSING, window >= CHOOSING
    before, after = (resampling(int(rows.sum()), 0, clusters=window[rows]) for rows in (first, later))
    ones = np.ones(len(window))
    print("world: never chosen; loss over the better of never and every window; worse than never, than every window")
    for at, world in enumerate(WORLDS):
        chose, over, worse = 0, list[float](), np.zeros(2, dtype=int)
        for seed in range(streams):
            found = replayed(world, np.random.default_rng([seed, at]))
            runs = [PolicyRun(name, Never(), (), (), lost, lost) for name, (lost, _) in found.items()]
            retrains = [sum(one < CHOOSING for one in trains) for _, trains in found.values()]
            chosen, _ = choose(runs, None, retrains, ones, first, before)
            lost = chosen.losses[later]
            two = [found[name][0][later] for name in ("never", "every 1")]
            chose += chosen.name == "never"
            over.append(lost.mean() / min(one.mean() for one in two) - 1.0)
            apart = [paired_difference(lost, one, ones[later], after).low for one in two]
            worse += [low is not None and low > 0.0 for low in apart]
        print(f"{world}: {chose} of {streams}; {np.mean(over):+.2%}; {worse[0]}, {worse[1]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
