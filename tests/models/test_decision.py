"""Costs of wrong decisions: the threshold they mean, in a model and in its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.made import GOLDEN

from batchlearn.errors import UsageError
from batchlearn.models.decision import Costs
from batchlearn.models.files import load, read_model, save
from batchlearn.models.linear import Predictions
from batchlearn.models.schema import describe, parse_schema
from batchlearn.models.strict_json import Malformed


def predictions(responses: Any) -> Predictions:
    response = np.asarray(responses, dtype=float)
    return Predictions(response, response, None)


@pytest.mark.parametrize(("positive", "negative", "threshold"), [(1.0, 9.0, 0.1), (1.0, 1.0, 0.5), (3e90, 1e90, 0.75)])
def test_the_threshold_is_where_both_decisions_cost_the_same(
    positive: float, negative: float, threshold: float
) -> None:
    costs = Costs(positive, negative)
    assert costs.threshold == pytest.approx(threshold, rel=1e-15)
    p = costs.threshold
    assert (1.0 - p) * positive == pytest.approx(p * negative)


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf"), 1e200])
def test_costs_that_decide_nothing_are_refused(cost: float) -> None:
    for given in ((cost, 1.0), (1.0, cost)):
        with pytest.raises(UsageError) as caught:
            Costs(*given)
        assert caught.value.code == "cost-not-positive"
        assert ("positive" if given[0] is cost else "negative") in caught.value.message


def test_predictions_are_decided_at_the_threshold() -> None:
    model = load(GOLDEN)
    no, yes = model.target.classes
    asked = predictions([0.05, 0.1, 0.1000001, 0.5, 0.500001, 1.0])
    plain = model.to_table(asked).to_pydict()
    assert plain["prediction"] == [no, no, no, no, yes, yes]
    costly = replace(model, costs=Costs(1.0, 9.0)).to_table(asked).to_pydict()
    assert costly["prediction"] == [no, no, yes, yes, yes, yes]
    assert costly["probability"] == plain["probability"]


def test_a_model_file_keeps_the_costs(tmp_path: Path) -> None:
    model = replace(load(GOLDEN), costs=Costs(1.0, 9.0))
    save(model, {}, tmp_path / "model")
    assert load(tmp_path / "model").costs == Costs(1.0, 9.0)
    assert load(tmp_path / "model").threshold == pytest.approx(0.1)
    assert read_model(GOLDEN).model.costs is None


@pytest.mark.parametrize(
    "costs", [{"false_positive": 1.0}, {"false_positive": 0.0, "false_negative": 1.0}, {"threshold": 0.1}, 0.1]
)
def test_costs_in_a_file_are_checked(costs: Any) -> None:
    description = describe(load(GOLDEN), {})
    assert parse_schema({**description, "costs": {"false_positive": 1.0, "false_negative": 9.0}}).costs is not None
    with pytest.raises(Malformed):
        parse_schema({**description, "costs": costs})


def test_costs_are_for_two_classes() -> None:
    description = describe(load(GOLDEN), {})
    number = {**description, "target": {"column": "late", "task": "number", "classes": [], "loss": "squared"}}
    assert parse_schema(number).costs is None
    with pytest.raises(Malformed):
        parse_schema({**number, "costs": {"false_positive": 1.0, "false_negative": 9.0}})
