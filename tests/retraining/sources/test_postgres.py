"""What PostgreSQL alone can do to a query: types, logins, connections that drop."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from tests.retraining.made import SETTINGS_TEXT, day, into_database, make_project, orders, turn
from tests.retraining.sources.bases import PostgresBase, Shop, order
from tests.tables.postgres_server import GUARDED, PASSWORD

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError, DataError, ResourceError, UsageError
from batchlearn.retraining.project import SourceSettings
from batchlearn.retraining.sources.snapshots import fetch
from batchlearn.tables.database import Query, open_view


@pytest.fixture
def base(postgres: Path) -> PostgresBase:
    return PostgresBase(postgres)


@pytest.fixture
def shop(base: PostgresBase, tmp_path: Path) -> Shop:
    """Three days with three orders each."""
    shop = Shop(tmp_path, base)
    shop.add(*(order(3 * day + number, day) for day in (1, 2, 3) for number in range(3)))
    return shop


def rows_of(base: PostgresBase, select: str, time: str = "at") -> pa.Table:
    with open_view(Query(base.address, select, time, time)) as view:
        ends = view.ends()
        assert ends is not None
        assert view.instants(ends).null_count == 0
        return view.table([row for batch in view.between(*ends) for row in batch])


def refused(settings: SourceSettings, shop: Shop) -> BatchlearnError:
    with pytest.raises(BatchlearnError) as refusal:
        fetch(shop.store, settings, shop.root)
    return refusal.value


# --- types ----------------------------------------------------------------------------------------------------------

MOMENT = datetime.datetime(2026, 1, 5, 22, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("written", "stored", "value"),
    [
        ("true", pa.bool_(), True),
        ("7::smallint", pa.int64(), 7),
        ("9007199254740993", pa.int64(), 9007199254740993),  # refused where it is used, as of a file
        ("0.1::real", pa.float64(), 0.10000000149011612),
        ("0.1::double precision", pa.float64(), 0.1),
        ("0.1::numeric", pa.float64(), 0.1),
        ("123456789.125::numeric(12, 3)", pa.float64(), 123456789.125),
        ("'north'", pa.string(), "north"),
        ("'100 %'::varchar(9)", pa.string(), "100 %"),
        ("DATE '2026-01-05'", pa.date32(), datetime.date(2026, 1, 5)),
        ("TIMESTAMP '2026-01-05 22:30'", pa.timestamp("us"), MOMENT.replace(tzinfo=None)),
        ("TIMESTAMPTZ '2026-01-06 00:30+02'", pa.timestamp("us", "UTC"), MOMENT),
        ("NULL::integer", pa.int64(), None),
    ],
)
def test_each_type_has_one_in_the_parts(written: str, stored: pa.DataType, value: object, base: PostgresBase) -> None:
    column = rows_of(base, f"SELECT {written} AS x, DATE '2026-01-01' AS at").column("x")
    assert (column.type, column.to_pylist()) == (stored, [value])


@pytest.mark.parametrize(
    ("written", "type_"),
    [("'{}'::jsonb", "jsonb"), ("ARRAY[1, 2]", "integer[]"), ("INTERVAL '1 day'", "interval"), ("'x'::bytea", "bytea")],
)
def test_a_type_that_is_of_no_kind_is_refused_with_a_remedy_that_works(
    written: str, type_: str, base: PostgresBase
) -> None:
    select = f"SELECT {written} AS x, DATE '2026-01-01' AS at"
    with pytest.raises(DataError, match='CAST\\("x" AS text\\)') as refusal:
        rows_of(base, select)
    assert refusal.value.code == "query-kinds"
    assert repr(type_) in refusal.value.message
    remedied = rows_of(base, f"SELECT CAST(x AS text) AS x, at FROM ({select}) AS before")
    assert remedied.column("x").type == pa.string()


def test_a_whole_numeric_that_is_no_double_is_refused(base: PostgresBase) -> None:
    with pytest.raises(DataError, match="CAST it AS TEXT") as refusal:
        rows_of(base, "SELECT 9007199254740993::numeric AS x, DATE '2026-01-01' AS at")
    assert refusal.value.code == "integer-too-large"


def test_numerics_that_are_no_numbers(base: PostgresBase) -> None:
    values = rows_of(base, "SELECT unnest(ARRAY['NaN', '1.5', NULL]::numeric[]) AS x, DATE '2026-01-01' AS at")
    assert str(sorted(values.column("x").to_pylist(), key=str)) == "[1.5, None, nan]"


@pytest.mark.parametrize(
    "written", ["TIMESTAMP 'infinity'", "TIMESTAMPTZ '-infinity'", "DATE '0044-03-15 BC'", "'NaN'::float8"]
)
def test_a_time_that_is_none_is_refused(written: str, base: PostgresBase) -> None:
    with pytest.raises(DataError) as refusal:
        rows_of(base, f"SELECT {written} AS at")
    assert refusal.value.code == "query-times"


@pytest.mark.parametrize("type_", ["timestamptz", "date", "text", "numeric", "real", "bigint"])
def test_the_time_may_be_of_each_type_that_says_when(type_: str, base: PostgresBase, tmp_path: Path) -> None:
    written = "extract(epoch FROM seen) / 7" if type_ in ("numeric", "real", "bigint") else "seen"
    shop = Shop(tmp_path, base)
    shop.add(*(order(number, day) for day in (1, 2) for number in range(20)), (None, None, None, 5.0, "red", 1))
    settings = shop.settings(f"SELECT ({written})::{type_} AS seen, size, bought FROM orders")
    parts, said = fetch(shop.store, settings, shop.root)
    assert sum(part.rows for part in parts) == said["fetched"] == 41
    assert fetch(shop.store, settings, shop.root)[1]["fetched"] == 0
    if type_ in ("timestamptz", "date", "text"):
        assert [(part.name, part.rows) for part in parts] == [("2026-01-01", 20), ("2026-01-02", 20), ("untimed", 1)]


def test_a_query_with_a_sign_of_placeholders_and_comments_is_answered(shop: Shop) -> None:
    query = "SELECT * FROM orders WHERE colour LIKE '%e%' AND colour <> '$1 ? %s' -- all of them"
    assert shop.fetch(query=query).said["fetched"] == 9


def test_a_label_time_that_is_text_may_be_missing_for_a_day(shop: Shop) -> None:
    query = "SELECT seen, CAST(known AS text) AS known, size, bought FROM orders"
    shop.fetch(query=query)
    shop.add(order(12, 4, None), order(13, 4, None))
    later = shop.fetch(query=query)
    assert (later.said["fetched"], later.said["without_a_mark"]) == (2, 2)


# --- what a server refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "exit_code"),
    [
        ({"host=": "host=/nowhere"}, "database-unreachable", 5),
        ({"@/postgres": "@/another"}, "database-missing", 3),
        ({"batchlearn@": "somebody@"}, "database-login", 5),
        ({"batchlearn@": f"{GUARDED}@"}, "database-login", 5),
        ({"host=": "hots="}, "database-address", 2),
        ({"@/": "@127.0.0.1:1/"}, "database-unreachable", 5),
    ],
)
def test_what_cannot_be_opened_is_said(changes: dict[str, str], code: str, exit_code: int, shop: Shop) -> None:
    address = shop.base.address
    for old, new in changes.items():
        assert old in address
        address = address.replace(old, new)
    if "127.0.0.1" in address:
        address = address.partition("?")[0]
    problem = refused(shop.settings().model_copy(update={"database": address}), shop)
    assert (problem.code, problem.exit_code) == (code, exit_code)


def test_a_password_comes_from_libpq_and_a_wrong_one_is_not_shown(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = shop.settings().model_copy(
        update={"database": shop.base.address.replace("batchlearn@", f"{GUARDED}@", 1)}
    )
    monkeypatch.setenv("PGPASSWORD", "guessed-8341")
    problem = refused(settings, shop)
    assert problem.code == "database-login"
    assert "guessed-8341" not in problem.message
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:{GUARDED}:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    assert refused(settings, shop).code == "database-permission"
    shop.base.run(f"GRANT SELECT ON orders TO {GUARDED}")
    assert fetch(shop.store, settings, shop.root)[1]["fetched"] == 9
    assert PASSWORD not in str(fetch(shop.store, settings, shop.root)[1])


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:s3cret@host/shop",
        "postgres://ann:s3cret@host/shop",
        "postgresql://ann:s3cret#x/y?z@host:5432/shop",
        "postgresql://host/shop?user=ann&password=s3cret",
        "postgresql://host/shop?pass%77ord=s3cret",
        "postgresql://ann:s3cret quoted'@host/shop",
    ],
)
@pytest.mark.parametrize("place", ["database", "comment", "files"])
def test_a_password_in_the_settings_is_refused_and_not_shown(address: str, place: str, shop: Shop) -> None:
    line = {"database": "", "comment": f"# {address}", "files": f'files = "{address}"'}[place]
    if " " in address and place != "database":
        return  # it is no address then
    shop.base.address = "shop.sqlite" if place != "database" else address
    with pytest.raises(UsageError) as refusal:
        shop.settings("SELECT * FROM orders", line)
    assert refusal.value.code == "password-in-address"
    assert "s3cret" not in refusal.value.message


@pytest.mark.parametrize("address", ["postgresql://ann@host:5432/shop", "postgresql:///shop?service=shop"])
def test_an_address_without_a_password_is_taken(address: str, shop: Shop) -> None:
    shop.base.address = address
    assert shop.settings().database == address


def test_a_query_can_change_nothing(shop: Shop) -> None:
    shop.base.run("CREATE SEQUENCE numbers")
    shop.base.run("CREATE FUNCTION emptied() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END'")
    for query in (
        "SELECT orders.*, emptied() FROM orders",
        "SELECT orders.*, nextval('numbers') FROM orders",
        "SELECT * FROM orders FOR UPDATE",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT 1) AS x; COMMIT; DELETE FROM orders; SELECT * FROM (SELECT 1",
    ):
        assert refused(shop.settings(query), shop).code == "query-failed"
    assert shop.fetch().said["parts"]["rows"] == 9


def test_two_columns_of_one_name_are_refused(shop: Shop) -> None:
    assert refused(shop.settings("SELECT *, size FROM orders"), shop).code == "column-name-repeated"


def test_text_that_is_not_utf8_is_refused(base: PostgresBase, tmp_path: Path) -> None:
    with psycopg.connect(base.address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    address = base.address.replace("@/postgres", "@/plain")
    with psycopg.connect(address) as connection:
        latin = "'caf' || chr(233)"
        connection.execute(f"CREATE TABLE public.orders AS SELECT DATE '2026-01-01' AS seen, 1 AS bought, {latin} AS x")
    settings = (
        Shop(tmp_path, base).settings().model_copy(update={"database": address, "query": "SELECT * FROM public.orders"})
    )
    with pytest.raises(BatchlearnError) as refusal:
        fetch(FolderStore(tmp_path), settings, tmp_path)
    assert refusal.value.code == "not-utf8"


def test_a_connection_that_drops_leaves_whole_parts_and_the_next_fetch_goes_on(
    shop: Shop, base: PostgresBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropped(FolderStore):
        """A store during whose first write the server ends the connection."""

        def put_if_absent(self, name: str, data: bytes) -> bool:
            """Write, when the connection is gone."""
            base.drop_connections()
            return super().put_if_absent(name, data)

    monkeypatch.setattr("batchlearn.tables.database.postgres._FETCHED", 3)
    with pytest.raises(ResourceError, match="run the command again") as refusal:
        fetch(Dropped(shop.root), shop.settings(), shop.root)
    assert (refusal.value.code, refusal.value.exit_code) == ("database-interrupted", 5)
    parts, said = fetch(shop.store, shop.settings(), shop.root)
    assert [part.rows for part in parts] == [3, 3, 3]
    assert said["fetched"] == 6


def test_a_view_is_of_one_moment(shop: Shop, base: PostgresBase) -> None:
    with open_view(Query(base.address, "SELECT * FROM orders", "seen", "bought", "known")) as view:
        before = list(view.counted())
        base.run("DELETE FROM orders WHERE size < 5")
        assert list(view.counted()) == before
    assert shop.fetch().said["parts"]["rows"] == 7


def test_where_the_extra_is_absent_one_sentence_names_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    problem = refused(shop.settings(), shop)
    assert problem.code == "extra-missing"
    assert problem.message.endswith('pip install "batchlearn[postgres]"')


def test_a_project_retrains_from_a_server_as_from_a_file(base: PostgresBase, tmp_path: Path) -> None:
    files = 'files = "data/*.parquet"'
    query = 'query = "SELECT * FROM sales"'
    here = make_project(tmp_path / "here", SETTINGS_TEXT, {files: f"database = {base.address!r}\n{query}"})
    there = make_project(
        tmp_path / "there", SETTINGS_TEXT, {files: 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"'}
    )
    columns = 'seen timestamp, known timestamp, "user" int, size double precision, colour text, bought boolean'
    base.run(f"CREATE TABLE sales ({columns})")
    for first, last, now in ((0, 10, 8), (10, 14, 14)):
        base.run(
            "INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)",
            [tuple(row.values()) for row in orders(first, last).to_pylist()],
        )
        into_database(there / "shop.sqlite", orders(first, last))
        one, other = turn(here, day(now)), turn(there, day(now))
        assert (one.decision, one.promoted, one.rows) == (other.decision, other.promoted, other.rows)
    assert one.decision == "retrain"
