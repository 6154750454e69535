"""A saved model is the model: to the last bit, as a whole or not at all, and for every later version."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.models.made import FIXTURES, GOLDEN, RULES, SCHEMA, asked, made, made_fit, made_table

from batchlearn.artifacts.manifest import MANIFEST
from batchlearn.errors import DataError, ResourceError, UsageError
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.files import check_writable, load, read_model, save
from batchlearn.models.folder import MODEL, WEIGHTS
from batchlearn.models.model import Predictions
from batchlearn.tables.table import read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fit() -> Fit:
    return made_fit()


def bits(predictions: Predictions) -> list[bytes]:
    return [part.tobytes() for part in predictions if part is not None]


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# --- what is saved is loaded ----------------------------------------------------------------------------------------


def test_a_loaded_model_predicts_the_same_bits(fit: Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "model")
    assert saved == tmp_path / "model"
    loaded = load(saved)
    for rows in (made(), asked()):
        assert bits(loaded.predict(rows, bounds=True)) == bits(fit.model.predict(rows, bounds=True))
    assert loaded.encoding == fit.model.encoding
    assert list(loaded.encoding.kinds) == list(fit.model.encoding.kinds)
    assert (loaded.target, loaded.roles, loaded.label_mean) == (fit.model.target, fit.model.roles, fit.model.label_mean)
    assert loaded.standard_errors is not None
    assert fit.model.standard_errors is not None
    assert loaded.standard_errors.tobytes() == fit.model.standard_errors.tobytes()


@pytest.mark.parametrize("loss", ["squared", "poisson"])
def test_other_losses_and_an_exposure_come_back(loss: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, exposure = rng.normal(size=200), rng.uniform(0.5, 2.0, size=200)
    y = rng.poisson(np.exp(0.3 * x) * exposure).astype(float)
    rows = {"x": x, "exposure": exposure, "y": y}
    roles: dict[str, Any] = {"exposure": "exposure"} if loss == "poisson" else {"drop": ["exposure"]}
    fit = train(read(rows, target="y", **roles), Recipe(loss=loss, holdout=0.0), threads=1)
    loaded = load(fit.save(tmp_path / "model"))
    assert bits(loaded.predict(rows, bounds=True)) == bits(fit.model.predict(rows, bounds=True))
    assert loaded.roles == fit.model.roles


@pytest.mark.parametrize("classes", [("a", "b"), (False, True), (0.0, 1.0), (-1.5, 1e-300)])
def test_classes_keep_their_type(fit: Fit, classes: tuple[Any, Any], tmp_path: Path) -> None:
    model = replace(fit.model, target=replace(fit.model.target, classes=classes))
    loaded = load(save(model, {}, tmp_path / "model"))
    assert loaded.target.classes == classes
    assert [type(value) for value in loaded.target.classes] == [type(value) for value in classes]


@pytest.mark.parametrize("without", ["bounds", "standard_errors", "level_moments", "inverse"])
def test_what_a_model_lacks_it_lacks_when_loaded(fit: Fit, without: str, tmp_path: Path) -> None:
    assert fit.model.bounds is not None
    if without == "inverse":
        bounds = replace(fit.model.bounds, inverse=None, inverse_square_scale=None)
        model = replace(fit.model, bounds=bounds)
    else:
        lacking: dict[str, Any] = {without: None}
        model = replace(fit.model, **lacking)
    loaded = load(save(model, {}, tmp_path / "model"))
    assert (loaded.bounds is None) == (without == "bounds")
    assert (loaded.standard_errors is None) == (without == "standard_errors")
    assert (loaded.level_moments is None) == (without == "level_moments")
    wanted = without != "bounds"
    assert bits(loaded.predict(asked(), bounds=wanted)) == bits(model.predict(asked(), bounds=wanted))


def test_the_record_says_how_the_model_came_about(fit: Fit, tmp_path: Path) -> None:
    record = read_model(fit.save(tmp_path / "model")).record
    assert record["certificate"] == fit.certificate.to_json()
    assert record["alpha"] == fit.alpha
    assert record["rows"] == fit.rows.to_json()
    assert record["recipe"]["level_cap"] == RULES.level_cap
    assert record["condition"] is None
    assert record["created_with"].startswith("batchlearn ")
    assert len(record["trace"]) == len(fit.trace)
    assert set(fit.to_json()) <= set(record)


def test_a_record_holds_plain_values(fit: Fit, tmp_path: Path) -> None:
    record = {"one": (1, 2.5), "none": math.nan, "inf": [math.inf], "x": np.float64(0.1), "n": 2**64 - 1, "s": "\udc80"}
    plain = {"one": [1, 2.5], "none": None, "inf": [None], "x": 0.1, "n": 2**64 - 1, "s": "?"}
    assert read_model(save(fit.model, record, tmp_path / "model")).record == plain


def test_the_identity_is_that_of_the_bytes(fit: Fit, tmp_path: Path) -> None:
    one, same = (read_model(save(fit.model, {}, tmp_path / name)).identity for name in ("one", "same"))
    other = read_model(save(fit.model, {"note": 1}, tmp_path / "other")).identity
    assert one == same != other


def test_format_1_is_read_for_ever() -> None:
    golden = json.loads((FIXTURES / "linear-1.json").read_text(encoding="utf-8"))
    golden["rows"]["when"] = [None if t is None else datetime.fromisoformat(t) for t in golden["rows"]["when"]]
    predictions = load(GOLDEN).predict(pa.table(golden["rows"], schema=SCHEMA), bounds=True)
    assert predictions.bound is not None
    assert [value.hex() for value in predictions.predictor.tolist()] == golden["predictor"]
    # The exponential of another processor may differ in its last bits.
    response = np.asarray([float.fromhex(value) for value in golden["response"]])
    np.testing.assert_array_max_ulp(predictions.response, response, maxulp=4)
    # The golden bounds are of the exact predictor; since then they include what returning the prediction rounds.
    rounding = predictions.bound - golden["bound"]
    assert np.all(rounding > 0.0)
    np.testing.assert_allclose(rounding, 0.0, atol=1e-13)
    assert read_model(GOLDEN).record["certificate"]["status"] == "certified"


# --- as a whole or not at all ---------------------------------------------------------------------------------------


def test_a_folder_holds_three_files_and_nothing_is_left_beside_it(fit: Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "model")
    assert names_in(saved) == {MODEL, WEIGHTS, MANIFEST}
    assert names_in(tmp_path) == {"model"}


def test_a_path_that_exists_is_refused_and_stays_as_it_was(fit: Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "model")
    before = {entry.name: entry.read_bytes() for entry in saved.iterdir()}
    for attempt in (fit.save, check_writable):
        with pytest.raises(UsageError, match="exists already") as refusal:
            attempt(saved)
        assert refusal.value.code == "output-exists"
    assert {entry.name: entry.read_bytes() for entry in saved.iterdir()} == before
    assert names_in(tmp_path) == {"model"}


def test_force_replaces_a_model(fit: Fit, tmp_path: Path) -> None:
    saved = save(fit.model, {"turn": 1}, tmp_path / "model")
    check_writable(saved, force=True)
    assert read_model(saved).record == {"turn": 1}
    save(fit.model, {"turn": 2}, saved, force=True)
    assert read_model(saved).record == {"turn": 2}
    assert names_in(tmp_path) == {"model"}


def test_force_replaces_nothing_but_a_model(fit: Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "model")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(saved)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    (saved / "notes.txt").write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for name in ("file", "link", "mine", "model"):
        for attempt in (fit.save, check_writable):
            with pytest.raises(UsageError, match="is no model") as refusal:
                attempt(tmp_path / name, force=True)
            assert refusal.value.code == "output-not-a-model"
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_path_without_a_folder_is_refused(fit: Fit, tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "model", tmp_path / "file" / "model"):
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="no folder"):
            fit.save(path)
    for text in ("", "a\0b"):
        with pytest.raises(UsageError, match="is no path"):
            check_writable(text)


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "model")
    assert names_in(tmp_path) == set()


def test_too_little_room_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="bytes left") as refusal:
        check_writable(tmp_path / "model", needed=2**62)
    assert refusal.value.exit_code == 5
    assert refusal.value.code == "disk-full"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody may write is needed")
def test_a_folder_that_cannot_be_written_is_said_before_training() -> None:
    with pytest.raises(ResourceError, match="cannot be written") as refusal:
        check_writable("/proc/model", needed=0)
    assert refusal.value.exit_code == 5


_FULL_DISK = """\
import resource, sys
from batchlearn.errors import ResourceError
from batchlearn.models.files import read_model, save
stored = read_model(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    save(stored.model, stored.record, sys.argv[2], force=True)
except ResourceError as refusal:
    sys.exit(refusal.code)
"""


@pytest.mark.parametrize("room", [0, 100, 9000, 20000])
def test_a_disk_that_fills_up_leaves_the_old_model(fit: Fit, tmp_path: Path, room: int) -> None:
    saved = save(fit.model, {"turn": 1}, tmp_path / "model")
    command = [sys.executable, "-c", _FULL_DISK, str(GOLDEN), str(saved), str(room)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.stderr.strip() == "disk-full"
    assert read_model(saved).record == {"turn": 1}
    assert names_in(tmp_path) == {"model"}


# --- what no model file may hold is refused when it is saved --------------------------------------------------------


def broken(model: EncodedModel, how: str) -> EncodedModel:
    parameters = model.parameters.copy()
    parameters[1] = math.nan
    number = model.encoding.numbers[0]
    numbers = {
        "control character": replace(number, column="a\x1b[2J"),
        "long name": replace(number, column="a" * 513),
        "no deviation": replace(number, deviation=0.0),
        "infinite": replace(number, high=math.inf),
    }
    if how == "parameters":
        return replace(model, parameters=parameters)
    if how == "fewer parameters":
        return replace(model, parameters=model.parameters[:-1])
    changed = numbers[how]
    kinds = {changed.column if name == number.column else name: kind for name, kind in model.encoding.kinds.items()}
    encoding = replace(model.encoding, numbers=(changed, *model.encoding.numbers[1:]), kinds=kinds)
    return replace(model, encoding=encoding)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("parameters", "not finite"),
        ("fewer parameters", "needed"),
        ("control character", "cannot be printed"),
        ("long name", "513 characters"),
        ("no deviation", "greater than 0"),
    ],
)
def test_a_model_that_could_not_be_loaded_is_not_saved(fit: Fit, how: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(said)) as refusal:
        save(broken(fit.model, how), {}, tmp_path / "model")
    assert refusal.value.code == "model-not-storable"
    assert names_in(tmp_path) == set()


def test_a_range_that_is_not_finite_is_not_saved(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refusal:
        save(broken(fit.model, "infinite"), {}, tmp_path / "model")
    assert refusal.value.code == "model-not-storable"


def test_levels_may_be_any_text(tmp_path: Path) -> None:
    texts = ["", "a\nb", "\x1b[2J", "x" * 2000, "\u202e", '"', "(missing)", "ü"]
    rows = {"level": texts * 20, "y": [float(i % 7) for i in range(160)]}
    fit = train(read(rows, target="y"), Recipe(holdout=0.0), threads=1)
    assert bits(load(fit.save(tmp_path / "model")).predict(rows)) == bits(fit.model.predict(rows))


def test_the_made_table_meets_every_kind_of_term(fit: Fit) -> None:
    encoding = fit.model.encoding
    assert {term.missing_share > 0.0 for term in encoding.numbers} == {True, False}
    assert any(getattr(group, "rare", False) for group in encoding.groups)
    assert any(getattr(group, "buckets", 0) for group in encoding.groups)
    assert {group.kind for group in encoding.groups} == {"category", "calendar"}
    assert {kind.value for kind in encoding.kinds.values()} == {"number", "boolean", "category", "timestamp"}
    assert made_table().roles == fit.model.roles


def test_a_model_of_an_intercept_alone_comes_back(tmp_path: Path) -> None:
    rows = {"same": np.ones(50), "y": np.arange(50.0)}
    fit = train(read(rows, target="y"), Recipe(holdout=0.0), threads=1)
    assert fit.model.encoding.columns == ()
    loaded = load(fit.save(tmp_path / "model"))
    assert bits(loaded.predict(rows, bounds=True)) == bits(fit.model.predict(rows, bounds=True))
