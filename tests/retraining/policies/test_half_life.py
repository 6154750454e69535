"""Rows that fade: half as much for every half-life of their age, in what is trained, proved and verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.retraining.made import SETTINGS_TEXT, add_days, begun_project, context, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.formatting.notes import Code
from batchlearn.progress import finish
from batchlearn.registry.version import KEPT, read_version
from batchlearn.retraining.shell.forget import forget_rows
from batchlearn.tables.table.roles import Fading
from batchlearn.training.verification.stored import verify_model

DAY = 86_400e6
FADING = 'rows = 300\nhalf_life = "5d"'


def instants(rows: pa.Table, name: str = "seen") -> np.ndarray:
    return np.asarray(rows[name].cast(pa.int64()).to_numpy(), dtype=np.float64)


def test_weights_halve_with_each_half_life_and_not_for_ever() -> None:
    time = np.array([100.0, 90.0, 80.0, 101.0, -1e9, np.nan])
    found = Fading(100.0, 10.0).faded(None, time)
    np.testing.assert_array_equal(found[:5], [1.0, 0.5, 0.25, 1.0, 2.0**-40])
    assert np.isnan(found[5])
    np.testing.assert_array_equal(Fading(100.0, 10.0).faded(np.full(6, 3.0), time)[:3], [3.0, 1.5, 0.75])


def test_without_a_time_nothing_fades() -> None:
    table = bl.read({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0]}, target="y")
    with pytest.raises(bl.UsageError) as refused:
        bl.train(replace(table, fading=Fading(1.0, 1.0)))
    assert refused.value.code == "no-time"


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_model_of_rows_with_these_weights(weighted: bool, tmp_path: Path) -> None:
    rows = orders(0, 20)
    own = np.where(np.arange(rows.num_rows) % 3 == 0, 2.0, 0.5)
    as_of = instants(rows).max()
    weight = (own if weighted else 1.0) * np.exp2(-(as_of - instants(rows)) / (4 * DAY))
    recipe = bl.Recipe(alpha=0.01, holdout=0.0)
    explicit = bl.train(
        bl.read(
            rows.append_column("weight", pa.array(weight)),
            weight="weight",
            drop=["user", "known"],
            target="bought",
            time="seen",
        ),
        recipe,
    )
    carried = rows.append_column("weight", pa.array(own))
    dropped = ["user", "known"] if weighted else ["user", "known", "weight"]
    table = bl.read(carried, weight="weight" if weighted else None, drop=dropped, target="bought", time="seen")
    faded = bl.train(replace(table, fading=Fading(as_of, 4 * DAY)), recipe)
    plain = bl.train(table, recipe)
    ours, theirs = (np.array(list(fit.coefficients.values())) for fit in (faded, explicit))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.max(np.abs(ours - list(plain.coefficients.values()))) > 0.01
    path = faded.save(tmp_path / "model")
    assert verify_model(path, carried).holds
    # Rows of another age are other rows: the certificate is of the weights that they had.
    record = (path / "model.json").read_text()
    assert f'"half_life": {4 * DAY}' in record


def test_a_version_of_fading_rows_is_certified_verified_and_keeps_no_totals(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": FADING})
    add_days(root, 0, 20)
    first = turn(root, day(23))
    assert first.certificate is not None
    assert first.certificate["loss_bound"] is not None
    add_days(root, 20, 30)
    second = turn(root, day(33))
    assert second.version == 2
    version = read_version(FolderStore(root), 2)
    assert KEPT not in version.sizes
    assert Code.NO_BRACKET_WITHOUT_TOTALS in [note.code for note in second.notes]
    assert verify_model(version.model_path, root / "data").holds
    # It is of the age that rows had on the day of the training, half as much every five days.
    given = context(root, day(33))
    learned = given.source.table(given.source.times().labelled_by(given.now))
    fading = Fading(given.now, 5 * DAY)
    again = bl.train(replace(learned, fading=fading), bl.Recipe(alpha=0.01, holdout=0.0))
    assert again.model.parameters.tobytes() == bl.load(version.model_path).parameters.tobytes()


@pytest.mark.parametrize("start", ["update", "fine-tune", "online"])
def test_a_start_that_goes_on_from_totals_is_refused_with_a_half_life(start: str, tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": f'{FADING}\nstart = "{start}"'})
    add_days(tmp_path, 0, 20)
    with pytest.raises(bl.UsageError, match="totals of before do not serve"):
        turn(tmp_path, day(23))
    with pytest.raises(bl.UsageError) as refused:
        bl.Action(start=start, half_life="5d")
    assert refused.value.code == "start-half-life"


def test_of_a_champion_whose_rows_did_not_fade_there_is_no_bracket_and_it_is_said(tmp_path: Path) -> None:
    root = begun_project(tmp_path)
    make_project(root, SETTINGS_TEXT, {"rows = 300": f'{FADING}\nstart = "warm"'})
    found = turn(root, day(33))
    assert found.start == "warm"
    (note,) = (note for note in found.notes if note.code is Code.NO_BRACKET)
    assert "half-life" in str(note)


def test_a_model_without_forgotten_rows_fades_as_the_one_before(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": FADING})
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    found = finish(forget_rows(context(root, day(25)), "user = 7", "asked for"))
    version = read_version(FolderStore(root), found.version)
    rows = orders(0, 20)
    left = rows.filter(pa.array(np.asarray(rows["user"]) != 7))
    table = bl.read(left, target="bought", time="seen", drop=["user", "known"])
    as_of = (np.datetime64(day(23)) - np.datetime64("1970-01-01")) / np.timedelta64(1, "us")
    again = bl.train(replace(table, fading=Fading(float(as_of), 5 * DAY)), bl.Recipe(alpha=0.01, holdout=0.0))
    assert again.model.parameters.tobytes() == bl.load(version.model_path).parameters.tobytes()
