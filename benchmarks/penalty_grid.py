"""The strengths that the rows ask for beside the best single strength of a grid, by forward validation.

    python benchmarks/penalty_grid.py [set ...]

For each set, the structure that `train` chooses (linear, additive, pairs) is fitted to the earlier rows inside the
training part, at most 100,000 of them (30,000 of more than two classes): once with the chosen strengths, one a term,
and once for each of 30 single strengths for all terms, 1e-3 to 1e6 in total over the rows. All are judged by the mean
loss on the last block inside the training part. The grid has the advantage that its best is chosen on the very rows
that judge.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from data_sets import DataSet, data_sets
from table_rivals import SEED, SHARE, open_table

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger, with_classes_of
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.sample import take
from batchlearn.data.split import drawn, hold_out, with_lots
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses import Loss, loss_of
from batchlearn.objectives.penalties import Quadratic
from batchlearn.progress import finish
from batchlearn.selection.structure import MOST_ROWS, choose_structure
from batchlearn.selection.terms import encoding_penalty, encoding_terms
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import ValueTotal

GRID = np.logspace(6.0, -3.0, 30)
NEAR = 0.01
MOST_ROWS_OF_CLASSES, STEPS_OF_CLASSES = 30_000, 200
STEPS, SETTLED = 30, 1e-4  # what a further Newton step promises, of a hundredth of a coefficient's noise
HEAD = "| set | structure | chosen | best single | at | against it | within 1 % |\n|---|---|---:|---:|---:|---:|---|"


class Parts(NamedTuple):
    """A structure on the rows it is fitted to and on those that judge."""

    name: str
    loss: Loss
    encoding: Encoding
    strengths: Mapping[str, float]
    early: MemoryRows
    late: MemoryRows


def parts(data: DataSet) -> Parts:
    """Choose a structure as `train` does and encode the rows inside the training part."""
    table = open_table(data)
    ledger = with_lots(table, read_ledger(table, loss=data.loss))
    outer = hold_out(ledger, SHARE, SEED)
    structure = finish(choose_structure(table, ledger, outer.early, EncodingRules(), 2, seed=SEED))
    inner = hold_out(replace(ledger, used=outer.early), SHARE, SEED)
    most = MOST_ROWS if data.task != "multiclass" else MOST_ROWS_OF_CLASSES
    early, late = drawn(ledger, inner.early, SEED, most), drawn(ledger, inner.late, SEED, most // 2)
    taken, cut = finish(take(table, ledger, np.concatenate([early, late])))
    inside = np.arange(len(cut.used)) < len(early)
    cut = with_classes_of(cut, inside)
    (profiles,) = finish(profile_parts(taken, cut, [inside]))
    encoding = fit_encoding(taken.features, profiles, structure.rules, taken.roles.time, structure.pairs)
    rows, later = (
        finish(build_rows(taken, cut, encoding, part, 2, fingerprinted=False))
        for part in (inside & cut.used, ~inside & cut.used)
    )
    name = f"{structure.name}, {len(structure.pairs)} pairs"
    return Parts(name, loss_of(cut.target), encoding, structure.strengths, rows, later)


def fitted(objective: Objective, rows: MemoryRows, start: Floats) -> Floats:
    """Return the optimum, to a small part of what its own noise moves it."""
    if objective.loss.outputs > 1:
        return fitted_classes(objective, rows, start)
    solver = Newton()
    state = solver.start(objective, rows, start)
    for _ in range(STEPS):
        if state.decrement**2 * rows.total_weight < SETTLED:
            break
        state = solver.step(objective, rows, state)
    return state.parameters


def fitted_classes(objective: Objective, rows: MemoryRows, start: Floats) -> Floats:
    """Return the same for several classes, by steps with a block a class."""
    solver = LimitedMemory()
    state = solver.start(objective, rows, start)
    while not state.stuck and state.steps < STEPS_OF_CLASSES and not state.smallest * rows.total_weight < SETTLED:
        state = solver.step(objective, rows, state)
    return state.parameters


def judged(own: Parts, penalty: Quadratic, start: Floats | None) -> tuple[float, Floats]:
    """Fit with a penalty; return the mean loss of the judging rows and the parameters."""
    objective = Objective(own.loss, penalty)
    found = fitted(objective, own.early, objective.null_parameters(own.early) if start is None else start)
    (total,) = own.late.total(ValueTotal(own.loss), found)
    return total / own.late.total_weight, found


def line(data: DataSet) -> tuple[str, bool]:
    """Return one row of the table, and whether the chosen strengths are near the best of the grid."""
    own = parts(data)
    weight = own.early.total_weight
    chosen, _ = judged(own, encoding_penalty(own.encoding, own.strengths, None, own.loss.outputs).over(weight), None)
    losses, start = [], None
    for strength in GRID:  # from strong to weak: each fit starts at the last
        single = dict.fromkeys(encoding_terms(own.encoding), float(strength))
        try:
            found, start = judged(
                own, encoding_penalty(own.encoding, single, None, own.loss.outputs).over(weight), start
            )
        except NotPositiveDefinite:  # so weak a strength decides nothing
            found = math.inf
        losses.append(found)
    best = int(np.argmin(losses))
    near = chosen <= losses[best] * (1.0 + NEAR)
    cells = [
        data.name, own.name, f"{chosen:.5g}", f"{losses[best]:.5g}", f"{GRID[best]:.2g}",
        f"{chosen / losses[best] - 1.0:+.2%}", "yes" if near else "no",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |", near


if __name__ == "__main__":
    print(HEAD, flush=True)
    near = []
    with one_blas_thread():
        for data in data_sets(("binary", "count", "regression", "multiclass")):
            if len(sys.argv) == 1 or data.name in sys.argv[1:]:
                text, good = line(data)
                near.append(good)
                print(text, flush=True)
    print(f"{sum(near)} of {len(near)} sets within {NEAR:.0%} of the best single strength")
