"""What class weights with corrected probabilities do to the score: fits of real tables with and without them.

    python benchmarks/class_weights.py [SET ...]

Each line: log loss and calibration on the held-out rows, then the mean cost a row at 1 for a false positive and 9 for a
false negative, of a fit without class weights, of one with `balanced`, and of the same one without the correction.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
from data_sets import data_sets

import batchlearn as bl
from batchlearn.data.build import Mask
from batchlearn.data.ledger import read_ledger
from batchlearn.data.split import hold_out, split_kind, with_lots
from batchlearn.evaluation.report import evaluate as evaluate_held_out
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.models.linear import LinearModel
from batchlearn.objectives.class_weights import log_odds_shift, moved_intercepts
from batchlearn.tables.table import Table

DEFAULT = ("chicago_taxi_15k", "noaa_weather", "bank_marketing")
COSTS = bl.Costs(1.0, 9.0)


def score(model: LinearModel, table: Table, late: Mask, name: str) -> None:
    """Print what a model is worth on the held-out rows."""
    ledger = read_ledger(table, model.target)
    found = evaluate_held_out(
        "classes", ScoredRows(ledger.label[late], model.predict(table).response[late]), {}, 0, costs=COSTS
    )
    loss, cost = found.metrics["log_loss"], found.decision.cost if found.decision else None
    ratio = found.calibration.observed_over_expected if found.calibration else None
    spread = f"({loss.low:.4f} to {loss.high:.4f})"
    print(f"  {name:<22} log loss {loss.value:.4f} {spread}; observed/expected {ratio:.3f}; cost {cost.value:.4f}")


def main() -> None:
    names = sys.argv[1:] or DEFAULT
    for one in data_sets(("binary",)):
        if one.name not in names:
            continue
        table = bl.read(str(one.path), target=one.target, time=one.time, drop=one.drop, where=one.condition)
        ledger = with_lots(table, read_ledger(table))
        split = hold_out(ledger, 0.2, 0, split_kind(ledger, None))
        late = ~split.early if split.late is None else split.late
        earlier = one_part(table, split.early)
        print(f"{one.name}: {ledger.counts.used:,} rows, base rate {ledger.label[ledger.used].mean():.3f}")
        for rule in (None, "balanced"):
            fit = bl.train(earlier, bl.Recipe(holdout=0.0, class_weight=rule))
            score(fit.model, table, late, rule or "no class weights")
            if fit.class_weights:
                shift = log_odds_shift(np.array(fit.class_weights))
                heavy = replace(fit.model, parameters=moved_intercepts(fit.model.parameters, shift))
                score(heavy, table, late, "balanced, uncorrected")


def one_part(table: Table, part: Mask) -> Table:
    """Return the rows of a mask as a table of their own."""
    names = [column.name for column in table.columns if column.name not in table.roles.drop]
    rows = pa.Table.from_batches(list(table.scan(names))).filter(pa.array(part))
    return bl.read(rows, target=table.roles.target, time=table.roles.time)


if __name__ == "__main__":
    main()
