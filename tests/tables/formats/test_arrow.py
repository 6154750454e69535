from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather
from tests.tables.formats.made import WRITERS, refusal, scanned, small_table

from batchlearn.errors import BatchlearnError, DataError
from batchlearn.tables.table import Kind, read


def written(table: pa.Table, path: Path) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_files_are_read_whatever_packs_them(tmp_path: Path, compression: str) -> None:
    feather.write_feather(small_table(), tmp_path / "rows.feather", compression=compression)
    assert scanned(read(tmp_path / "rows.feather"))["size"] == small_table()["size"].to_pylist()


def test_types_stay_and_columns_of_no_kind_are_left_out(tmp_path: Path) -> None:
    storage = pa.array([1, 2], pa.int64())
    foreign = pa.field("money", pa.int64(), metadata={"ARROW:extension:name": "shop.money"})
    table = pa.Table.from_arrays(
        [
            pa.array(["12", "13"]),
            pa.array([0.5, 1.5], pa.float32()),
            pa.array([[1], [2, 3]]),
            pa.array([{"a": 1}, None]),
            pa.array([b"x", b"y"]),
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 2, pa.binary(16))),
            storage,
            pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2)),
            pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([[1], [2]])),
        ],
        schema=pa.schema(
            [
                ("code", pa.string()),
                ("x", pa.float32()),
                ("tags", pa.list_(pa.int64())),
                ("record", pa.struct([("a", pa.int64())])),
                ("picture", pa.binary()),
                ("key", pa.uuid()),
                foreign,
                ("place", pa.list_(pa.float64(), 2)),
                ("lists", pa.dictionary(pa.int64(), pa.list_(pa.int64()))),
            ]
        ),
    )
    found = read(written(table, tmp_path / "rows.arrow"))
    # Texts of a format that has types are categories, even those of digits.
    kinds = {column.name: column.kind for column in found.features}
    assert kinds == {"code": Kind.CATEGORY, "x": Kind.NUMBER, "place_0": Kind.NUMBER, "place_1": Kind.NUMBER}
    left_out = {remark.column: remark.change for remark in found.remarks if not remark.used}
    assert left_out == {name: f"--drop {name}" for name in ("tags", "record", "picture", "key", "money", "lists")}
    assert scanned(found)["x"] == [0.5, 1.5]
    assert refusal(tmp_path / "rows.arrow", target="money").code == "unsupported-type"


def test_a_column_that_is_not_read_may_be_damaged_and_one_that_is_may_not(tmp_path: Path) -> None:
    texts = pa.array(["aaaa", "bbbb", "cccc"] * 40)
    table = pa.table({"x": [float(i) for i in range(120)], "text": texts})
    path = written(table, tmp_path / "rows.arrow")
    whole = path.read_bytes()
    _, offsets, _ = texts.buffers()
    place = whole.index(offsets.to_pybytes()[: 4 * 121])
    damaged = bytearray(whole)
    damaged[place + 40 : place + 44] = (10**9).to_bytes(4, "little")
    path.write_bytes(damaged)
    opened = read(path)
    assert sum(batch.num_rows for batch in opened.scan(["x"])) == 120
    assert refusal(path).code == "arrow-unreadable"


@pytest.mark.parametrize("name", ["rows.feather", "rows.arrow", "levels.arrow"])
def test_bytes_changed_at_random_give_values_or_our_errors(tmp_path: Path, name: str) -> None:
    WRITERS[name](small_table(40), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    draw = random.Random(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 3])):
            damaged[draw.randrange(len(damaged))] = draw.choice([0, 127, 128, 255])
        (tmp_path / name).write_bytes(damaged)
        try:
            table = read(tmp_path / name)
            for batch in table.scan([column.name for column in table.columns]):
                batch.validate(full=True)
        except DataError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-empty"),
        (b"a,b\n1,2\n", "arrow-unreadable"),
        (b"ARROW1\0\0", "arrow-unreadable"),
        (b"ARROW1\0\0" + bytes(200), "arrow-unreadable"),
        (b"\xff\xff\xff\xff" + (2**31 - 1).to_bytes(4, "little"), "arrow-unreadable"),
        (b"\xff\xff\xff\xff\0\0\0\0", "arrow-unreadable"),
        (b"FEA1" + bytes(100), "arrow-unreadable"),
    ],
    ids=["empty", "text", "magic", "zeros", "long", "end", "version-1"],
)
@pytest.mark.parametrize("name", ["rows.arrow", "rows.feather"])
def test_what_is_no_arrow_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    error = refusal(name)
    assert (error.code, error.exit_code) == (code, 3)
    assert name in error.message


def test_no_rows_a_folder_of_that_name_and_files_that_differ(tmp_path: Path) -> None:
    assert refusal(written(small_table().slice(0, 0), tmp_path / "none.arrow")).code == "no-rows"
    (tmp_path / "folder.arrow").mkdir()
    assert refusal(tmp_path / "folder.arrow").code == "folder-without-tables"
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(3):
        written(small_table().slice(40 * number, 40), parts / f"{number}.arrow")
    assert scanned(read(parts)) == scanned(read(small_table()))
    written(pa.table({"size": [1.0], "later": ["new"]}), parts / "3.arrow")
    found = scanned(read(parts))
    assert (found["size"][-1], found["count"][-1], found["later"]) == (1.0, None, [None] * 120 + ["new"])
    written(pa.table({"size": ["text"]}), parts / "4.arrow")
    assert refusal(parts).code == "files-differ"


def test_a_file_changed_between_two_readings_is_refused(tmp_path: Path) -> None:
    path = written(small_table(), tmp_path / "rows.arrow")
    table = read(path)
    written(small_table(60), path)
    with pytest.raises(BatchlearnError) as caught:
        scanned(table)
    assert caught.value.code == "file-changed"
