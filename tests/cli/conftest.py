from __future__ import annotations

from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, in_process, small_table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory with the small table in two formats."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("BATCHLEARN_DEBUG", raising=False)
    pq.write_table(small_table(), "rows.parquet")
    pacsv.write_csv(small_table(), "rows.csv")
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; gives exit code, standard output and standard error."""
    assert here.is_dir()
    return in_process(capsys)
