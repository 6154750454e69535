from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tables.postgres_server import GUARDED, OWNER, PASSWORD, programs, server


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data sets is not beside the repository")
    return folder.resolve()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The folder with the socket of a PostgreSQL server; where none is installed tests are skipped, but fail in CI."""
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    found = programs()
    if found is None:
        assert not os.environ.get("CI"), "no PostgreSQL is installed; .ci/run installs it"
        pytest.skip("no PostgreSQL server is installed")
    with server(found) as folder:
        with psycopg.connect(f"postgresql://{OWNER}@/postgres?host={folder}", autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
        yield folder
