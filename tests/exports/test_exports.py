"""ONNX graphs and SQL predict what the model predicts, on rows made to find where they would not."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from tests.exports.made import CASES, LEVELS, linear_of, mixed, model_of

import batchlearn as bl
from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, LevelTerm, PairTerm
from batchlearn.errors import IntegrityError, UsageError
from batchlearn.exports import to_onnx, to_sql
from batchlearn.exports.agreement import UNSEEN, check_agreement, largest_difference, telling_rows
from batchlearn.exports.exportable import single_terms
from batchlearn.exports.onnx_graph import NO_TIME, clock_changes, inputs_of, missing_text, predicted_by_onnx
from batchlearn.exports.sql import as_stored, predicted_in_duckdb
from batchlearn.models.linear import LinearModel

every_case = pytest.mark.parametrize("case", CASES)


def whole(case: str) -> pa.RecordBatch:
    """The rows that the model of a case was trained on, as it reads them."""
    kind, roles, _ = CASES[case]
    model = model_of(case)
    table = model.as_read(model.read(mixed(kind, roles.get("zone"))))
    return pa.Table.from_batches(list(table.scan(model.columns))).combine_chunks().to_batches()[0]


def in_duckdb(model: LinearModel) -> Any:
    return partial(predicted_in_duckdb, to_sql(model), model)


def in_onnx(model: LinearModel) -> Any:
    return partial(predicted_by_onnx, to_onnx(model), model)


def test_the_cases_have_every_term() -> None:
    terms = [group for case in CASES for group in model_of(case).encoding.groups]
    assert {type(term) for term in terms} == {BinTerm, LevelTerm, CalendarTerm, PairTerm}
    assert any(model_of(case).encoding.numbers for case in CASES)
    assert model_of("zone").encoding.zones == {"time": "Europe/Berlin"}
    levels = [term for term in terms if isinstance(term, LevelTerm)]
    assert any(term.reference is not None for term in levels)
    assert any(term.rare for term in levels)


@every_case
@pytest.mark.parametrize("of", [in_onnx, in_duckdb], ids=["onnx", "sql"])
def test_predictions_are_the_models(case: str, of: Any) -> None:
    model = model_of(case)
    largest, rows = largest_difference(model, of(model), [telling_rows(model), whole(case)])
    assert rows >= 3_500
    assert largest < 1e-12


@pytest.mark.parametrize("session", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("stored", ["TIMESTAMPTZ", "TIMESTAMP", "DATE"])
def test_sql_takes_times_as_the_model_does_in_any_session(stored: str, session: str) -> None:
    import duckdb

    days = [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(700)]
    y = [float(day.month + 3 * day.weekday()) for day in days]
    when = {
        "TIMESTAMPTZ": pa.array(days, pa.timestamp("us", "UTC")),
        "TIMESTAMP": pa.array([day.replace(tzinfo=None) for day in days]),
        "DATE": pa.array([day.date() for day in days]),
    }[stored]
    rows = pa.table({"when": when, "y": y})
    table = bl.read(rows, target="y", time="when", zone="America/New_York")
    model = linear_of(table, bl.Recipe(holdout=0.0))
    with duckdb.connect() as connection:
        connection.sql(f"SET TimeZone = '{session}'")
        connection.register("rows", rows)
        found = connection.sql(to_sql(model)).to_arrow_table().column("prediction").to_numpy()
    assert np.ptp(found) > 15.0
    assert found == pytest.approx(model.predict(model.as_read(table)).response, rel=1e-12)


def test_sql_takes_times_without_a_zone_for_the_clock_that_was_named_beside_one_that_is_stored() -> None:
    import duckdb

    days = [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(700)]
    y = [float(day.month + 3 * day.weekday()) for day in days]
    rows = pa.table({"when": pa.array(days, pa.timestamp("us", "America/New_York")), "y": y})
    model = linear_of(bl.read(rows, target="y", zone="Asia/Tokyo"), bl.Recipe(holdout=0.0))
    assert model.encoding.zones == {"when": "America/New_York"}
    plain = pa.table({"when": pa.array([day.replace(tzinfo=None) for day in days]), "y": y})
    with duckdb.connect() as connection:
        connection.register("rows", plain)
        found = connection.sql(to_sql(model)).to_arrow_table().column("prediction").to_numpy()
    assert found == pytest.approx(model.predict(plain.select(["when"])).response, rel=1e-12)


def test_every_space_around_a_text_is_taken_off_in_sql() -> None:
    import duckdb

    signs = pa.array([chr(code) for code in range(1, 0x3100)])
    spaces = signs.filter(pc.equal(pc.utf8_trim_whitespace(signs), "")).to_pylist()
    assert len(spaces) == 29
    levels = pa.array(["a", *(f"{one}a{one}{one}" for one in spaces), "\u200ba", "b b"])
    model, count = model_of("linear"), len(levels)
    kinds = {"time": pa.timestamp("us"), "truth": pa.bool_()}
    columns = {name: pa.nulls(count, kinds.get(name, pa.float64())) for name in model.columns}
    rows = pa.table({**columns, "level": levels})
    relation = duckdb.sql(to_sql(model))
    assert relation is not None
    found = relation.to_arrow_table()
    ours = model.predict(rows).response
    assert len(np.unique(ours)) > 1
    assert found.column(found.column_names[-1]).to_numpy() == pytest.approx(ours, rel=1e-12)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
@pytest.mark.parametrize("alpha", [None, 0.01])
def test_real_tables(load: Any, alpha: float | None) -> None:
    frame = load(as_frame=True).frame
    model = linear_of(bl.read(frame, target="target"), bl.Recipe(alpha=alpha, holdout=0.0))
    for of in (in_onnx, in_duckdb):
        rows = pa.Table.from_batches(list(model.read(frame).scan(model.columns))).to_batches()
        assert largest_difference(model, of(model), [telling_rows(model), *rows])[0] < 1e-12


@every_case
def test_the_reference_implementation_of_onnx_agrees_too(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = model_of(case)
    assert largest_difference(model, in_onnx(model), [telling_rows(model).slice(0, 300)])[0] < 1e-12


@every_case
def test_decisions_are_the_models(case: str) -> None:
    import duckdb
    import onnxruntime

    model, rows = model_of(case), whole(case)
    predicted = model.to_table(model.predict_batch(rows))
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    found = dict(
        zip((one.name for one in session.get_outputs()), session.run(None, inputs_of(model, rows)), strict=True)
    )
    left = predicted.column("left_to_people").to_pylist() if "left_to_people" in predicted.schema.names else None
    if left is not None:
        assert found["left_to_people"].tolist() == left
        assert 0 < sum(left) < len(left)
    decided = model.decide(model.predict_batch(rows).response) if left is None else None
    if decided is not None and model.target.classes:
        assert found["prediction"].tolist() == decided.to_pylist()
    stored = as_stored(model, rows).append_column("row", pa.array(range(len(rows))))
    with duckdb.connect(":memory:") as connection:
        connection.register("some rows", stored)
        query = to_sql(model, '"some rows"', keep=["row"])
        of_sql = connection.sql(f"SELECT * FROM ({query}) ORDER BY 1").to_arrow_table()
    assert of_sql.column_names == ["row", *predicted.schema.names]
    for name in predicted.schema.names:
        ours, theirs = predicted.column(name).to_pylist(), of_sql.column(name).to_pylist()
        assert theirs == (pytest.approx(ours, rel=1e-12) if isinstance(ours[0], float) else ours), name


def test_made_rows_meet_every_code_and_both_sides_of_every_edge() -> None:
    model = model_of("additive")
    rows = telling_rows(model)
    terms = [term for term in single_terms(model) if not isinstance(term, CalendarTerm)]
    for term in terms:
        codes = term.encode(rows.column(term.column))
        assert set(codes.tolist()) >= set(range(term.width)), term.key
    bins = next(term for term in terms if isinstance(term, BinTerm) and term.column == "x")
    values = set(rows.column("x").to_pylist())
    for edge in bins.edges:
        assert {edge, float(np.nextafter(edge, -np.inf)), float(np.nextafter(edge, np.inf))} <= values
    assert {UNSEEN, None, *LEVELS} <= set(rows.column("level").to_pylist())
    local = rows.column("time").to_numpy(zero_copy_only=False).astype("datetime64[h]").astype(int)
    assert len({int(hour) % 24 for hour in local}) == 24


def test_a_moved_coefficient_or_edge_is_found() -> None:
    model = model_of("additive")
    graph = to_onnx(model)
    parameters = model.parameters.copy()
    parameters[3] += 1e-6
    moved = replace(model, parameters=parameters)
    with pytest.raises(IntegrityError, match="one differs by") as caught:
        check_agreement(moved, partial(predicted_by_onnx, graph, model), [telling_rows(model)])
    assert caught.value.code == "export-disagrees"
    place = next(k for k, group in enumerate(model.encoding.groups) if isinstance(group, BinTerm))
    bins = model.encoding.groups[place]
    assert isinstance(bins, BinTerm)
    edges = (float(np.nextafter(bins.edges[0], np.inf)), *bins.edges[1:])
    groups = tuple(replace(bins, edges=edges) if k == place else group for k, group in enumerate(model.encoding.groups))
    other = replace(model, encoding=replace(model.encoding, groups=groups))
    assert largest_difference(other, partial(predicted_by_onnx, graph, model), [telling_rows(model)])[0] > 1e-9


def test_clocks_show_what_python_says() -> None:
    # Arrow, and so the model, knows no change of clocks after 2037.
    epoch, zone = datetime(1970, 1, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    starts, shifts = clock_changes("Europe/Berlin")
    for hour in range(0, 137 * 365 * 24, 997):
        moment = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        micros = (moment - epoch) // timedelta(microseconds=1)
        shift = int(shifts[np.searchsorted(starts, micros, side="right")])
        assert timedelta(microseconds=shift) == moment.astimezone(zone).utcoffset()
    assert len(clock_changes("Etc/GMT-3")[0]) == 0


@pytest.mark.parametrize("case", ["additive", "zone"])
def test_calendar_parts_of_every_day_of_two_centuries(case: str) -> None:
    model = model_of(case)
    days = np.arange(np.datetime64("1901-01-01T00:30"), np.datetime64("2099-12-30"), np.timedelta64(24 * 60 + 1, "m"))
    rows = telling_rows(model).slice(0, 1)
    repeated = {name: rows.column(name).take(pa.array(np.zeros(len(days), dtype=int))) for name in rows.schema.names}
    repeated["time"] = pa.array(days.astype("datetime64[us]"))
    batch = pa.RecordBatch.from_pydict(repeated)
    assert largest_difference(model, in_onnx(model), [batch])[0] < 1e-12


# --- what is said, what is refused ----------------------------------------------------------------------------------


def test_the_graph_says_what_stands_for_missing() -> None:
    import onnx

    model = model_of("additive")
    said = {one.key: one.value for one in onnx.load_from_string(to_onnx(model)).metadata_props}
    assert json.loads(said["missing"]) == {"level": missing_text(model, "level")} == {"level": "(missing)"}
    assert json.loads(said["classes"]) == list(model.target.classes)
    inputs = inputs_of(model, telling_rows(model))
    assert NO_TIME in inputs["time"]
    assert np.isnan(inputs["x"]).any()


def test_what_cannot_be_said_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(1)
    words = [" ".join(rng.choice(["red", "green", "blue", "fast"], 3)) for _ in range(200)]
    text = bl.train(
        bl.read({"words": words, "y": rng.normal(size=200)}, target="y", text=["words"]), bl.Recipe(alpha=0.1)
    ).model
    levels = {"level": [f"level {k % 90}" for k in range(400)], "y": rng.normal(size=400)}
    rules = replace(bl.Recipe().rules, minimum_rows=2, level_cap=20, buckets=8)
    hashed = linear_of(bl.read(levels, target="y"), bl.Recipe(alpha=0.1, rules=rules))
    constant = linear_of(bl.read({"x": [1.0, 1.0, 1.0], "y": [1.0, 2.0, 3.0]}, target="y"), bl.Recipe(alpha=0.1))
    for model, why in ((text, "words in 'words'"), (hashed, "a hash"), (constant, "reads no column")):
        for export in (to_onnx, to_sql):
            with pytest.raises(UsageError, match=why) as caught:
                export(model)
            assert caught.value.code == "export-encoding"
    many = {f"x{k}": rng.normal(size=30) for k in range(2_001)}
    wide = linear_of(bl.read({**many, "y": rng.normal(size=30)}, target="y"), bl.Recipe(alpha=1.0, holdout=0.0))
    with pytest.raises(UsageError, match="up to 2,000") as caught:
        to_sql(wide)
    assert caught.value.code == "export-too-large"
    assert largest_difference(wide, in_onnx(wide), [telling_rows(wide).slice(0, 50)])[0] < 1e-12


def test_a_column_with_the_name_of_an_output_is_refused_as_onnx_and_written_as_sql() -> None:
    rows = {"prediction": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.5]}
    model = linear_of(bl.read(rows, target="y"), bl.Recipe(alpha=0.1, holdout=0.0))
    with pytest.raises(UsageError, match="'prediction'") as caught:
        to_onnx(model)
    assert caught.value.code == "export-name"


def test_a_sum_of_many_terms_is_within_what_parsers_take() -> None:
    rng = np.random.default_rng(2)
    many = {f"x{k}": rng.normal(size=60) for k in range(1_500)}
    wide = linear_of(bl.read({**many, "y": rng.normal(size=60)}, target="y"), bl.Recipe(alpha=1.0, holdout=0.0))
    assert largest_difference(wide, in_duckdb(wide), [telling_rows(wide).slice(0, 20)])[0] < 1e-12


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"batchlearn\[onnx\]") as caught:
        to_onnx(model_of("linear"))
    assert caught.value.code == "extra-missing"
