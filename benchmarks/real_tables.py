"""Every real data set as the text file that pandas writes, beside the same rows as Parquet, with target and time alone.

    python benchmarks/real_tables.py [--write] [set ...]

One line a set: how many columns are read as what, held-out losses of both and the constant's, seconds of both. Exit
code 1 where columns differ from tests/cases/columns.json or the losses by more than 1 %. `--write` writes the columns
found there; look at the difference before it is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from data_sets import FOLDER  # noqa: E402
from tests.cases.real import COLUMNS, held_out_loss, read_as, roles, same_loss, write_both  # noqa: E402


def train(data: Path, arguments: list[str]) -> tuple[dict[str, Any], float]:
    """Run the command; return what it printed and its seconds."""
    command = [sys.executable, "-m", "batchlearn", "train", str(data), *arguments, "--json"]
    began = time.perf_counter()
    run = subprocess.run([*command, "--output", f"{data}.model"], capture_output=True, text=True, check=False)
    return json.loads(run.stdout), time.perf_counter() - began


def main() -> None:
    names = [word for word in sys.argv[1:] if word != "--write"]
    expected = json.loads(COLUMNS.read_text(encoding="utf-8")) if COLUMNS.exists() else {}
    found, failed = dict(expected), []
    for path in sorted(FOLDER.glob("*.parquet")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            text, parquet = Path(folder, "rows.csv"), Path(folder, "rows.parquet")
            write_both(path, text, parquet)
            (of_text, text_seconds), (of_parquet, parquet_seconds) = (
                train(each, roles(path)) for each in (text, parquet)
            )
        if "error" in of_text or "error" in of_parquet:
            failed.append(path.stem)
            print(path.stem, of_text.get("error"), of_parquet.get("error"), flush=True)
            continue
        found[path.stem] = read_as(of_text)
        losses = held_out_loss(of_text), held_out_loss(of_parquet)
        kinds = ", ".join(f"{rows} {how}" for how, rows in sorted(Counter(found[path.stem].values()).items()))
        print(
            f"{path.stem}: {kinds}; held out {losses[0][0]:.6g} as text, {losses[1][0]:.6g} as Parquet, "
            f"constant {losses[0][1]:.6g}; {text_seconds:.1f} s and {parquet_seconds:.1f} s",
            flush=True,
        )
        differing = {name for name, how in found[path.stem].items() if expected.get(path.stem, {}).get(name) != how}
        if differing or not same_loss(*losses):
            failed.append(path.stem)
            print(f"  differs: {sorted(differing)}", flush=True)
    if "--write" in sys.argv:
        lines = (f"{json.dumps(name)}: {json.dumps(found[name], ensure_ascii=False)}" for name in sorted(found))
        COLUMNS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
