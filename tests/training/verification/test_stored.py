"""A certificate holds for the rows it was given for, in any format, and for no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.models.made import GOLDEN, RULES, SCHEMA, made
from tests.models.spoiling import changed, golden_copy

from batchlearn.errors import DataError, IntegrityError
from batchlearn.formatting.rejections import Rejection
from batchlearn.models.files import read_model, save
from batchlearn.models.folder import MODEL, WEIGHTS
from batchlearn.tables.table import ReadingRules, read
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.training.verification.stored import iter_verify_model, verify_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden model that a test may spoil."""
    return golden_copy(tmp_path)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Rows of which some have no label, none has a level that CSV cannot tell from a missing one."""
    columns = made(400, seed=7).to_pydict()
    columns["colour"] = [None if colour == "" else colour for colour in columns["colour"]]
    columns["late"] = [None if i % 50 == 0 else label for i, label in enumerate(columns["late"])]
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture(scope="module")
def model(rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = read(rows, target="late", time="when", offset="lead", weight="worth", where="grade > -3")
    # With a strength given: one chosen by these data would leave the colour, which tells nothing, without effect.
    return train(table, Recipe(rules=RULES, alpha=0.01), threads=1).save(tmp_path_factory.mktemp("models") / "model")


# --- untouched ------------------------------------------------------------------------------------------------------


def test_untouched_rows_hold_in_any_format(model: Path, rows: pa.Table, tmp_path: Path) -> None:
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=64)
    pyarrow.csv.write_csv(rows, tmp_path / "rows.csv")
    stated = read_model(model)
    files = (tmp_path / "rows.parquet", tmp_path / "rows.csv")
    for source in (rows, read(rows), *files, rows.to_pandas(types_mapper=pd.ArrowDtype)):
        verification = verify_model(model, source)
        assert verification.holds, verification.reasons
        assert verification.reasons == ()
        assert verification.certificate == verification.stated
        assert verification.certificate.to_json() == stated.record["certificate"]
        assert verification.rows.to_json() == stated.record["rows"]
        assert verification.rows.rejected[Rejection.EXCLUDED] > 0
        assert verification.rows.unlabelled > 0
        assert verification.identity == stated.identity


def test_threads_change_nothing(model: Path, rows: pa.Table) -> None:
    assert verify_model(model, rows, threads=3) == verify_model(model, rows, threads=1)


def test_texts_that_mean_missing_are_given_as_in_training(model: Path, rows: pa.Table, tmp_path: Path) -> None:
    frame = rows.to_pandas(types_mapper=pd.ArrowDtype)
    frame.to_csv(tmp_path / "rows.csv", index=False, na_rep="NA")
    assert verify_model(model, tmp_path / "rows.csv", ReadingRules(null=("NA",))).holds


def test_the_golden_model_holds() -> None:
    assert verify_model(GOLDEN, made()).holds


def test_it_can_be_watched(model: Path, rows: pa.Table) -> None:
    stages = [progress.stage for progress in iter_verify_model(model, rows)]
    assert [*dict.fromkeys(stages)] == ["reading rows", "encoding rows", "certifying"]


@pytest.mark.parametrize("loss", ["squared", "poisson"])
def test_other_losses_hold(loss: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    table = {"x": rng.normal(size=200) + 1e3, "y": rng.poisson(2.0, size=200).astype(float)}
    recipe = Recipe(loss=loss, alpha=0.0, holdout=0.0)
    saved = train(read(table, target="y"), recipe, threads=1).save(tmp_path / "model")
    assert verify_model(saved, table).holds
    assert not verify_model(saved, {**table, "y": table["y"][::-1]}).holds


# --- tampered data --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def row(rows: pa.Table) -> int:
    """The position of a row that was learned from, with an amount that is known."""
    known = zip(rows["late"].to_pylist(), rows["grade"].to_pylist(), rows["amount"].to_pylist(), strict=True)
    return next(i for i, (late, grade, amount) in enumerate(known) if i > 20 and late and grade > -3 and amount)


def with_value(rows: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = rows[name].to_pylist()
    assert values[row] != value
    values[row] = value
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, SCHEMA.field(name).type))


def next_float(rows: pa.Table, name: str, row: int) -> pa.Table:
    return with_value(rows, name, row, float(np.nextafter(rows[name][row].as_py(), np.inf)))


def dropped(rows: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([rows.slice(0, row), rows.slice(row + 1)])


def duplicated(rows: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(row, 1)])


def relabelled(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "late", row, {"yes": "no", "no": "yes"}[rows["late"][row].as_py()])


def unlabelled(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "late", row, None)


def of_another_class(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "late", row, "perhaps")


def swapped(rows: pa.Table, row: int) -> pa.Table:
    order = np.arange(rows.num_rows)
    order[[row, 1]] = order[[1, row]]
    return rows.take(order)


def reweighted(rows: pa.Table, row: int) -> pa.Table:
    return next_float(rows, "worth", row)


def doubled_weight(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "worth", row, 2.0 * rows["worth"][row].as_py())


def nudged_feature(rows: pa.Table, row: int) -> pa.Table:
    return next_float(rows, "amount", row)


def nudged_offset(rows: pa.Table, row: int) -> pa.Table:
    return next_float(rows, "lead", row)


def other_feature(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "amount", row, 1e3)


def other_level(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "colour", row, "never seen")


def lost_value(rows: pa.Table, row: int) -> pa.Table:
    return with_value(rows, "amount", row, None)


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        (dropped, "usable rows"),
        (duplicated, "usable rows"),
        (unlabelled, "usable rows"),
        (of_another_class, "a class not seen in training"),
        (relabelled, "Labels or weights differ"),
        (doubled_weight, "Labels or weights differ"),
        (other_feature, "Values of the columns differ"),
        (other_level, "Values of the columns differ"),
        (lost_value, "Values of the columns differ"),
        (swapped, "in another order, or a value differs by so little"),
        (reweighted, "in another order, or a value differs by so little"),
        (nudged_feature, "in another order, or a value differs by so little"),
        (nudged_offset, "in another order, or a value differs by so little"),
    ],
)
@pytest.mark.parametrize("as_file", [False, True], ids=["in memory", "as a file"])
def test_one_row_that_differs_is_noticed(
    tampered: Callable[[pa.Table, int], pa.Table],
    said: str,
    as_file: bool,
    model: Path,
    rows: pa.Table,
    row: int,
    tmp_path: Path,
) -> None:
    source: object = tampered(rows, row)
    if as_file:
        pq.write_table(source, tmp_path / "rows.parquet")
        source = tmp_path / "rows.parquet"
    verification = verify_model(model, source)
    assert not verification.holds
    assert said in verification.reasons[0]
    assert any("fingerprint" in reason for reason in verification.reasons)
    assert json.loads(json.dumps(verification.to_json()))["holds"] is False


def test_rows_that_were_not_learned_from_may_change(model: Path, rows: pa.Table) -> None:
    known = zip(rows["late"].to_pylist(), rows["grade"].to_pylist(), strict=True)
    without_label = next(i for i, (late, grade) in enumerate(known) if late is None and grade > -3)
    more = pa.concat_tables([rows, with_value(rows.slice(without_label, 1), "amount", 0, 1e6)])
    verification = verify_model(model, more)
    assert verification.holds
    assert verification.rows.unlabelled == verify_model(model, rows).rows.unlabelled + 1


def test_another_table_is_refused_by_its_columns(model: Path, rows: pa.Table) -> None:
    with pytest.raises(DataError, match="'flag'"):
        verify_model(model, rows.drop_columns(["flag"]))


# --- tampered models ------------------------------------------------------------------------------------------------


def test_larger_claims_than_the_rows_prove_do_not_hold(folder: Path) -> None:
    certificate = read_model(folder).record["certificate"]
    for name, words in (("loss", "loss"), ("coefficient", "coefficients"), ("prediction", "predictions")):
        smaller = {**certificate, f"{name}_bound": certificate[f"{name}_bound"] / 1.02}
        verification = verify_model(changed(folder, "record", "certificate", to=smaller), made())
        assert [reason.split(" is proved")[0] for reason in verification.reasons] == [f"The bound on the {words}"]
    wider = {**certificate, "loss_bound": certificate["loss_bound"] * 2.0}
    assert verify_model(changed(folder, "record", "certificate", to=wider), made()).holds


def test_other_coefficients_do_not_hold(folder: Path, tmp_path: Path) -> None:
    stored = read_model(folder)
    stored.model.parameters[3] += 1e-3
    other = save(stored.model, stored.record, tmp_path / "other")
    reasons = verify_model(other, made()).reasons
    assert any("bound on the loss" in reason for reason in reasons)


def test_another_penalty_does_not_hold(folder: Path) -> None:
    assert not verify_model(changed(folder, "record", "alpha", to=1e-6), made()).holds


def test_another_mean_of_the_labels_does_not_hold(folder: Path) -> None:
    (reason,) = verify_model(changed(folder, "label_mean", to=0.25), made()).reasons
    assert "labels' mean" in reason


@pytest.mark.parametrize("part", ["norms", "inverse", "radius"])
def test_other_bounds_of_single_predictions_do_not_hold(part: str, folder: Path, tmp_path: Path) -> None:
    stored = read_model(folder)
    bounds = stored.model.bounds
    assert bounds is not None
    assert bounds.inverse is not None
    if part == "radius":
        other = changed(folder, "bounds", "radius", to=bounds.radius / 2.0)
    else:
        array = bounds.norms if part == "norms" else bounds.inverse
        array /= 2.0
        other = save(stored.model, stored.record, tmp_path / "other")
    (reason,) = verify_model(other, made()).reasons
    assert "bounds single predictions" in reason


def test_a_model_without_a_certificate_has_none_that_holds(folder: Path) -> None:
    none = {**read_model(folder).record["certificate"], "status": "not certified", "reason": "nobody asked"}
    none.update(dict.fromkeys(("loss_bound", "coefficient_bound", "prediction_bound", "floor"), None))
    verification = verify_model(changed(folder, "record", "certificate", to=none), made())
    assert not verification.holds
    assert verification.certificate.certified
    assert "nobody asked" in verification.reasons[0]


@pytest.mark.parametrize(
    ("name", "value"), [("certificate", None), ("certificate", {"status": 1}), ("alpha", "much"), ("alpha", -1.0)]
)
def test_a_record_that_states_nothing_is_refused(name: str, value: object, folder: Path) -> None:
    with pytest.raises(IntegrityError) as refusal:
        verify_model(changed(folder, "record", name, to=value), made())
    assert refusal.value.code == "no-certificate-recorded"


def test_a_damaged_model_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / MODEL).read_bytes())
    with pytest.raises(IntegrityError):
        verify_model(folder, made())
