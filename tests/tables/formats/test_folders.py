from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tables.formats.made import WRITERS, refusal, scanned, small_table

from batchlearn.models.encoded import EncodedModel
from batchlearn.tables.table import Kind, Table, read
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

DAYS = [datetime.datetime(2024, 3, 1 + number) for number in range(5)]


@pytest.fixture(params=["csv", "parquet", "arrow", "jsonl"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Five days of 24 rows, each in a folder of its day."""
    rows = small_table().drop_columns(["seen"])
    for number, day in enumerate(DAYS):
        folder = tmp_path / "parts" / f"date={day:%Y-%m-%d}"
        folder.mkdir(parents=True)
        WRITERS[f"rows.{request.param}"](rows.slice(24 * number, 24), folder / f"part.{request.param}")
    return tmp_path / "parts"


def test_dates_in_names_of_folders_are_times(parts: Path) -> None:
    table = read(parts, target="label", time="date")
    assert table.column("date").kind is Kind.TIMESTAMP
    found = scanned(table)
    assert found["date"] == [day for day in DAYS for _ in range(24)]
    assert found["label"] == small_table()["label"].to_pylist()
    assert scanned(read(parts, where="date >= '2024-03-04'"))["label"] == found["label"][72:]


def scores(model: EncodedModel, table: Table) -> list[float]:
    model.check(table)
    return [value for batch in table.scan(model.columns) for value in model.predict_batch(batch).response]


def test_a_part_alone_is_scored_as_within_the_whole(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(read(parts, target="label", time="date"), Recipe(alpha=0.01, holdout=0.0), threads=1).model
    assert "date" in model.columns
    whole = scores(model, read(parts))
    (file,) = (parts / "date=2024-03-02").iterdir()
    assert scores(model, read(file)) == whole[24:48]
    assert scores(model, read(file.parent)) == whole[24:48]
    assert scores(model, read(parts / "date=2024-03-0[23]" / "part.*")) == whole[24:72]
    monkeypatch.chdir(file.parent)
    assert scores(model, read(file.name)) == whole[24:48]


def test_a_column_of_the_file_comes_before_one_of_the_folders_around_it(tmp_path: Path) -> None:
    folder = tmp_path / "day=3" / "size=9"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"Size": [1.5], "y": [2.0]}), folder / "rows.parquet")
    assert scanned(read(folder / "rows.parquet")) == {"Size": [1.5], "y": [2.0], "day": [3.0]}


@pytest.mark.parametrize(
    ("values", "kind", "read_as"),
    [
        (["2024-03-01", "2024-03-02"], Kind.TIMESTAMP, [DAYS[0], DAYS[1]]),
        (["2024-03-01 12%3A30%3A00", "2024-03-02"], Kind.TIMESTAMP, [datetime.datetime(2024, 3, 1, 12, 30), DAYS[1]]),
        (["2024-03-01", "__HIVE_DEFAULT_PARTITION__"], Kind.TIMESTAMP, [DAYS[0], None]),
        (["2024-03-01", "2024-02-30"], Kind.CATEGORY, ["2024-03-01", "2024-02-30"]),
        (["01.03.2024", "02.03.2024"], Kind.CATEGORY, ["01.03.2024", "02.03.2024"]),
        (["2024-03", "2024-04"], Kind.CATEGORY, ["2024-03", "2024-04"]),
        (["03", "12"], Kind.NUMBER, [3.0, 12.0]),
        (["a%20b", "7"], Kind.CATEGORY, ["a b", "7"]),
    ],
    ids=["date", "time", "missing", "no day", "not ISO", "month", "number", "text"],
)
def test_what_values_of_folders_are(tmp_path: Path, values: list[str], kind: Kind, read_as: list[object]) -> None:
    for value in values:
        (tmp_path / "rows" / f"p={value}").mkdir(parents=True)
        pq.write_table(pa.table({"y": [1.0]}), tmp_path / "rows" / f"p={value}" / "rows.parquet")
    table = read(tmp_path / "rows")
    assert table.column("p").kind is kind
    assert sorted(scanned(table)["p"], key=str) == sorted(read_as, key=str)


def test_one_part_of_codes_is_read_as_the_model_reads_the_codes(tmp_path: Path) -> None:
    for value in ("01", "02", "b2"):
        (tmp_path / "rows" / f"code={value}").mkdir(parents=True)
        pq.write_table(pa.table({"y": [1.0]}), tmp_path / "rows" / f"code={value}" / "rows.parquet")
    whole = read(tmp_path / "rows")
    part = tmp_path / "rows" / "code=01"
    assert scanned(read(part, like=whole.readings))["code"] == ["01"]
    assert scanned(read(part, categories=["code"]))["code"] == ["01"]
    assert refusal(tmp_path / "rows" / "code=9").code == "file-missing"
