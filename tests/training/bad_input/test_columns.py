"""Bad input that only training or prediction can meet: each refused with a code, or accepted and said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.training.made import arrow, made, table_of

from batchlearn.errors import DataError, NoFiniteOptimum, UsageError
from batchlearn.tables.table import read
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

PLAIN = Recipe(alpha=0.0025, tolerance=1e-14, holdout=0.0)
FREE = Recipe(alpha=0.0, holdout=0.0)


def refused(columns: dict[str, Any], recipe: Recipe = PLAIN, **roles: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        train(table_of(columns, **roles), recipe, threads=1)
    assert caught.value.exit_code == 3
    return caught.value


def unbounded(columns: dict[str, Any], recipe: Recipe = FREE) -> NoFiniteOptimum:
    with pytest.raises(NoFiniteOptimum) as caught:
        train(table_of(columns), recipe, threads=1)
    assert caught.value.exit_code == 7
    return caught.value


def classes(seed: int = 0) -> dict[str, Any]:
    """Return two classes that no column tells apart."""
    rng = np.random.default_rng(seed)
    return {"label": rng.integers(0, 2, 60).astype(float), "first": rng.normal(size=60), "second": rng.normal(size=60)}


def same_predictions(columns: dict[str, Any], others: dict[str, Any], tolerance: float = 1e-9) -> None:
    recipe = Recipe(alpha=0.0025, tolerance=1e-14)
    fits = [train(table_of(part), recipe, threads=1) for part in (columns, others)]
    shown = [fit.model.predict(arrow(part)).response for fit, part in zip(fits, (columns, others), strict=True)]
    assert shown[1] == pytest.approx(shown[0], rel=tolerance, abs=tolerance)
    assert [fit.certificate.certified for fit in fits] == [True, True]
    assert np.ptp(shown[0]) > 0.1


# --- rows and labels --------------------------------------------------------------------------------------------------


def test_d3_one_row() -> None:
    error = refused({"label": [1.0], "first": [2.0]}, Recipe("squared"))
    assert error.code == "too-few-rows"
    assert "at least 2" in error.message


def test_d3_one_row_with_a_label() -> None:
    assert refused({"label": [1.0, np.nan, np.nan], "first": [2.0, 3.0, 4.0]}, Recipe("squared")).code == "too-few-rows"


@pytest.mark.parametrize("labels", [["yes"] * 20, [1.0] * 20, [True] * 20, ["yes"] * 19 + [None]])
def test_d5_one_class(labels: list[Any]) -> None:
    error = refused({"label": labels, "first": np.arange(20.0)})
    assert error.code == "one-class"
    assert "'label'" in error.message


def test_d29_a_missing_label_is_unlabelled() -> None:
    columns = made()
    columns["label"][:7] = np.nan
    fit = train(table_of(columns), PLAIN, threads=1)
    assert fit.rows.to_json() == {"read": 400, "used": 393, "unlabelled": 7, "rejected": {}}


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_d29_an_infinite_label(value: float) -> None:
    columns = made()
    columns["label"][11] = value
    error = refused(columns)
    assert error.code == "label-infinite"
    assert "row 12" in error.message


def test_d29_no_label_at_all() -> None:
    assert refused({"label": np.full(9, np.nan), "first": np.arange(9.0)}).code == "no-labels"


def test_d30_a_third_class() -> None:
    columns = made(loss="logistic")
    columns["label"] = ["yes" if label else "no" for label in columns["label"]]
    columns["label"][5] = "Yess"
    fit = train(table_of(columns), Recipe(), threads=1)
    assert fit.model.target.classes == ("Yess", "no", "yes")
    assert any("rows is Yess" in note for note in map(str, fit.notes))
    # A third spelling is none: it is refused with what leaves it out.
    columns["label"][5] = "Yes"
    with pytest.raises(DataError, match=r"case of letters alone.*--where .label not in \('Yes'\).$"):
        train(table_of(columns), Recipe(), threads=1)


def test_d30_a_third_number() -> None:
    columns = made(loss="logistic")
    columns["label"][5] = 2.0
    with pytest.raises(UsageError) as caught:
        train(table_of(columns), Recipe("logistic"), threads=1)
    assert caught.value.code == "loss-for-two"
    fit = train(table_of(columns), PLAIN, threads=1)
    assert any("3 different numbers" in note and "not as classes" in note for note in map(str, fit.notes))


def test_text_under_a_loss_for_numbers() -> None:
    columns = made()
    columns["label"] = ["yes" if i % 2 else "no" for i in range(400)]
    with pytest.raises(UsageError) as caught:
        train(table_of(columns), Recipe("squared"), threads=1)
    assert caught.value.code == "loss-for-classes"
    assert caught.value.exit_code == 2


def test_negative_counts() -> None:
    columns = made(loss="poisson")
    columns["label"][3] = -1.0
    error = refused(columns, Recipe("poisson"))
    assert error.code == "label-negative"
    assert "-1" in error.message
    assert train(table_of(columns), Recipe("squared", 0.0025), threads=1).certificate.certified


def test_a_target_that_is_also_dropped() -> None:
    with pytest.raises(UsageError) as caught:
        table_of(made(), drop=["label"])
    assert caught.value.code == "role-repeated"


# --- features ---------------------------------------------------------------------------------------------------------


def test_d27_a_missing_feature_is_imputed_and_said() -> None:
    columns = made()
    columns["first"][:40] = np.nan
    fit = train(table_of(columns), PLAIN, threads=1)
    assert "first = (missing)" in fit.coefficients
    assert any("first (10.00%)" in note for note in map(str, fit.notes))
    columns["second"][0] = np.nan
    assert np.isfinite(fit.model.predict(arrow(columns)).response).all()


def test_d31_denormals_are_accepted() -> None:
    columns = made()
    # So few digits that none is lost: scaled up, they are the same numbers.
    small = np.ldexp(np.rint(np.ldexp(columns["first"], 10)), -1050)
    assert 0.0 < np.abs(small).max() < 2.3e-308
    same_predictions({**columns, "first": np.ldexp(small, 1040)}, {**columns, "first": small})
    fit = train(table_of({**columns, "first": small}), PLAIN, threads=1)
    assert fit.coefficients["first"] == pytest.approx(
        train(table_of(columns), PLAIN).coefficients["first"] * 3.0, rel=0.1
    )
    assert any("one standard deviation, not for one unit" in note and "first" in note for note in map(str, fit.notes))


@pytest.mark.parametrize("factor", [1e30, 1e-30, 1e140, 1e-300])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_d32_very_large_and_very_small_columns(factor: float, loss: str) -> None:
    columns = made(loss=loss)
    second = columns["second"] * factor**-0.3
    same_predictions(columns, {**columns, "first": columns["first"] * factor, "second": second})


def test_d34_a_constant_column_is_left_out_and_said() -> None:
    columns = made()
    fit = train(table_of({**columns, "same": np.full(400, 0.1)}), PLAIN, threads=1)
    assert "'same' was left out: it is constant." in map(str, fit.notes)
    assert np.array_equal(fit.model.parameters, train(table_of(columns), PLAIN, threads=1).model.parameters)


def test_d35_a_column_without_a_value_is_left_out_and_said() -> None:
    fit = train(table_of({**made(), "none": np.full(400, np.nan)}), PLAIN, threads=1)
    assert "'none' was left out: every value is missing." in map(str, fit.notes)


@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_d36_columns_that_repeat_each_other_share_their_effect(factor: float) -> None:
    columns = made()
    columns["copy"] = factor * columns["first"]
    fit = train(table_of(columns), PLAIN, threads=1)
    assert fit.certificate.certified
    assert "first and copy repeat each other: the penalty shares their effect." in map(str, fit.notes)
    assert fit.coefficients["first"] == pytest.approx(factor * fit.coefficients["copy"], rel=1e-6)
    assert not any("repeat each other" in note for note in map(str, train(table_of(made()), PLAIN, threads=1).notes))


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_d36_columns_that_repeat_each_other_without_a_penalty(loss: str) -> None:
    columns = made(loss=loss)
    columns["copy"] = 3.0 * columns["first"]
    error = unbounded(columns, Recipe(loss, alpha=0.0, holdout=0.0))
    assert error.code == "no-unique-optimum"
    assert "'first' and 'copy'" in error.message or "'copy' and 'first'" in error.message
    assert "--alpha" in error.message


def test_d37_classes_that_a_column_separates() -> None:
    columns = classes()
    columns["label"] = (columns["second"] > 0.1).astype(float)
    error = unbounded(columns)
    assert error.code == "no-finite-optimum"
    assert "'second'" in error.message
    assert "separate the classes" in error.message
    assert train(table_of(columns), PLAIN, threads=1).certificate.certified


def test_d38_classes_that_a_level_nearly_separates() -> None:
    columns = classes(1)
    columns["colour"] = ["red" if i < 20 else "blue" for i in range(60)]
    columns["label"][:20] = 1.0
    error = unbounded(columns)
    assert error.code == "no-finite-optimum"
    assert "'colour = red'" in error.message


def test_d38_classes_that_touch_at_one_value() -> None:
    columns = {"first": np.array([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0]), "label": np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])}
    assert unbounded(columns).code == "no-finite-optimum"


def test_d45_levels_named_as_ours() -> None:
    columns = made()
    names = {"blue": "(missing)", "green": "__unseen__", "pink": "(rare)", "red": "(hash 0)"}
    columns["colour"] = [None if i % 10 == 0 else names[level] for i, level in enumerate(columns["colour"])]
    fit = train(table_of(columns), PLAIN, threads=1)
    shown = [name for name in fit.coefficients if name.startswith("colour = ")]
    assert sorted(shown) == sorted(
        [
            'colour = "(missing)"',
            "colour = __unseen__",
            'colour = "(rare)"',
            'colour = "(hash 0)"',
            "colour = (missing)",
        ]
    )
    plain = {**columns, "colour": [None if level is None else f"x{level}" for level in columns["colour"]]}
    assert train(table_of(plain), PLAIN, threads=1).objective == pytest.approx(fit.objective, rel=1e-12)


# --- weights, offsets and exposures -----------------------------------------------------------------------------------


def test_d39_a_negative_weight() -> None:
    columns = made()
    columns["weight"][8] = -0.5
    error = refused(columns, weight="weight")
    assert error.code == "weight-negative"
    assert "-0.5 in row 9" in error.message


def test_d39_a_negative_weight_under_a_condition() -> None:
    columns = made()
    columns["weight"][8] = -0.5
    columns["first"] = np.where(np.arange(400) < 5, -99.0, columns["first"])
    error = refused(columns, weight="weight", where="first > -50")
    assert "row 4 of those that meet the condition" in error.message


def test_d40_weights_that_are_all_zero() -> None:
    error = refused({**made(), "weight": np.zeros(400)}, weight="weight")
    assert error.code == "weight-zero"


def test_d41_a_weight_whose_sums_overflow() -> None:
    columns = made()
    columns["weight"][0] = 1e308
    assert refused(columns, weight="weight").code == "number-overflows"


@pytest.mark.parametrize("factor", [1e140, 1e-140])
def test_d41_very_large_and_very_small_weights_are_accepted(factor: float) -> None:
    columns = made()
    scaled = {**columns, "weight": columns["weight"] * factor}
    fits = [train(table_of(part, weight="weight"), PLAIN, threads=1) for part in (columns, scaled)]
    assert fits[1].model.parameters == pytest.approx(fits[0].model.parameters, abs=1e-9)
    assert fits[1].certificate.certified


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_an_exposure_of_nothing(value: float) -> None:
    columns = made(loss="poisson")
    columns["exposure"][4] = value
    error = refused(columns, Recipe("poisson"), exposure="exposure")
    assert error.code == "exposure-not-positive"
    assert "in row 5" in error.message
    fit = train(table_of(made(loss="poisson"), exposure="exposure"), Recipe("poisson", 0.0025), threads=1)
    with pytest.raises(DataError) as caught:
        fit.model.predict(arrow(columns))
    assert caught.value.code == "exposure-not-positive"


# --- prediction -------------------------------------------------------------------------------------------------------


def test_d43_a_level_never_seen_is_predicted_and_counted() -> None:
    fit = train(table_of(made()), PLAIN, threads=1)
    columns = made(10, 1)
    columns["colour"] = ["violet"] * 10
    assert np.isfinite(fit.model.predict(arrow(columns)).response).all()
    (batch,) = read(arrow(columns)).scan(list(fit.model.columns))
    assert {name: number for name, number in fit.model.encoding.count_unseen(batch).items() if number} == {"colour": 10}


@pytest.mark.parametrize("name", ["first", "colour", "exposure"])
def test_d46_a_column_that_is_missing_at_prediction(name: str) -> None:
    fit = train(table_of(made(loss="poisson"), exposure="exposure"), Recipe("poisson", 0.0025), threads=1)
    columns = made(10, 1)
    del columns[name]
    with pytest.raises(DataError) as caught:
        fit.model.predict(arrow(columns))
    assert caught.value.code == "column-missing"
    assert f"'{name}'" in caught.value.message


@pytest.mark.parametrize("name", ["first", "exposure"])
def test_d49_a_number_that_became_text_at_prediction_is_read_as_the_number_that_it_is(name: str) -> None:
    fit = train(table_of(made(loss="poisson"), exposure="exposure"), Recipe("poisson", 0.0025), threads=1)
    numbers, texts = ({**made(10, 1), name: [value] * 10} for value in (1.5, "1.5"))
    assert np.array_equal(fit.model.predict(arrow(texts)).response, fit.model.predict(arrow(numbers)).response)


def test_d48_columns_in_another_order_and_d47_more_of_them() -> None:
    fit = train(table_of(made()), PLAIN, threads=1)
    columns = made(10, 1)
    turned = {"more": list(range(10)), **dict(reversed(columns.items()))}
    assert np.array_equal(fit.model.predict(arrow(turned)).response, fit.model.predict(arrow(columns)).response)
