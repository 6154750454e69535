"""What takes time, in this tree beside another one: the same problems in turn, each run in a process of its own.

    python benchmarks/speed.py [--base REVISION] [--rounds 5] [problem ...]

A problem is a statement or a command on generated rows, timed in processor seconds from its first line on (imports and
the making of rows are outside). Base and head alternate, so that a host that slows down slows both; printed are the
medians and the median of the paired ratios. The exit status is 1 where a problem became slower by 15 % and by 50 ms, at
the median and of the fastest runs alike: a ratio alone would fail short problems by chance, seconds alone long ones,
and medians alone a host that is busy. Takes three minutes on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from runner import beside, in_turns, run_apart

RATIO, SECONDS = 1.15, 0.05

ROWS = """
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
def table(rows, first, seed):
    rng = np.random.default_rng(seed)
    minute = np.sort(rng.integers(0, 14 * 24 * 60, rows))
    carrier, origin = rng.integers(0, 8, rows), rng.integers(0, 60, rows)
    delay = 8.0 * rng.normal(size=rows) + minute // 60 % 24 - 2.0 * carrier + 0.1 * origin
    names = np.array([f"A{k:02d}" for k in range(60)])
    return pa.table({"departed": np.datetime64(first, "us") + minute.astype("timedelta64[m]"),
        "carrier": pa.array(names[carrier]), "origin": pa.array(names[origin]),
        "distance": rng.uniform(100.0, 2500.0, rows).round(), "seats": rng.integers(50, 300, rows),
        "delayed": delay > 15.0})
import os
os.mkdir("source")
pq.write_table(table(20_000, "2008-01-01", 1), "source/flights.parquet")
pq.write_table(table(2_000, "2008-01-01", 2), "few.parquet")
pq.write_table(table(200_000, "2008-02-01", 3), "many.parquet")
from batchlearn.cli import main
roles = ["--target", "delayed", "--time", "departed"]
assert main(["train", "source/flights.parquet", *roles, "--output", "model"]) == 0
assert main(["init", "--source", "source/*.parquet", *roles]) == 0
assert main(["retrain", "--now", "2008-01-15"]) == 0
pq.write_table(table(2_000, "2008-01-15", 4), "source/later.parquet")
"""
COMMAND = "from batchlearn.cli import main\n"
MATRIX = """
import numpy as np
from batchlearn import LinearClassifier, LinearRegressor
rng = np.random.default_rng(0)
X = rng.normal(size=({rows}, {columns}))
y = X @ rng.normal(size={columns}) / {columns} ** 0.5 + rng.normal(size={rows})
"""
SPARSE = """
import numpy as np, scipy.sparse as sp
from batchlearn import LinearClassifier
X = sp.random(20_000, 1_000, density=0.005, format="csr", random_state=0)
y = (X @ np.random.default_rng(0).normal(size=1_000) > 0.0).astype(int)
"""
ROLES = ["--target", "delayed", "--time", "departed"]

# Name: what is made beforehand (its cost is not counted), and what is timed.
PROBLEMS = {
    "train": (COMMAND, f"assert main(['train', 'source/flights.parquet', *{ROLES}, '--output', 'out']) == 0"),
    "predict": (COMMAND, "assert main(['predict', 'model', 'many.parquet', '-o', 'out.parquet']) == 0"),
    "evaluate": (COMMAND, "assert main(['evaluate', 'model', 'many.parquet', '--json']) == 0"),
    "verify": (COMMAND, "assert main(['verify', 'model', 'source/flights.parquet']) == 0"),
    "compare": (COMMAND, f"assert main(['compare', 'few.parquet', *{ROLES}, '--output', 'out']) == 0"),
    "retrain, bracket": (COMMAND, "assert main(['retrain', '--dry-run', '--now', '2008-01-30']) == 0"),
    "retrain, turn": (COMMAND, "assert main(['retrain', '--anyway', '--now', '2008-01-30']) in (0, 10, 11)"),
    "logistic, dense": (MATRIX.format(rows=100_000, columns=30), "LinearClassifier().fit(X, y > 0.0)"),
    "squared, many columns": (MATRIX.format(rows=5_000, columns=500), "LinearRegressor().fit(X, y)"),
    "logistic, sparse": (SPARSE, "LinearClassifier().fit(X, y)"),
    "online": (
        MATRIX.format(rows=10_000, columns=30),
        "LinearClassifier().partial_fit(X, y > 0.0, classes=[False, True])",
    ),
}

RUN = """
import contextlib, io, time
with contextlib.redirect_stdout(io.StringIO()):
{prepared}
    began = time.process_time()
{timed}
    seconds = time.process_time() - began
print(seconds)
"""


def indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.strip().splitlines())


def measured(name: str, python: Path, folder: Path) -> float:
    """Return the seconds of one run in a copy of the folder: a turn of a project leaves more than it found."""
    prepared, timed = PROBLEMS[name]
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        code = RUN.format(prepared=indented(prepared), timed=indented(timed))
        return float(run_apart([python, "-c", code], Path(copy)))


def compared(name: str, pythons: tuple[Path, Path], folders: tuple[Path, Path], rounds: int) -> bool:
    """Print one line; return whether the head is slower than the base beyond doubt."""
    sides = list(zip(pythons, folders, strict=True))
    found = in_turns(sides, rounds, lambda side: measured(name, *side))
    (base, head), (fastest_base, fastest_head) = map(median, found), map(min, found)
    ratio = median(new / old for old, new in zip(*found, strict=True))
    slower = all(new / old > RATIO and new - old > SECONDS for old, new in ((base, head), (fastest_base, fastest_head)))
    print(f"{name:<24}{base:>8.2f} s{head:>8.2f} s{ratio:>8.2f}{'   slower' if slower else ''}", flush=True)
    return slower


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="problem", default=list(PROBLEMS))
    parser.add_argument("--base", default="HEAD", help="a revision; HEAD compares uncommitted changes with it")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with beside(asked.base) as (temporary, (old, new)):
        folders = temporary / "base-rows", temporary / "head-rows"
        for python, folder in zip((old, new), folders, strict=True):
            folder.mkdir()
            run_apart([python, "-c", ROWS], folder)
        print(f"{'processor seconds':<24}{'base':>10}{'head':>10}{'ratio':>8}")
        slower = [compared(name, (old, new), folders, asked.rounds) for name in asked.problems]
    return int(any(slower))


if __name__ == "__main__":
    sys.exit(main())
