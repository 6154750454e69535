"""The recipe: checked once, when it is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.errors import UsageError
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin
from batchlearn.training.recipe import Recipe


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"loss": "hinge"}, "loss-unknown"),
        ({"loss": ""}, "loss-unknown"),
        ({"alpha": -1e-9}, "alpha-negative"),
        ({"alpha": float("nan")}, "alpha-negative"),
        ({"alpha": float("inf")}, "alpha-negative"),
        ({"loss": "tweedie", "power": 1.0}, "power-range"),
        ({"loss": "tweedie", "power": 2.0}, "power-range"),
        ({"loss": "tweedie", "power": float("nan")}, "power-range"),
        ({"loss": "gamma", "power": 1.5}, "power-range"),
        ({"power": 1.5}, "power-range"),
        ({"holdout": 1.0}, "holdout-range"),
        ({"holdout": -0.1}, "holdout-range"),
        ({"holdout": float("nan")}, "holdout-range"),
        ({"seed": -1}, "seed-range"),
        ({"seed": 2**64}, "seed-range"),
        ({"tolerance": 0.0}, "tolerance-not-positive"),
        ({"tolerance": float("nan")}, "tolerance-not-positive"),
        ({"tolerance": float("inf")}, "tolerance-not-positive"),
    ],
)
def test_what_makes_no_sense_is_refused_when_written(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe(**arguments)
    assert refused.value.code == code


def test_the_edges_are_accepted() -> None:
    assert Recipe(alpha=0.0, holdout=0.0, seed=2**64 - 1, tolerance=1e-300).seed == 2**64 - 1


def test_the_penalty_is_one_in_total_unless_it_is_given() -> None:
    assert Recipe().alpha_for(250.0) == 1.0 / 250.0
    assert Recipe(alpha=0.5).alpha_for(250.0) == 0.5
    assert Recipe(alpha=0.0).alpha_for(250.0) == 0.0


def test_the_stop_is_about_predictions_unless_a_loss_is_asked_for() -> None:
    assert Recipe().stopping == PredictionsWithin()
    assert Recipe(tolerance=1e-8).stopping == LossWithin(1e-8)


def test_a_recipe_is_plain_values_and_all_of_them() -> None:
    recipe = Recipe("tweedie", 0.5, 1e-8, 0.1, 7, EncodingRules(5, 20, 3, text_words=9, text_buckets=2), power=1.25)
    record = json.loads(json.dumps(recipe.to_json()))
    names = ("minimum_rows", "level_cap", "buckets", "text_words", "text_buckets")
    rules = EncodingRules(**{name: record.pop(name) for name in names})
    assert Recipe(**record, rules=rules) == recipe
