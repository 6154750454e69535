"""What totals of windows could save of fits from scratch by the squared loss, and which terms they could be kept of.

    python benchmarks/prefix_totals.py

Of three tables, cut into 40 windows, with the structure of the first training: of each kind of term, how many are the
same at two neighbouring edges (four pairs of edges); and the share of a fit's processor time in which its encoded rows
are read, which is what totals would save.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from batchlearn.backtesting.cells import ModelKey
from batchlearn.backtesting.history import read_history
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.progress import finish
from batchlearn.retraining.policies import Action

sys.path.insert(0, str(Path(__file__).resolve().parent))
from backtests import START, opened

SETS = ("nycflights13", "beijing_air", "metro_traffic")
EDGES = (8, 9, 16, 17, 24, 25, 32, 33)


def main() -> None:
    for name in SETS:
        table, recipe, arrivals = opened(name)
        matrix = LossMatrix(read_history(table, arrivals, 40, START), replace(recipe, holdout=0.0), 1)
        finish(matrix.begin())
        read, total = 0.0, MemoryRows.total

        def timed(self: MemoryRows, *given: Any, total: Any = total) -> Any:
            nonlocal read
            began = time.process_time()
            found = total(self, *given)
            read += time.process_time() - began
            return found

        began = time.process_time()
        with patch.object(MemoryRows, "total", timed):
            encodings = [finish(matrix.trained(ModelKey(Action(), edge))).model.encoding for edge in EDGES]
        whole = time.process_time() - began
        same, all_terms = Counter[str](), Counter[str]()
        for one, two in zip(encodings[::2], encodings[1::2], strict=True):
            for here, there in zip((*one.numbers, *one.groups), (*two.numbers, *two.groups), strict=True):
                all_terms[type(here).__name__] += 1
                same[type(here).__name__] += here == there
        kinds = ", ".join(f"{kind} {same[kind]} of {count}" for kind, count in sorted(all_terms.items()))
        print(f"{name}: the same: {kinds}; reading rows is {read / whole:.0%} of {whole:.1f} s", flush=True)


if __name__ == "__main__":
    main()
