"""What goes on from a fitted estimator, by what its own fit has for that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.retraining.made import orders

import batchlearn as bl
from batchlearn.formatting.notes import Code
from batchlearn.models.brought import BroughtModel
from batchlearn.training.brought.starts import go_on

TREES = {"n_estimators": 4, "n_jobs": 1}
SETTINGS: dict[str, dict[str, Any]] = {
    "lightgbm.LGBMClassifier": TREES,
    "xgboost.XGBClassifier": TREES,
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 4},
    "sklearn.ensemble.RandomForestClassifier": TREES,
    "sklearn.linear_model.SGDClassifier": {"loss": "log_loss"},
    "sklearn.tree.DecisionTreeClassifier": {},
}


def begun(path: str) -> tuple[BroughtModel, bl.Recipe, bl.Table, bl.Table]:
    """Return a model of ten days, how it was made, twenty days and the ten that came."""
    recipe = bl.Recipe(model=path, set=SETTINGS[path], holdout=0.0)
    first, whole, came = (
        bl.read(orders(*days), target="bought", time="seen", drop=["user", "known"])
        for days in ((0, 10), (0, 20), (10, 20))
    )
    model = bl.train(first, recipe).model
    assert isinstance(model, BroughtModel)
    return model, recipe, whole, came


def trees_of(model: BroughtModel) -> int:
    restored = model.estimator
    if model.learner.kept_by == "lightgbm":
        return int(restored.booster.num_trees())
    if model.learner.kept_by == "xgboost":
        return int(restored.booster.num_boosted_rounds())
    return int(getattr(restored.estimator, "n_iter_", len(getattr(restored.estimator, "estimators_", ()))))


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("lightgbm.LGBMClassifier", "init_model"),
        ("xgboost.XGBClassifier", "xgb_model"),
        ("sklearn.ensemble.HistGradientBoostingClassifier", "warm_start"),
        ("sklearn.ensemble.RandomForestClassifier", "warm_start"),
    ],
)
def test_trees_are_added_to_those_that_are_there(path: str, how: str) -> None:
    model, recipe, whole, _ = begun(path)
    fit = go_on("warm", model, recipe, whole, 1)
    assert isinstance(fit.model, BroughtModel)
    assert (trees_of(model), trees_of(fit.model)) == (4, 8)
    assert [note.values["how"] for note in fit.notes if note.code is Code.LEARNER_CONTINUED] == [how]
    assert (fit.rows.used, fit.model.encoding) == (1200, model.encoding)
    assert fit.certificate.fingerprint == bl.train(whole, recipe).certificate.fingerprint
    assert fit.objective < fit.null_objective
    assert not np.array_equal(fit.model.predict(whole).response, model.predict(whole).response)


def test_what_learns_in_parts_is_shown_the_new_rows_alone() -> None:
    model, recipe, whole, came = begun("sklearn.linear_model.SGDClassifier")
    before = model.estimator.estimator.coef_.copy()
    fit = go_on("fine-tune", model, recipe, came, 1)
    assert isinstance(fit.model, BroughtModel)
    after = fit.model.estimator.estimator
    assert after.t_ == model.estimator.estimator.t_ + 600
    assert np.array_equal(model.estimator.estimator.coef_, before), "the champion stays as it is"
    assert (fit.rows.used, fit.certificate.fingerprint) == (600, None)
    assert np.isnan(fit.objective)
    warm = go_on("warm", model, recipe, whole, 1)
    assert [note.values["how"] for note in warm.notes] == ["warm_start"]


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("sklearn.tree.DecisionTreeClassifier", "warm"),
        ("lightgbm.LGBMClassifier", "fine-tune"),
        ("lightgbm.LGBMClassifier", "update"),
    ],
)
def test_where_there_is_nothing_to_go_on_by_it_is_refused(path: str, start: str) -> None:
    model, recipe, whole, _ = begun(path)
    with pytest.raises(bl.UsageError, match=f"nothing that a {start} could go on by") as found:
        go_on(start, model, recipe, whole, 1)
    assert found.value.code == "no-warm-start"
