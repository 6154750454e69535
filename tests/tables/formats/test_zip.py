from __future__ import annotations

import io
import random
import stat
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.tables.formats.made import WRITERS, refusal, scanned, small_table

from batchlearn.errors import DataError
from batchlearn.tables.table import read

CSV = "x,y\n1.5,2\n2.5,3\n"


def packed(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["rows.csv", "deep/er/rows.tsv", "Rows.CSV", "../../rows.csv", "/rows.csv", "rows.txt"]
)
def test_the_one_table_is_read_wherever_it_says_it_lies(tmp_path: Path, name: str) -> None:
    before = {*tmp_path.parent.iterdir()}
    path = packed(tmp_path / "rows.zip", {"readme.md": "hello", name: CSV})
    assert scanned(read(path)) == {"x": [1.5, 2.5], "y": [2.0, 3.0]}
    assert {*tmp_path.parent.iterdir()} == before
    assert [each.name for each in tmp_path.iterdir()] == ["rows.zip"]


def test_parquet_and_compressed_text_inside(tmp_path: Path) -> None:
    inside = io.BytesIO()
    pq.write_table(small_table(), inside)
    path = packed(tmp_path / "rows.zip", {"rows.parquet": inside.getvalue()})
    assert scanned(read(path)) == scanned(read(small_table()))


def test_several_tables_are_refused_with_their_names(tmp_path: Path) -> None:
    error = refusal(packed(tmp_path / "rows.zip", {"a.csv": CSV, "b/c.parquet": b"PAR1", "notes.txt": "x"}))
    assert (error.code, error.exit_code) == ("zip-not-one-table", 3)
    assert "2 tables: 'a.csv', 'b/c.parquet'" in error.message
    assert refusal(packed(tmp_path / "none.zip", {"notes.md": "x"})).code == "zip-not-one-table"
    assert refusal(packed(tmp_path / "empty.zip", {})).code == "zip-not-one-table"


def test_bombs_locks_links_and_archives_within_are_refused(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "bomb.zip", {"rows.csv": "x\n" + "0\n" * 20_000_000})
    assert refusal(bomb).code == "zip-bomb"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("rows.csv", CSV)
    assert refusal(packed(tmp_path / "nested.zip", {"rows.csv": inner.getvalue()})).code == "zip-not-one-table"
    link = zipfile.ZipInfo("rows.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert refusal(tmp_path / "link.zip").code == "zip-not-one-table"
    locked = bytearray(packed(tmp_path / "locked.zip", {"rows.csv": CSV}).read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert refusal(tmp_path / "locked.zip").code == "zip-locked"


def test_a_size_that_lies_is_found_out(tmp_path: Path) -> None:
    whole = bytearray(packed(tmp_path / "rows.zip", {"rows.csv": CSV}).read_bytes())
    place = whole.index(b"PK\x01\x02")
    for size in (0, 8):
        lying = bytearray(whole)
        lying[place + 24 : place + 28] = size.to_bytes(4, "little")
        (tmp_path / "rows.zip").write_bytes(lying)
        assert refusal(tmp_path / "rows.zip").code == "zip-unreadable"


def test_bytes_changed_at_random_give_values_or_our_errors(tmp_path: Path) -> None:
    WRITERS["csv.zip"](small_table(), tmp_path / "rows.zip")
    whole = (tmp_path / "rows.zip").read_bytes()
    draw = random.Random(5)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "rows.zip").write_bytes(damaged)
        try:
            read(tmp_path / "rows.zip")
        except DataError:
            refused += 1
    assert refused > 100


def test_what_is_said_of_text_inside_is_said_of_its_name(tmp_path: Path) -> None:
    path = packed(tmp_path / "rows.zip", {"rows.csv": "x,stadt\n1,Köln\n2,Bonn\n".encode("latin-1")})
    error = refusal(path)
    assert error.code == "not-utf8"
    assert "rows.zip/rows.csv" in error.message
    assert scanned(read(path, encoding="latin-1"))["stadt"] == ["Köln", "Bonn"]
