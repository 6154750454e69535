from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.tables.formats.made import WRITERS, scanned, small_table

from batchlearn.errors import DataError
from batchlearn.tables.table import read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train


def fitted(path: Path) -> Fit:
    return train(read(path, target="label", time="seen"), Recipe(alpha=0.01, holdout=0.0), threads=1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    path = tmp_path_factory.mktemp("formats") / "rows.parquet"
    WRITERS["rows.parquet"](small_table(), path)
    return fitted(path)


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_format_gives_the_same_model_bit_for_bit(expected: Fit, tmp_path: Path, name: str) -> None:
    WRITERS[name](small_table(), tmp_path / name)
    fit = fitted(tmp_path / name)
    assert fit.certificate.fingerprint == expected.certificate.fingerprint
    assert fit.model.parameters.tobytes() == expected.model.parameters.tobytes()
    assert fit.model.encoding == expected.model.encoding
    assert fit.rows == expected.rows


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_format_can_be_read_again_and_again(tmp_path: Path, name: str) -> None:
    WRITERS[name](small_table(), tmp_path / name)
    table = read(tmp_path / name)
    first = scanned(table)
    assert first == scanned(table)
    assert first["label"] == small_table()["label"].to_pylist()
    assert [column.name for column in table.columns] == small_table().column_names
    few = [batch.column("count").to_pylist() for batch in table.scan(["count"])]
    assert [value for part in few for value in part] == first["count"]


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_condition_and_a_dropped_column_work_in_every_format(tmp_path: Path, name: str) -> None:
    WRITERS[name](small_table(), tmp_path / name)
    table = read(tmp_path / name, where="colour = 'grün' and size > 1", drop=["count"])
    rows = small_table().to_pylist()
    kept = [row["label"] for row in rows if row["colour"] == "grün" and (row["size"] or 0.0) > 1]
    assert [value for batch in table.scan(["label"]) for value in batch.column("label").to_pylist()] == kept
    assert "count" not in [column.name for column in table.features]


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_cut_short_is_refused_and_never_a_crash(tmp_path: Path, name: str) -> None:
    WRITERS[name](small_table(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    refused = 0
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        cut = tmp_path / f"cut-{share}-{name}"
        cut.write_bytes(whole[: int(share * len(whole))])
        try:
            scanned(read(cut))
        except DataError:
            refused += 1
    # Text may be cut off between two rows; nothing else may be.
    assert refused == 5 or name in ("rows.csv", "rows.jsonl")


def test_nothing_that_was_unpacked_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    WRITERS["csv.zip"](small_table(), tmp_path / "csv.zip")
    table = read(tmp_path / "csv.zip")
    assert list((tmp_path / "temporary").iterdir())
    del table
    assert not list((tmp_path / "temporary").iterdir())
    (tmp_path / "csv.zip").write_bytes((tmp_path / "csv.zip").read_bytes()[:200])
    with pytest.raises(ValueError, match="zip"):
        read(tmp_path / "csv.zip")
    assert not list((tmp_path / "temporary").iterdir())
