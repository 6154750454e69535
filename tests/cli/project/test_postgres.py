"""A project whose rows are on a PostgreSQL server, from the shell."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.made import Run, one_object
from tests.retraining.made import day, orders
from tests.retraining.sources.bases import PostgresBase

ROLES = ("--target", "bought", "--time", "seen", "--labelled", "known", "--drop", "user", "--after-rows", "100")
QUERY = ("--query", "SELECT * FROM sales")


@pytest.fixture
def base(postgres: Path) -> PostgresBase:
    base = PostgresBase(postgres)
    columns = 'seen timestamp, known timestamp, "user" int, size double precision, colour text, bought boolean'
    base.run(f"CREATE TABLE sales ({columns})")
    base.run("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)", [tuple(row.values()) for row in orders(0, 10).to_pylist()])
    return base


def test_from_init_to_a_server_that_is_gone(here: Path, run: Run, base: PostgresBase) -> None:
    assert run("init", "--source", base.address, *QUERY, *ROLES)[0] == 0
    settings = here / "batchlearn.toml"
    assert f'database = "{base.address}"' in settings.read_text()
    assert "# landed" in settings.read_text()
    code, out, _ = run("retrain", "--now", day(8), "--json")
    assert code == 0
    assert one_object(out)["rows"]["new"] == 300
    settings.write_text(settings.read_text().replace("host=", "host=/nowhere"))
    code, out, _ = run("retrain", "--json")
    assert (code, one_object(out)["error"]["code"]) == (5, "database-unreachable")
    assert run("status")[0] == 0


def test_a_password_is_neither_written_nor_shown(here: Path, run: Run, base: PostgresBase) -> None:
    address = base.address.replace("batchlearn@", "batchlearn:s3cret@")
    for more in (QUERY, ()):
        code, out, errors = run("init", "--source", address, *more, *ROLES)
        assert code == 2
        assert "~/.pgpass" in out + errors
        assert "s3cret" not in out + errors
    assert not (here / "batchlearn.toml").exists()
