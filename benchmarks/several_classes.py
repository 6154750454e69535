"""Linear models of several classes beside scikit-learn's multinomial L-BFGS, at one thread, to a gap of 1e-6.

    python benchmarks/several_classes.py [--rounds 3] [problem ...]

The objective is the mean loss and 1/2n |coefficients|^2, scikit-learn's C = 1. The true gap, relative to the least
objective that anyone reached, is measured afterwards: of a ladder of tolerances the loosest that gets there is timed,
in turns with the other's. Printed are medians of processor seconds of the call of `fit`, modules loaded before.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from data_sets import FOLDER
from runner import in_turns
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import batchlearn as bl

GAP = 1e-6
LADDER = tuple(10.0**-power for power in range(2, 10))
MADE = {"28 columns": (100_000, 28, 5), "60 columns": (20_000, 60, 6), "784 columns": (12_000, 784, 10)}


def made(rows: int, columns: int, classes: int) -> tuple[Any, Any]:
    """Normal columns in float32, and classes of a linear model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    logits = X @ (rng.normal(size=(columns, classes)) * 1.5 / columns**0.5).astype(np.float32)
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def real(name: str) -> tuple[Any, Any]:
    """Return the pixels of mnist_63k over 255, 10,000 rows of them, or the standardised numbers of shuttle."""
    table = pq.read_table(FOLDER / f"{name}.parquet")
    if name == "mnist_63k":
        table = table.slice(0, 10_000)
        pixels = np.array(table.column("pixels").to_pylist(), dtype=np.float32)
        return pixels / np.float32(255.0), np.array(table.column("digit").to_pylist())
    label = np.unique(table.column("target").to_numpy(), return_inverse=True)[1]
    X = np.stack([table.column(k).to_numpy() for k in table.column_names if k != "target"], axis=1).astype(np.float64)
    return (X - X.mean(axis=0)) / X.std(axis=0), label


def ours(X: Any, y: Any, tolerance: float) -> Any:
    return bl.LinearClassifier(alpha=1.0 / len(y), tol=tolerance).fit(X, y)


def theirs(X: Any, y: Any, tolerance: float) -> Any:
    return LogisticRegression(C=1.0, tol=tolerance, max_iter=20_000).fit(X, y)


def objective(X: Any, y: Any, fitted: Any) -> float:
    logits = X.astype(np.float64) @ fitted.coef_.T + fitted.intercept_
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(y)), np.unique(y, return_inverse=True)[1]]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - own) + 0.5 * (fitted.coef_**2).sum() / len(y))


def seconds(fit: Any) -> float:
    began = time.process_time()
    fit()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="problem", default=[*MADE, "shuttle", "mnist_63k"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'processor seconds to 1e-6':<28}{'ours':>8}{'theirs':>8}{'ratio':>8}")
    for name in asked.problems:
        X, y = made(*MADE[name]) if name in MADE else real(name)
        with threadpool_limits(1):
            ladders = [
                [(partial(fit, X, y, one), objective(X, y, fit(X, y, one))) for one in LADDER] for fit in (ours, theirs)
            ]
            least = min(value for ladder in ladders for _, value in ladder)
            fits = [next(fit for fit, value in ladder if value <= least * (1.0 + GAP)) for ladder in ladders]
            both = [median(runs) for runs in in_turns(fits, asked.rounds, seconds)]
        print(f"{name:<28}{both[0]:>8.2f}{both[1]:>8.2f}{both[0] / both[1]:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
