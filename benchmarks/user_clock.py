"""What a user waits for, in this tree beside another one: whole commands on real tables, in turns.

    python benchmarks/user_clock.py [--base REVISION] [--rounds 3] [case ...]

A case is one command, from the start of Python to the end of the process, with two threads as it chooses by itself.
Base and head take turns after one round that is not counted (compiled bytecode is written, files come into the page
cache); printed are medians of wall and processor seconds (children included) and the medians of the paired ratios.
Of 902cf8a on a quiet machine of two cores it takes twelve minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data_sets import FOLDER, data_sets
from runner import beside, in_turns

CASES = (
    "train adult", "train flights2008_jan", "train eight classes", "train 10,000 rows", "compare adult",
    "compare flights2008_jan",
)  # fmt: skip
LEVELS = (40, 60, 80, 100, 150, 148)


def eight_classes(path: Path) -> None:
    """Write 60,000 rows of eight classes and six categories, 578 levels in all, few of them frequent."""
    rng, rows = np.random.default_rng(0), 60_000
    score, columns = np.zeros((rows, 8)), {}
    for number, levels in enumerate(LEVELS):
        share = np.arange(1.0, levels + 1.0) ** -1.3
        code = rng.choice(levels, rows, p=share / share.sum())
        score += 0.6 * rng.normal(size=(levels, 8))[code]
        columns[f"c{number}"] = pa.array([f"L{one:03d}" for one in code])
    label = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
    pq.write_table(pa.table({**columns, "y": pa.array([f"k{one}" for one in label])}), path)


def command(case: str, folder: Path) -> list[str]:
    """Return what is typed after `batchlearn`."""
    verb, name = case.split(" ", 1)
    if name == "eight classes":
        return [verb, str(folder / "eight.parquet"), "--target", "y"]
    if name == "10,000 rows":
        return [verb, str(folder / "few.parquet"), "--target", "target"]
    return [verb, *next(one for one in data_sets() if one.name == name).arguments]


def measured(python: Path, words: list[str]) -> tuple[float, float]:
    """Run a command; return its wall and processor seconds."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with tempfile.TemporaryDirectory() as folder:
        before, began = os.times(), time.perf_counter()
        line = [python, "-m", "batchlearn", *words, "--json", "--output", f"{folder}/model"]
        subprocess.run(line, env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds, after = time.perf_counter() - began, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", default=list(CASES))
    parser.add_argument("--base", default="902cf8a", help="a revision")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with beside(asked.base) as (folder, pythons):
        eight_classes(folder / "eight.parquet")
        pq.write_table(pq.read_table(FOLDER / "adult.parquet").slice(0, 10_000), folder / "few.parquet")
        print(f"{'seconds':<26}{'base':>8}{'head':>8}{'ratio':>8}   processor{'base':>8}{'head':>8}{'ratio':>8}")
        for case in asked.cases:
            words = command(case, folder)
            found = in_turns(pythons, asked.rounds + 1, lambda python, words=words: measured(python, words))
            cells = []
            for side in range(2):
                old, new = ([run[side] for run in runs[1:]] for runs in found)
                ratio = median(after / before for before, after in zip(old, new, strict=True))
                cells.append(f"{median(old):>8.2f}{median(new):>8.2f}{ratio:>8.2f}")
            print(f"{case:<26}{cells[0]}            {cells[1]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
