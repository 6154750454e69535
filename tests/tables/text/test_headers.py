from __future__ import annotations

import pytest
from tests.tables.text.files_of_text import Write, refusal, remarks, scanned, values

from batchlearn.tables.table import read

ROWS = "1.5,2,a\n2.5,3,b\n3.5,5,a\n"
READ = {"x": [1.5, 2.5, 3.5], "z": [2.0, 3.0, 5.0], "k": ["a", "b", "a"]}


@pytest.mark.parametrize(
    ("text", "passed_over"),
    [
        ("x,z,k\n" + ROWS, {}),
        ("sep=,\nx,z,k\n" + ROWS, {"separator line": 1}),
        ("Export of orders\nCreated 2024-05-01\n\nx,z,k\n" + ROWS, {"preamble": 2, "blank line": 1}),
        ("Export of orders, by month\nx,z,k\n" + ROWS, {"preamble": 1}),
        ("Export,,\n,,\nx,z,k\n" + ROWS, {"preamble": 2}),
        ("# made by hand\n# twice\nx,z,k\n" + ROWS, {"preamble": 2}),
        ("\n\nx,z,k\n\n1.5,2,a\n\n\n2.5,3,b\n3.5,5,a\n\n", {"blank line": 6}),
        ("x,z,k\r\n\r\n" + ROWS.replace("\n", "\r\n"), {"blank line": 1}),
        ("x,z,k\n1.5,2,a\nx,z,k\n2.5,3,b\nx,z,k\n3.5,5,a\n", {"repeated header": 2}),
        ("x,z,k\n1.5,2,a\n# a comment\n2.5,3,b\n3.5,5,a\n", {"comment": 1}),
        ("x,z,k\n" + ROWS + "\nSource: internal figures.\n", {"blank line": 1, "footnote": 1}),
        ("x,z,k\n" + ROWS + "Source: internal, 2024\n(c) us, them, all, of them\n", {"footnote": 2}),
        ("x,z,k\n" + ROWS + "Source: internal,,\n", {"footnote": 1}),
        ("x,z,k\n" + ROWS + "Note: one,,\n\nSource: internal\n", {"footnote": 2, "blank line": 1}),
        ("x,z,k\n" + ROWS + "\nNo word of it says that it is one\n", {"blank line": 1, "footnote": 1}),
        ("# one\nx,z,k\n1.5,2,a\n# a, b, c\n2.5,3,b\n3.5,5,a\n", {"preamble": 1, "comment": 1}),
        ("x,z,k,,\n" + ROWS.replace("\n", ",,\n"), {}),
        ("x,z,k\n" + ROWS.replace("\n", ",\n"), {}),
        (" x , z,k\n" + ROWS, {}),
        ("x;z;k\n" + ROWS.replace(",", ";").replace(".", ","), {}),
        ("x\tz\tk\n" + ROWS.replace(",", "\t"), {}),
    ],
)
def test_every_line_is_accounted_for(write: Write, text: str, passed_over: dict[str, int]) -> None:
    table = read(write(text))
    assert scanned(table) == READ
    assert table.lines_passed_over == passed_over
    lines = len(text.replace("\r\n", "\n").splitlines())
    assert lines == 1 + 3 + sum(passed_over.values())


QUESTIONS = 'start,age,score,say\n"Start\nDate",How old?,Score,Anything?\n"{""q"":""d""}","{""q"":1}","{""q"":2}",-\n'
UNITS = "place,area,people,from\n,km²,,date\n"


@pytest.mark.parametrize(("header", "count"), [(QUESTIONS, 2), (UNITS, 1)])
@pytest.mark.parametrize("more", [0, 100_000])
def test_rows_of_words_below_the_header(write: Write, header: str, count: int, more: int) -> None:
    names = header.partition("\n")[0].split(",")
    rows = "".join(f"2024-01-{k % 28 + 1:02d},{k},{k}.5,a{k % 3}\n" for k in range(20 + more))
    if header == UNITS:
        rows = "".join(f"p{k % 5},{k}.5,{k},2024-01-{k % 28 + 1:02d}\n" for k in range(20 + more))
    table = read(write(header + rows))
    assert table.remarks == ()
    assert table.lines_passed_over == {"row of words below the header": count}
    found = scanned(table)
    assert list(found) == names
    assert len(found[names[2]]) == 20 + more
    assert None not in found[names[1]]
    assert f"row {21 + more + count:,} below" in refusal(write(header + rows + "1,2,3,4,5\n6,7,8,9,0\n")).message


@pytest.mark.parametrize("first", ["low,NA,a", ",,a", ">1,0.5,b", "low,12 kg,z"])
def test_a_first_row_that_lacks_numbers_is_a_row(write: Write, first: str) -> None:
    table = read(write(f"x,z,k\n{first}\n" + "".join(f"{i},{i}.5,b\n" for i in range(200))))
    assert table.lines_passed_over == {}
    assert len(scanned(table)["k"]) == 201


def test_few_rows_do_not_tell_words_from_values(write: Write) -> None:
    assert len(scanned(read(write("x,z,k\nlow,high,a\n1,2,b\n3,4,a\n")))["k"]) == 3


def test_delimiters_that_end_lines_are_noted(write: Write) -> None:
    table = read(write("x;z;;\n1;2;;\n3;4;;\n"))
    assert [each[1:3] for each in remarks(table)] == [(False, "trailing_delimiters")] * 2
    error = refusal(write("x,z,\n" + "1,2,\n" * 300 + "1,2,3\n"))
    assert error.code == "csv-ragged-row"
    assert "row 301 " in error.message


def test_rows_that_lack_values_are_no_footnotes(write: Write) -> None:
    assert refusal(write("x,z,k\n" + ROWS + "4.5\n")).code == "csv-ragged-row"
    assert refusal(write("x,z,k\n" + ROWS + "4.5,New Y")).code == "csv-ragged-row"
    assert refusal(write("k,z,x\na,1,2\nNew Yo")).code == "csv-ragged-row"
    assert refusal(write("k,x\na,1\nb,2\n\nk,x,z,w\nc,1,2,3\n")).code == "csv-ragged-row"
    assert "row 2 " in refusal(write("x,z,k\n1.5,2,a\nSource: mid\n2.5,3,b\n")).message
    assert (
        "row 300,002 " in refusal(write("x,z,k\n" + "12345678901234,2,a\n" * 300_001 + "Source: mid\n1,2,b\n")).message
    )


def test_d13_first_row_longer_than_header(write: Write) -> None:
    for text in ("a,b\n1,2,3\n4,5,6\n", "a,b,c\n1,2\n3,4\n"):
        error = refusal(write(text))
        assert error.code == "csv-ragged-row"
        assert "row 1 " in error.message


def test_pandas_unnamed_index_is_left_out(write: Write) -> None:
    table = read(write(",x,z\n0,1.5,2\n1,2.5,3\n"))
    assert remarks(table) == [("column_1", False, "unnamed_index", None)]
    assert [column.name for column in table.features] == ["x", "z"]
    again = read(write("Unnamed: 0,x,z\n0,1.5,2\n1,2.5,3\n"))
    assert [column.name for column in again.features] == ["x", "z"]


def test_d11_repeated_names_are_numbered(write: Write) -> None:
    table = read(write("a,b,a,a,a.2\n1,2,3,4,5\n"))
    assert scanned(table) == {"a": [1.0], "b": [2.0], "a.3": [3.0], "a.4": [4.0], "a.2": [5.0]}
    assert remarks(table)[0] == ("a.3", True, "repeated_name", "--drop a.3")
    assert [column.name for column in read(write("x,x,y\n1,2,3\n"), drop=["x.2"]).features] == ["x", "y"]


def test_a_column_without_a_name_gets_one(write: Write) -> None:
    table = read(write("a,,c\n1,2,3\n"))
    assert scanned(table) == {"a": [1.0], "column_2": [2.0], "c": [3.0]}
    assert remarks(table) == [("column_2", True, "unnamed_column", "--drop column_2")]


def test_a_long_question_and_a_number_are_names(write: Write) -> None:
    table = read(write("How do you like it?,1\n" + "very much,1\nnot at all,0\n" * 9))
    assert [column.name for column in table.columns] == ["How do you like it?", "1"]


@pytest.mark.parametrize(
    "text",
    [
        "627.55,-1.058,17.489\n1.5,2.5,3.5\n",
        "39, State-gov, 77516\n50, Self-emp, 83311\n38, State-gov, 215646\n54, State-gov, 5\n",
        "2020-01-31,7\n2020-02-01,8\n",
        "5.1,3.5,setosa\n4.9,3.0,setosa\n",
        "It works very well,1\n" + "Broken after a week,0\nI like it a lot,1\n" * 9,
    ],
)
def test_a_header_that_is_data_is_refused(write: Write, text: str) -> None:
    path = write(text)
    error = refusal(path)
    assert error.code == "header-is-data"
    assert "--no-header" in error.message
    found = values(path, header=False)
    assert list(found) == [f"column_{k + 1}" for k in range(text.split("\n")[0].count(",") + 1)]
    assert {len(column) for column in found.values()} == {text.count("\n")}


@pytest.mark.parametrize(
    "header", ["country,2019,2020,2021", "label,0,1,2", "k,2020-01-22,2020-01-23,2020-01-24", "k,900.5,902.5,904.5"]
)
def test_names_may_be_years_positions_and_days(write: Write, header: str) -> None:
    assert list(values(write(header + "\na,1,2,3\nb,4,5,6\n"))) == header.split(",")


def test_a_delimiter_inside_free_text_is_known_by_its_space(write: Write) -> None:
    path = write("name,plan,x\nseen twice, then lost,a,1\ncalled, on day 3,b,2\n")
    table = read(path)
    assert remarks(table) == [("name", True, "delimiter_in_text", "--drop name")]
    assert "',' before a space is part of the text, as in 'seen twice, then lost'" in str(table.remarks[0].note)
    assert scanned(table) == {
        "name": ["seen twice, then lost", "called, on day 3"],
        "plan": ["a", "b"],
        "x": [1.0, 2.0],
    }


def test_a_name_may_be_all_that_its_column_holds(write: Write) -> None:
    table = read(write("STATION;DATE;T;eor\n" + "".join(f"   44;2021{k:04d};  {k}.5;eor\n" for k in range(50))))
    assert scanned(table)["eor"] == ["eor"] * 50
    assert refusal(write("44;2021;a;eor\n" + "".join(f"44;{k};b;eor\n" for k in range(50)))).code == "header-is-data"


def test_one_column_has_no_repeated_header(write: Write) -> None:
    assert values(write("a\na\nb\na\n"))["a"] == ["a", "b", "a"]


@pytest.mark.parametrize(("delimiter", "quote"), [(",", '"'), ("\t", '"'), ("\t", ""), (";", "")])
def test_names_of_rows_without_a_name_of_their_own_are_left_out(write: Write, delimiter: str, quote: str) -> None:
    rows = [[f"{quote}car {k}{quote}", f"{k}.5", f"{k % 4}"] for k in range(30)]
    path = write("\n".join([delimiter.join(f"{quote}{name}{quote}" for name in "xy"), *map(delimiter.join, rows), ""]))
    table = read(path)
    found = scanned(table)
    assert found["x"] == [k + 0.5 for k in range(30)]
    assert found["y"] == [float(k % 4) for k in range(30)]
    assert remarks(table) == [("column_1", False, "unnamed_index", None)]


@pytest.mark.parametrize("row", ['"{0}",{0},5', "{0},{0}.5,5", '"same",{0}.5,5'])
def test_one_value_more_in_each_row_is_no_name_where_it_may_be_a_decimal_or_repeats(write: Write, row: str) -> None:
    text = "\n".join(['"x","y"', *(row.format(k) for k in range(30)), ""])
    assert refusal(write(text)).code == "csv-ragged-row"


def test_runs_of_blanks_delimit(write: Write) -> None:
    rows = [f'{k}.0   {k % 3}  ? \t"ford {k % 2}"  ' for k in range(40)]
    named = write("mpg  cyl hp\t name\n" + "\n".join(rows) + "\n")
    assert values(named) == {
        "mpg": [float(k) for k in range(40)],
        "cyl": [float(k % 3) for k in range(40)],
        "hp": [None] * 40,
        "name": [f"ford {k % 2}" for k in range(40)],
    }
    bare = write("\n".join(rows))
    assert refusal(bare).code == "header-is-data"
    assert list(values(bare, header=False)["column_4"])[:2] == ["ford 0", "ford 1"]


@pytest.mark.parametrize(
    "text", ["a b,c d\n" + "1 2,3 4\n" * 9, "text\n" + "so it is\n" * 9, "when,x\n" + "2024-01-01 10:00,5\n" * 9]
)
def test_blanks_in_texts_do_not_delimit(write: Write, text: str) -> None:
    assert len(read(write(text)).columns) == text.split("\n")[1].count(",") + 1
