"""Excess loss by pass of the default mini-batch on real tables.

    python benchmarks/regimes.py [set ...]

Tables are encoded linearly, with a total penalty of one. What learns row by row is measured by `rivals.py`.
"""

from __future__ import annotations

import sys

from data_sets import DataSet, data_sets

import batchlearn as bl
from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.split import with_lots
from batchlearn.objectives.losses import loss_of
from batchlearn.objectives.stopping import LossWithin
from batchlearn.progress import finish
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.training.regimes import MiniBatch, epochs

PASSES = ("adult", "flights2008_jan")


def posed(data: DataSet) -> tuple[Objective, MemoryRows]:
    table = bl.read(str(data.path), target=data.target, time=data.time, drop=data.drop, where=data.condition)
    ledger = with_lots(table, read_ledger(table))
    profiles = finish(profile_parts(table, ledger, [ledger.used]))[0]
    encoding = fit_encoding(table.features, profiles, EncodingRules(), table.roles.time, ())
    rows = finish(build_rows(table, ledger, encoding, ledger.used, 1, fingerprinted=False))
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


def main() -> None:
    asked = sys.argv[1:]
    for data in data_sets(("binary",)):
        if data.name not in (asked or PASSES):
            continue
        print(f"-- {data.name}")
        with one_blas_thread():
            passes(*posed(data))


if __name__ == "__main__":
    main()
