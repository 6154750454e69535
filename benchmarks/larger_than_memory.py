"""Training on more rows than memory holds: seconds, memory, and the rows a second of first and later passes.

    python benchmarks/larger_than_memory.py [--rows 6000000] [--memory 1GB ...] [--folder FOLDER]

The rows are generated once into FOLDER (12 columns: five numbers, five categories, a time, the label). Each training
has a process of its own, whose RssAnon and RssShmem are looked at all the while, and the most of each stage is printed
when it ends: pages of files are the kernel's to take back. Models of all budgets are compared to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 1_000_000
LEVELS = {"carrier": 20, "origin": 300, "destination": 300, "aircraft": 5_000, "kind": 4}


def generate(path: Path, rows: int) -> None:
    """Write rows in the order of their time, whose label depends on all columns and drifts a little."""
    rng = np.random.default_rng(12)
    effects = {name: rng.normal(scale=0.4, size=count) for name, count in LEVELS.items()}
    names = {name: pa.array([f"{name} {k}" for k in range(count)]) for name, count in LEVELS.items()}
    writer, start = None, np.datetime64("2020-01-01", "us")
    for first in range(0, rows, GROUP_ROWS):
        count = min(GROUP_ROWS, rows - first)
        numbers: dict[str, Any] = {
            "distance": rng.gamma(2.0, 400.0, count).round().astype(np.int32),
            "price": rng.lognormal(4.0, 0.7, count).astype(np.float32),
            "load": rng.random(count),
            "age": rng.integers(0, 30, count).astype(np.int8),
            "wind": np.where(rng.random(count) < 0.05, np.nan, rng.normal(10.0, 4.0, count)).astype(np.float32),
        }
        codes = {name: (rng.random(count) ** 2 * levels).astype(np.int32) for name, levels in LEVELS.items()}
        when = start + np.cumsum(rng.integers(0, 4_000_000, count))
        start = when[-1]
        score = 0.3 * np.sin(numbers["distance"] / 300.0) + 0.02 * (numbers["age"] - 15) - 1.0 + first / rows * 0.1
        score += sum(effects[name][code] for name, code in codes.items()) + 0.03 * np.nan_to_num(numbers["wind"])
        table = pa.table(
            {
                "when": when,
                **{name: pa.array(values, from_pandas=True) for name, values in numbers.items()},
                **{name: pa.DictionaryArray.from_arrays(code, names[name]) for name, code in codes.items()},
                "late": (rng.random(count) < 1.0 / (1.0 + np.exp(-score))).astype(np.int8),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()


def trained(path: Path, memory: str, cache: Path) -> dict[str, Any]:
    """Train in this process, printing each stage as it begins; return seconds and a digest of the coefficients."""
    import batchlearn as bl
    from batchlearn.progress import Progress, finish, told
    from batchlearn.tables.table.budget import budget_of
    from batchlearn.tables.table.segments import within
    from batchlearn.training.train import iter_train

    stages = [""]

    def tell(progress: Progress) -> None:
        if progress.stage != stages[-1]:
            stages.append(progress.stage)
            print(json.dumps(progress.stage), flush=True)

    began = time.perf_counter()
    table = bl.read(path, target="late", time="when")
    with within(budget_of(memory, cache)):
        fit = finish(told(iter_train(table, bl.Recipe()), tell))
    assert fit.summary is not None
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(sum(os.times()[:2]), 1),
        "stages": {name: round(seconds, 1) for name, seconds in fit.summary.seconds.items()},
        "certified": fit.certificate.certified,
        "loss_bound": fit.certificate.loss_bound,
        "coefficients": len(fit.model.parameters),
        "digest": hashlib.sha256(fit.model.parameters.tobytes()).hexdigest()[:16],
    }


def passes(path: Path, memory: str, cache: Path) -> dict[str, Any]:
    """Time the first reading beside decoding alone, and passes for value and gradient over rows in a file."""
    import batchlearn as bl
    from batchlearn.data.build import build_rows, profile_parts
    from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
    from batchlearn.data.ledger import columns_read, read_ledger
    from batchlearn.data.split import with_lots
    from batchlearn.objectives.losses import loss_of
    from batchlearn.progress import finish
    from batchlearn.statistics.objective import Objective, ridge
    from batchlearn.tables.table.budget import budget_of
    from batchlearn.tables.table.kept import keep
    from batchlearn.tables.table.segments import within

    table, rates = bl.read(path, target="late", time="when"), dict[str, float]()
    began = time.perf_counter()
    count = sum(batch.num_rows for batch in table.scan(columns_read(table)))
    rates["decoding"] = count / (time.perf_counter() - began)
    began = time.perf_counter()
    with within(budget_of(memory, cache)):
        table = finish(keep(table, columns_read(table)))
    rates["first pass"] = count / (time.perf_counter() - began)
    ledger = with_lots(table, read_ledger(table))
    (profiles,) = finish(profile_parts(table, ledger, [ledger.used]))
    encoding = fit_encoding(table.features, profiles, EncodingRules(additive=True), table.roles.time, ())
    began = time.perf_counter()
    rows = finish(build_rows(table, ledger, encoding, ledger.used, 2, fingerprinted=False))
    rates["encoding"] = count / (time.perf_counter() - began)
    objective = Objective(loss_of(ledger.target), ridge(encoding.layout, 1.0 / rows.total_weight))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        objective.gradient(rows, np.zeros(encoding.layout.size))
        seconds.append(time.perf_counter() - began)
    rates["later pass"] = count / float(np.median(seconds))
    return {"rows_a_second": {name: round(rate) for name, rate in rates.items()}}


def watched(arguments: list[str]) -> dict[str, Any]:
    """Run this file in a process of its own; return what it prints last, with the most memory it was seen to take.

    What it prints before are the names of stages.
    """
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines, most, peaks = ["opening"], 0, dict[str, int]()
    reader = threading.Thread(target=lambda: lines.extend(map(str.strip, process.stdout or ())))
    reader.start()
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        kinds = (line.split() for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem")))
        taken = round(sum(int(words[1]) for words in kinds) * 1024 / 1e6)
        if lines[-1] not in peaks and peaks:
            before, reached = list(peaks.items())[-1]
            print(f"  {reached:6,} MB  {before}", flush=True)
        most, peaks[lines[-1]] = max(most, taken), max(peaks.get(lines[-1], 0), taken)
        time.sleep(0.05)
    process.wait()
    reader.join()
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return {"peak_mb": most, **json.loads(lines[-1])}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--memory", nargs="+", default=["100GB", "1GB"])
    parser.add_argument("--folder", type=Path, default=Path("build/larger_than_memory"))
    parser.add_argument("--only", choices=("train", "passes"), help="one of the two, in this process")
    parser.add_argument("--leave-out-passes", action="store_true")
    given = parser.parse_args()
    path = given.folder / f"rows-{given.rows}.parquet"
    if given.only is not None:
        work = {"train": trained, "passes": passes}[given.only]
        print(json.dumps(work(path, given.memory[0], given.folder)))
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        generate(path.with_suffix(".unfinished"), given.rows)
        os.replace(path.with_suffix(".unfinished"), path)
    print(f"{given.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB as Parquet")
    digests = set()
    for memory in given.memory:
        both = ["--rows", str(given.rows), "--folder", str(given.folder), "--memory", memory]
        if not given.leave_out_passes:
            print(memory, "passes", watched([*both, "--only", "passes"]))
        found = watched([*both, "--only", "train"])
        print(memory, "train", found)
        digests.add(found["digest"])
    print("same bits" if len(digests) == 1 else f"models differ: {digests}")


if __name__ == "__main__":
    main()
