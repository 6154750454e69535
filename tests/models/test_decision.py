"""Costs of wrong decisions: the threshold they mean, in a model and in its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.made import GOLDEN

from batchlearn.artifacts.strict_json import Malformed
from batchlearn.errors import UsageError
from batchlearn.models.decision import Costs
from batchlearn.models.files import load, read_model, save
from batchlearn.models.model import Predictions
from batchlearn.models.schema import describe, parse_schema


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
    assert costly[f"probability_{yes}"] == plain[f"probability_{yes}"]


def test_rows_that_cost_more_to_decide_than_to_ask_about_are_left_to_people() -> None:
    model = replace(load(GOLDEN), costs=Costs(1.0, 9.0, fee=0.45))
    no, yes = model.target.classes
    # The uncertainty is the smaller of (1 - p) 1 and p 9: 0.09, 0.45 and a little more, 0.9, 0.5, 0.4, 0.
    asked = predictions([0.01, 0.05, 0.0500001, 0.1, 0.5, 0.6, 1.0])
    expected = [False, False, True, True, True, False, False]
    assert model.left_to_people(asked.response) is not None
    found = model.to_table(asked).to_pydict()
    assert list(found) == ["prediction", f"probability_{yes}", "left_to_people"]
    assert found["left_to_people"] == expected
    assert found["prediction"] == [no, no, None, None, None, yes, yes]
    assert found[f"probability_{yes}"] == asked.response.tolist()
    # A table of rows that are all left to people has the same types as any other.
    assert model.to_table(predictions([0.1, 0.1])).schema == model.to_table(predictions([])).schema
    # Asking for nothing is worth it wherever the class is not certain; asking for more than any mistake never is.
    assert model.with_fee(0.0).to_table(predictions([0.0, 0.3, 1.0])).to_pydict()["left_to_people"] == [
        False,
        True,
        False,
    ]
    assert not any(model.with_fee(0.9).to_table(predictions(np.linspace(0, 1, 99))).to_pydict()["left_to_people"])


def test_without_a_fee_or_costs_the_model_decides_every_row() -> None:
    model = load(GOLDEN)
    for decides in (model, replace(model, costs=Costs(1.0, 9.0))):
        assert decides.left_to_people(np.array([0.1])) is None
        assert list(decides.to_table(predictions([0.1])).to_pydict()) == [
            "prediction",
            f"probability_{model.target.classes[1]}",
        ]
    assert not Costs(1.0, 9.0).left_to_people(np.array([0.1, 0.5])).any()
    with pytest.raises(UsageError, match="no costs of wrong decisions to weigh it against") as refusal:
        model.with_fee(0.5)
    assert refusal.value.code == "no-costs"


@pytest.mark.parametrize("fee", [-1.0, float("nan"), float("inf")])
def test_a_fee_that_is_no_cost_is_refused(fee: float) -> None:
    with pytest.raises(UsageError, match="a finite number of 0 or more is needed") as caught:
        Costs(1.0, 9.0, fee)
    assert caught.value.code == "fee-range"


@pytest.mark.parametrize("costs", [Costs(1.0, 9.0), Costs(1.0, 9.0, 0.0), Costs(1.0, 9.0, 0.45)])
def test_a_fee_is_kept_with_the_costs(costs: Costs, tmp_path: Path) -> None:
    save(replace(load(GOLDEN), costs=costs), {}, tmp_path / "model")
    assert load(tmp_path / "model").costs == costs


def test_a_model_file_keeps_the_costs(tmp_path: Path) -> None:
    model = replace(load(GOLDEN), costs=Costs(1.0, 9.0))
    save(model, {}, tmp_path / "model")
    assert load(tmp_path / "model").costs == Costs(1.0, 9.0)
    assert load(tmp_path / "model").threshold == pytest.approx(0.1)
    assert read_model(GOLDEN).model.costs is None


@pytest.mark.parametrize(
    "costs",
    [
        {"false_positive": 1.0},
        {"false_positive": 0.0, "false_negative": 1.0},
        {"false_positive": 1.0, "false_negative": 1.0, "fee": -0.1},
        {"threshold": 0.1},
        0.1,
    ],
)
def test_costs_in_a_file_are_checked(costs: Any) -> None:
    description = {**describe(load(GOLDEN), {}), "format_version": 1}
    assert parse_schema({**description, "costs": {"false_positive": 1.0, "false_negative": 9.0}}).costs is not None
    with pytest.raises(Malformed):
        parse_schema({**description, "costs": costs})


def test_costs_are_for_two_classes() -> None:
    description = {**describe(load(GOLDEN), {}), "format_version": 1}
    number = {**description, "target": {"column": "late", "task": "number", "classes": [], "loss": "squared"}}
    assert parse_schema(number).costs is None
    with pytest.raises(Malformed):
        parse_schema({**number, "costs": {"false_positive": 1.0, "false_negative": 9.0}})
