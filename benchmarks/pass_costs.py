"""What `solvers/costs.py` says that readings of the rows cost, beside what they take, and the solver that follows.

    OPENBLAS_NUM_THREADS=1 python benchmarks/pass_costs.py [--solve]

A grid of rows, dense columns, groups of levels and non-zeros: milliseconds of processor for a gradient, for the Hessian
with it and for the factor, the least of three each, beside what is expected. With `--solve` both solvers of the full
batch fit each problem (logistic loss, a total penalty of one, the default stop), and printed is what either took. A
minute, ten with `--solve`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import random_array

from batchlearn.data.rows.memory import MemoryRows, chunk_rows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.kernels.design import Layout
from batchlearn.objectives.factor import FACTOR_LIMIT, factorise
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.solvers.costs import pass_costs
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.training.regimes import choose_solver


class Shape(NamedTuple):
    """Rows, dense columns, the levels of each group, sparse columns and their non-zeros a row."""

    rows: int
    dense: int
    groups: tuple[int, ...] = ()
    sparse: int = 0
    stored: int = 0


GRID = (
    Shape(2_000, 10),
    Shape(100_000, 30),
    Shape(20_000, 500),
    Shape(200_000, 100),
    Shape(50_000, 4, (7, 12, 24, 60)),
    Shape(200_000, 0, (7, 12, 24, 31, 20, 60, 300, 300, 300)),
    Shape(20_000, 10, (3,) * 30),
    Shape(20_000, 0, (1_000, 1_000)),
    Shape(20_000, 0, (), 1_000, 5),
    Shape(20_000, 0, (), 20_000, 30),
)


def rows_of(shape: Shape, seed: int = 0) -> MemoryRows:
    rng = np.random.default_rng(seed)
    layout = Layout(True, shape.dense, shape.groups, shape.sparse)
    length, chunks = chunk_rows(shape.dense + len(shape.groups)), []
    effects = [rng.normal(size=levels) * 0.5 for levels in shape.groups]
    w, z = rng.normal(size=shape.dense) / max(shape.dense, 1) ** 0.5, rng.normal(size=shape.sparse)
    for start in range(0, shape.rows, length):
        count = min(length, shape.rows - start)
        dense = rng.normal(size=(shape.dense, count)).astype(np.float32)
        codes = np.array([rng.integers(0, levels, count) for levels in shape.groups], dtype=layout.code_type)
        codes = codes.reshape(len(shape.groups), count)
        eta, sparse = w @ dense + sum(effect[code] for effect, code in zip(effects, codes, strict=True)), None
        if shape.sparse:
            density = shape.stored / shape.sparse
            sparse = random_array((count, shape.sparse), density=density, format="csr", rng=rng)
            eta = eta + 0.5 * (sparse @ z)
        label = (rng.random(count) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
        chunks.append(StoredChunk(dense, codes, label, sparse=sparse))
    return MemoryRows(layout, tuple(chunks), np.zeros(shape.dense), np.ones(shape.dense))


def least(work: Callable[[], Any], rounds: int = 3) -> float:
    """Return the seconds of processor of the fastest of a few runs."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solve", action="store_true", help="fit with both solvers too")
    arguments = parser.parse_args()
    print(f"{'milliseconds: taken (expected)':48} {'gradient':>16} {'Hessian':>16} {'factor':>16}  chosen")
    for shape in GRID:
        rows, loss = rows_of(shape), LOSSES["logistic"]
        objective = Objective(loss, ridge(rows.layout, 1.0 / shape.rows))
        costs, null, solver = pass_costs(rows), objective.null_parameters(rows), choose_solver(rows)
        taken = [least(lambda o=objective, r=rows, w=null: o.gradient(r, w))]
        if rows.layout.size <= FACTOR_LIMIT:
            taken.append(least(lambda o=objective, r=rows, w=null: o.expand(r, w)))
            hessian = objective.expand(rows, null).hessian
            taken.append(least(lambda h=hessian: factorise(h, 0.0)))
        figures = [f"{1e3 * t:7.1f} ({1e-6 * c:6.1f})" for t, c in zip(taken, costs, strict=False)]
        line = f"{tuple(shape)!s:48} {' '.join(f'{f:>16}' for f in figures):50}  {solver.name}"
        if arguments.solve and rows.layout.size <= FACTOR_LIMIT:
            names = [str(k) for k in range(rows.layout.size)]
            problem = Problem(objective, rows, PredictionsWithin(), Units.plain(len(names)), names)
            with one_blas_thread():
                seconds = [least(lambda p=problem, s=s: optimise(p, None, s), 2) for s in (Newton(), LimitedMemory())]
            chosen = seconds[solver.name != Newton.name]
            line += f": {chosen:.2f} s, the other {sum(seconds) - chosen:.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
