"""What a query gives, day by day, from each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.retraining.sources.bases import Base, PostgresBase, Shop, SqliteBase, order

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError, DataError, IntegrityError, RegistryError, ResourceError
from batchlearn.retraining.sources.snapshots import fetch, superseded_parts
from batchlearn.tables.database import Moment, QueryView
from batchlearn.tables.table.row_list import LabelColumns, PartRows, RowList


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    if request.param == "SQLite":
        return SqliteBase(tmp_path)
    return PostgresBase(request.getfixturevalue("postgres"))


@pytest.fixture
def shop(base: Base, tmp_path: Path) -> Shop:
    """Three days with three orders each."""
    shop = Shop(tmp_path, base)
    shop.add(*(order(3 * day + number, day) for day in (1, 2, 3) for number in range(3)))
    return shop


def test_a_day_is_a_part_and_only_new_days_are_fetched(shop: Shop) -> None:
    first = shop.fetch()
    assert first.files() == {f"2026-01-0{day}": f"2026-01-0{day}.000001.parquet" for day in (1, 2, 3)}
    assert [first.column(f"2026-01-0{day}", "size") for day in (1, 2, 3)] == [[3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert (first.said["fetched"], first.said["fetched_again"], first.said["parts"]["rows"]) == (9, False, 9)
    again = shop.fetch()
    assert (again.said["fetched"], again.files()) == (0, first.files())
    shop.add(order(12, 4), order(13, 4))
    later = shop.fetch()
    assert (later.said["fetched"], later.said["fetched_again"], later.said["parts"]["number"]) == (2, False, 4)
    assert later.files() == {**first.files(), "2026-01-04": "2026-01-04.000001.parquet"}


def test_a_late_row_makes_its_day_grow_and_changes_no_other(shop: Shop) -> None:
    first = shop.fetch()
    shop.add(order(0, 2))
    later = shop.fetch()
    assert later.files() == {**first.files(), "2026-01-02": "2026-01-02.000002.parquet"}
    assert later.table("2026-01-02").slice(0, 3).equals(first.table("2026-01-02"))
    assert later.column("2026-01-02", "size") == [6, 7, 8, 0]
    assert (later.said["fetched"], later.said["fetched_again"]) == (4, True)


@pytest.mark.parametrize("landed", [(), ('landed = "landed"',)])
def test_a_row_without_a_label_is_fetched_and_keeps_its_place_when_it_has_one(
    landed: tuple[str, ...], shop: Shop
) -> None:
    shop.add(order(12, 4, None), order(13, 4), order(14, 4, None))
    first = shop.fetch(*landed)
    assert first.said["without_a_mark"] == 2
    assert first.column("2026-01-04", "bought") == [None, 1, None]
    moved = ", landed = '2026-01-09 00:00:00'" if landed else ""
    shop.base.run(f"UPDATE orders SET bought = 0, known = '2026-01-09 00:00:00'{moved} WHERE size = 14")
    shop.add(order(11, 4))
    later = shop.fetch(*landed)
    assert later.said["without_a_mark"] == 1
    assert later.column("2026-01-04", "size") == [12, 13, 14, 11]
    assert later.column("2026-01-04", "bought") == [None, 1, 0, 1]


def test_a_label_that_counts_only_later_keeps_its_place_too(shop: Shop) -> None:
    first, second, third = (order(number, 4) for number in (12, 13, 14))
    shop.add((first[0], None, *first[2:]), second, third)
    shop.fetch()
    shop.base.run("UPDATE orders SET known = '2026-01-09 00:00:00' WHERE size = 12")
    assert shop.fetch().column("2026-01-04", "size") == [12, 13, 14]


def test_a_day_with_rows_that_are_gone_is_replaced_and_the_earlier_part_stays(shop: Shop) -> None:
    first = shop.fetch()
    shop.base.run("DELETE FROM orders WHERE size = 6")
    later = shop.fetch()
    assert later.files()["2026-01-02"] == "2026-01-02.000002.parquet"
    assert later.column("2026-01-02", "size") == [7, 8]
    assert first.column("2026-01-02", "size") == [6, 7, 8]
    shop.base.run("DELETE FROM orders WHERE size > 8")
    assert list(shop.fetch().parts) == ["2026-01-01", "2026-01-02"]
    assert first.parts["2026-01-03"].path.is_file()


def test_a_day_that_comes_back_as_it_was_is_not_fetched_again(shop: Shop) -> None:
    first = shop.fetch()
    shop.base.run("DELETE FROM orders WHERE size > 8")
    shop.fetch()
    shop.add(*(order(number, 3) for number in (9, 10, 11)))
    again = shop.fetch()
    assert (again.said["fetched"], again.files()) == (0, first.files())


def test_a_value_that_changes_under_the_same_times_is_seen_where_a_column_says_when_rows_landed(shop: Shop) -> None:
    landed = 'landed = "landed"'
    first = shop.fetch()
    told = shop.fetch(landed)
    assert told.files() != first.files(), "another way of counting"
    assert [told.table(day).equals(first.table(day)) for day in first.parts] == [True, True, True]
    shop.base.run("UPDATE orders SET colour = 'blue' WHERE size = 7")
    assert shop.fetch(landed).said["fetched"] == 0
    shop.base.run("UPDATE orders SET landed = '2026-02-01 00:00:00' WHERE size = 7")
    changed = shop.fetch(landed)
    assert changed.said["fetched"] == 3
    assert changed.column("2026-01-02", "size") == [6, 8, 7]
    assert changed.column("2026-01-02", "colour") == ["red", "red", "blue"]


def test_a_row_that_only_landed_again_keeps_its_place(shop: Shop) -> None:
    landed = 'landed = "landed"'
    shop.fetch(landed)
    shop.base.run("UPDATE orders SET landed = '2026-02-01 00:00:00' WHERE size = 6")
    shop.add(order(0, 2))
    assert shop.fetch(landed).column("2026-01-02", "size") == [6, 7, 8, 0]


def test_rows_that_are_alike_are_told_apart_by_how_many_there_are(shop: Shop) -> None:
    shop.add(*[order(6, 2)] * 2, *[order(7, 2)] * 3)
    first = shop.fetch().column("2026-01-02", "size")
    assert sorted(first) == [6, 6, 6, 7, 7, 7, 7, 8]
    shop.add(order(6, 2), order(7, 2))
    assert shop.fetch().column("2026-01-02", "size")[:8] == first


def test_rows_without_a_time_have_a_part_of_their_own(shop: Shop) -> None:
    shop.add((None, None, None, 50.0, "red", 1))
    first = shop.fetch()
    assert list(first.parts) == ["2026-01-01", "2026-01-02", "2026-01-03", "untimed"]
    shop.add((None, "2026-01-02 00:00:00", None, 51.0, "red", 0))
    later = shop.fetch()
    assert later.column("untimed", "size") == [50, 51]
    assert later.said["fetched"] == 2


def test_a_row_that_changes_its_day_changes_two(shop: Shop) -> None:
    shop.fetch()
    shop.base.run("UPDATE orders SET seen = '2026-01-03 23:00:00' WHERE size = 6")
    later = shop.fetch()
    assert later.column("2026-01-02", "size") == [7, 8]
    assert later.column("2026-01-03", "size") == [9, 10, 11, 6]
    assert later.said["fetched"] == 6


def test_numbers_are_cut_into_ranges_that_the_first_fetch_chose(shop: Shop) -> None:
    def fetched() -> dict[str, tuple[str, int]]:
        settings = shop.settings("SELECT size, colour, bought FROM orders").model_copy(update={"time": "size"})
        return {part.name: (part.path.name, part.rows) for part in fetch(shop.store, settings, shop.root)[0]}

    shop.base.run("UPDATE orders SET size = 1000 * (size - 3)")  # 0 to 8000: ranges of 10
    first = fetched()
    assert [*first] == [f"range{100 * number}" for number in range(9)]
    shop.add(*(("2026-01-05 00:00:00", None, None, size, "red", 1) for size in (-0.5, 8009.0, 1e12)))
    assert fetched() == {
        "range-1": ("range-1.000001.parquet", 1),
        **first,
        "range800": ("range800.000002.parquet", 2),
        "range100000000000": ("range100000000000.000001.parquet", 1),
    }


class StopsAfter(FolderStore):
    """A store whose program is killed when it has written so many parts."""

    left = 0

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write, or stop."""
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().put_if_absent(name, data)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_fetch_that_was_killed_leaves_whole_parts_and_the_next_goes_on(written: int, shop: Shop) -> None:
    store = StopsAfter(shop.root)
    store.left = written
    with pytest.raises(KeyboardInterrupt):
        fetch(store, shop.settings(), shop.root)
    later = fetch(shop.store, shop.settings(), shop.root)
    assert [part.rows for part in later[0]] == [3, 3, 3]
    assert [part.path.name[-14:] for part in later[0]] == ["000001.parquet"] * 3
    assert later[1]["fetched"] == 9 - 3 * written


def test_two_that_fetch_at_once_do_not_write_over_one_another(shop: Shop) -> None:
    class Overtaken(FolderStore):
        """A store in which another program fetches the same just before."""

        def put_if_absent(self, name: str, data: bytes) -> bool:
            """Write second."""
            FolderStore(self.root).put_if_absent(name, data)
            return super().put_if_absent(name, data)

    with pytest.raises(RegistryError) as refusal:
        fetch(Overtaken(shop.root), shop.settings(), shop.root)
    assert refusal.value.code == "snapshot-conflict"


def test_a_column_that_comes_and_one_that_had_no_value(shop: Shop) -> None:
    shop.base.run("ALTER TABLE orders ADD COLUMN shop text")
    first = shop.fetch()
    shop.base.run("INSERT INTO orders VALUES ('2026-01-04 10:00:00', NULL, NULL, 12, 'red', 1, 'north')")
    later = shop.fetch()
    assert later.said["fetched"] == 1
    assert later.column("2026-01-04", "shop") == ["north"]
    shop.base.run("ALTER TABLE orders ADD COLUMN town text DEFAULT 'Leeds'")
    all_again = shop.fetch()
    assert (all_again.said["fetched"], all_again.said["fetched_again"]) == (10, True)
    assert all_again.column("2026-01-01", "size") == first.column("2026-01-01", "size")
    assert all_again.column("2026-01-01", "town") == ["Leeds"] * 3


@pytest.mark.parametrize("query", ["SELECT * FROM orders", "SELECT seen, known, size, bought FROM orders"])
def test_a_column_that_vanishes_is_named(query: str, shop: Shop) -> None:
    shop.fetch(query=query)
    shop.base.run("ALTER TABLE orders DROP COLUMN known")
    with pytest.raises(DataError, match="'known'") as refusal:
        shop.fetch(query=query)
    assert refusal.value.code == "column-missing"


def test_a_feature_that_vanishes_from_all_columns_is_gone_from_the_parts(shop: Shop) -> None:
    shop.fetch()
    shop.base.run("ALTER TABLE orders DROP COLUMN colour")
    later = shop.fetch()
    assert "colour" not in later.table("2026-01-01").column_names
    assert later.said["fetched"] == 9


def test_a_table_that_another_program_holds_is_said_to_be_locked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlearn.tables.database.sqlite._SECONDS_TO_WAIT", 0.05)
    monkeypatch.setattr("batchlearn.tables.database.postgres._SECONDS_TO_WAIT", 0.05)
    with shop.base.locked(), pytest.raises(ResourceError, match="locked by another program") as refusal:
        shop.fetch()
    assert refusal.value.code == "database-locked"
    assert shop.fetch().said["fetched"] == 9


def test_a_query_that_gives_other_rows_each_time_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    between = QueryView.between

    def with_one_row_less(view: QueryView, first: Moment, last: Moment) -> Iterator[list[tuple[Any, ...]]]:
        yield from (batch[:-1] for batch in between(view, first, last))

    monkeypatch.setattr(QueryView, "between", with_one_row_less)
    with pytest.raises(DataError, match="the 3 rows of '2026-01-03'") as refusal:
        shop.fetch()
    assert refusal.value.code == "query-unsteady"


def test_rows_of_which_no_label_is_known_are_refused(shop: Shop) -> None:
    shop.base.run("UPDATE orders SET known = NULL")
    with pytest.raises(DataError, match="no row with a value in 'known'") as refusal:
        shop.fetch()
    assert refusal.value.code == "no-rows"


def test_the_past_is_fetched_again_where_a_part_is_gone(shop: Shop) -> None:
    first = shop.fetch()
    first.parts["2026-01-02"].path.unlink()
    again = shop.fetch()
    assert (again.said["fetched"], again.files()) == (3, first.files())


def test_a_part_that_was_damaged_is_refused(shop: Shop) -> None:
    shop.fetch().parts["2026-01-02"].path.write_bytes(b"PAR1 and then nothing PAR1")
    with pytest.raises(IntegrityError, match="2026-01-02"):
        shop.fetch()


def test_another_query_has_parts_of_its_own(shop: Shop) -> None:
    one = shop.fetch()
    other = shop.fetch(query="SELECT * FROM orders WHERE size < 5")
    assert other.said["parts"]["folder"] != one.said["parts"]["folder"]
    assert other.said["parts"]["rows"] == 2
    assert shop.fetch().said["fetched"] == 0


def test_times_of_which_some_have_a_zone_are_refused(shop: Shop) -> None:
    zoned = "CASE WHEN size < 6 THEN '2026-01-01 10:00:00' ELSE '2026-01-02 10:00:00+00' END"
    with pytest.raises(DataError, match="some have a zone") as refusal:
        shop.fetch(query=f"SELECT seen, {zoned} AS known, size, bought FROM orders")
    assert refusal.value.code == "query-times"


def test_the_first_and_the_last_years_are_days_too(shop: Shop) -> None:
    shop.add(("0001-01-01 00:00:00", None, None, 1.0, "red", 1), ("9999-12-31 23:00:00", None, None, 1.0, "red", 1))
    assert list(shop.fetch().parts)[::4] == ["0001-01-01", "9999-12-31"]
    assert shop.fetch().said["fetched"] == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT * FROM customers", "query-failed"),
        ("DELETE FROM orders", "query-failed"),
        ("SELECT * FROM orders; DROP TABLE orders", "query-failed"),
        ("SELECT * FROM orders) AS x; DROP TABLE orders; SELECT * FROM (SELECT 1", "query-failed"),
        ("SELECT known, seen FROM orders", "column-missing"),
        ("SELECT height, known, seen, bought FROM orders", "column-missing"),
        ("SELECT 'yesterday' AS known, seen, bought FROM orders", "query-times"),
        ("SELECT 'yesterday' AS seen, known, bought FROM orders", "query-times"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_and_changes_nothing(query: str, code: str, shop: Shop) -> None:
    with pytest.raises(BatchlearnError) as refusal:
        shop.fetch(query=query)
    assert refusal.value.code == code
    assert shop.fetch().said["parts"]["rows"] == 9


def test_earlier_generations_are_superseded_but_for_those_that_a_list_of_rows_is_of(shop: Shop) -> None:
    first = shop.fetch().parts["2026-01-02"]
    for number in (0, 1):
        shop.add(order(number, 2))
        shop.fetch()
    assert [name.split("/")[-1] for name in superseded_parts(shop.store, [])] == [
        "2026-01-02.000001.parquet",
        "2026-01-02.000002.parquet",
    ]
    part = PartRows(first.name, str(first.path.relative_to(shop.root)), 1, 1, first.rows, "", "", "", first.rows)
    listed = RowList({}, LabelColumns("bought", None), (part,))
    assert [name.split("/")[-1] for name in superseded_parts(shop.store, [listed])] == ["2026-01-02.000002.parquet"]
