"""Models on the same rows: differences that hold as often as they say, a choice with its reason, measured costs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.reading import Reading

import batchlearn as bl
from batchlearn.comparison.judging import ResidentMemory
from batchlearn.comparison.model_entry import ModelEntry
from batchlearn.comparison.models import (
    JudgedModels,
    ModelDifference,
    compare_models,
    judge_models,
    recommend_model,
)
from batchlearn.data.split import SplitKind
from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.paired import Difference
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.formatting.notes import Code
from batchlearn.report.comparison.models import models_page, show_models
from batchlearn.report.document import Document
from batchlearn.report.terminal import printed

NUMBER = Target("y", "squared")
# Of what the second model gets wrong on average beyond the first.
TRUE = 0.05


def pair(seed: int, kind: str, difference: float, rows: int = 1_500) -> list[ScoredRows]:
    """Two models whose squared errors differ by this on average over the rows that there could be.

    Errors are common to the rows of a group, or drift through time, so rows are worth less than their number.
    """
    rng = np.random.default_rng(seed)
    group, time = None, None
    if kind == "rows":
        common = np.zeros((2, rows))
    elif kind == "groups":
        sizes = 1 + rng.poisson(9, rows)
        group = np.repeat(np.arange(rows), sizes)[:rows]
        common = rng.normal(size=(2, group[-1] + 1))[:, group]
    else:
        time = np.arange(rows, dtype=np.float64)
        shocks = rng.normal(size=(2, rows + 300))
        common = np.stack([np.convolve(one, 0.9 ** np.arange(50), "full")[300 : rows + 300] for one in shocks])
        common /= np.sqrt(np.sum(0.81 ** np.arange(50)))
    errors = common + rng.normal(size=(2, rows))
    errors[1] *= np.sqrt(1.0 + difference / (1.0 + (kind != "rows")))
    label = rng.normal(size=rows)
    return [ScoredRows(label, label + error, group=group, time=time) for error in errors]


@pytest.mark.parametrize("difference", [0.0, TRUE])
@pytest.mark.parametrize("kind", ["rows", "groups", "time"])
def test_of_two_hundred_pairs_at_most_ten_are_told_wrong(kind: str, difference: float) -> None:
    missed = wrong = 0
    for seed in range(200):
        judged = judge_models(["a", "b"], pair(seed, kind, difference), NUMBER)
        found = judged.differences[0]
        assert found.difference.low is not None
        assert found.difference.high is not None
        missed += not found.difference.low <= -difference <= found.difference.high
        # Saying which is better, where neither is or the other one is.
        choice = recommend_model(judged, frozenset())
        wrong += choice.reason.code is Code.MODEL_TOLD_APART and (difference == 0.0 or choice.model != "a")
    assert missed <= 10
    assert wrong <= 10


def test_a_difference_that_is_large_is_found() -> None:
    told = [judge_models(["a", "b"], pair(seed, "rows", 0.5), NUMBER).differences[0].told_apart for seed in range(50)]
    assert sum(told) >= 49


def test_differences_are_row_by_row_and_weighted() -> None:
    rng = np.random.default_rng(0)
    label, weight = rng.normal(size=400), rng.uniform(0.5, 2.0, 400)
    error = rng.normal(size=400)
    rows = [ScoredRows(label, label + error * scale, weight) for scale in (1.0, 1.1)]
    judged = judge_models(["a", "b"], rows, NUMBER)
    squares = [(one.response - label) ** 2 for one in rows]
    assert judged.metric == "mse"
    assert [one.value for one in judged.losses] == pytest.approx([np.average(each, weights=weight) for each in squares])
    expected = np.average(squares[0] - squares[1], weights=weight)
    assert judged.differences[0].difference.value == pytest.approx(expected)
    # Row by row: what both get wrong is in neither end.
    paired = judged.differences[0].difference
    assert paired.high is not None
    assert paired.high - paired.value < 0.5 * ((judged.losses[0].high or 0.0) - (judged.losses[0].value or 0.0))


def test_rows_of_a_class_that_no_model_knows_judge_nobody() -> None:
    target = Target("y", "logistic", ("no", "yes"))
    label = np.array([0.0, 1.0] * 60)
    label[:20] = np.nan
    rows = [ScoredRows(label, np.full(120, share)) for share in (0.5, 0.6)]
    assert judge_models(["a", "b"], rows, target).losses[0].value == pytest.approx(np.log(2.0))
    with pytest.raises(DataError) as caught:
        judge_models(["a", "b"], [ScoredRows(np.full(9, np.nan), np.full(9, 0.5))] * 2, target)
    assert caught.value.code == "nothing-to-judge"


# --- the recommendation ---------------------------------------------------------------------------------------------


def judged(*losses: float, reach: float | None = 0.02) -> JudgedModels:
    names = tuple("abc"[: len(losses)])
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    differences = tuple(ModelDifference(names[i], names[j], between(losses[i] - losses[j], reach)) for i, j in pairs)
    return JudgedModels("log_loss", names, tuple(Estimate(one, None, None) for one in losses), differences)


def between(value: float, reach: float | None) -> Difference:
    return Difference(value, None, None) if reach is None else Difference(value, value - reach, value + reach)


@pytest.mark.parametrize(
    ("losses", "certified", "model", "code", "other"),
    [
        ((0.30, 0.40, 0.50), "", "a", Code.MODEL_TOLD_APART, "b"),
        ((0.30, 0.31, 0.50), "", "a", Code.MODEL_AS_GOOD, "b"),
        ((0.30, 0.31, 0.50), "b", "b", Code.MODEL_AS_GOOD, "a"),
        ((0.31, 0.30, 0.50), "ac", "a", Code.MODEL_AS_GOOD, "b"),
        ((0.30, 0.40, 0.50), "bc", "a", Code.MODEL_TOLD_APART, "b"),
        ((0.30, 0.31, 0.311), "c", "c", Code.MODEL_AS_GOOD, "a"),
        # Not told apart, and more than a twentieth worse.
        ((0.30, 0.318, 0.50), "b", "a", Code.MODEL_AS_GOOD, "b"),
    ],
)
def test_the_best_is_recommended_or_a_certified_one_that_is_as_good(
    losses: tuple[float, ...], certified: str, model: str, code: Code, other: str
) -> None:
    choice = recommend_model(judged(*losses), frozenset(certified))
    assert (choice.model, choice.reason.code, choice.reason.values["other"]) == (model, code, other)
    assert choice.reason.values["certified"] is (model in certified)


def test_no_certified_model_is_recommended_that_another_one_beats_by_far() -> None:
    # As on hours of bike rides: the linear model's loss is so erratic that its interval holds 0.
    losses = {"additive": 8_669.0, "linear": 18_041.0, "boosting": 4_162.0}
    reach = {("additive", "linear"): 20_000.0, ("additive", "boosting"): 3_000.0, ("linear", "boosting"): 20_000.0}
    names = tuple(losses)
    pairs = tuple(ModelDifference(a, b, between(losses[a] - losses[b], reach[a, b])) for a, b in reach)
    found = JudgedModels("mse", names, tuple(Estimate(one, None, None) for one in losses.values()), pairs)
    choice = recommend_model(found, frozenset({"additive", "linear"}))
    assert (choice.model, choice.reason.values["other"]) == ("boosting", "additive")
    assert str(choice.reason) == "Its MSE is lower than that of additive, the next one, by 4507 (1507 to 7507)."
    # Of two certified ones the better, also where it is the one that is told from the best.
    closer = replace(found, losses=tuple(Estimate(one, None, None) for one in (10.2, 10.4, 10.0)))
    assert recommend_model(closer, frozenset({"additive", "linear"})).model == "boosting"


def test_a_smaller_loss_that_may_be_chance_is_called_so() -> None:
    reason = recommend_model(judged(0.30, 0.318), frozenset("b")).reason
    assert str(reason) == "Its log loss is the smallest; its difference to b, -0.018 (-0.038 to +0.002), may be chance."


def test_the_reason_is_seen_from_the_model_recommended() -> None:
    reason = recommend_model(judged(0.40, 0.30), frozenset()).reason
    assert str(reason) == "Its log loss is lower than that of a, the next one, by 0.1 (0.08 to 0.12)."
    reason = recommend_model(judged(0.31, 0.30), frozenset("a")).reason
    assert str(reason) == (
        "Not distinguishable from b here (difference in log loss +0.01 (-0.01 to +0.03)), and certified."
    )
    assert "Too few rows" in str(recommend_model(judged(0.3, 0.4, reach=None), frozenset()).reason)


# --- whole comparisons ----------------------------------------------------------------------------------------------

BOOSTED = ModelEntry("lightgbm.LGBMClassifier", {"n_jobs": 1, "n_estimators": 30})
LINEAR_ONES = ("linear", ModelEntry("sklearn.linear_model.LogisticRegression", {"max_iter": 300}))


def rows(seed: int = 0, number: int = 1_200) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, number))
    town = rng.choice(["a", "b", "c"], number)
    eta = np.sin(2.0 * x) + x * z + (town == "b")
    return {"x": x, "z": z, "town": town, "day": np.arange(number), "y": rng.random(number) < 1 / (1 + np.exp(-eta))}


@pytest.fixture(scope="module")
def compared() -> bl.ModelComparison:
    return compare_models(bl.read(rows(), target="y", time="day"), ["additive", "linear", BOOSTED])


def test_each_model_is_trained_on_the_same_rows_and_judged_on_the_later_ones(compared: bl.ModelComparison) -> None:
    assert (compared.rows, compared.held_out) == (960, 240)
    assert [one.name for one in compared.outcomes] == ["additive", "linear", BOOSTED.title]
    # As `train` judges the same recipe on its own split.
    fit = bl.train(bl.read(rows(), target="y", time="day"))
    assert fit.evaluation is not None
    assert compared.outcomes[0].loss.value == pytest.approx(fit.evaluation.metrics["log_loss"].value, rel=1e-9)
    alone = bl.train(bl.read(rows(), target="y", time="day"), bl.Recipe(model=BOOSTED.name, set=BOOSTED.settings))
    assert alone.evaluation is not None
    assert compared.outcomes[2].loss.value == pytest.approx(alone.evaluation.metrics["log_loss"].value, rel=1e-6)
    linear = compared.outcomes[1]
    assert linear.evaluation.metrics["log_loss"].value == linear.loss.value
    assert linear.certificate.certified
    assert len(compared.differences) == 3


def test_what_models_cost_and_prove_is_told(compared: bl.ModelComparison) -> None:
    found = compared.to_json()
    keys = "name metric loss low high seconds memory bytes calibration certificate why_no_certificate"
    assert all(set(one) == set(keys.split()) for one in found["models"])
    additive, linear, boosted = found["models"]
    assert boosted["certificate"] is None
    assert "lightgbm" in boosted["why_no_certificate"]
    assert additive["why_no_certificate"] is None
    assert additive["certificate"]["loss_bound"] < 1e-3
    assert all(one["seconds"] > 0.0 and one["bytes"] > 1_000 for one in found["models"])
    assert 0.3 < additive["calibration"]["slope"] < 3.0
    assert {"a", "b", "difference", "low", "high"} == set(found["differences"][0])
    assert found["recommendation"].keys() == {"model", "reason", "noted"}
    assert found["question"] == "models"
    assert linear["loss"] > additive["loss"]


def test_rows_are_called_later_only_where_a_time_says_so(compared: bl.ModelComparison) -> None:
    drawn = compare_models(
        bl.read({name: one for name, one in rows().items() if name != "day"}, target="y"), LINEAR_ONES
    )
    shown = []
    for found in (compared, drawn, replace(drawn, split=SplitKind.GROUP)):
        document = Document()
        show_models(document, found)
        shown.append((printed(document), Reading(models_page(found)).text))
    for said in shown[0]:
        assert "240 later rows that none has seen" in said
    for said in shown[2]:
        assert "240 rows that none has seen, of whole groups drawn at random" in said
    for said in shown[1]:
        assert "240 rows that none has seen, drawn at random" in said
        assert not {"earlier", "later"} & set(said.split())


def test_memory_that_a_training_takes_is_seen() -> None:
    with ResidentMemory() as memory:
        held = np.ones(30_000_000)
        time.sleep(0.05)
    assert 200e6 < memory.grown < 400e6
    assert held[0] == 1.0


def test_a_model_of_the_users_file_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ("from sklearn.linear_model import LogisticRegression", "def build():", "    return LogisticRegression()")
    Path("mine.py").write_text("\n".join(lines))
    found = compare_models(bl.read(rows(), target="y"), ["linear", "mine.py:build"])
    assert [one.name for one in found.outcomes] == ["linear", "mine.py:build"]
    assert found.outcomes[0].loss.value == pytest.approx(found.outcomes[1].loss.value or 0.0, abs=0.01)


@pytest.mark.parametrize(
    ("models", "code"),
    [
        (["additive"], "models-to-compare"),
        (["linear", "linear"], "models-to-compare"),
        (["linear", "lightgbm.NoSuchThing"], "learner-name"),
        (["linear", "nothing"], "learner-path"),
    ],
)
def test_what_cannot_be_compared_is_refused(models: list[str], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        compare_models(bl.read(rows(number=100), target="y"), models)
    assert caught.value.code == code


def test_without_rows_to_judge_on_there_is_no_comparison() -> None:
    with pytest.raises(UsageError) as caught:
        compare_models(bl.read(rows(number=100), target="y"), ["linear", "additive"], bl.Recipe(holdout=0.0))
    assert caught.value.code == "nothing-held-out"
    with pytest.raises(UsageError) as caught:
        compare_models(bl.read({"x": [1.0, 2.0]}), ["linear", "additive"])
    assert caught.value.code == "no-target"
