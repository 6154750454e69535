"""What has to be quick: help and version load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tests.cli.made import Run, environment, one_object

import batchlearn
from batchlearn.cli import COMMANDS
from batchlearn.kernels import native

train = import_module("batchlearn.cli.train")  # the package has the function of that name

HEAVY = ("numpy", "pyarrow", "scipy", "sklearn", "rich", "cyclopts", "pydantic")


@pytest.mark.parametrize("argument", ["--help", "-h", "--version", None])
def test_help_and_version_load_nothing_heavy(argument: str | None) -> None:
    program = (
        "import sys; from batchlearn import cli; "
        f"code = cli.main({[argument] if argument else []!r}); "
        f"sys.exit(code or ', '.join(set(sys.modules) & set({HEAVY!r})) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "batchlearn" in done.stdout


def test_help_lists_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name, what in COMMANDS.items():
        assert name in out
        assert what in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_page_of_its_own(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: batchlearn {command}" in out
    assert "--json" in out


TRAIN_FLAGS = """
    --target --time --group --drop --where --weight --weight-kind --offset --exposure --loss --alpha --tolerance
    --holdout --null --seed --threads --memory --output --json --force --categories
"""


@pytest.mark.parametrize("flag", TRAIN_FLAGS.split())
def test_train_has_the_flag(run: Run, flag: str) -> None:
    assert f" {flag} " in run("train", "--help")[1]


def test_version_names_what_matters(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    for part in (batchlearn.__version__, "Python 3", "NumPy", "kernels: "):
        assert part in out


@pytest.mark.parametrize("tokens", [("--json", "status"), ("status", "--json"), ("status", "--json=true")])
def test_json_is_read_wherever_it_is_typed(run: Run, tokens: tuple[str, ...]) -> None:
    code, out, err = run(*tokens)
    assert (code, err) == (2, "")
    assert one_object(out)["error"]["code"] == "no-project"
    assert run("status", "--json=false")[1] == ""


@pytest.mark.parametrize("slow", [True, False])
def test_train_says_where_numpy_serves_and_costs_time(
    slow: bool, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "rows.csv").write_text("x,y\n" + "".join(f"{one},{one % 7}\n" for one in range(100)))
    monkeypatch.setattr(train, "_SLOW", 0.0 if slow else 1e9)
    with native.numpy_serves():
        code, _, said = run("train", "rows.csv", "--target", "y")
    assert (code, "install with a C++ compiler" in said) == (0, slow)
