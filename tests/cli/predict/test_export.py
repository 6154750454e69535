"""`batchlearn export`, end to end."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, answer, refusal

from batchlearn.exports import onnx_graph
from batchlearn.exports.exportable import group_coefficients as honest
from batchlearn.models.files import load


@pytest.fixture
def model(here: Path, run: Run) -> Path:
    assert run("train", "rows.parquet", "--target", "bought", "--alpha", "0.01", "--output", "model")[0] == 0
    return here / "model"


def test_a_graph_is_written_after_a_check(model: Path, run: Run) -> None:
    import onnxruntime

    check: Any = answer(run, "export", "model", "bought.onnx", "--to", "onnx")["check"]
    assert (check["rows"], check["data"]) == (2000, None)
    assert check["largest_difference"] < 1e-12
    names = {one.name for one in onnxruntime.InferenceSession("bought.onnx").get_inputs()}
    assert names == set(load(model).columns)
    check = answer(run, "export", "model", "bought.onnx", "--to", "onnx", "--check", "rows.csv", "--force")["check"]
    assert (check["rows"], check["data"]) == (400, "rows.csv")
    code, out, _ = run("export", "model", "again.onnx", "--to", "onnx")
    assert code == 0
    assert out.startswith(
        "Exported to again.onnx\n  It predicts as the model does: 2,000 rows made to tell the two apart"
    )


def test_a_query_runs_in_duckdb_as_it_is_written(model: Path, run: Run) -> None:
    assert run("export", "model", "bought.sql", "--to", "sql", "--table", "'rows.parquet'", "--keep", "day")[0] == 0
    relation = duckdb.sql(Path("bought.sql").read_text())
    assert relation is not None
    found = relation.to_arrow_table().sort_by("day")
    assert run("predict", "model", "rows.parquet", "-o", "scored.parquet")[0] == 0
    expected = pq.read_table("scored.parquet")
    assert found.column_names == ["day", *expected.column_names]
    assert found.column("prediction").to_pylist() == expected.column("prediction").to_pylist()
    name = expected.column_names[1]
    assert found.column(name).to_pylist() == pytest.approx(expected.column(name).to_pylist(), rel=1e-12)
    assert model.is_dir()


def test_a_folder_of_mlflows_holds_the_model(model: Path, run: Run) -> None:
    told = answer(run, "export", "model", "flavour", "--to", "mlflow")
    assert told["check"] is None
    there, ours = load("flavour/model").predict("rows.csv"), load(model).predict("rows.csv")
    assert there.response.tobytes() == ours.response.tobytes()
    assert run("export", "model", "flavour", "--to", "mlflow", "--force")[0] == 0


def test_the_next_step_with_a_folder_of_mlflows_names_what_it_needs(model: Path, run: Run) -> None:
    code, out, _ = run("export", str(model), "folder", "--to", "mlflow")
    assert code == 0
    assert "Next, with MLflow and pandas installed:" in out
    # Loading the folder imports pandas, which MLflow's small package does not bring.
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())["project"]
    assert any(need.startswith("pandas") for need in project["optional-dependencies"]["mlflow"])


def test_a_disagreement_ends_with_six_and_writes_nothing(
    model: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the graph is made of, and the model is not.
    monkeypatch.setattr(onnx_graph, "group_coefficients", lambda known: [1.001 * one for one in honest(known)])
    assert refusal(run, "export", "model", "bought.onnx", "--to", "onnx")[:2] == (6, "export-disagrees")
    assert not Path("bought.onnx").exists()
    assert model.is_dir()


def test_what_is_there_stays_and_what_is_wrong_is_said(model: Path, run: Run) -> None:
    Path("there.onnx").write_text("mine")
    Path("kept").mkdir()
    Path("kept/notes.txt").write_text("mine")
    for code, words in (
        ("output-exists", ["there.onnx", "--to", "onnx"]),
        ("output-exists", ["kept", "--to", "mlflow", "--force"]),
        ("output-exists", ["kept", "--to", "onnx", "--force"]),
        ("output-folder-missing", ["no/where.onnx", "--to", "onnx"]),
        ("option-unknown", ["x.onnx", "--to", "onnx", "--keep", "day"]),
        ("option-unknown", ["flavour", "--to", "mlflow", "--check", "rows.csv"]),
        ("option-type", ["x.bin", "--to", "pmml"]),
    ):
        assert refusal(run, "export", "model", *words)[:2] == (2, code), words
    assert Path("there.onnx").read_text() == Path("kept/notes.txt").read_text() == "mine"
    assert model.is_dir()


def test_without_duckdb_a_query_is_written_unchecked_and_that_is_said(
    model: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchlearn.cli.predict.export.find_spec", lambda _: None)
    code, _, err = run("export", "model", "bought.sql", "--to", "sql")
    assert code == 0
    assert "duckdb is not installed" in err
    assert model.is_dir()


def test_the_registry_is_mirrored_from_the_command_line(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    made = Path(__file__).resolve().parents[2] / "registry" / "fixtures" / "registry-3"
    shutil.copytree(made, here, dirs_exist_ok=True)
    told: Any = answer(run, "registry", "mirror", "--to", f"file:{here}/mlflow", "--name", "orders")
    assert told["versions"] == {"1": 1, "2": 2}
    assert told["aliases"].keys() == {"champion", "newest"}
    code, out, _ = run("registry", "mirror", "--to", f"file:{here}/mlflow", "--name", "orders")
    assert code == 0
    assert "nothing was missing" in out
    assert refusal(run, "registry", "mirror")[:2] == (2, "option-missing")
    assert refusal(run, "registry", "mirror", "--to", "x", "--repair")[:2] == (2, "option-unknown")
    assert refusal(run, "registry", "check", "--to", "x")[:2] == (2, "option-unknown")
