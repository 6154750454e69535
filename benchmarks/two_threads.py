"""What two threads give: readings of dense rows and a whole fit beside what the memory gives them.

    python benchmarks/two_threads.py [--rows 1000000] [--columns 100] [--rounds 5]

Seconds of the clock with one thread and with two, in turns, the median of the rounds: the memory (the largest number of
the matrix, found by NumPy in two halves), loss and gradient, the same with the bound on rounding, and a fit of
`LinearClassifier` to a relative gap of 1e-9. The last column is each ratio beside the smaller of two and the ratio of
the memory: two threads serve where it is 0.8 or more. Means something on two cores that do nothing else; ten seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
from made_problems import dense_classes
from runner import in_turns

from batchlearn import LinearClassifier
from batchlearn.objectives.losses import LogisticLoss
from batchlearn.statistics.objective import Objective
from batchlearn.training.matrix import read_matrix


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    data = dense_classes(asked.rows, asked.columns, np.random.default_rng(0))
    assert data.dense is not None
    X, label = data.dense, data.label
    matrix = read_matrix(X, label)
    objective, point = Objective(LogisticLoss(), matrix.penalty(1.0 / asked.rows)), np.zeros(asked.columns + 1)
    ones = np.ones(asked.columns + 1)

    def largest(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(np.max, np.array_split(X, threads)))

    def read(threads: int, *, rounding: bool) -> None:
        rows = replace(matrix.rows, threads=threads)
        _ = objective.near(rows, point, point, ones) if rounding else objective.gradient(rows, point)

    works: dict[str, Callable[[int], Any]] = {
        "memory": largest,
        "gradient": lambda threads: read(threads, rounding=False),
        "gradient, rounding": lambda threads: read(threads, rounding=True),
        "fit": lambda threads: LinearClassifier(alpha=1.0 / asked.rows, tol=1e-9, threads=threads).fit(X, label),
    }
    contenders = [(name, threads) for name in works for threads in (1, 2)]
    for name in works:
        works[name](1)  # what is loaded on first use is no part of it
    runs = in_turns(contenders, asked.rounds, lambda one: seconds_of(lambda: works[one[0]](one[1])))
    taken = {one: median(seconds) for one, seconds in zip(contenders, runs, strict=True)}
    best = min(2.0, taken["memory", 1] / taken["memory", 2])
    print(f"{'':20} {'one thread':>12} {'two':>12} {'ratio':>8} {'of what there is':>18}")
    for name in works:
        one, two = taken[name, 1], taken[name, 2]
        print(f"{name:20} {one:10.3f} s {two:10.3f} s {one / two:8.2f} {one / two / best:18.2f}")


if __name__ == "__main__":
    main()
