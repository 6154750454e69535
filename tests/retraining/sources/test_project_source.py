from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, add_days, day, into_database, make_project, orders, turn

from batchlearn.errors import DataError
from batchlearn.retraining.project import open_project
from batchlearn.retraining.sources.project_source import open_source

QUERY = {'files = "data/*.parquet"': 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"'}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = make_project(tmp_path, SETTINGS_TEXT, QUERY)
    into_database(root / "shop.sqlite", orders(0, 10))
    return root


def rows_of(root: Path) -> int:
    return sum(batch.num_rows for batch in open_source(open_project(root)).table().scan(["size"]))


def test_a_pattern_matches_the_files_that_came_since(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 5)
    assert rows_of(root) == 300
    add_days(root, 5, 7)
    source = open_source(open_project(root))
    assert list(source.names) == ["data/000.parquet", "data/005.parquet"]
    assert rows_of(root) == 420


def test_a_file_without_a_byte_is_left_out_and_said(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 5)
    for name in ("005.parquet", "006.parquet"):
        (root / "data" / name).touch()
    source = open_source(open_project(root))
    assert list(source.names) == ["data/000.parquet"]
    assert [str(note) for note in source.notes] == [
        "'data/005.parquet' and 1 other file are empty and left out; rows that stand there later are new then."
    ]
    assert rows_of(root) == 300
    (root / "data" / "000.parquet").unlink()
    with pytest.raises(DataError) as refusal:  # nothing is left to be read
        open_source(open_project(root))
    assert refusal.value.code == "file-empty"


def test_a_turn_goes_on_beside_an_empty_file_and_learns_its_rows_later(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 10)
    (root / "data" / "010.parquet").touch()
    first = turn(root, day(13))
    assert first.version == 1
    assert first.notes[0].code == "files_empty"
    add_days(root, 10, 20)
    second = turn(root, day(23))
    assert second.rows["new"] == 600
    assert "files_empty" not in [note.code for note in second.notes]


def test_a_file_that_comes_during_a_turn_belongs_to_the_next(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 5)
    source = open_source(open_project(root))
    before = sum(batch.num_rows for batch in source.table().scan(["size"]))
    add_days(root, 5, 7)
    assert sum(batch.num_rows for batch in source.table().scan(["size"])) == before


def test_a_file_that_changes_during_a_turn_ends_it(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 5)
    source = open_source(open_project(root))
    pq.write_table(orders(0, 6), root / "data" / "000.parquet")
    with pytest.raises(DataError) as refusal:
        source.table()
    assert refusal.value.code == "file-changed"


def test_a_query_is_fetched_once_and_then_only_what_is_new(shop: Path) -> None:
    first = open_source(open_project(shop)).origin
    assert (first["fetched"], first["parts"]["number"], first["fetched_again"]) == (600, 10, False)
    assert open_source(open_project(shop)).origin["fetched"] == 0
    into_database(shop / "shop.sqlite", orders(10, 12))
    later = open_source(open_project(shop)).origin
    assert (later["fetched"], later["parts"]["number"], later["parts"]["rows"]) == (120, 12, 720)
    assert rows_of(shop) == 720


def test_of_a_day_that_was_fetched_again_the_newest_part_alone_is_read(shop: Path) -> None:
    open_source(open_project(shop))
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("DELETE FROM orders WHERE user = 7")
        kept = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    connection.close()
    again = open_source(open_project(shop)).origin
    assert (again["fetched_again"], again["parts"]["rows"]) == (True, kept)
    assert rows_of(shop) == kept
    assert open_source(open_project(shop)).origin["fetched"] == 0


def test_as_many_rows_at_other_times_are_not_taken_for_the_same(shop: Path) -> None:
    open_source(open_project(shop))
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("DELETE FROM orders WHERE rowid <= 120")
    connection.close()
    into_database(shop / "shop.sqlite", orders(0, 2, seed=5))
    assert open_source(open_project(shop)).origin["fetched"] == 120
    assert rows_of(shop) == 600


def test_when_a_row_landed_is_no_feature(shop: Path) -> None:
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN landed")
        connection.execute("UPDATE orders SET landed = seen")
    connection.close()
    make_project(shop, SETTINGS_TEXT, {**QUERY, 'time = "seen"': 'time = "seen"\nlanded = "landed"'})
    assert {*open_source(open_project(shop)).table().roles.drop} == {"user", "known", "landed"}


def test_rows_that_wait_for_their_label_are_said(shop: Path) -> None:
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("UPDATE orders SET known = NULL, bought = NULL WHERE seen > '2026-01-08'")
    connection.close()
    first = turn(shop, day(10), dry_run=True)
    assert first.rows is not None
    assert (first.rows["seen"], first.rows["known"]) == (600, 7 * 60)
    said = [str(note) for note in first.notes]
    assert "180 rows of the query have no value in 'known' yet and are not learned from." in said
    assert any("only 0% have a label yet. Labels that are known early may differ" in note for note in said)


@pytest.mark.parametrize("pattern", [".", "**/*.parquet"])
def test_what_the_registry_keeps_is_no_row_of_the_source(pattern: str, tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"data/*.parquet": pattern})
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    assert (root / "versions" / "000001" / "sample.parquet").is_file()
    assert rows_of(root) == 600


def test_a_column_that_had_no_value_until_now_has_the_kind_of_those_that_came(shop: Path) -> None:
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN shop")
    connection.close()
    assert open_source(open_project(shop)).origin["fetched"] == 600
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        late = "2026-02-01 00:00:00"
        connection.execute("INSERT INTO orders VALUES (?, ?, 1, 0.5, 'red', 1, 'north')", (late, late))
    connection.close()
    source = open_source(open_project(shop))
    assert (source.origin["fetched"], source.origin["parts"]["rows"]) == (1, 601)
    found = pa.Table.from_batches(source.table().scan(["shop"])).column("shop")
    assert (found.null_count, found[-1].as_py()) == (600, "north")


def test_a_column_that_becomes_one_of_another_kind_is_fetched_again(shop: Path) -> None:
    assert open_source(open_project(shop)).origin["fetched"] == 600
    into_database(shop / "shop.sqlite", orders(10, 11))
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("UPDATE orders SET user = 'u' || user")
    connection.close()
    origin = open_source(open_project(shop)).origin
    assert (origin["fetched"], origin["fetched_again"]) == (660, True)
    assert rows_of(shop) == 660
    into_database(shop / "shop.sqlite", orders(11, 12))
    for _ in range(2):
        with pytest.raises(DataError, match="'user'") as refusal:
            open_source(open_project(shop))
        assert refusal.value.code == "query-kinds"


def test_another_query_has_parts_of_its_own(shop: Path) -> None:
    open_source(open_project(shop))
    make_project(shop, SETTINGS_TEXT, {**QUERY, "alpha = 0.01": "alpha = 0.02"})
    assert open_source(open_project(shop)).origin["fetched"] == 0
    narrow = {'files = "data/*.parquet"': 'database = "shop.sqlite"\nquery = "SELECT * FROM orders WHERE user < 5"'}
    make_project(shop, SETTINGS_TEXT, narrow)
    assert 0 < open_source(open_project(shop)).origin["fetched"] < 600


def test_a_query_without_rows_is_refused(shop: Path) -> None:
    make_project(shop, SETTINGS_TEXT, {'files = "data/*.parquet"': QUERY['files = "data/*.parquet"'] + " "})
    with sqlite3.connect(shop / "shop.sqlite") as connection:
        connection.execute("DELETE FROM orders")
    connection.close()
    with pytest.raises(DataError) as refusal:
        open_source(open_project(shop))
    assert refusal.value.code == "no-rows"


def test_a_table_in_a_database_retrains_from_what_it_fetched(shop: Path) -> None:
    """Labels that are not known yet are not used: at day 8 those of the first five days are."""
    first = turn(shop, day(8))
    assert (first.decision, first.promoted) == ("retrain", True)
    nothing = {"late": 0, "labelled": 0, "changed": 0, "gone": 0}
    assert first.rows == {"seen": 8 * 60, "known": 5 * 60, "new": 5 * 60, **nothing}
    assert turn(shop, day(10)).decision == "keep"
    into_database(shop / "shop.sqlite", orders(10, 14))
    second = turn(shop, day(14))
    assert second.decision == "retrain"
    assert second.rows == {**nothing, "seen": 14 * 60, "known": 11 * 60, "new": 3 * 60, "labelled": 3 * 60}


def test_a_project_whose_parts_are_of_the_earlier_form_goes_on(tmp_path: Path) -> None:
    """Parts by label times, two fetches, as commit 902cf8a wrote them, with a version that was trained on the first."""
    root = tmp_path / "project"
    shutil.copytree(Path(__file__).parent / "fixtures" / "marked-parts", root)
    marked = root / "snapshots" / "2ca06398b419-000001"
    before = {path.name: path.read_bytes() for path in marked.iterdir()}
    origin = open_source(open_project(root)).origin
    assert (origin["fetched"], origin["parts"]["number"], origin["fetched_again"]) == (480, 8, False)
    assert rows_of(root) == 480
    later = turn(root, day(11))
    assert (later.decision, later.rows["new"] + later.rows["labelled"]) == ("retrain", 120)
    assert {path.name: path.read_bytes() for path in marked.iterdir()} == before


def test_a_copy_beside_the_parts_is_none_of_them(shop: Path) -> None:
    folder = shop / open_source(open_project(shop)).origin["parts"]["folder"]
    shutil.copytree(folder, folder.with_name(f"{folder.name}.bak"))
    assert rows_of(shop) == 600


def test_signs_in_the_name_of_the_project_mean_nothing(tmp_path: Path) -> None:
    root = make_project(tmp_path / "proj[1]")
    add_days(root, 0, 5)
    assert rows_of(root) == 300
