"""Small trials, and runs made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.training.made import made, table_of

from batchlearn.comparison.contenders import Contender, Run, RunCheckpoint, RunEnd, default_contenders
from batchlearn.comparison.judging import Memory
from batchlearn.comparison.outcome import Outcome
from batchlearn.comparison.problem import Benchmark, build_problem
from batchlearn.progress import finish
from batchlearn.tables.table import Table
from batchlearn.training.recipe import Recipe

ROWS = 600


def table(loss: str = "logistic", rows: int = ROWS, **roles: Any) -> Table:
    """A table of two numbers and a category."""
    return table_of(made(rows, 5, loss), **roles)


def benchmark(loss: str = "logistic", rows: int = ROWS, recipe: Recipe | None = None, most: int = 100_000) -> Benchmark:
    """Pose a small problem."""
    return finish(build_problem(table(loss, rows), recipe or Recipe(loss=loss), most, 1))


def run_of(name: str, *points: tuple[float, float, float], seed: int = 0) -> Run:
    """Make a run that began at a loss of 1.0 and then stood at (passes, seconds, loss)."""
    contender = {one.name: one for one in default_contenders()}[name]
    made_points = [
        RunCheckpoint(0, 0.0, 0.0, 1.0),
        *(RunCheckpoint(round(100 * p), p, s, value) for p, s, value in points),
    ]
    return Run(contender, seed, "shuffled", "made", tuple(made_points), np.zeros(2), RunEnd.PASSES_SPENT)


def outcome_of(*runs: Run, stored: Run | None = None, rows: int = 1000, bound: float | None = 1e-9) -> Outcome:
    """Make the outcome of runs; the optimum is at a loss of 0.5."""
    return Outcome(contender_of(runs[0]), runs, stored, None, Memory(rows, 10), 0.5, bound, 8.0)


def contender_of(run: Run) -> Contender:
    """Return whose run it is."""
    return run.contender
