"""What a project does with weights does not depend on their scale, and frequencies are repeated rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.models.encoded import EncodedModel
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version
from batchlearn.retraining.cycle.candidate import contest
from batchlearn.retraining.shell.turn import CycleResult
from batchlearn.tables.table import read

DUE = day(33)
WEIGHED = {'drop = ["user"]': 'drop = ["user"]\nweight = "worth"'}


def weighed(first: int, last: int, slope: float) -> pa.Table:
    table = orders(first, last, slope)
    worth = np.random.default_rng([2, first]).integers(1, 4, len(table)).astype(float)
    return table.append_column("worth", pa.array(worth))


def scaled(table: pa.Table, scale: float) -> pa.Table:
    place = table.schema.get_field_index("worth")
    return table.set_column(place, "worth", pa.array(scale * np.asarray(table["worth"])))


def repeated(table: pa.Table) -> pa.Table:
    rows = np.repeat(np.arange(len(table)), np.asarray(table["worth"]).astype(int))
    return table.take(pa.array(rows)).drop(["worth"])


def turned(root: Path, changes: dict[str, str], tables: list[pa.Table]) -> CycleResult:
    """Let a first version go live, and turn again when more rows have come."""
    make_project(root, SETTINGS_TEXT, changes)
    pq.write_table(tables[0], root / "data" / "000.parquet")
    assert turn(root, day(13)).promoted
    pq.write_table(tables[1], root / "data" / "010.parquet")
    return turn(root, DUE)


def model_of(root: Path, number: int) -> EncodedModel:
    store = FolderStore(root)
    return load_version(store, read_version(store, number)).model


@pytest.mark.parametrize("start", ["scratch", "warm", "update"])
@pytest.mark.parametrize("scale", [1e-3, 7.3])
def test_a_scale_of_all_weights_changes_neither_the_verdict_nor_the_gain(
    start: str, scale: float, tmp_path: Path
) -> None:
    changes = {**WEIGHED, "rows = 300": f'rows = 300\nstart = "{start}"'}
    tables = [weighed(0, 10, 1.5), weighed(10, 30, -1.5)]
    plain = turned(tmp_path / "plain", changes, tables)
    other = turned(tmp_path / "other", changes, [scaled(one, scale) for one in tables])
    assert plain.gate is not None
    assert other.gate is not None
    assert plain.gate.verdict == other.gate.verdict == "promote"
    assert plain.bracket is not None
    assert other.bracket is not None
    assert other.bracket["gain_over_null"] == pytest.approx(plain.bracket["gain_over_null"], rel=1e-5)
    assert other.bracket["recent"]["gain_over_null"] == pytest.approx(
        plain.bracket["recent"]["gain_over_null"], rel=1e-5
    )
    for name in ("lower", "upper"):
        assert other.bracket[name] == pytest.approx(plain.bracket[name], rel=1e-5), name
    for name in ("difference", "low", "high", "rows"):
        assert getattr(other.gate, name) == pytest.approx(getattr(plain.gate, name), rel=1e-5), name
    for number in (1, 2):
        first, second = (model_of(tmp_path / name, number) for name in ("plain", "other"))
        assert second.parameters == pytest.approx(first.parameters, rel=1e-6, abs=1e-8)
        assert second.weight_constant == pytest.approx(scale * first.weight_constant, rel=1e-12)


def test_what_goes_on_from_a_model_keeps_its_constant_and_scratch_takes_a_new_one(tmp_path: Path) -> None:
    tables = [weighed(0, 10, 1.5), scaled(weighed(10, 30, -1.5), 5.0)]
    means = [float(np.mean(np.concatenate([np.asarray(t["worth"]) for t in some]))) for some in (tables[:1], tables)]
    for start, mean in (("scratch", means[1]), ("warm", means[0]), ("update", means[0])):
        turned(tmp_path / start, {**WEIGHED, "rows = 300": f'rows = 300\nstart = "{start}"'}, tables)
        assert model_of(tmp_path / start, 1).weight_constant == pytest.approx(means[0], rel=1e-14)
        assert model_of(tmp_path / start, 2).weight_constant == pytest.approx(mean, rel=1e-14)


def test_rows_are_judged_in_the_unit_of_the_champion(tmp_path: Path) -> None:
    tables = [weighed(0, 10, 1.5), scaled(weighed(10, 30, -1.5), 5.0)]
    turned(tmp_path, WEIGHED, tables)
    first, second = (model_of(tmp_path, number) for number in (1, 2))
    assert second.weight_constant > 2.0 * first.weight_constant
    found = contest(first, second, read(tables[1], time="seen", weight="worth", drop=["known", "user"]))
    assert found.rows.weight is not None
    assert np.sum(found.rows.weight) == pytest.approx(np.asarray(tables[1]["worth"]).sum() / first.weight_constant)


@pytest.mark.parametrize("start", ["scratch", "update"])
def test_frequencies_turn_the_cycle_as_repeated_rows_do(start: str, tmp_path: Path) -> None:
    tables = [weighed(0, 10, 1.5), weighed(10, 30, -1.5)]
    going_on = {"rows = 300": f'rows = 300\nstart = "{start}"'}
    often = {'drop = ["user"]': 'drop = ["user"]\nweight = "worth"\nweight_kind = "frequency"'}
    found = turned(tmp_path / "found", {**often, **going_on}, tables)
    written = turned(tmp_path / "written", going_on, [repeated(one) for one in tables])
    assert found.gate == written.gate
    assert found.rows == written.rows
    assert found.bracket is not None
    assert written.bracket is not None
    untimed = {"seconds": 0.0, "retrain_seconds": 0.0}
    assert {**found.bracket, **untimed} == {**written.bracket, **untimed}
    for number in (1, 2):
        first, second = (model_of(tmp_path / name, number) for name in ("found", "written"))
        assert first.parameters.tobytes() == second.parameters.tobytes()
