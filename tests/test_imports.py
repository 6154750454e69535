"""What loading a part of the package loads besides: measured in fresh interpreters, because this one has everything."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds this source tree also where the package is not installed."""
    search_path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def loaded_by(statement: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter holds after the statement and did not hold before."""
    code = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before), sep='\\n')"
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def within(modules: set[str], packages: tuple[str, ...]) -> list[str]:
    """List the modules that are one of the packages or lie inside one."""
    return sorted(m for m in modules if any(m == package or m.startswith(package + ".") for package in packages))


def test_the_package_alone_loads_no_other_package() -> None:
    loaded = loaded_by("import batchlearn")
    assert "batchlearn" in loaded
    third_party = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    assert third_party == {"batchlearn"}


def test_an_error_class_is_public_without_loading_numpy() -> None:
    loaded = loaded_by("import batchlearn; batchlearn.BatchlearnError; dir(batchlearn)")
    assert within(loaded, ("numpy", "pyarrow", "sklearn", "pydantic")) == []


def test_a_model_loads_without_what_trains_it() -> None:
    loaded = loaded_by("import batchlearn.models.files, batchlearn.models.linear")
    assert {"batchlearn.models.files", "batchlearn.models.linear"} <= loaded
    assert within(loaded, ("sklearn", "scipy", "pandas", "polars")) == []
    assert within(loaded, ("batchlearn.training", "batchlearn.solvers", "batchlearn.estimators")) == []


def test_a_command_loads_neither_pandas_nor_what_its_rows_do_not_ask_for(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{k % 7},{k % 7 + k % 3}\n" for k in range(300)))
    words = ["batchlearn", "train", str(tmp_path / "rows.csv"), "--target", "y", "--json"]
    typed = [*words, "--output", str(tmp_path / "model")]
    command = f"import io, contextlib; sys.argv = {typed!r}\nfrom batchlearn.cli import main\n"
    loaded = loaded_by(command + "with contextlib.redirect_stdout(io.StringIO()):\n    assert main() == 0")
    assert (tmp_path / "model").is_dir()
    assert "pyarrow" in loaded
    assert within(loaded, ("pandas", "sklearn", "scipy.optimize", "rich")) == []
    # Arrow looks for these, SciPy's linear algebra clones NumPy with them.
    assert within(loaded, ("cloudpickle", "pyarrow._s3fs", "scipy.linalg")) == [
        "scipy.linalg.cython_blas",
        "scipy.linalg.cython_lapack",
    ]


AT_ITS_END = ("jinja2", "pydantic", "rich", "scipy.special", "batchlearn.report.page", "batchlearn.models.files")
NEVER = ("pandas", "sklearn", "scipy.optimize", "scipy.sparse", "numpy.f2py", "numpy.testing", "importlib.metadata")


def test_a_training_begins_without_what_it_needs_at_its_end() -> None:
    loaded = loaded_by("import batchlearn.cli.train")
    assert within(loaded, (*AT_ITS_END, *NEVER, "scipy.linalg._decomp")) == []
    assert set(
        loaded_by(
            "from importlib import import_module\nfrom batchlearn.cli.train import AFTERWARDS\n"
            "for name in AFTERWARDS:\n    import_module(name)"
        )
    ) >= set(AT_ITS_END)


@pytest.mark.parametrize("words", [["status"], ["history"], ["rollback", "--help"], ["promote", "1"]])
def test_what_only_reads_records_loads_no_numbers(words: list[str], tmp_path: Path) -> None:
    command = f"import os; os.chdir({str(tmp_path)!r}); sys.argv = {['batchlearn', *words]!r}"
    run_it = "from batchlearn.cli import main\nwith contextlib.redirect_stdout(io.StringIO()):\n    main()"
    loaded = loaded_by(f"import io, contextlib\n{command}\n{run_it}")
    assert "batchlearn.registry.ledger" in loaded
    assert within(loaded, ("numpy", "pyarrow", "scipy", "pydantic", "jinja2", "batchlearn.tables")) == []


def test_help_loads_no_numbers() -> None:
    loaded = loaded_by("import contextlib, io, batchlearn.cli as cli\n" + _HELP)
    assert within(loaded, ("numpy", "pyarrow", "sklearn", "scipy")) == []


_HELP = """\
with contextlib.redirect_stdout(io.StringIO()) as shown:
    try:
        cli.main(["--help"])
    except SystemExit as stop:
        assert not stop.code, stop.code
assert "train" in shown.getvalue()
"""


def test_imports_only_point_down() -> None:
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    result = run(str(command), "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["numpy", "sklearn"])
def test_a_fresh_interpreter_would_be_caught(name: str) -> None:
    assert within(loaded_by(f"import {name}"), (name,))
