"""Evaluation: of the recipe fitted to the earlier rows alone, on rows that nothing was chosen by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error, mean_tweedie_deviance
from tests.training.made import LOSSES, POWER, Floats, arrow, made, recipe_of, table_of

from batchlearn.data.encoding import Encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.split import hold_out, with_lots
from batchlearn.errors import DataError
from batchlearn.evaluation.metrics import first_score, target_metrics
from batchlearn.training import train as training_module
from batchlearn.training.evaluate import evaluate
from batchlearn.training.evaluate import evaluate_part as real_evaluate_part
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

TIGHT = 1e-14
ALPHA = 0.0025  # given, so that nothing else is chosen by data


def timed(loss: str = "squared", seed: int = 0, rows: int = 400) -> dict[str, Any]:
    """Return a made table in random order of time."""
    columns = made(rows, seed, loss)
    columns["time"] = np.random.default_rng(seed).permutation(rows).astype(float)
    return columns


def part_of(columns: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {name: np.asarray(values)[rows] for name, values in columns.items()}


def score(loss: str, label: Floats, response: Floats, weight: Floats | None = None) -> float:
    if loss in ("poisson", "gamma", "tweedie"):
        power = {"poisson": 1.0, "gamma": 2.0}.get(loss, POWER)
        return float(mean_tweedie_deviance(label, response, sample_weight=weight, power=power))
    metric = {"logistic": log_loss, "squared": mean_squared_error}[loss]
    return float(metric(label, response, sample_weight=weight))


def measured(fit: Fit) -> float:
    assert fit.evaluation is not None
    value = fit.evaluation.metrics[first_score(target_metrics(fit.model.target)).name].value
    assert value is not None
    return value


class Held(NamedTuple):
    """What an evaluation was given."""

    encoding: Encoding
    parameters: Floats


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Held]:
    found: list[Held] = []

    def spying(ledger: Any, split: Any, encoding: Any, later: Any, optimum: Any, *others: Any) -> Any:
        found.append(Held(encoding, optimum.parameters))
        return real_evaluate_part(ledger, split, encoding, later, optimum, *others)

    monkeypatch.setattr(training_module, "evaluate_part", spying)
    return found


# --- what is evaluated ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_evaluation_is_of_the_recipe_fitted_to_the_earlier_rows(loss: str, weighted: bool) -> None:
    columns = timed(loss)
    roles = {"weight": "weight"} if weighted else {}
    fit = train(table_of(columns, time="time", **roles), recipe_of(loss, ALPHA, TIGHT), threads=1)
    late = columns["time"] >= 320.0
    early = train(table_of(part_of(columns, ~late), time="time", **roles), recipe_of(loss, ALPHA, TIGHT, holdout=0.0))
    later = part_of(columns, late)
    response = early.model.predict(arrow(later)).response
    expected = score(loss, later["label"], response, later["weight"] if weighted else None)
    assert measured(fit) == pytest.approx(expected, rel=1e-9)
    assert fit.evaluation is not None
    assert fit.evaluation.rows == 80
    constant = np.full(80, np.average(columns["label"][~late], weights=columns["weight"][~late] if weighted else None))
    name = first_score(target_metrics(fit.model.target)).name
    baseline = fit.evaluation.baselines["constant"][name].value
    assert baseline == pytest.approx(score(loss, later["label"], constant, later["weight"] if weighted else None))
    assert "last_value" in fit.evaluation.baselines


def test_without_time_random_rows_are_held_out_and_there_is_no_last_value() -> None:
    fits = [train(table_of(made()), Recipe(alpha=ALPHA, seed=seed), threads=1) for seed in (0, 0, 1)]
    assert measured(fits[0]) == measured(fits[1]) != measured(fits[2])
    assert fits[0].evaluation is not None
    assert set(fits[0].evaluation.baselines) == {"constant"}
    assert any("random rows, 80 of 400" in note for note in map(str, fits[0].notes))
    assert np.array_equal(fits[0].model.parameters, fits[2].model.parameters)


def test_the_model_given_back_is_of_every_row() -> None:
    columns = timed()
    with_evaluation = train(table_of(columns, time="time"), Recipe(alpha=ALPHA), threads=1)
    without = train(table_of(columns, time="time"), Recipe(alpha=ALPHA, holdout=0.0), threads=1)
    assert np.array_equal(with_evaluation.model.parameters, without.model.parameters)
    assert with_evaluation.certificate == without.certificate
    assert without.evaluation is None
    assert "no rows were held out" in map(str, without.notes)
    assert with_evaluation.rows.used == without.rows.used == 400


# --- nothing looks ahead ----------------------------------------------------------------------------------------------


def test_labels_of_later_rows_change_nothing_that_is_evaluated(held: list[Held]) -> None:
    columns = timed("logistic")
    late = columns["time"] >= 320.0
    train(table_of(columns, time="time"), threads=1)
    columns["label"] = np.where(late, 1.0 - columns["label"], columns["label"])
    train(table_of(columns, time="time"), threads=1)
    assert held[0].encoding == held[1].encoding
    assert np.array_equal(held[0].parameters, held[1].parameters)


def test_features_of_later_rows_change_nothing_that_is_evaluated(held: list[Held]) -> None:
    columns = timed()
    late = columns["time"] >= 320.0
    first = train(table_of(columns, time="time"), threads=1)
    columns["first"] = np.where(late, np.nan, columns["first"])
    columns["second"] = np.where(late, 1e9, columns["second"])
    columns["colour"] = ["new" if later else level for later, level in zip(late, columns["colour"], strict=True)]
    columns["weight"] = np.where(late, 7.0, 1.0)
    second = train(table_of(columns, time="time"), threads=1)
    assert held[0].encoding == held[1].encoding
    assert np.array_equal(held[0].parameters, held[1].parameters)
    # The model of all rows does know them.
    assert second.model.encoding != first.model.encoding
    assert "colour = new" in second.coefficients


def test_what_is_chosen_by_data_is_chosen_by_the_earlier_rows(held: list[Held]) -> None:
    columns = timed(rows=1200, seed=1)
    late = columns["time"] >= 960.0
    columns["label"] = np.sin(columns["first"]) + 0.1 * columns["label"]
    first = train(table_of(columns, time="time"), threads=1)
    columns["label"] = np.where(late, 5.0 * columns["first"], columns["label"])
    columns["second"] = np.where(late, 3.0, columns["second"])
    second = train(table_of(columns, time="time"), threads=1)
    assert first.structure.rules == second.structure.rules
    assert first.structure.strengths == second.structure.strengths
    assert first.structure.rules.additive
    assert held[0].encoding == held[1].encoding
    assert np.array_equal(held[0].parameters, held[1].parameters)


# --- where it cannot be done ------------------------------------------------------------------------------------------


def test_a_class_that_came_later_leaves_no_evaluation_but_a_model() -> None:
    columns = timed("logistic")
    columns["label"] = (columns["time"] >= 350.0).astype(float)
    fit = train(table_of(columns, time="time"), threads=1)
    assert fit.evaluation is None
    assert any(note.startswith("No evaluation: the earlier rows hold only the label 0") for note in map(str, fit.notes))
    assert fit.certificate.certified


def test_counts_that_came_later_leave_no_evaluation_but_a_model() -> None:
    columns = timed("poisson")
    columns["label"] = np.where(columns["time"] >= 350.0, 2.0, 0.0)
    fit = train(table_of(columns, time="time"), Recipe("poisson"), threads=1)
    assert fit.evaluation is None
    assert fit.certificate.certified


def test_earlier_rows_without_a_finite_optimum_leave_no_evaluation_but_a_model() -> None:
    columns = timed("logistic", seed=2)
    early = columns["time"] < 320.0
    columns["label"] = np.where(early, (columns["first"] > 5.0).astype(float), columns["label"])
    columns["label"] = np.where(early, columns["label"], 1.0 - (columns["first"] > 5.0))
    fit = train(table_of(columns, time="time"), Recipe(alpha=0.0), threads=1)
    assert fit.evaluation is None
    assert any(note.startswith("No evaluation: The objective has no finite optimum") for note in map(str, fit.notes))
    assert fit.certificate.certified


def test_one_time_for_all_rows_is_evaluated_on_random_ones() -> None:
    columns = timed()
    columns["time"] = np.full(400, 3.0)
    fit = train(table_of(columns, time="time"), threads=1)
    assert fit.evaluation is not None
    assert fit.evaluation.rows == 80
    assert any("because all rows have the same time" in note for note in map(str, fit.notes))


def test_responses_beyond_all_floats_leave_no_evaluation_but_a_model() -> None:
    columns = timed("poisson", seed=3)
    columns["first"] = np.where(columns["time"] >= 399.0, 1e7, columns["first"])
    fit = train(table_of(columns, time="time"), Recipe("poisson"), threads=1)
    assert fit.evaluation is None
    assert any(note.startswith("No evaluation: The model gave the response inf") for note in map(str, fit.notes))


# --- leave one out ----------------------------------------------------------------------------------------------------


def test_leaving_one_row_out_is_what_training_without_it_gives() -> None:
    columns = {"label": made(60, seed=4)["label"], "first": made(60, seed=4)["first"]}
    table = table_of(columns)
    fit = train(table, Recipe(alpha=1e-12, tolerance=TIGHT, holdout=0.2, seed=1), threads=1)
    assert fit.evaluation is not None
    assert fit.evaluation.leave_one_out is not None
    late = hold_out(with_lots(table, read_ledger(table)), 0.2, 1).late
    assert late is not None
    held = np.flatnonzero(late)
    x, y = np.delete(columns["first"], held), np.delete(columns["label"], held)
    errors = []
    for i in range(48):
        slope, intercept = np.polyfit(np.delete(x, i), np.delete(y, i), 1)
        errors.append((y[i] - intercept - slope * x[i]) ** 2)
    assert fit.evaluation.leave_one_out.estimate.value == pytest.approx(np.mean(errors), rel=1e-6)
    assert (fit.evaluation.leave_one_out.metric, fit.evaluation.leave_one_out.rows) == ("mse", 48)


# --- a model on another table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_is_evaluated_on_every_labelled_row(loss: str) -> None:
    fit = train(table_of(made(loss=loss)), recipe_of(loss, holdout=0.0), threads=1)
    columns = made(150, 5, loss)
    response = fit.model.predict(arrow(columns)).response
    columns["label"] = np.append(columns["label"][:100], np.full(50, np.nan))
    for roles in ({}, {"weight": "weight"}):
        evaluation = evaluate(fit.model, table_of(columns, **roles))
        weight = columns["weight"][:100] if roles else None
        expected = score(loss, columns["label"][:100], response[:100], weight)
        assert evaluation.rows == 100
        assert evaluation.metrics[first_score(target_metrics(fit.model.target)).name].value == pytest.approx(expected)


def test_a_class_never_seen_has_a_finite_loss_and_is_reported() -> None:
    columns = made(loss="logistic")
    columns["label"] = ["yes" if label else "no" for label in columns["label"]]
    fit = train(table_of(columns), threads=1)
    columns["label"] = ["perhaps", "perhaps", None, *columns["label"][3:]]
    columns["weight"][1] = 0.0
    evaluation = evaluate(fit.model, table_of(columns, weight="weight"))
    assert evaluation.unseen_classes == {"perhaps": 1}
    assert evaluation.rows == 398
    value = evaluation.metrics["log_loss"].value
    assert value is not None
    assert np.isfinite(value)


def test_rows_without_an_offset_are_set_aside_and_not_asked_for() -> None:
    columns = made(loss="poisson", seed=6)
    fit = train(table_of(columns, exposure="exposure"), Recipe("poisson", holdout=0.0), threads=1)
    whole = evaluate(fit.model, table_of(part_of(columns, slice(10, None))))
    columns["exposure"] = np.append(np.full(10, np.nan), columns["exposure"][10:])
    evaluation = evaluate(fit.model, table_of(columns))
    assert evaluation.rows == 390
    assert evaluation.metrics == whole.metrics
    with pytest.raises(DataError) as refused:
        fit.model.predict(arrow(columns))
    assert refused.value.code == "offset-missing"


def test_rows_without_a_group_share_no_last_value_with_another_group() -> None:
    columns = timed(seed=7)
    fit = train(table_of(columns, time="time"), Recipe(holdout=0.0), threads=1)
    columns["group"] = [None if i % 2 else "only" for i in range(400)]
    named = {**columns, "group": ["other" if i % 2 else "only" for i in range(400)]}
    found = [evaluate(fit.model, table_of(part, time="time", group="group")).baselines for part in (columns, named)]
    assert found[0] == found[1]


def test_levels_are_named_in_slices_and_unseen_ones_too() -> None:
    fit = train(table_of(made(seed=8)), Recipe(holdout=0.0), threads=1)
    columns = made(200, 9)
    columns["colour"] = ["violet"] * 100 + columns["colour"][100:]
    columns["label"][:100] += 20.0
    evaluation = evaluate(fit.model, table_of(columns))
    levels = {one.level for one in evaluation.slices if one.column == "colour"}
    assert levels == {"(not seen in training)"}


def test_a_target_of_another_kind_is_refused() -> None:
    fit = train(table_of(made(seed=10)), Recipe(holdout=0.0), threads=1)
    columns = {**made(50, 1), "label": ["text"] * 50}
    with pytest.raises(DataError) as refused:
        evaluate(fit.model, table_of(columns))
    assert refused.value.code == "target-kind"


def grouped(rows: int = 600, people: int = 40) -> dict[str, Any]:
    """Return a made table of people who differ in a way that no column tells; the person is no feature."""
    columns = made(rows)
    person = np.random.default_rng(1).integers(0, people, rows)
    columns["person"] = [f"p{one}" for one in person]
    columns["label"] = columns["label"] + np.random.default_rng(2).normal(size=people)[person]
    return columns


def held_out_people(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, **roles: Any) -> tuple[Fit, set[int], set[int]]:
    found: list[tuple[set[int], set[int]]] = []

    def spying(ledger: Any, split: Any, *others: Any) -> Any:
        found.append((set(ledger.group[split.early].tolist()), set(ledger.group[split.late].tolist())))
        return real_evaluate_part(ledger, split, *others)

    monkeypatch.setattr(training_module, "evaluate_part", spying)
    columns = {**grouped(), "time": np.arange(600.0)}
    fit = train(table_of(columns, group="person", **roles), recipe, threads=1)
    return fit, *found[0]


def test_whole_groups_are_held_out_where_there_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, early, late = held_out_people(monkeypatch, Recipe(alpha=ALPHA), drop=["time"])
    assert not early & late
    assert any(note.startswith("Held out: whole groups, drawn at random") for note in map(str, fit.notes))
    assert not any("learned from too" in note for note in map(str, fit.notes))


def test_d10_groups_on_both_sides_of_a_time_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, early, late = held_out_people(monkeypatch, Recipe(alpha=ALPHA), time="time")
    assert early & late
    (note,) = [note for note in map(str, fit.notes) if "learned from too" in note]
    assert note.startswith(f"{len(early & late)} of the {len(late)} groups of 'person'")
    assert "--split group" in note
    fit, early, late = held_out_people(monkeypatch, Recipe(alpha=ALPHA, split="group"), time="time")
    assert not early & late
    assert not any("learned from too" in note for note in map(str, fit.notes))


def test_intervals_widen_for_rows_that_belong_together() -> None:
    columns = grouped(4_000)
    model = train(table_of(columns, drop=["person"]), Recipe(alpha=ALPHA, holdout=0.0), threads=1).model
    widths = []
    for group in ("person", None):
        found = evaluate(model, table_of(columns, group=group)).metrics["mse"]
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 1.5 * widths[1]


def test_a_split_that_cannot_be_is_refused_before_training() -> None:
    with pytest.raises(DataError) as caught:
        train(table_of({**made(), "person": ["p1"] * 400}, group="person"), Recipe(split="group"), threads=1)
    assert caught.value.code == "one-group"
