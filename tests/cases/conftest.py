from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cases.made import Answer, Command, answer_to

_MAKER = Path(__file__).resolve().parents[2] / ".." / "shared" / "cases" / "make.py"


@pytest.fixture(scope="session")
def shared_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small tables of the shapes that people have; tests of them skip where their maker is absent."""
    if not _MAKER.is_file():
        pytest.skip("the maker of small tables is not beside the repository")
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, _MAKER.resolve(), folder], check=True, timeout=60)
    return folder


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command with --json in this process, in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHLEARN_DEBUG", raising=False)

    def ask_now(*arguments: str) -> Answer:
        return answer_to(capsys, arguments)

    return ask_now
