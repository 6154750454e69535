"""Every binary, count and regression set through `batchlearn train`, beside scikit-learn on one-hot columns.

    python benchmarks/tables.py [--write] [--no-peer] [set ...]

One line a set: rows, seconds and peak memory of the whole command (children included), coefficients, the certificate's
bound on the loss, and the proper score on the later rows with its interval, beside the constant and scikit-learn's
linear model with its defaults on the same split. `--write` puts the table into docs/tables.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from data_sets import DataSet, data_sets

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tables.md"
HEAD = (
    "| set | rows | loss | s | MB | coefficients | bound on the loss | later rows | interval | constant | peer | "
    "peer s |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|---|---:|---:|---:|"
)


def train(data: DataSet) -> tuple[dict[str, Any], float, float]:
    """Run the command; return what it printed, its seconds and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "batchlearn",
            "train",
            *data.arguments,
            "--json",
            "--output",
            f"{folder}/model",
        ]
        probe = (
            "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        began = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", probe, *command], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    return json.loads(run.stdout), seconds, float(run.stderr.split()[-1]) / 1024


def line(data: DataSet, peer: bool) -> str:
    """Return one row of the table."""
    found, seconds, memory = train(data)
    if "error" in found:
        return (
            f"| {data.name} | | {data.loss} | {seconds:.1f} | {memory:.0f} | {found['error']['message']} | | | | | | |"
        )
    certificate, evaluation = found["certificate"], found["evaluation"]
    name, score = next(iter(evaluation["metrics"].items()))
    constant = evaluation["baselines"]["constant"][name]["value"]
    bound = f"{certificate['loss_bound']:.1e}" if certificate["status"] == "certified" else certificate["reason"]
    beside = ["", ""]
    if peer:
        from table_rivals import linear

        peers_own = linear(data)
        beside = [f"{peers_own.score:.4g}", f"{peers_own.seconds:.1f}"]
    cells = [
        data.name, f"{found['rows']['used']:,}", data.loss, f"{seconds:.1f}", f"{memory:.0f}",
        f"{found['coefficients']:,}", bound, f"{score['value']:.4g}", f"{score['low']:.4g} to {score['high']:.4g}",
        f"{constant:.4g}", *beside,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def make_table(
    words: list[str], head: str, line: Callable[[DataSet], str], page: Path, sets: list[DataSet] | None = None
) -> None:
    """Print the head and a line for each set named (all where none is); --write puts each into the page as it comes."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    wanted = [word for word in words if not word.startswith("--")]
    lines = [head]
    print(head, flush=True)
    for data in data_sets() if sets is None else sets:
        if not wanted or data.name in wanted:
            lines.append(line(data))
            print(lines[-1], flush=True)
            if "--write" in words:
                write_table(page, lines)


def write_table(page: Path, lines: list[str]) -> None:
    """Put a table between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    start, stop = text.index("<!-- table -->"), text.index("<!-- end of table -->")
    table = "\n".join(lines)
    page.write_text(f"{text[:start]}<!-- table -->\n\n{table}\n\n{text[stop:]}", encoding="utf-8")


if __name__ == "__main__":
    make_table(sys.argv[1:], HEAD, partial(line, peer="--no-peer" not in sys.argv), PAGE)
