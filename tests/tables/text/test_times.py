from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tables.text.files_of_text import Write, column_of, refusal, remarks, scanned, values

from batchlearn.errors import UsageError
from batchlearn.tables.table import Kind, read
from batchlearn.tables.text.times import moments

NOON = datetime.datetime(2020, 12, 31, 12, 0)
DAY = datetime.datetime(2020, 12, 31)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("31/12/2020", "%d/%m/%Y", DAY),
        ("12/31/2020", "%m/%d/%Y", DAY),
        ("31.12.2020", "%d.%m.%Y", DAY),
        ("31-Dec-2020", "%d-%b-%Y", DAY),
        ("31 December 2020", "%d %b %Y", DAY),
        ("Dec 31, 2020", "%b %d, %Y", DAY),
        ("2020/12/31", "%Y/%m/%d", DAY),
        ("2020-12-31", None, DAY),
        ("31-12-2020", "%d-%m-%Y", DAY),
        ("12/31/20", "%m/%d/%y", DAY),
        ("31/12/2020 12:00", "%d/%m/%Y %H:%M", NOON),
        ("31.12.2020 12:00:00", "%d.%m.%Y %H:%M:%S", NOON),
        ("12/31/2020 12:00 PM", "%m/%d/%Y %I:%M %p", NOON),
        ("12/31/2020 12:00 am", "%m/%d/%Y %I:%M %p", DAY),
        ("31/12/2020, 12:00", "%d/%m/%Y, %H:%M", NOON),
        ("2020-12", "%Y-%m", datetime.datetime(2020, 12, 1)),
        ("Dec-20", "%b-%y", datetime.datetime(2020, 12, 1)),
        ("DEC-2020", "%b-%Y", datetime.datetime(2020, 12, 1)),
        ("Sept 2020", "%b %Y", datetime.datetime(2020, 9, 1)),
        ("2020/12/31T12:00:00", "%Y/%m/%dT%H:%M:%S", NOON),
        ("20201231T000000", "%Y%m%dT%H%M%S", DAY),
        ("20201231T120000Z", "%Y%m%dT%H%M%S%z", NOON),
    ],
)
def test_dates_as_people_write_them(write: Write, text: str, form: str | None, expected: datetime.datetime) -> None:
    table = read(write(column_of([text] * 3)), time="x")
    assert table.column("x").kind is Kind.TIMESTAMP
    assert table.readings["x"].times == form
    assert scanned(table)["x"] == [expected] * 3
    assert [code for _, _, code, _ in remarks(table)] == ([] if form is None else ["written_times"])


@pytest.mark.parametrize("text", ["Decor-20", "Mar 21", "Jan-May", "Sek-12"])
def test_words_before_numbers_are_no_months(write: Write, text: str) -> None:
    assert read(write(column_of([text] * 3))).column("x").kind is Kind.CATEGORY


def test_one_row_decides_the_order_of_day_and_month(write: Write) -> None:
    texts = ["01/02/2020"] * 300_000
    assert values(write(column_of([*texts, "13/02/2020"])))["x"][0] == datetime.datetime(2020, 2, 1)
    assert values(write(column_of([*texts, "02/13/2020"])))["x"][0] == datetime.datetime(2020, 1, 2)


@pytest.mark.parametrize(
    "texts",
    [["2020-12-31", "31/12/2020"], ["27:31:05", "1:02:03"], ["Mar 21", "Dec 24"], ["31/12/2020 10:00", "12/31/2020"]],
)
def test_texts_like_dates_that_no_form_reads_are_noted(write: Write, texts: list[str]) -> None:
    for repeats in (20, 2000):
        table = read(write(column_of(texts * repeats)))
        assert remarks(table) == [("x", True, "forms_of_times", "--drop x")]
        assert f"such as '{texts[0]}'" in str(table.remarks[0].note)
        assert table.column("x").kind is Kind.CATEGORY


@pytest.mark.parametrize("text", ["10.75.07", "030-12-345", "a 2020-12-31", "10-12", "192.168.10.01", "May"])
def test_other_texts_do_not_look_like_dates(write: Write, text: str) -> None:
    assert read(write(column_of([text] * 40))).remarks == ()


def test_the_example_is_one_that_is_read(write: Write) -> None:
    (written, _) = read(write(column_of(["closed", "31/12/2020"] + ["30/12/2020"] * 300))).remarks
    assert str(written.note) == "'x' is read as a time: '31/12/2020' is of the form %d/%m/%Y."
    clock = read(write(column_of(["closed", "4:30"] + ["5:00"] * 300))).remarks[0]
    assert str(clock.note) == "'x' is read as a number: '4:30' is 16,200 seconds since midnight."
    assert clock.change == "--categories x"


def test_an_order_that_nothing_decides_is_asked_about(write: Write) -> None:
    path = write(column_of(["01/02/2020", "03/04/2020"]))
    table = read(path, target="y")
    assert [column.name for column in table.features] == []
    assert remarks(table) == [("x", False, "order_of_date", "--date-format %d/%m/%Y")]
    error = refusal(path, time="x")
    assert error.code == "date-order"
    assert "--date-format %d/%m/%Y or --date-format %m/%d/%Y" in error.message
    assert values(path, date_format="%d/%m/%Y")["x"][1] == datetime.datetime(2020, 4, 3)
    assert values(path, date_format="%m/%d/%Y")["x"][1] == datetime.datetime(2020, 3, 4)
    clocks = write(column_of(["01/02/2020 10:00"]), "clocks.csv")
    assert values(clocks, date_format="%d/%m/%Y")["x"] == [datetime.datetime(2020, 2, 1, 10)]


def test_a_form_of_digits_alone_is_for_the_time_column(write: Write) -> None:
    path = write(column_of(["20200102", "20200103"]))
    assert values(path)["x"] == [20200102.0, 20200103.0]
    assert values(path, time="x", date_format="%Y%m%d")["x"][0] == datetime.datetime(2020, 1, 2)


def test_days_that_are_none_are_shown(write: Write) -> None:
    table = read(write(column_of([*["2020-01-01"] * 300, "0000-00-00"])))
    assert remarks(table) == [("x", False, "unreadable_texts", "--null 0000-00-00")]
    assert values(write(column_of(["2020-01-01", "0000-00-00"])), null=["0000-00-00"])["x"][1] is None


def test_d51_times_with_and_without_zone(write: Write) -> None:
    path = write("t,b\n2020-01-01T00:00:00Z,1\n2020-01-01T00:00:00,2\n")
    assert remarks(read(path)) == [("t", False, "zones_mixed", "--drop t")]
    assert refusal(path, time="t").code == "time-zones-mixed"


def test_times_with_a_zone_are_instants(write: Write) -> None:
    table = read(write(column_of(["2020-01-01T10:00:00+02:00", "2020-01-01T08:30:00Z"])))
    assert table.readings["x"].zone == "UTC"
    assert scanned(table)["x"] == [datetime.datetime(2020, 1, 1, 8), datetime.datetime(2020, 1, 1, 8, 30)]


def test_times_of_day_are_seconds(write: Write) -> None:
    assert values(write(column_of(["18.00.00", "19.30.15"])))["x"] == [64800.0, 70215.0]
    assert values(write(column_of(["18:00", "19:30"])))["x"] == [64800.0, 70200.0]


def test_the_form_is_kept_for_scoring(write: Write) -> None:
    trained = read(write(column_of(["31/12/2020"] * 3)))
    later = read(write(column_of(["01/02/2021", "32/01/2021"]), "later.csv"), like=trained.readings)
    scan = later.scan(["x"])
    assert [value for batch in scan for value in batch.column(0).to_pylist()] == [datetime.datetime(2021, 2, 1), None]
    assert scan.unreadable == {"x": 1}


def test_days_that_a_month_does_not_have_are_no_moments() -> None:
    texts = pa.array(["29/02/2020", "29/02/2021", "31/04/2020", "00/01/2020", "01/13/2020", None])
    assert [value is not None for value in moments(texts, "%d/%m/%Y").to_pylist()] == [True, *[False] * 5]
    assert moments(pa.array(["13:00 01/02/2020"]), "%I:%M %d/%m/%Y").null_count == 1


def test_an_unknown_field_of_a_form_is_refused(write: Write) -> None:
    path: Path = write(column_of(["01/02/2020"]))
    with pytest.raises(UsageError) as caught:
        read(path, date_format="%d/%Q")
    assert caught.value.code == "date-format"


@pytest.mark.parametrize("end", [" UTC", " GMT", "UTC", "Z"])
def test_utc_may_be_spelled_out(write: Write, end: str) -> None:
    table = read(write(column_of([f"2020-12-31 12:00:00{end}", f"2020-12-31 12:00:00.5{end}"] * 9)), time="x")
    assert scanned(table)["x"][:2] == [NOON, NOON.replace(microsecond=500_000)]
    assert table.readings["x"].zone == "UTC"
    assert table.remarks == ()
