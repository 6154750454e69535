"""A model predicts one row out per row in, in order, the same bits however the rows come, within its bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.models.made import asked, made, made_fit

from batchlearn.errors import DataError, UsageError
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import ReadingRules, read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train


@pytest.fixture(scope="module")
def model() -> EncodedModel:
    return made_fit().model


def plain(rows: pa.Table) -> pa.Table:
    """Return the rows without the levels that CSV cannot tell from missing ones."""
    colours = ["" if colour == "" else colour for colour in rows["colour"].to_pylist()]
    kept = [None if colour in {"", "line\nbreak"} else colour for colour in colours]
    return rows.set_column(rows.schema.get_field_index("colour"), "colour", pa.array(kept))


# --- rows -----------------------------------------------------------------------------------------------------------


def test_the_source_of_the_rows_changes_no_bit(model: EncodedModel, tmp_path: Path) -> None:
    rows = plain(pa.concat_tables([made(), asked()]))
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=37)
    without_code = rows.drop_columns(["code"]).append_column("code", rows["code"])
    pyarrow.csv.write_csv(rows, tmp_path / "rows.csv")
    expected = model.predict(rows).predictor
    assert len(expected) == rows.num_rows
    sources: dict[str, object] = {
        "parquet": tmp_path / "rows.parquet",
        "path as text": str(tmp_path / "rows.parquet"),
        "csv": read(tmp_path / "rows.csv", categories=["code", "colour"]),
        "pandas": rows.to_pandas(types_mapper=pd.ArrowDtype),
        "polars": pl.DataFrame(rows),
        "lazy polars": pl.DataFrame(rows).lazy(),
        "other order": without_code,
        "more columns": rows.append_column("more", pa.array(np.zeros(rows.num_rows))),
        "chunks": pa.Table.from_batches(rows.to_batches(max_chunksize=11)),
        "dictionaries": rows.set_column(3, "colour", rows["colour"].dictionary_encode()),
    }
    for name, source in sources.items():
        assert model.predict(source).predictor.tobytes() == expected.tobytes(), name


def test_one_row_at_a_time_gives_the_same_bits(model: EncodedModel) -> None:
    rows = pa.concat_tables([made(60), asked()])
    together = model.predict(rows, bounds=True)
    assert together.bound is not None
    for size in (1, 2, 7):
        parts = [model.predict(rows.slice(i, size), bounds=True) for i in range(0, rows.num_rows, size)]
        assert np.concatenate([part.predictor for part in parts]).tobytes() == together.predictor.tobytes()
        assert np.concatenate([part.response for part in parts]).tobytes() == together.response.tobytes()
        bounds = np.concatenate([part.bound for part in parts if part.bound is not None])
        np.testing.assert_allclose(bounds, together.bound, rtol=1e-9)  # matrix products may add in another order


def test_rows_come_out_in_the_order_in_which_they_went_in(model: EncodedModel) -> None:
    rows = made()
    order = np.random.default_rng(4).permutation(rows.num_rows)
    assert np.array_equal(model.predict(rows.take(order)).predictor, model.predict(rows).predictor[order])


def test_rows_left_out_of_training_are_predicted_too(model: EncodedModel) -> None:
    rows = made()
    without = rows.set_column(rows.schema.get_field_index("late"), "late", pa.nulls(rows.num_rows, pa.string()))
    for unlabelled in (without, rows.drop_columns(["late", "worth"])):
        assert model.predict(unlabelled).predictor.tobytes() == model.predict(rows).predictor.tobytes()


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grade", "when", "lead"])
def test_a_missing_column_is_refused_by_name(name: str, model: EncodedModel) -> None:
    with pytest.raises(DataError, match=f"column '{name}'") as refusal:
        model.predict(made().drop_columns([name]))
    assert refusal.value.code == "column-missing"


@pytest.mark.parametrize("name", ["amount", "flag", "colour"])
def test_a_column_that_was_missing_at_times_may_be_absent(name: str, model: EncodedModel) -> None:
    rows = made()
    without = rows.set_column(rows.schema.get_field_index(name), name, pa.nulls(rows.num_rows))
    with pytest.warns(UserWarning, match=f"'{name}' is not in the table: it counts as missing in every row"):
        absent = model.predict(rows.drop_columns([name]))
    assert absent.predictor.tobytes() == model.predict(without).predictor.tobytes()
    with pytest.raises(DataError, match="--strict refuses that"):
        model.predict(model.read(rows.drop_columns([name]), ReadingRules(strict=True)))


def test_texts_are_read_as_what_they_were_in_training_and_others_are_missing(model: EncodedModel) -> None:
    rows = made(20)
    place, amount = rows.schema.get_field_index("amount"), rows["amount"].to_pylist()
    texts = rows.set_column(place, "amount", pa.array([None if one is None else repr(one) for one in amount]))
    assert model.predict(texts).predictor.tobytes() == model.predict(rows).predictor.tobytes()
    odd = rows.set_column(place, "amount", pa.array(["many", *(texts["amount"].to_pylist()[1:])]))
    less = rows.set_column(place, "amount", pa.array([None, *amount[1:]]))
    with pytest.warns(UserWarning, match="'amount' has values in 1 row that cannot be read as a number"):
        assert model.predict(odd).predictor.tobytes() == model.predict(less).predictor.tobytes()


def test_a_table_that_was_opened_otherwise_is_read_as_the_model_reads_it(model: EncodedModel, tmp_path: Path) -> None:
    rows = made(40)
    codes = pa.array([str(code) for code in range(10, 50)])
    named = rows.set_column(rows.schema.get_field_index("code"), "code", codes).drop_columns(["colour"])
    pyarrow.csv.write_csv(named, tmp_path / "rows.csv")
    table = read(tmp_path / "rows.csv")
    assert table.column("code").kind is Kind.NUMBER
    with pytest.warns(UserWarning, match="'colour' is not in the table"):
        found = model.predict(table).predictor
    with pytest.warns(UserWarning, match="'colour' is not in the table"):
        assert found.tobytes() == model.predict(named).predictor.tobytes()


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [("amount", datetime(2008, 1, 1), "timestamp"), ("flag", 1.0, "number"), ("when", 2008.0, "number")],
)
def test_a_column_of_another_kind_is_refused_by_name(name: str, value: Any, held: str, model: EncodedModel) -> None:
    rows = made(20)
    other = rows.set_column(rows.schema.get_field_index(name), name, pa.array([value] * 20))
    with pytest.raises(DataError, match=f"Column '{name}' of table holds {held} values") as refusal:
        model.predict(other)
    assert refusal.value.code == "column-kind"


def test_bounds_need_a_certificate(model: EncodedModel) -> None:
    bare = replace(model, bounds=None)
    assert bare.predict(asked()).bound is None
    with pytest.raises(UsageError, match="no certificate") as refusal:
        bare.predict(asked(), bounds=True)
    assert refusal.value.code == "no-bounds"


# --- offset and exposure --------------------------------------------------------------------------------------------


def counts(rows: int = 400, seed: int = 5) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    x, lead, exposure = rng.normal(size=rows), rng.normal(size=rows), rng.uniform(0.1, 5.0, size=rows)
    y = rng.poisson(np.exp(0.5 * x + 0.2 * lead) * exposure).astype(np.float64)
    return {"x": x, "lead": lead, "exposure": exposure, "y": y}


@pytest.fixture(scope="module")
def counted() -> Fit:
    table = read(counts(), target="y", offset="lead", exposure="exposure")
    return train(table, Recipe(loss="poisson", holdout=0.0), threads=1)


def test_offset_and_exposure_are_added_to_the_predictor(counted: Fit) -> None:
    rows = counts(50, seed=6)
    bare = replace(counted.model, roles=replace(counted.model.roles, offset=None, exposure=None))
    predictions = counted.model.predict(rows)
    expected = bare.predict(rows).predictor + rows["lead"] + np.log(rows["exposure"])
    np.testing.assert_allclose(predictions.predictor, expected, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(predictions.response, np.exp(expected), rtol=1e-13)
    twice = counted.model.predict({**rows, "exposure": 2.0 * rows["exposure"]})
    np.testing.assert_allclose(twice.response, 2.0 * predictions.response, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("lead", np.nan, "offset-missing"),
        ("exposure", np.nan, "offset-missing"),
        ("exposure", 0.0, "exposure-not-positive"),
        ("exposure", -1.0, "exposure-not-positive"),
    ],
)
def test_a_row_without_its_offset_is_refused(name: str, value: float, code: str, counted: Fit) -> None:
    rows = counts(50)
    rows[name][7] = value
    with pytest.raises(DataError, match=f"Column '{name}'") as refusal:
        counted.model.predict(rows)
    assert refusal.value.code == code


# --- bounds ---------------------------------------------------------------------------------------------------------


def distances(loss: str, tolerance: float) -> tuple[Floats, Floats]:
    """Return how far a loose fit's responses are from a tight one's, for known and for new rows, and the bounds."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(500, 4)) * np.array([1.0, 1e3, 1e-3, 1.0])
    level = rng.integers(0, 6, size=500)
    eta = np.clip(x @ np.array([0.5, 5e-4, -500.0, 0.0]) + 0.3 * level, -4.0, 4.0)
    y = {"squared": eta + rng.normal(size=500), "poisson": rng.poisson(np.exp(eta)).astype(float)}.get(
        loss, (rng.random(500) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    )
    columns: dict[str, Any] = {f"x{j}": x[:, j] for j in range(4)}
    table = {**columns, "level": [f"level {k}" for k in level], "y": y}
    new = {**{name: 5.0 * values for name, values in columns.items()}, "level": ["new"] * 500, "y": y}
    known = read(table, target="y")
    loose, tight = (train(known, Recipe(loss=loss, tolerance=t, holdout=0.0), threads=1) for t in (tolerance, 1e-15))
    apart, bounds = [], []
    for rows in (table, new):
        answer, best = loose.model.predict(rows, bounds=True), tight.model.predict(rows, bounds=True)
        assert answer.bound is not None
        assert best.bound is not None
        apart.append(np.abs(answer.response - best.response))
        bounds.append(answer.bound + best.bound)
    return np.concatenate(apart), np.concatenate(bounds)


@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson"])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_no_prediction_is_further_from_the_optimum_than_its_bound(loss: str, tolerance: float) -> None:
    apart, bounds = distances(loss, tolerance)
    rounding = 1e-12 * (1.0 + apart.max())
    assert np.all(apart <= bounds + rounding)
    if loss == "logistic" and tolerance >= 1e-3:
        assert np.max(apart / bounds) > 0.1  # the bounds say something: they are met within a factor of ten


def test_bounds_without_the_inverse_are_wider_and_still_bounds(model: EncodedModel) -> None:
    assert model.bounds is not None
    small = replace(model, bounds=replace(model.bounds, inverse=None, inverse_square_scale=None))
    with_inverse, without = (one.predict(made(), bounds=True).bound for one in (model, small))
    assert with_inverse is not None
    assert without is not None
    assert np.all(without >= with_inverse)


# --- columns out ----------------------------------------------------------------------------------------------------


def test_predictions_as_columns_name_the_class(model: EncodedModel) -> None:
    predictions = model.predict(asked(), bounds=True)
    table = model.to_table(predictions)
    assert table.schema.names == ["prediction", "probability_yes", "bound"]
    assert table.column("probability_yes").to_pylist() == predictions.response.tolist()
    assert table.column("prediction").to_pylist() == ["yes" if p > 0.5 else "no" for p in predictions.response]


def test_predictions_of_numbers_are_one_column(counted: Fit) -> None:
    predictions = counted.model.predict(counts(5))
    assert counted.model.to_table(predictions).to_pydict() == {"prediction": predictions.response.tolist()}
