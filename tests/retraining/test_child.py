"""A version is loaded by a fresh process, which scores the sample rows to the same bits or says why not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.models.made import GOLDEN, made

from batchlearn.data.encoding import Encoding
from batchlearn.errors import ResourceError
from batchlearn.evaluation.metrics import Array
from batchlearn.models.files import load
from batchlearn.retraining.child import main, scores_same

ROWS = 40


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    path = tmp_path_factory.mktemp("sample") / "sample.parquet"
    pq.write_table(made(ROWS, seed=3), path)
    return path, load(GOLDEN).predict(path).response


def test_the_same_bits_in_another_process(sample: tuple[Path, Array]) -> None:
    found = scores_same(GOLDEN, *sample)
    assert found
    assert str(found.note) == "A new process scored all 40 sample rows to the same bits."


def test_one_bit_is_seen(sample: tuple[Path, Array]) -> None:
    path, expected = sample
    other = expected.copy()
    other[5] = np.nextafter(other[5], 1.0)
    found = scores_same(GOLDEN, path, other)
    assert not found
    assert "scored 1 of 40 rows otherwise, by up to" in str(found.note)


def test_another_number_of_rows_is_not_the_same(sample: tuple[Path, Array]) -> None:
    path, expected = sample
    found = scores_same(GOLDEN, path, expected[:-1])
    assert not found
    assert "(40,), where (39,) was expected" in str(found.note)


def test_a_damaged_version_is_refused_by_the_child(sample: tuple[Path, Array], tmp_path: Path) -> None:
    folder = tmp_path / "version"
    shutil.copytree(GOLDEN, folder)
    weights = folder / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(bytes(damaged))
    found = scores_same(folder, *sample)
    assert not found
    assert str(found.note).startswith("The new process ended with exit code 6: ")
    assert "SHA-256 differs" in str(found.note)


def test_rows_that_the_version_cannot_score_are_said(sample: tuple[Path, Array], tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"unknown": [1.0]}), path)
    found = scores_same(GOLDEN, path, sample[1])
    assert not found
    assert "exit code 3" in str(found.note)


def test_a_child_that_hangs_is_not_waited_for(sample: tuple[Path, Array]) -> None:
    found = scores_same(GOLDEN, *sample, seconds=0.001)
    assert not found
    assert "had not scored the sample rows after 0.001 s" in str(found.note)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "was ended by signal 11"),
        ("print('hello')", "no table of responses"),
        ("", "no table of responses"),
        ("raise SystemExit(9)", "ended with exit code 9."),
    ],
)
def test_a_child_that_does_something_else_is_not_the_same(
    sample: tuple[Path, Array], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    found = scores_same(GOLDEN, *sample)
    assert not found
    assert said in str(found.note)


def test_no_process_is_a_resource_error(
    sample: tuple[Path, Array], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(ResourceError) as refused:
        scores_same(GOLDEN, *sample)
    assert refused.value.code == "child-not-started"


def test_the_child_loads_nothing_that_trains() -> None:
    script = "import sys, batchlearn.retraining.child; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    packages = {".".join(name.split(".")[:2]) for name in loaded}
    assert Encoding.__module__ in loaded
    assert not packages & {"batchlearn.training", "batchlearn.solvers", "batchlearn.selection", "sklearn", "scipy"}


def test_the_program_itself(sample: tuple[Path, Array], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main([str(GOLDEN), str(sample[0])]) == 0
    assert sample[1].tobytes() in capfdbinary.readouterr().out
    assert main([str(GOLDEN / "nothing"), str(sample[0])]) == 2
    assert b"There is no model" in capfdbinary.readouterr().err
