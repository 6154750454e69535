"""The estimators inside of scikit-learn's own tools, each of which asks something else of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from batchlearn import LinearClassifier, LinearRegressor


def flowers(seed: int = 0, classes: int = 3, rows: int = 240) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, rows)
    frame = pd.DataFrame({"width": rng.normal(label, 1.0), "length": rng.normal(10.0 * label, 20.0)})
    frame["site"] = rng.choice(["dune", "marsh", "wood"], rows)
    return frame, np.array([f"kind {k}" for k in label])


@pytest.mark.parametrize("classes", [2, 3])
def test_grid_search_finds_the_penalty_that_every_fold_agrees_on(classes: int) -> None:
    x, y = flowers(1, classes)
    search = GridSearchCV(
        LinearClassifier(), {"alpha": [1e-3, 10.0], "standardize": [True]}, scoring="neg_log_loss", cv=4
    ).fit(x[["width", "length"]], y)
    assert search.best_params_["alpha"] == 1e-3
    # By hand: the mean over folds of what is scored with the chosen penalty.
    scores = cross_val_score(
        LinearClassifier(alpha=1e-3, standardize=True), x[["width", "length"]], y, scoring="neg_log_loss", cv=4
    )
    assert search.best_score_ == pytest.approx(scores.mean(), rel=1e-12)
    assert search.best_estimator_.certificate_.certified
    assert search.predict_proba(x[["width", "length"]]).shape == (len(y), classes)


def test_a_search_over_losses_and_thresholds_of_a_regressor() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + np.where(rng.random(200) < 0.05, 500.0, 0.1 * rng.normal(size=200))
    search = GridSearchCV(
        LinearRegressor(), {"loss": ["squared", "huber"], "threshold": [0.2]}, scoring="neg_median_absolute_error"
    ).fit(x, y)
    assert search.best_params_["loss"] == "huber"
    assert search.best_estimator_.coef_ == pytest.approx([1.0, -2.0, 0.5], abs=0.05)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_puts_weighted_probabilities_right(method: str, classes: int) -> None:
    x, y = flowers(3, classes, rows=900)
    x = x[["width", "length"]]
    heavy = LinearClassifier(class_weight={"kind 1": 20.0})
    calibrated = CalibratedClassifierCV(heavy, method=method, cv=3).fit(x, y)
    share = (y == "kind 1").mean()
    assert abs(calibrated.predict_proba(x)[:, 1].mean() - share) < 0.03
    assert heavy.fit(x, y).predict_proba(x)[:, 1].mean() > share + 0.1


def test_stacks_take_them_as_a_member_and_as_the_judge() -> None:
    x, y = flowers(4)
    x = x[["width", "length"]]
    members = [("linear", LinearClassifier()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]
    stack = StackingClassifier(members, final_estimator=LinearClassifier(alpha=1e-3), cv=3).fit(x, y)
    assert stack.final_estimator_.certificate_.certified
    assert stack.final_estimator_.n_features_in_ == 6  # three probabilities of each member
    assert stack.score(x, y) >= LinearClassifier().fit(x, y).score(x, y) - 0.02
    regression = StackingRegressor(
        [("linear", LinearRegressor()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))],
        final_estimator=LinearRegressor(alpha=0.0),
    ).fit(x[["length"]], x["width"])
    assert regression.final_estimator_.certificate_.certified
    voting = VotingClassifier([*members], voting="soft").fit(x, y)
    assert voting.predict_proba(x).sum(axis=1) == pytest.approx(1.0)
    bag = BaggingClassifier(LinearClassifier(), n_estimators=3, random_state=0).fit(x, y)
    assert bag.predict_proba(x).shape == (len(y), 3)


def test_a_pipeline_that_gives_frames_hands_its_names_on() -> None:
    x, y = flowers(5)
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), ["width", "length"]), ("site", OneHotEncoder(sparse_output=False), ["site"])],
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(columns, LinearClassifier()).set_output(transform="pandas").fit(x, y)
    fitted = pipeline[-1]
    names = ["width", "length", "site_dune", "site_marsh", "site_wood"]
    assert fitted.feature_names_in_.tolist() == names
    assert fitted.coef_.shape == (3, 5)
    # Without names the same numbers come out.
    plain = make_pipeline(clone(columns), LinearClassifier()).set_output(transform="default").fit(x, y)
    assert pipeline.predict_proba(x).tobytes() == plain.predict_proba(x).tobytes()
    assert not hasattr(plain[-1], "feature_names_in_")
    assert len(cross_val_predict(pipeline, x, y, method="predict_proba")) == len(y)


def test_several_targets_are_fitted_one_by_one() -> None:
    x, _ = flowers(6)
    targets = np.column_stack([x["width"] * 2.0, x["width"] - 1.0])
    fitted = MultiOutputRegressor(LinearRegressor(alpha=0.0)).fit(x[["width"]], targets)
    assert [one.coef_[0] for one in fitted.estimators_] == pytest.approx([2.0, 1.0])


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_weights_are_routed_through_a_search_and_a_pipeline_to_every_fit() -> None:
    x, y = flowers(7, 2)
    x, weight = x[["width", "length"]], np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    linear = LinearClassifier(alpha=0.01).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    pipeline = Pipeline([("scale", StandardScaler().set_fit_request(sample_weight=True)), ("linear", linear)])
    search = GridSearchCV(pipeline, {"linear__alpha": [0.01]}, cv=3).fit(x, y, sample_weight=weight)
    counted = weight > 0.0
    scaled = StandardScaler().fit(x[counted])
    alone = LinearClassifier(alpha=0.01).fit(scaled.transform(x[counted]), y[counted])
    assert search.best_estimator_[-1].coef_ == pytest.approx(alone.coef_, rel=1e-10)
    scores = cross_validate(linear, x, y, params={"sample_weight": weight}, cv=3)["test_score"]
    unweighted = cross_validate(LinearClassifier(alpha=0.01), x, y, cv=3)["test_score"]
    assert scores.tolist() != unweighted.tolist()


@pytest.mark.usefixtures("routing")
def test_weights_that_nobody_asked_for_are_refused_and_not_dropped() -> None:
    x, y = flowers(8, 2)
    with pytest.raises(ValueError, match="sample_weight"):
        cross_validate(
            LinearClassifier(), x[["width"]], y, params={"sample_weight": np.ones(len(y))}, error_score="raise"
        )
    regressor = LinearRegressor().set_fit_request(sample_weight=False)
    assert regressor.get_metadata_routing().fit.requests["sample_weight"] is False


def test_they_answer_as_scikit_learns_own_model_does_in_the_same_place() -> None:
    x, y = flowers(9)
    ours = cross_val_score(LinearClassifier(alpha=0.01), x[["width"]], y, scoring="neg_log_loss", cv=3)
    folds = 160 * 0.01  # rows of two folds times alpha
    peer = LogisticRegression(C=1.0 / folds, tol=1e-10)
    assert ours == pytest.approx(cross_val_score(peer, x[["width"]], y, scoring="neg_log_loss", cv=3), abs=1e-6)
