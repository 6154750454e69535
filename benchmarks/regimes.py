"""Regimes on real tables: excess loss by pass of the default mini-batch, and progressive loss beside a grid of SGD.

    python benchmarks/regimes.py [set ...]

Tables are encoded linearly, with a total penalty of one. The grid is twenty settings of scikit-learn's SGDClassifier on
the same encoded columns, learned 16 rows at a time: row by row its calls would take minutes. Beside other work it takes
about five minutes for all five sets.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from data_sets import DataSet, data_sets
from scipy.sparse import csr_array, hstack, vstack
from sklearn.linear_model import SGDClassifier

import batchlearn as bl
from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.split import with_lots
from batchlearn.objectives.losses import loss_of
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.training.regimes import MiniBatch, Online, epochs, progressive
from batchlearn.training.stopping import LossWithin

TOGETHER = 16
PASSES = ("adult", "flights2008_jan")
PROGRESSIVE = ("bank_marketing", "chicago_taxi_15k", "noaa_weather")


def run_through(work: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def posed(data: DataSet) -> tuple[Objective, MemoryRows]:
    table = bl.read(str(data.path), target=data.target, time=data.time, drop=data.drop, where=data.condition)
    ledger = with_lots(table, read_ledger(table))
    profiles = run_through(profile_parts(table, ledger, [ledger.used]))[0]
    encoding = fit_encoding(table.features, profiles, EncodingRules(), table.roles.time, ())
    rows = run_through(build_rows(table, ledger, encoding, ledger.used, 1, fingerprinted=False))
    return Objective(loss_of(ledger.target), ridge(encoding.layout, 1.0 / rows.total_weight)), rows


def passes(objective: Objective, rows: MemoryRows) -> None:
    names = ["x"] * rows.layout.size
    best = optimise(Problem(objective, rows, LossWithin(1e-10), Units.plain(rows.layout.size), names))
    print(f"{len(rows):,} rows, {rows.layout.size:,} coefficients, optimum {best.value:.6f}")
    for size in (32, 128, 512):
        looked = 0
        for stretch in epochs(objective, rows, MiniBatch(size), passes=5.0):
            if stretch.passes >= looked + 1:
                looked = int(stretch.passes)
                excess = objective.value(rows, stretch.parameters) - best.value
                print(f"batch {size}  passes {stretch.passes:.2f}  seconds {stretch.seconds:.1f}  excess {excess:.1e}")


def matrix(rows: MemoryRows) -> Any:
    parts = []
    for stored in rows.chunks:
        chunk = rows.read(stored)
        columns = [csr_array(chunk.block.dense[1:].T)]
        for codes, levels in zip(chunk.block.codes, rows.layout.groups, strict=True):
            row = np.flatnonzero(codes < levels)
            columns.append(csr_array((np.ones(len(row)), (row, codes[row])), shape=(len(codes), levels)))
        parts.append(hstack(columns, format="csr"))
    # Dense: on sparse columns scikit-learn learns the intercept a hundred times slower.
    return vstack(parts, format="csr").toarray()


def settings() -> Iterator[dict[str, Any]]:
    for alpha in (1e-6, 1e-4):
        yield {"learning_rate": "optimal", "alpha": alpha}
        for rate in (1e-4, 1e-3, 1e-2, 3e-2, 1e-1):
            yield {"learning_rate": "constant", "eta0": rate, "alpha": alpha}
        for rate in (1e-2, 1e-1, 3e-1, 1.0):
            yield {"learning_rate": "invscaling", "eta0": rate, "alpha": alpha}


def against_grid(objective: Objective, rows: MemoryRows) -> None:
    label = np.concatenate([chunk.label for chunk in rows.chunks])
    own = objective.loss.value(progressive(objective, rows, Online()), label).mean()
    print(f"{len(rows):,} rows, {rows.layout.size:,} coefficients; online default: progressive log loss {own:.4f}")
    values, found = matrix(rows), []
    for one in settings():
        model = SGDClassifier(loss="log_loss", **one).partial_fit(values[:1], label[:1], classes=[0.0, 1.0])
        predictors = [np.zeros(1)]
        for first in range(1, len(label), TOGETHER):
            part = slice(first, first + TOGETHER)
            predictors.append(model.decision_function(values[part]))
            model.partial_fit(values[part], label[part])
        found.append((float(objective.loss.value(np.concatenate(predictors), label).mean()), one))
    least, best = min(found, key=lambda pair: pair[0])
    print(f"best of {len(found)} settings of SGDClassifier: {least:.4f} {best}; own / best {own / least:.3f}")


def main() -> None:
    asked = sys.argv[1:]
    for data in data_sets(("binary",)):
        if data.name not in (asked or (*PASSES, *PROGRESSIVE)):
            continue
        print(f"-- {data.name}")
        with one_blas_thread():
            objective, rows = posed(data)
            if data.name in PROGRESSIVE:
                against_grid(objective, rows)
            else:
                passes(objective, rows)


if __name__ == "__main__":
    main()
