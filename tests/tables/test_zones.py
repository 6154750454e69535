"""Zones of times: moments, what clocks show at them, and how text, files and conditions come to either."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import batchlearn as bl
from batchlearn.errors import DataError, ResourceError, UsageError
from batchlearn.formatting.notes import Code
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Table, read
from batchlearn.tables.text.times import is_place, local_times, moments_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# Every half hour over both changes of clocks of 2024, in UTC.
UTC_TIMES = [
    datetime(2024, *start, tzinfo=UTC) + timedelta(minutes=30 * k)
    for start in ((3, 30, 20), (10, 26, 20))
    for k in range(24)
]
PLAIN = [time.replace(tzinfo=None) for time in UTC_TIMES]


def in_zone(zone: str) -> list[datetime]:
    """What clocks of a zone show, by Python's own database."""
    return [time.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for time in UTC_TIMES]


def stored(zone: str | None, times: list[datetime] = PLAIN) -> pa.Table:
    array = pa.array(times, pa.timestamp("us"))
    return pa.table({"when": array if zone is None else array.view(pa.timestamp("us", zone))})


def scanned(table: Table) -> list[datetime]:
    return [time for batch in table.scan(["when"]) for time in batch.column("when").to_pylist()]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, "Asia/Kathmandu", "UTC", "+05:30"])
def test_clocks_show_what_python_says(zone: str) -> None:
    expected = (
        PLAIN if zone == "UTC" else [t + timedelta(hours=5.5) for t in PLAIN] if zone[0] == "+" else in_zone(zone)
    )
    assert local_times(pa.array(PLAIN, pa.timestamp("us")), zone).to_pylist() == expected


def test_clocks_set_forward_skip_an_hour_and_set_back_show_one_twice() -> None:
    shown = [datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 30), datetime(2024, 7, 1)]
    found = moments_of(pa.array(shown, pa.timestamp("us")), BERLIN).to_pylist()
    assert found == [datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 0, 30), datetime(2024, 6, 30, 22)]


@pytest.mark.parametrize(("zone", "place"), [(BERLIN, True), ("UTC", False), ("+02:00", False), ("Etc/UTC", False)])
def test_a_distance_from_utc_is_no_place(zone: str, place: bool) -> None:
    assert is_place(zone) is place


@pytest.mark.parametrize("zone", [BERLIN, "UTC", "+02:00"])
def test_stored_zones_are_part_of_the_reading_and_moments_stay(zone: str) -> None:
    table = read(stored(zone))
    assert (table.column("when").zone, table.readings["when"].zone) == (zone, zone)
    assert scanned(table) == PLAIN


@pytest.mark.parametrize(("zone", "own"), [(None, BERLIN), ("UTC", BERLIN), ("+02:00", BERLIN), (NEW_YORK, NEW_YORK)])
def test_a_zone_is_for_times_that_have_none_or_only_a_distance(zone: str | None, own: str) -> None:
    table = read(stored(zone, in_zone(BERLIN) if zone is None else PLAIN), zone=BERLIN)
    assert table.column("when").zone == own
    # The hour that clocks show twice is taken for the first of the two.
    twice = [datetime(2024, 10, 27, 1), datetime(2024, 10, 27, 1, 30)] if zone is None else []
    assert scanned(table) == [time - timedelta(hours=1) if time in twice else time for time in PLAIN]


def test_dates_keep_their_day_in_a_zone(tmp_path: Path) -> None:
    days = pa.table({"when": pa.array([datetime(2024, 7, 1).date()])})
    pq.write_table(days, tmp_path / "days.parquet")
    moments = scanned(read(tmp_path / "days.parquet", zone=BERLIN))
    assert local_times(pa.array(moments, pa.timestamp("us")), BERLIN).to_pylist() == [datetime(2024, 7, 1)]


# --- text -----------------------------------------------------------------------------------------------------------


def text_file(folder: Path, *texts: str) -> Path:
    path = folder / "times.csv"
    path.write_text("\n".join(["when,y", *(f"{text},{k}" for k, text in enumerate(texts))]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("texts", "zone"),
    [
        (["2024-07-01 00:30:00Z", "2024-07-01 01:30:00Z"], "UTC"),
        (["2024-07-01T02:30:00+02:00", "2024-07-01T03:30:00+0200"], "+02:00"),
        (["2024-07-01 02:30:00", "2024-07-01 03:30:00"], None),
    ],
)
def test_texts_say_their_zone(tmp_path: Path, texts: list[str], zone: str | None) -> None:
    table = read(text_file(tmp_path, *texts))
    assert table.column("when").zone == zone
    first = datetime(2024, 7, 1, 2, 30) if zone is None else datetime(2024, 7, 1, 0, 30)
    assert scanned(table) == [first, first + timedelta(hours=1)]


def test_offsets_that_differ_give_moments_but_no_calendar_parts(tmp_path: Path) -> None:
    path = text_file(tmp_path, "2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+02:00", "2024-10-27T02:30:00+02:00")
    moments = [datetime(2024, 3, 31, 0, 30), datetime(2024, 3, 31, 1, 30), datetime(2024, 10, 27, 0, 30)]
    table = read(path, time="when")
    (remark,) = table.remarks
    assert (remark.note.code, remark.used, remark.change) == (Code.OFFSETS_MIXED, False, "--zone UTC")
    assert remark.note.values["offsets"] == ["+01:00", "+02:00"]
    assert [column.name for column in table.features] == ["y"]
    assert scanned(table) == moments
    told = read(path, zone=BERLIN)
    assert (told.remarks, told.column("when").zone, scanned(told)) == ((), BERLIN, moments)
    assert [column.name for column in told.features] == ["when", "y"]


def test_a_form_of_dates_may_have_a_zone(tmp_path: Path) -> None:
    path = text_file(tmp_path, "01/07/2024 02:30 +0200", "13/07/2024 03:30 +0200")
    table = read(path, date_format="%d/%m/%Y %H:%M %z")
    assert table.column("when").zone == "+02:00"
    assert scanned(table) == [datetime(2024, 7, 1, 0, 30), datetime(2024, 7, 13, 1, 30)]


def test_texts_without_a_zone_are_of_the_one_given(tmp_path: Path) -> None:
    path = text_file(tmp_path, "2024-07-01 02:30:00", "2024-01-01 02:30:00")
    assert scanned(read(path, zone=BERLIN)) == [datetime(2024, 7, 1, 0, 30), datetime(2024, 1, 1, 1, 30)]
    both = text_file(tmp_path, "2024-07-01 02:30:00", "2024-01-01 02:30:00Z")
    assert scanned(read(both, zone=BERLIN)) == [datetime(2024, 7, 1, 0, 30), datetime(2024, 1, 1, 2, 30)]


# --- like a model ---------------------------------------------------------------------------------------------------


def test_times_of_any_other_zone_are_the_same_moments() -> None:
    like = read(stored(BERLIN)).readings
    table = read(stored(NEW_YORK), like=like)
    assert (table.column("when").zone, scanned(table)) == (BERLIN, PLAIN)


@pytest.mark.parametrize("as_text", [False, True])
def test_times_without_a_zone_are_refused_where_moments_are_needed(tmp_path: Path, as_text: bool) -> None:
    like = read(stored(BERLIN)).readings
    shown = in_zone(BERLIN)
    source = text_file(tmp_path, *map(str, shown)) if as_text else stored(None, shown)
    with pytest.raises(DataError, match=r"'when' .* have no zone, .*--zone Europe/Berlin") as error:
        scanned(read(source, like=like))
    assert error.value.code == "time-zones-mixed"
    assert scanned(read(source, like=like, zone=BERLIN))[:12] == PLAIN[:12]


@pytest.mark.parametrize("as_text", [False, True])
def test_moments_are_refused_where_times_without_a_zone_are_needed(tmp_path: Path, as_text: bool) -> None:
    like = read(stored(None, in_zone(BERLIN))).readings
    source = text_file(tmp_path, *(f"{time}Z" for time in PLAIN)) if as_text else stored("UTC")
    with pytest.raises(DataError, match=r"'when' .* have a zone") as error:
        scanned(read(source, like=like))
    assert error.value.code == "time-zones-mixed"
    assert scanned(read(source, like=like, zone=BERLIN)) == in_zone(BERLIN)


def test_what_was_said_of_times_without_a_zone_is_part_of_the_reading() -> None:
    like = read(stored(None, in_zone(BERLIN)), zone=BERLIN).readings
    assert scanned(read(stored(None, in_zone(BERLIN)), like=like))[:12] == PLAIN[:12]
    assert scanned(read(stored(NEW_YORK), like=like)) == PLAIN


# --- conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("literal", ["'2024-03-31'", "DATE '2024-03-31'", "TIMESTAMP '2024-03-31 00:00:00'"])
def test_a_time_in_a_condition_is_of_the_zone_of_the_column(literal: str) -> None:
    table = read(stored(BERLIN), where=f'"when" >= {literal} and "when" < \'2024-04-01\'')
    assert min(scanned(table)) == datetime(2024, 3, 30, 23)
    zoneless = read(stored(None), where=f'"when" >= {literal} and "when" < \'2024-04-01\'')
    assert min(scanned(zoneless)) == datetime(2024, 3, 31)


def test_a_time_in_a_condition_may_say_its_zone() -> None:
    table = read(stored(BERLIN), where="\"when\" in ('2024-03-31 00:00:00+00:00', '2024-03-31 00:00:00')")
    assert scanned(table) == [datetime(2024, 3, 30, 23), datetime(2024, 3, 31)]


def test_moments_and_times_without_a_zone_are_not_compared() -> None:
    both = stored(BERLIN).append_column("shown", pa.array(PLAIN, pa.timestamp("us")))
    with pytest.raises(DataError, match="--zone") as error:
        read(both, where='"when" > shown')
    assert error.value.code == "time-zones-mixed"


# --- the database of zones ------------------------------------------------------------------------------------------


def test_a_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no time zone 'Europe/Berln'") as error:
        read(stored(None), zone="Europe/Berln")
    assert error.value.code == "zone-unknown"


def test_a_machine_without_zones_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def local_timestamp(array: pa.Array) -> pa.Array:
        # As Arrow says it where /usr/share/zoneinfo is empty.
        zone = array.type.tz
        raise pa.ArrowInvalid(f"Cannot locate or parse timezone '{zone}': {zone} not found in timezone database")

    monkeypatch.setattr(pc, "local_timestamp", local_timestamp)
    with pytest.raises(ResourceError, match="apt-get install tzdata") as error:
        bl.train(read({"when": stored(BERLIN).column("when"), "y": [1.0, 2.0] * 24}, target="y"))
    assert error.value.code == "no-time-zones"
    # Moments alone, and UTC, need none.
    assert scanned(read(stored(BERLIN))) == PLAIN
    assert read(stored("UTC")).column("when").kind is Kind.TIMESTAMP
