from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from batchlearn.cli.predict.scored import writing
from batchlearn.errors import UsageError

TEXTS = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "a=b", "'", "", None]
SCHEMA = pa.schema([("text", pa.string()), ("number", pa.float64())])


def batch() -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": TEXTS, "number": [-1.0] * len(TEXTS)}, schema=SCHEMA)


def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe_in_csv_only(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        with writing(tmp_path / name, SCHEMA, force=False) as writer:
            writer.write_batch(batch())
    options = pacsv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    parsed = pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    written = pacsv.read_csv(tmp_path / "a.csv", convert_options=options, parse_options=parsed)
    expected = [f"'{text}" if text and text[0] in "=+-@\t\r" else text for text in TEXTS]
    assert written["text"].to_pylist() == expected
    assert written["number"].to_pylist() == [-1.0] * len(TEXTS)
    assert pq.read_table(tmp_path / "a.parquet")["text"].to_pylist() == TEXTS


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_what_fails_leaves_nothing(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        with writing(tmp_path / name, SCHEMA, force=False) as writer:
            writer.write_batch(batch())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def race() -> None:
        with writing(path, SCHEMA, force=False):
            path.write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match="exists already"):
        race()
    assert path.read_text(encoding="utf-8") == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_force_replaces_the_file_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("old", encoding="utf-8")
    with writing(path, SCHEMA, force=True) as writer:
        writer.write_batch(batch())
        assert path.read_text(encoding="utf-8") == "old"
    assert pq.read_table(path).num_rows == len(TEXTS)
    assert list(tmp_path.iterdir()) == [path]
