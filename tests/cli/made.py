"""What the tests of the command line share: a small table, and two ways to run a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn import cli

SOURCE = Path(__file__).resolve().parents[2] / "src"
ROWS = 400

Run = Callable[..., tuple[int, str, str]]


def small_table(seed: int = 3, rows: int = ROWS) -> pa.Table:
    """Two classes of text, of which one looks like a formula to a spreadsheet."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=rows), rng.choice(["red", "green", "blue"], size=rows)
    score = 1.2 * size + (colour == "red") + rng.logistic(size=rows)
    return pa.table(
        {
            "size": size,
            "colour": colour.tolist(),
            "day": np.arange(rows, dtype=np.float64),
            "count": rng.poisson(np.exp(0.3 * size)).astype(np.float64),
            "bought": ["=yes" if value > 0.5 else "no" for value in score],
        }
    )


def one_object(text: str) -> dict[str, Any]:
    """Parse standard output that must be one JSON object of finite numbers."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "OPENBLAS_NUM_THREADS": "1", **(more or {})}


def process(
    arguments: Sequence[str], folder: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "batchlearn", *arguments],
        cwd=folder,
        env=environment(more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def in_process(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command in this process; gives exit code, standard output and standard error."""

    def run_now(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_now


def answer(run: Run, *arguments: str, code: int = 0) -> dict[str, object]:
    found, out, _ = run(*arguments, "--json")
    assert found == code, out
    return one_object(out)


def refusal(run: Run, *arguments: str) -> tuple[int, str, str]:
    code, out, _ = run(*arguments, "--json")
    error = one_object(out)["error"]
    assert error["exit_code"] == code
    return code, error["code"], error["message"]
