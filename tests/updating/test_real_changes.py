"""Brackets on real tables: days added, removed and decayed, against trainings from scratch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.updating.made import joined, lighter, problem_of

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.split import with_lots
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Penalty
from batchlearn.progress import finish
from batchlearn.retraining.bracket import Change, bracket
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.tables.table import read
from batchlearn.training.optimise import optimise
from batchlearn.updating.sufficient_statistics import collect_statistics

SETS: dict[str, tuple[dict[str, Any], str]] = {
    "noaa_weather": ({"target": "rain", "time": "t"}, "logistic"),
    "bike_sharing_hour": ({"target": "cnt", "time": "timestamp", "drop": ["casual", "registered"]}, "poisson"),
}


def parts_of(shared_data: Path, name: str) -> list[MemoryRows]:
    """Return the rows in the order of time, encoded in bins: the first 10 %, the next 85 %, the last 5 %."""
    roles, loss = SETS[name]
    table = read(shared_data / f"{name}.parquet", **roles)
    ledger = with_lots(table, read_ledger(table, loss=loss))
    assert ledger.time is not None
    rank = np.argsort(np.argsort(ledger.time, kind="stable"), kind="stable") / len(ledger.time)
    cuts = [(rank < 0.1), (rank >= 0.1) & (rank < 0.95), rank >= 0.95]
    profiles = finish(profile_parts(table, ledger, [ledger.used & (rank < 0.95)]))[0]
    rules = EncodingRules(additive=True, bins=6)
    encoding = fit_encoding(table.features, profiles, rules, roles["time"])
    return [finish(build_rows(table, ledger, encoding, ledger.used & cut, 1, fingerprinted=False)) for cut in cuts]


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_gain_of_a_real_change_is_inside_its_bracket(shared_data: Path, name: str) -> None:
    first, middle, last = parts_of(shared_data, name)
    loss, layout = LOSSES[SETS[name][1]], middle.layout
    penalty = Penalty(in_total=ridge(layout, 10.0), per_row=ridge(layout, 0.0))
    old = joined(first, middle)
    objective = Objective(loss, penalty.over(old.total_weight))
    kept = collect_statistics(objective, old, optimise(problem_of(objective, old)[0]))
    changes = [
        (Change(last), joined(old, last)),
        (Change(None, first), middle),
        (Change(last, first, 0.7), joined(lighter(middle, 0.7), last)),
    ]
    two_sided = 0
    for change, after in changes:
        objective = Objective(loss, penalty.over(after.total_weight))
        truth = optimise(problem_of(objective, after)[0])
        gain = objective.value(after, kept.parameters) - truth.value
        rung = bracket(kept, change, penalty)
        climbed = bracket(kept, change, penalty, all_rows=partial(joined, after))
        for found in (rung, climbed):
            assert found.bracket.lower <= gain + 1e-12
            assert not found.bracket.upper_is_proved or found.bracket.upper >= gain - 1e-12
        assert climbed.bracket.upper_is_proved
        assert climbed.bracket.rung <= 4
        assert rung.bracket.lower >= 0.3 * gain
        bounds = climbed.reached.proof.bounds
        assert bounds is not None
        above = objective.value(after, climbed.reached.parameters) - truth.value
        assert above <= bounds.loss + 1e-12
        two_sided += rung.bracket.upper_is_proved
    assert two_sided >= 1
