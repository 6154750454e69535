from __future__ import annotations

import gzip

import pytest
from tests.tables.text.files_of_text import Write, refusal, values

from batchlearn.errors import UsageError
from batchlearn.tables.table import read

TOWNS = "town,x\n" + "Köln,1\nOrléans,2\nMálaga,3\n" * 20
# Moscow: very fine weather today. Kazan: rain and snow all day long.
RUSSIAN = "city,x\n" + 20 * (
    "\u041c\u043e\u0441\u043a\u0432\u0430: \u043e\u0447\u0435\u043d\u044c \u0445\u043e\u0440\u043e\u0448\u0430\u044f "
    "\u043f\u043e\u0433\u043e\u0434\u0430 \u0441\u0435\u0433\u043e\u0434\u043d\u044f,1\n"
    "\u041a\u0430\u0437\u0430\u043d\u044c: \u0434\u043e\u0436\u0434\u044c \u0438 \u0441\u043d\u0435\u0433 "
    "\u0438\u0434\u0443\u0442 \u0432\u0435\u0441\u044c \u0434\u0435\u043d\u044c,2\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_as_it_comes(write: Write, encoding: str) -> None:
    text = TOWNS.encode(encoding)
    if encoding == "utf-16-be":
        text = b"\xfe\xff" + text
    found = values(write(text))
    assert found["town"][:3] == ["Köln", "Orléans", "Málaga"]
    assert found["x"][:3] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TOWNS, RUSSIAN, "\u0430,x\n\u0431,1\n"])
def test_utf_16_needs_no_mark(write: Write, encoding: str, text: str) -> None:
    found = next(iter(values(write(text.encode(encoding))).values()))
    assert found == [line.split(",")[0] for line in text.splitlines()[1:]]


def test_a_character_may_lie_across_blocks(write: Write) -> None:
    text = "a,b\n" + "é1234567,x\n" * 1_200_000
    found = read(write(text.encode("utf-16")))
    assert sum(batch.num_rows for batch in found.scan(["a"])) == 1_200_000
    assert {level for batch in found.scan(["a"]) for level in batch.column(0).unique().to_pylist()} == {"é1234567"}


@pytest.mark.parametrize(
    ("encoding", "text", "guess"),
    [
        ("latin-1", TOWNS, "cp1252"),
        ("cp1252", TOWNS + "10 €,4\n", "cp1252"),
        ("latin-1", "Größe,x\n" + "Käse,1\nMüll,2\nÖl,3\n" * 100, "cp1252"),
        ("latin-1", "Fläche m²,x\n" + "Käse,1\nMüll,2\nÖl,3\n" * 100, "cp1252"),
        ("cp1251", RUSSIAN, "cp1251"),
        ("cp932", "都市,x\n" + "東京,1\n大阪,2\n" * 30, "cp932"),
    ],
)
def test_d18_other_encodings_are_refused_with_the_flag_that_reads_them(
    write: Write, encoding: str, text: str, guess: str
) -> None:
    path = write(text.encode(encoding))
    error = refusal(path)
    assert error.code == "not-utf8"
    assert f"--encoding {guess}" in error.message
    assert next(iter(values(path, encoding=guess).values()))[:2] == [
        line.split(",")[0] for line in text.split("\n")[1:3]
    ]
    assert read(path, encoding=guess).text_encoding == guess


def test_d18_the_line_is_named(write: Write) -> None:
    assert "line 3" in refusal(write("a,b\n1,Ulm\n2,Köln\n".encode("latin-1"))).message
    assert refusal(write("a,b\n1,Kö".encode()[:-1])).code == "not-utf8"


def test_a_mark_goes_before_what_was_said(write: Write) -> None:
    assert values(write(TOWNS.encode("utf-8-sig")), encoding="cp1252")["town"][0] == "Köln"


def test_compressed_files_have_encodings_too(write: Write) -> None:
    path = write(gzip.compress(TOWNS.encode("cp1252")), "rows.csv.gz")
    assert values(path, encoding="cp1252")["town"][0] == "Köln"


def test_an_encoding_that_there_is_none_of_is_refused(write: Write) -> None:
    with pytest.raises(UsageError) as caught:
        read(write(TOWNS), encoding="latin-x")
    assert caught.value.code == "encoding-unknown"
