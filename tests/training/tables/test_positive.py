"""The positive class, which two classes are about; and labels and levels that differ in spaces and case alone."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score

import batchlearn as bl
from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.files import load
from batchlearn.training.train import iter_train
from batchlearn.training.verification.stored import verify_model

PLAIN = bl.Recipe(alpha=1e-3, holdout=0.0)


def rows_of(rarer: Any, other: Any, rows: int = 1_000) -> dict[str, Any]:
    """Rows of which about one in ten has the rarer label, where x is large."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=rows)
    hit = rng.random(rows) < 1.0 / (1.0 + np.exp(3.0 - 1.5 * x))
    return {"x": x, "y": [rarer if one else other for one in hit]}


def fitted(columns: dict[str, Any], recipe: bl.Recipe = PLAIN, **roles: Any) -> bl.Fit:
    return bl.train(bl.read(pa.table(columns), target="y", **roles), recipe)


def said(fit: bl.Fit) -> list[Note]:
    return [note for note in fit.notes if note.code is Code.POSITIVE_CLASS]


@pytest.mark.parametrize(
    ("one", "two", "positive"),
    [
        ("fraud", "ok", "fraud"),
        ("ok", "fraud", "ok"),
        ("YES", "no", "YES"),
        ("no", "Yes", "Yes"),
        ("True", "False", "True"),
        ("false", "true", "true"),
        ("0", "1", "1"),
        (0.0, 1.0, 1.0),
        (1.0, 0.0, 1.0),
        (1.0, 2.0, 1.0),
        (2.0, 1.0, 1.0),
        (3.0, 7.0, 3.0),
        (7.0, 3.0, 7.0),
        (True, False, True),
        (False, True, True),
        ("yes", "true", "yes"),
    ],
)
def test_one_true_and_yes_are_positive_else_the_rarer_class(one: Any, two: Any, positive: Any) -> None:
    fit = fitted(rows_of(one, two))
    assert fit.model.target.classes == (two if positive == one else one, positive)
    plain = {str(one).lower(), str(two).lower()} in ({"yes", "no"}, {"true", "false"}, {"0", "1"}, {"0.0", "1.0"})
    assert bool(said(fit)) != plain


def test_what_is_taken_as_positive_is_said_with_the_flag_that_turns_it_round() -> None:
    columns = rows_of("fraud", "all ok")
    fit = fitted(columns)
    (note,) = said(fit)
    assert note.values["share"] == pytest.approx(columns["y"].count("fraud") / 1_000)
    assert str(note).startswith("Positive is 'fraud', the rarer of the two classes, ")
    assert "--positive 'all ok'" in str(note)
    assert note.to_json() in fit.to_json()["noted"]
    assert fit.to_json()["positive"] == "fraud"
    turned = fitted(columns, bl.Recipe(alpha=1e-3, holdout=0.0, positive=" all ok"))
    assert turned.model.target.classes == ("fraud", "all ok")
    assert said(turned) == []
    table = bl.read(pa.table(columns))
    one, other = (fit.model.to_table(fit.model.predict(table)) for fit in (fit, turned))
    assert one.schema.names == ["prediction", "probability_fraud"]
    assert other.schema.names == ["prediction", "probability_all ok"]
    both = one.column(1).to_numpy() + other.column(1).to_numpy()
    assert both == pytest.approx(np.ones(1_000), abs=1e-6)
    assert one.column("prediction").equals(other.column("prediction"))


def test_metrics_and_costs_are_about_the_positive_class() -> None:
    columns = rows_of("fraud", "ok", 4_000)
    fit = fitted(columns, bl.Recipe(alpha=1e-3, costs=bl.Costs(1.0, 20.0)))
    found = bl.evaluate(fit.model, bl.read(pa.table(columns), target="y"))
    truth = np.asarray(columns["y"]) == "fraud"
    probability = fit.model.predict(bl.read(pa.table(columns))).response
    assert found.metrics["average_precision"].value == pytest.approx(average_precision_score(truth, probability))
    decided = np.asarray(fit.model.to_table(fit.model.predict(bl.read(pa.table(columns)))).column("prediction"))
    missed, alarmed = np.mean(truth & (decided == "ok")), np.mean(~truth & (decided == "fraud"))
    assert found.decision is not None
    assert found.decision.cost.value == pytest.approx(20.0 * missed + alarmed)
    assert alarmed > missed


def test_weights_say_which_class_is_rarer() -> None:
    columns = {**rows_of("few", "many"), "w": np.ones(1_000)}
    assert fitted(columns, weight="w").model.target.classes == ("many", "few")
    columns["w"] = np.where(np.asarray(columns["y"]) == "few", 100.0, 1.0)
    assert fitted(columns, weight="w").model.target.classes == ("few", "many")


def test_of_equally_frequent_classes_the_later_is_positive() -> None:
    fit = fitted({"x": np.arange(100.0) % 7, "y": ["a", "b"] * 50})
    assert fit.model.target.classes == ("a", "b")
    assert "the later of two classes as frequent" in str(said(fit)[0])


@pytest.mark.parametrize(
    ("labels", "recipe", "code"),
    [
        (["a", "b"], bl.Recipe(positive="c"), "positive-unknown"),
        (["a", "b", "c"], bl.Recipe(positive="c"), "positive-without-two-classes"),
        ([1.5, 2.5, 3.5], bl.Recipe(positive="1.5"), "positive-without-two-classes"),
        ([0.0, 1.0], bl.Recipe(positive="1", loss="squared"), "positive-without-two-classes"),
    ],
)
def test_a_positive_class_that_there_is_not_is_refused(labels: list[Any], recipe: bl.Recipe, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        fitted({"x": np.arange(60.0), "y": labels * (60 // len(labels))}, recipe)
    assert refused.value.code == code


def test_a_later_version_keeps_the_positive_class_of_the_first(tmp_path: Any) -> None:
    before = Target("y", "logistic", ("fraud", "ok"))
    table = bl.read(pa.table(rows_of("fraud", "ok")), target="y")
    steps = iter_train(table, PLAIN, before=before)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            fit: bl.Fit = end.value
            break
    assert fit.model.target.classes == ("fraud", "ok")
    assert said(fit) == []
    fit.save(tmp_path / "model")
    assert load(tmp_path / "model").target == before
    steps = iter_train(table, bl.Recipe(positive="fraud"), before=before)
    with pytest.raises(UsageError) as refused:
        next(step for step in steps if step.stage != "reading rows")
    assert refused.value.code == "positive-fixed"
    # Of other labels than before nothing is fixed.
    other = iter_train(table, bl.Recipe(positive="fraud"), before=Target("y", "logistic", ("a", "b")))
    assert next(other).stage == "reading rows"
    assert next(other)


# --- spaces and case --------------------------------------------------------------------------------------------------


def spaced(value: str, at: int) -> str:
    return (value, f" {value}", f"{value}\t ")[at % 3]


@pytest.mark.parametrize("as_category", [False, True])
def test_outer_spaces_of_labels_and_levels_do_not_matter(as_category: bool) -> None:
    columns = rows_of("yes", "no")
    town = [f"town {at % 7}" for at in range(1_000)]
    untidy = {**columns, "y": [spaced(one, at) for at, one in enumerate(columns["y"])]}
    untidy["town"] = [spaced(one, at // 2) for at, one in enumerate(town)]
    if as_category:
        untidy["town"] = pa.array(untidy["town"]).dictionary_encode()
    plain, fit = fitted({**columns, "town": town}), fitted(untidy)
    assert fit.model.target.classes == ("no", "yes")
    assert fit.model.encoding == plain.model.encoding
    np.testing.assert_array_equal(fit.model.parameters, plain.model.parameters)
    tidy, other = (fit.model.predict(bl.read(pa.table(one))).response for one in ({**columns, "town": town}, untidy))
    np.testing.assert_array_equal(tidy, other)
    found = bl.evaluate(fit.model, bl.read(pa.table(untidy), target="y"))
    assert found.unseen_classes == {}
    assert sum(one.rows for one in found.slices if one.level.startswith("(")) == 0


def test_models_of_before_tell_levels_and_classes_apart_by_their_spaces(tmp_path: Any) -> None:
    columns = {**rows_of("yes", "no"), "town": [("a", " a", "b")[at % 3] for at in range(1_000)]}
    columns["y"] = [" no" if one == "no" and at % 2 else one for at, one in enumerate(columns["y"])]
    table = bl.read(pa.table(columns), target="y")
    old = replace(table, outer_spaces=True)
    fit = bl.train(old, PLAIN)
    assert fit.model.target.classes == (" no", "no", "yes")
    model = replace(fit.model, outer_spaces=True)
    replace(fit, model=model).save(tmp_path / "old")
    loaded = load(tmp_path / "old")
    expected = model.predict(old).response
    np.testing.assert_array_equal(loaded.predict(bl.read(pa.table(columns))).response, expected)
    assert len({tuple(one) for one in expected[:3] - expected[:3].min()}) == 3
    assert verify_model(tmp_path / "old", bl.read(pa.table(columns))).holds
    assert bl.evaluate(loaded, bl.read(pa.table(columns), target="y")).unseen_classes == {}


def test_labels_that_differ_by_case_are_refused_with_a_condition_that_works() -> None:
    columns = rows_of("Yes", "no")
    columns["y"] = [("Yes", "YES ", "yes")[at % 17 % 3] if one == "Yes" else one for at, one in enumerate(columns["y"])]
    columns["y"][:5] = ["it's"] * 5
    columns["y"][5] = "It's"
    with pytest.raises(DataError, match="differ in the case of letters alone") as refused:
        fitted(columns)
    assert refused.value.code == "labels-by-case"
    typed = shlex.split(refused.value.message.partition("--where ")[2])
    assert len(typed) == 1
    kept = bl.train(bl.read(pa.table(columns), target="y", where=typed[0]), PLAIN)
    assert kept.model.target.classes == ("Yes", "it's", "no")
    assert kept.rows.used == sum(one in ("Yes", "no", "it's") for one in columns["y"])
    # A condition that was there before stays part of it.
    with pytest.raises(DataError) as refused:
        bl.train(bl.read(pa.table(columns), target="y", where="x > 0 or x < -1"), PLAIN)
    (both,) = shlex.split(refused.value.message.partition("--where ")[2])
    again = bl.train(bl.read(pa.table(columns), target="y", where=both), PLAIN)
    x = np.asarray(columns["x"])
    used = [one in ("Yes", "no", "it's") for one in columns["y"]] & ((x > 0) | (x < -1))
    assert again.rows.used == used.sum()


def test_levels_that_differ_by_case_are_noted_and_kept() -> None:
    columns = {**rows_of("yes", "no"), "town": [("Bonn", "BONN", "Kiel")[at % 3] for at in range(1_000)]}
    fit = fitted(columns)
    (note,) = [note for note in fit.notes if note.code is Code.LEVELS_BY_CASE]
    assert note.values == {"column": "town", "levels": ["BONN", "Bonn"], "sets": 1}
    assert {"town = Bonn", "town = BONN"} <= set(fit.model.encoding.names)
