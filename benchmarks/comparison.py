"""Every set of the catalogue through `batchlearn compare`, nothing said but target, time, loss and columns.

    python benchmarks/comparison.py [--write] [set ...]

One line a set: seconds of the whole command, rows learned from, coefficients, the excess loss of full batch, mini-batch
128 and online in units of the sampling loss (at most 1 is good enough), whether any run diverged, the critical batch
size predicted on the way and the batch size measured to lose nothing, and the recommendation. `--write` puts the table
into docs/comparing-regimes.md. Exit code 1 where a set took two minutes or more, or a run diverged.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from data_sets import DataSet, data_sets
from tables import write_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "comparing-regimes.md"
LIMIT = 120.0
SHOWN = ("full batch", "mini-batch 128", "online")
HEAD = (
    "| set | s | rows | coefficients | full batch | mini-batch 128 | online | diverged | predicted | measured | "
    "recommended |\n"
    "|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---|"
)


def compare(data: DataSet) -> tuple[dict[str, Any], float]:
    """Run the command; return what it printed and its seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "batchlearn", "compare", *data.arguments, "--json"]
        run = subprocess.run([*command, "--output", f"{folder}/page.html"], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(run.stdout)
    return found, time.perf_counter() - began


def line(data: DataSet, found: dict[str, Any], seconds: float) -> str:
    """Return one row of the table."""
    if "error" in found:
        return f"| {data.name} | {seconds:.0f} | {found['error']['message']} | | | | | | | | |"
    contenders = {one["name"]: one for one in found["contenders"]}
    shares = (share(contenders[name]["excess_loss"], found["good_enough"]) for name in SHOWN)
    wild = ", ".join(name for name, one in contenders.items() if one["diverged"]) or "none"
    batch = found["critical_batch"]
    predicted = "-" if batch["predicted"] is None else f"{max(batch['predicted'], 1.0):,.0f}"
    measured = "-" if batch["measured"] is None else f"{batch['measured']:,}"
    recommended = found["recommendation"]["contender"]
    return (
        f"| {data.name} | {seconds:.0f} | {found['rows']:,} | {found['coefficients']:,} | {' | '.join(shares)} | "
        f"{wild} | {predicted} | {measured} | {recommended} |"
    )


def share(excess: float | None, good_enough: float) -> str:
    """Write an excess loss in units of the sampling loss."""
    if excess is None:
        return "overflow"
    ratio = excess / good_enough
    return f"{ratio:.2g}" if ratio >= 1e-3 or math.isclose(ratio, 0.0) else "< 0.001"


def main(words: list[str]) -> int:
    """Print the table; return 1 where a set fails what is promised."""
    chosen = [word for word in words if not word.startswith("--")]
    lines, failed = [], False
    print(HEAD, flush=True)
    for data in data_sets(("binary", "count", "regression", "multiclass")):
        if chosen and data.name not in chosen:
            continue
        found, seconds = compare(data)
        failed |= seconds >= LIMIT or "error" in found or any(one["diverged"] for one in found["contenders"])
        lines.append(line(data, found, seconds))
        print(lines[-1], flush=True)
        if "--write" in words:
            write_table(PAGE, [HEAD, *lines])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
