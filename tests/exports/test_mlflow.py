"""Folders that MLflow loads, and a registry mirrored in one of MLflow's."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.exports.made import mixed, model_of

import batchlearn as bl
from batchlearn.artifacts.folders import write_folder
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import IntegrityError, RegistryError, ResourceError, UsageError
from batchlearn.exports import to_onnx, to_sql
from batchlearn.exports.mlflow_folder import mlflow_files
from batchlearn.exports.mlflow_mirror import mirror
from batchlearn.models.files import load, read_model, save
from batchlearn.models.linear import LinearModel
from batchlearn.registry.promotions import Reason, needed_champion, promote
from batchlearn.registry.version import read_version

MADE = Path(__file__).resolve().parents[1] / "registry" / "fixtures" / "registry-3"
# What MLflow itself uses that others say is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow, told to keep its files in folders and to report to nobody."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return pytest.importorskip("mlflow")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stored = read_model(save(model_of("linear"), {}, tmp_path / "model"))
    write_folder(tmp_path / "exported", mlflow_files(tmp_path / "model", stored.model, stored.identity))
    return tmp_path / "exported"


def test_mlflow_loads_the_folder_and_predicts_as_the_model(folder: Path) -> None:
    import mlflow.pyfunc

    model, frame = model_of("linear"), mixed("two").to_pandas()
    loaded = mlflow.pyfunc.load_model(str(folder))
    ours = model.to_table(model.predict(frame)).to_pandas()
    pd.testing.assert_frame_equal(loaded.predict(frame), ours)
    assert loaded.metadata.flavors["batchlearn"]["identity"] == read_model(folder / "model").identity
    assert [one.name for one in loaded.metadata.signature.inputs.inputs] == list(model.columns)
    # Whole numbers where training had others, and categoricals, are nothing to refuse.
    whole = frame.assign(x=np.arange(len(frame)), level=frame["level"].astype("category"))
    assert len(loaded.predict(whole)) == len(frame)
    # The columns that were never missing are asked for by the model itself.
    with pytest.raises(Exception, match="no column 'x'"):
        loaded.predict(frame.drop(columns="x"))


def test_a_model_of_another_library_goes_along_with_what_it_needs(tmp_path: Path) -> None:
    import mlflow.pyfunc

    rows = mixed("two").to_pandas().drop(columns="time")
    fit = bl.train(bl.read(rows, target="label"), bl.Recipe(model="lightgbm.LGBMClassifier", set={"n_jobs": 1}))
    stored = read_model(fit.save(tmp_path / "model"))
    write_folder(tmp_path / "exported", mlflow_files(tmp_path / "model", stored.model, stored.identity))
    assert any(line.startswith("lightgbm==") for line in (tmp_path / "exported/requirements.txt").read_text().split())
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "exported"))
    ours = fit.model.to_table(fit.model.predict(rows)).to_pandas()
    pd.testing.assert_frame_equal(loaded.predict(rows), ours)
    for export in (to_onnx, to_sql):
        with pytest.raises(UsageError, match="another library") as caught:
            export(stored.model)
        assert caught.value.code == "export-encoding"


def test_a_byte_that_changed_in_the_folder_is_found_when_it_is_loaded(folder: Path) -> None:
    import mlflow.pyfunc

    weights = folder / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(IntegrityError, match="SHA-256"):
        mlflow.pyfunc.load_model(str(folder))


def test_the_folder_needs_nothing_of_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    described = json.loads((folder / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "batchlearn.exports.mlflow_folder"
    frame = mixed("two").to_pandas()
    assert (
        load(folder / "model").predict(frame).response.tobytes() == model_of("linear").predict(frame).response.tobytes()
    )


# --- the mirror -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    shutil.copytree(MADE, tmp_path / "project")
    return FolderStore(tmp_path / "project")


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_versions_and_aliases_are_mirrored_once_and_followed(store: FolderStore, tmp_path: Path) -> None:
    import mlflow.pyfunc

    uri, live = f"file:{tmp_path}/mlflow", needed_champion(store).version
    first = mirror(store, uri, "orders")
    assert (first.versions, first.added) == ({1: 1, 2: 2}, (1, 2))
    assert first.aliases == {"champion": live, "newest": 2}
    again = mirror(store, uri, "orders")
    assert (again.versions, again.added) == (first.versions, ())
    client = client_of(uri)
    there = client.get_model_version_by_alias("orders", "champion")
    assert there.tags["batchlearn.identity"] == read_version(store, live).identity
    promote(store, 3 - live, Reason("again", "ann", "2026-01-01T00:00:00Z"), needed_champion(store))
    mirror(store, uri, "orders")
    assert client.get_model_version_by_alias("orders", "champion").tags["batchlearn.version"] == str(3 - live)
    # What is there is the model, to the last bit.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    loaded = mlflow.pyfunc.load_model("models:/orders@newest").unwrap_python_model
    path = Path(client.get_model_version("orders", "2").source.removeprefix("file://"), "model")
    there, ours = load(path), load(read_version(store, 2).model_path)
    assert isinstance(there, LinearModel)
    assert isinstance(ours, LinearModel)
    assert there.parameters.tobytes() == ours.parameters.tobytes()
    assert loaded is not None


def test_what_is_done_there_changes_nothing_here_and_another_project_is_refused(
    store: FolderStore, tmp_path: Path
) -> None:
    uri, before = f"file:{tmp_path}/mlflow", needed_champion(store)
    mirror(store, uri, "orders")
    client = client_of(uri)
    client.set_registered_model_alias("orders", "champion", "2" if before.version == 1 else "1")
    assert needed_champion(store) == before
    mirror(store, uri, "orders")
    assert client.get_model_version_by_alias("orders", "champion").tags["batchlearn.version"] == str(before.version)
    client.set_model_version_tag("orders", "1", "batchlearn.identity", "0" * 64)
    with pytest.raises(RegistryError) as caught:
        mirror(store, uri, "orders")
    assert caught.value.code == "mirror-of-another"


def test_an_altered_version_is_not_handed_on(store: FolderStore, tmp_path: Path) -> None:
    weights = read_version(store, 2).model_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(IntegrityError):
        mirror(store, f"file:{tmp_path}/mlflow", "orders")
    client = client_of(f"file:{tmp_path}/mlflow")
    assert [one.tags["batchlearn.version"] for one in client.search_model_versions("name='orders'")] == ["1"]


def test_an_address_that_mlflow_does_not_know_is_refused_in_our_words(store: FolderStore) -> None:
    with pytest.raises(ResourceError) as caught:
        mirror(store, "gopher://nowhere", "orders")
    assert caught.value.code == "mlflow-refused"


def test_without_the_extra_its_name_is_said(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UsageError, match=r"batchlearn\[mlflow\]"):
        mirror(store, "file:nowhere", "orders")
