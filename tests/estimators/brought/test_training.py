"""What an estimator is fed, what it is told of weights and stops, and that what comes of it is judged like ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from tests.estimators.brought.made import noted, small

import batchlearn as bl
from batchlearn.errors import UsageError
from batchlearn.formatting.notes import Code
from batchlearn.models.brought import BroughtModel, estimator_rows
from batchlearn.training import brought as brought_along
from batchlearn.training.brought import platt_curve

SMALL: dict[str, Any] = {"n_estimators": 10, "n_jobs": 1}
OTHERS = ("two", "three", "number", "count", "weight", "days")
BOOSTING = {
    "lightgbm.LGBMClassifier": "lightgbm",
    "xgboost.XGBClassifier": "xgboost",
    "sklearn.ensemble.HistGradientBoostingClassifier": None,
}


def table_of(target: str, **roles: Any) -> bl.Table:
    used = {target, *(name for name in roles.values() if isinstance(name, str))}
    return bl.read(small(), target=target, time="when", drop=[name for name in OTHERS if name not in used], **roles)


def brought(fit: bl.Fit) -> BroughtModel:
    assert isinstance(fit.model, BroughtModel)
    return fit.model


def losses(fit: bl.Fit) -> tuple[float, float]:
    """Return the proper score in the held-out rows, and that of the constant."""
    assert fit.evaluation is not None
    first = next(iter(fit.evaluation.metrics))
    own, constant = fit.evaluation.metrics[first].value, fit.evaluation.baselines["constant"][first].value
    assert own is not None
    assert constant is not None
    return own, constant


def said(fit: bl.Fit, code: Code) -> list[dict[str, Any]]:
    return [dict(note.values) for note in fit.notes if note.code is code]


class Remembers:
    """Says the weighted share of each class, and remembers how it was fed."""

    fed: dict[str, Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Remembers:
        Remembers.fed = {"X": X, "y": y, "weight": sample_weight}
        counts = np.bincount(y, sample_weight)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.tile(self.shares_, (len(X), 1))

    def predict(self, X: Any) -> Any:
        return np.argmax(self.predict_proba(X), axis=1)


@pytest.mark.parametrize("path", BOOSTING)
@pytest.mark.parametrize("target", ["two", "three"])
def test_boosting_is_fed_a_frame_and_judged_on_the_rows_that_judge_ours(path: str, target: str) -> None:
    settings = {"max_iter": 10} if path.startswith("sklearn") else SMALL
    table = table_of(target)
    fit, ours = bl.train(table, bl.Recipe(model=path, set=settings)), bl.train(table, bl.Recipe(alpha=0.1))
    assert (brought(fit).learner.form, brought(fit).learner.kept_by) == ("frame", BOOSTING[path])
    (own, constant), (_, same) = losses(fit), losses(ours)
    assert constant == same
    assert own < constant
    assert fit.certificate.fingerprint == ours.certificate.fingerprint
    assert not fit.certificate.certified
    assert fit.coefficients == fit.standard_errors == {}
    shares = fit.model.predict(table).response
    assert shares.shape == ((300,) if target == "two" else (300, 3))


def test_a_frame_has_categories_as_such_and_times_as_numbers() -> None:
    rows = bl.read(small(), target="two", drop=OTHERS[1:])
    fit = bl.train(rows, bl.Recipe(holdout=0.0), model=Remembers())
    frame = Remembers.fed["X"]
    assert list(frame.columns) == ["when", "hour(when)", "weekday(when)", "month(when)", "price[EUR]", "level"]
    assert sorted(frame["level"].cat.categories) == ["a", "b", "c", "odd"]
    assert frame["level"].isna().sum() == 28
    assert frame["price[EUR]"].isna().sum() == 24
    seconds = small().column("when").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    assert np.array_equal(np.sort(frame["when"]), np.sort(seconds))
    assert set(frame["month(when)"]) == {1.0, 2.0, 3.0}
    # The column that orders the rows is no trend to be learned.
    bl.train(table_of("two"), model=Remembers())
    assert "when" not in Remembers.fed["X"].columns
    assert "hour(when)" in Remembers.fed["X"].columns
    # What training never saw is as if it were missing.
    unseen = {"when": [np.datetime64("2026-01-02T03:00", "us")], "price[EUR]": [1.0], "level": ["new"]}
    assert fit.model.predict(unseen).response.shape == (1,)


def test_what_is_delivered_was_fitted_to_all_rows() -> None:
    table = table_of("two")
    fit = bl.train(table, model=LGBMClassifier(verbosity=-1, random_state=0, **SMALL))
    model = brought(fit)
    rows = list(table.scan(model.columns))
    frame = estimator_rows(model.encoding, model.learner, "when", rows)
    assert list(frame.columns)[-2:] == ["price_EUR_", "level"]
    label = (np.asarray(small().column("two")) == "yes").astype(int)
    own = LGBMClassifier(verbosity=-1, random_state=0, **SMALL).fit(frame, label)
    assert np.array_equal(np.asarray(own.predict_proba(frame))[:, 1], fit.model.predict(table).response)


def test_what_takes_no_frame_is_fed_the_matrix_of_our_encoding_and_that_is_said() -> None:
    estimator = LogisticRegression()
    fit = bl.train(table_of("two"), model=estimator)
    assert not hasattr(estimator, "coef_"), "what was given is copied"
    assert brought(fit).learner.form == "matrix"
    (told,) = said(fit, Code.LEARNER_FED)
    assert "could not convert string to float" in told["refusal"]
    assert np.all(np.isfinite(fit.model.predict(table_of("two")).response))


def test_where_pandas_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brought_along, "_pandas_is_installed", lambda: False)
    fit = bl.train(table_of("two"), model=HistGradientBoostingClassifier(max_iter=5))
    assert brought(fit).learner.form == "matrix"
    (told,) = [str(note) for note in fit.notes if note.code is Code.LEARNER_FED]
    assert told.startswith("pandas is not installed, so it was offered no frame: sklearn.ensemble.Hist")


def test_the_texts_of_one_column_are_fed_as_they_are() -> None:
    table = bl.read(noted(0, 3).select(["note", "bought"]), target="bought", text=["note"])
    fit = bl.train(table, model=make_pipeline(TfidfVectorizer(), LogisticRegression()))
    assert brought(fit).learner.form == "texts"
    own, constant = losses(fit)
    assert own < constant


def test_weights_are_handed_on_and_class_weights_taken_out_of_the_probabilities() -> None:
    table = table_of("two", weight="weight")
    fit = bl.train(table, bl.Recipe(holdout=0.0), model=Remembers())
    weight = np.asarray(small().column("weight"))
    assert np.allclose(np.sort(Remembers.fed["weight"]), np.sort(weight / weight.mean()))
    one = np.average(np.asarray(small().column("two")) == "yes", weights=weight)
    assert np.allclose(fit.model.predict(table).response, one, rtol=1e-12)
    balanced = bl.train(table, bl.Recipe(holdout=0.0, class_weight="balanced"), model=Remembers())
    assert abs(np.average(Remembers.fed["y"], weights=Remembers.fed["weight"]) - 0.5) < 1e-12
    assert np.allclose(balanced.model.predict(table).response, one, rtol=1e-12)


@pytest.mark.parametrize(
    ("path", "objective"), [("lightgbm.LGBMRegressor", "poisson"), ("xgboost.XGBRegressor", "count:poisson")]
)
def test_twice_the_exposure_is_twice_the_count(path: str, objective: str) -> None:
    table = table_of("count", exposure="days")
    fit = bl.train(table, bl.Recipe(model=path, set={**SMALL, "objective": objective}))
    rows = small()
    twice = rows.set_column(rows.schema.get_field_index("days"), "days", [np.asarray(rows.column("days")) * 2.0])
    once, more = (fit.model.predict(one).response for one in (rows, twice))
    assert np.allclose(more, 2.0 * once, rtol=1e-6)
    assert fit.objective < fit.null_objective


@pytest.mark.parametrize(
    ("path", "settings", "taken"),
    [
        ("xgboost.XGBClassifier", {**SMALL, "n_estimators": 400, "early_stopping_rounds": 3}, True),
        ("lightgbm.LGBMClassifier", {**SMALL, "n_estimators": 400, "early_stopping_round": 3}, True),
        ("sklearn.ensemble.HistGradientBoostingClassifier", {"early_stopping": True, "n_iter_no_change": 2}, True),
        ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 7}, False),
    ],
)
def test_an_early_stop_is_found_on_rows_that_judge_nothing_and_taken_over(
    path: str, settings: dict[str, Any], taken: bool
) -> None:
    fit = bl.train(table_of("two"), bl.Recipe(model=path, set=settings))
    learner = brought(fit).learner
    if not taken:
        assert learner.rounds is None
        return
    (note,) = said(fit, Code.LEARNER_ROUNDS)
    assert learner.rounds == note["rounds"]
    assert learner.rounds is not None
    assert 1 <= learner.rounds < 100
    restored = brought(fit).estimator
    if learner.kept_by == "lightgbm":
        assert restored.booster.num_trees() == learner.rounds
    elif learner.kept_by == "xgboost":
        assert restored.booster.num_boosted_rounds() == learner.rounds
    else:
        assert restored.estimator.n_iter_ == learner.rounds
        assert restored.estimator.early_stopping is False


@pytest.mark.parametrize("estimator", [LinearSVC(), SGDClassifier(early_stopping=True)], ids=["svc", "sgd"])
def test_scores_become_probabilities_on_rows_that_judge_nothing(estimator: Any) -> None:
    fit = bl.train(table_of("two"), model=estimator)
    assert len(said(fit, Code.LEARNER_CALIBRATED)) == 1
    own, constant = losses(fit)
    assert own < 0.8 * constant


def test_the_curve_is_the_minimum_of_its_objective() -> None:
    rng = np.random.default_rng(0)
    score, weight = rng.normal(3.0, 5.0, 400), rng.uniform(0.5, 2.0, 400)
    label = (score + rng.logistic(size=400) * 4.0 > 4.0).astype(float)
    ones = weight[label == 1.0].sum()
    goal = np.where(label == 1.0, (ones + 1.0) / (ones + 2.0), 1.0 / (weight.sum() - ones + 2.0))

    def loss(at: Any) -> float:
        eta = at[0] * score + at[1]
        return float(np.sum(weight * (np.logaddexp(0.0, eta) - goal * eta)))

    found = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
    assert np.allclose(platt_curve(score, label, weight, "x"), found.x, rtol=1e-5)


def test_what_takes_no_weights_or_offsets_is_refused_them() -> None:
    with pytest.raises(UsageError, match="takes no sample_weight") as refused:
        bl.train(table_of("two", weight="weight"), model="sklearn.neighbors.KNeighborsClassifier")
    assert refused.value.code == "learner-weights"
    with pytest.raises(UsageError, match="Class weights were given") as refused:
        bl.train(table_of("two"), bl.Recipe(class_weight="balanced"), model="sklearn.neighbors.KNeighborsClassifier")
    assert refused.value.code == "learner-weights"
    for model in (LGBMRegressor(**SMALL), "sklearn.ensemble.HistGradientBoostingRegressor"):
        with pytest.raises(UsageError, match="to be added to the predictor") as refused:
            bl.train(table_of("count", exposure="days"), model=model)
        assert refused.value.code == "learner-offset"


def test_classes_in_another_order_are_put_in_theirs() -> None:
    class Told(Remembers):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Told:
            super().fit(X, y, sample_weight)
            self.classes_ = np.array([1, 0])
            return self

        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X)[:, ::-1]

    table, whole = table_of("two"), bl.Recipe(holdout=0.0)
    plain, told = (bl.train(table, whole, model=one).model.predict(table).response for one in (Remembers(), Told()))
    assert np.array_equal(plain, told)
