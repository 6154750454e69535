from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.errors import DataError, UsageError
from batchlearn.retraining.sources.label_times import (
    LabelTimes,
    NewRows,
    count_new_rows,
    fingerprint,
    instant_of,
    latest_time,
    parse_instant,
    settled_rows,
    shown_instant,
)
from batchlearn.tables.conditions import And, Condition, Not, Written

ROWS = 500


@pytest.fixture(params=[True, False], ids=["timestamps", "numbers"])
def table(request: pytest.FixtureRequest) -> pa.Table:
    rng = np.random.default_rng(4)
    seen = rng.uniform(0.0, 100.0, ROWS)
    known = seen + rng.exponential(20.0, ROWS)
    late = rng.random(ROWS) < 0.1
    columns = {"at": pa.array(seen), "paid": pa.array(known)}
    if request.param:
        columns = {
            name: pa.array((one.to_numpy() * 1e6).astype(int), pa.timestamp("us")) for name, one in columns.items()
        }
    columns["paid"] = columns["paid"].take(pa.array(np.arange(ROWS), mask=late))
    return pa.table({**columns, "x": rng.normal(size=ROWS), "y": rng.random(ROWS) < 0.5})


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64()).cast(pa.float64())
    return np.asarray(column.fill_null(np.nan).to_numpy())


def values(table: pa.Table, condition: Condition) -> list[float]:
    found = bl.read(table, target="y", time="at", where=condition)
    return [value for batch in found.scan(["x"]) for value in batch.column("x").to_pylist()]


def scale(table: pa.Table) -> float:
    return 1e6 if pa.types.is_timestamp(table.schema.field("at").type) else 1.0


@pytest.mark.parametrize("wait", [None, 10])
@pytest.mark.parametrize(("now", "before"), [(50.0, 20.0), (99.0, 98.0), (30.0, 30.0), (200.0, 0.0)])
def test_a_row_is_known_once_it_was_seen_has_rested_and_has_its_label(
    table: pa.Table, now: float, before: float, wait: int | None
) -> None:
    unit = scale(table)
    span = None if wait is None else (f"{wait}s" if unit > 1.0 else wait)
    times = LabelTimes.of(bl.read(table), "at", "paid", span)
    seen, paid, x = numbers(table["at"]), numbers(table["paid"]), numbers(table["x"])

    def known(instant: float) -> np.ndarray:
        return np.asarray((seen <= (instant - (wait or 0)) * unit) & (paid <= instant * unit))

    assert values(table, times.labelled_by(now * unit)) == x[known(now)].tolist()
    new = known(now) & ~known(before)
    fresh = And((times.labelled_by(now * unit), Not(times.labelled_by(before * unit))))
    assert values(table, fresh) == x[new].tolist()
    in_sight = bl.read(table, target="y", time="at", where=times.seen_by(now * unit))
    found = count_new_rows(in_sight, times, now * unit, before * unit)
    assert (found.seen, found.known, found.unlearned) == (
        int((seen <= now * unit).sum()),
        int(known(now).sum()),
        int(new.sum()),
    )
    assert found.last == (seen[known(now)].max() if known(now).any() else None)


def test_nothing_that_comes_later_changes_what_was_known(table: pa.Table) -> None:
    """No look-ahead: rows seen later, and labels known later, change no look up to now."""
    unit = scale(table)
    times = LabelTimes.of(bl.read(table), "at", "paid", None)
    now = 60.0 * unit

    def looked(rows: pa.Table) -> object:
        return count_new_rows(bl.read(rows, target="y", where=times.seen_by(now)), times, now, 30.0 * unit)

    earlier = table.filter(pa.array(numbers(table["at"]) <= now))
    assert looked(earlier) == looked(table)
    late = numbers(earlier["paid"]) > now
    flipped = pa.array(np.where(late, ~np.asarray(earlier["y"]), np.asarray(earlier["y"])))
    assert looked(earlier.set_column(earlier.schema.get_field_index("y"), "y", flipped)) == looked(table)


@pytest.mark.parametrize("until", [None, 40.0])
def test_a_look_is_at_rows_of_times_whose_labels_have_all_come(table: pa.Table, until: float | None) -> None:
    unit, now, trained = scale(table), 99.0, 30.0
    times = LabelTimes.of(bl.read(table), "at", "paid", None)
    seen, paid, x = numbers(table["at"]) / unit, numbers(table["paid"]) / unit, numbers(table["x"])
    slow = (paid - seen > 40.0) & (paid <= now)
    assert slow.any()
    rows = table.filter(pa.array(~slow))  # so that the longest that a label took leaves rows to look at
    seen, paid, x = seen[~slow], paid[~slow], x[~slow]
    in_sight = bl.read(rows, target="y", time="at", where=times.seen_by(now * unit))
    found = settled_rows(in_sight, times, now * unit, trained * unit, None if until is None else until * unit)
    after = seen[paid <= trained].max() if until is None else until
    end = now - (paid - seen)[paid <= now].max()
    expected = (seen > after) & (seen <= end) & (paid <= now)
    assert expected.any()
    assert (found.rows, found.reason) == (int(expected.sum()), None)
    assert values(rows, found.condition) == x[expected].tolist()
    # Once nothing is old enough it says why.
    early = settled_rows(in_sight, times, now * unit, trained * unit, end * unit)
    assert early.rows == 0
    assert early.reason is not None
    assert str(early.reason).startswith("Labels have taken up to ")


def test_without_times_of_labels_a_stretch_with_a_row_that_has_none_waits() -> None:
    label = np.where(np.arange(60) < 58, 1.0, np.nan)
    table = pa.table({"at": np.arange(60.0), "y": pa.array(label, from_pandas=True)})
    in_sight = bl.read(table, target="y", time="at")
    waiting = settled_rows(in_sight, LabelTimes("at", None, False, 0.0), 59.0, 39.0, None)
    assert waiting.rows == 0
    assert waiting.reason is not None
    assert str(waiting.reason).startswith("Of 20 rows seen since the last look 2 lack a label, ")
    rested = settled_rows(in_sight, LabelTimes("at", None, False, 5.0), 59.0, 39.0, None)
    assert (rested.rows, rested.reason) == (20, None)  # of the times 35 to 54
    assert settled_rows(in_sight, LabelTimes("at", None, False, 5.0), 59.0, 39.0, 54.0).reason is None


def test_rows_for_which_a_condition_is_unknown_are_not_forgotten() -> None:
    table = pa.table({"user": [1.0, 2.0, None, 4.0], "x": [1.0, 2.0, 3.0, 4.0]})
    kept = bl.read(table, where=Not(Written("user = 2")))
    assert [value for batch in kept.scan(["x"]) for value in batch.column("x").to_pylist()] == [1.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "text", ["2016-02-01", "2016-02-01 12:30:00", "2016-02-01 12:30:00.000001", "1969-12-31 23:00:00"]
)
def test_times_come_back_to_the_microsecond(text: str) -> None:
    instant = parse_instant(text, stamped=True)
    assert parse_instant(shown_instant(instant, stamped=True), stamped=True) == instant
    assert instant == instant_of(datetime.datetime.fromisoformat(text))


def test_a_zone_is_taken_into_account() -> None:
    assert parse_instant("2016-02-01T01:00:00+01:00", stamped=True) == parse_instant("2016-02-01", stamped=True)


@pytest.mark.parametrize(
    ("text", "stamped"),
    [
        ("soon", True),
        ("2016-02-30", True),
        ("9999-12-31 23:59:59", True),
        ("9999-12-31T23:59:59-23:00", True),
        ("soon", False),
        ("nan", False),
    ],
)
def test_what_is_no_time_is_refused(text: str, stamped: bool) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_instant(text, stamped)
    assert refusal.value.code == "time-not-valid"


def test_times_of_two_kinds_are_refused() -> None:
    table = pa.table({"at": pa.array([1], pa.timestamp("us")), "paid": [1.0], "colour": ["red"]})
    for seen, known in (("at", "paid"), ("colour", None)):
        with pytest.raises(DataError) as refusal:
            LabelTimes.of(bl.read(table), seen, known, None)
        assert refusal.value.code == "role-kind"


def test_recent_rows_that_mostly_have_no_label_yet_are_said() -> None:
    at = np.arange(1_000.0)
    slow = bl.read(pa.table({"at": at, "paid": at + 150.0, "y": at > 300}), target="y")
    quick = bl.read(pa.table({"at": at, "paid": at + 5.0, "y": at > 300}), target="y")
    times = LabelTimes("at", "paid", False, 0.0)
    assert "only 0% have a label yet" in str(count_new_rows(slow, times, 999.0, None).notes[0])
    assert count_new_rows(quick, times, 999.0, None).notes == ()


def test_the_present_is_the_latest_time_where_times_are_numbers() -> None:
    times = LabelTimes("at", None, False, 0.0)
    assert latest_time(bl.read(pa.table({"at": [3.0, None, 7.0, 5.0]})), times) == 7.0
    with pytest.raises(DataError):
        latest_time(bl.read(pa.table({"at": pa.array([None, None], pa.float64())})), times)


def test_the_fingerprint_is_that_of_the_values() -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0], "c": ["a", None, "b"]})
    assert fingerprint(bl.read(table)) == fingerprint(bl.read(pa.concat_tables([table[:1], table[1:]])))
    assert fingerprint(bl.read(table)) != fingerprint(bl.read(table, where="x < 3"))


def test_times_with_and_without_a_zone_cannot_be_compared() -> None:
    at = pa.array([0, 1], pa.timestamp("us"))
    mixed = bl.read(pa.table({"at": at.cast(pa.timestamp("us", tz="Europe/Berlin")), "paid": at, "y": [1.0, 2.0]}))
    with pytest.raises(DataError) as refusal:
        LabelTimes.of(mixed, "at", "paid", None)
    assert refusal.value.code == "time-zones-mixed"


def test_rows_without_a_time_are_told_and_not_counted(table: pa.Table) -> None:
    at = table.column("at").to_pylist()
    place = table.schema.get_field_index("at")

    def looked(times_of: list[object]) -> object:
        changed = table.set_column(place, "at", pa.array(times_of, table.schema.field("at").type))
        given = bl.read(changed, target="y", time="at", drop=["paid"])
        times = LabelTimes.of(given, "at", "paid", None)
        return count_new_rows(given, times, instant_of(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)), None)

    found = looked([None if number < 7 else one for number, one in enumerate(at)])
    assert isinstance(found, NewRows)
    assert found.seen == ROWS - 7
    assert "7 rows have no time in 'at' and are left out." in map(str, found.notes)
    with pytest.raises(DataError) as refusal:
        looked([None] * ROWS)
    assert refusal.value.code == "no-times"


def test_moments_in_a_condition_read_back_whatever_zone_the_column_has() -> None:
    at = pa.array([datetime.datetime(2024, 3, 31, hour) for hour in range(6)], pa.timestamp("us"))
    stored = pa.table({"at": at.view(pa.timestamp("us", "Europe/Berlin"))})
    times = LabelTimes.of(bl.read(stored), "at", None, None)
    instant = parse_instant("2024-03-31 02:00:00", stamped=True)
    assert times.literal(instant) == "'2024-03-31 02:00:00+00:00'"
    for condition in (times.seen_by(instant), str(times.seen_by(instant))):
        (batch,) = bl.read(stored, where=condition).scan(["at"])
        assert batch.column("at").to_pylist() == at[:3].to_pylist()


def test_times_with_and_without_a_zone_are_compared_once_the_zone_is_said() -> None:
    at = pa.array([datetime.datetime(2024, 3, 31, hour) for hour in range(6)], pa.timestamp("us"))
    stored = pa.table({"at": at.view(pa.timestamp("us", "UTC")), "known": at})
    with pytest.raises(DataError, match=r"zone in \[source\]") as error:
        LabelTimes.of(bl.read(stored), "at", "known", None)
    assert error.value.code == "time-zones-mixed"
    assert LabelTimes.of(bl.read(stored, zone="Europe/Berlin"), "at", "known", None).zoned


def test_a_first_look_is_at_rows_after_the_last_that_was_learned_from() -> None:
    """Rows 30 to 39 landed after the training as of 40: by their times it knew them, but the last it knew is 29."""
    at = np.arange(60.0)
    rows = bl.read(pa.table({"at": at, "y": at % 2 == 0}), target="y", time="at")
    times = LabelTimes("at", None, False, 0.0)
    assert settled_rows(rows, times, 59.0, 40.0, 29.0).rows == 30
    assert settled_rows(rows, times, 59.0, 40.0, None).rows == 19
