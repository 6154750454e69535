"""What a contender is worth: on rows it has not seen, beside the optimum's model, and in memory."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from batchlearn.comparison.contenders import Contender
from batchlearn.comparison.problem import Benchmark
from batchlearn.data.rows import Chunk
from batchlearn.data.target import Task
from batchlearn.evaluation.intervals import Estimate, paired_difference, resampling
from batchlearn.evaluation.metrics import proper_score
from batchlearn.kernels.design import Floats
from batchlearn.progress import Progress
from batchlearn.statistics.rowwise import predictor
from batchlearn.training.regimes import epochs

# Tracing makes small allocations several times slower, and the peak is reached early.
_LONGEST_TRACE, _TRACED_ROWS = 2.0, 4_096
_LOOK_SECONDS = 0.005
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class HeldOutScore:
    """The mean loss on held-out rows, and how much it is above that of the optimum's model on the same rows.

    Both with 95 % intervals of a block bootstrap over the rows in order of time; infinite where predictions overflow.
    """

    metric: str
    rows: int
    score: Estimate
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values."""
        return {
            "metric": self.metric,
            "rows": self.rows,
            **self.score.to_json(),
            "difference": self.difference.to_json(),
        }


def held_out_scores(benchmark: Benchmark, parameters: dict[str, Floats], seed: int) -> dict[str, HeldOutScore]:
    """Return the score of each of the parameters by name, on the same rows and the same blocks; none without rows."""
    if benchmark.later is None:
        return {}
    # Objectives hold half the squared error and half the deviance.
    unit = 1.0 if benchmark.target.task is Task.CLASSES else 2.0
    metric = proper_score(benchmark.target.task.value).name
    plan = resampling(len(benchmark.later), seed)
    best, weight = _losses(benchmark, benchmark.optimum.parameters, unit)
    found = {}
    for name, vector in parameters.items():
        losses, _ = _losses(benchmark, vector, unit)
        if np.all(np.isfinite(losses)):
            zero = np.zeros_like(losses)
            score, difference = (paired_difference(losses, other, weight, plan) for other in (zero, best))
        else:
            score = difference = Estimate(None, None, None)
        found[name] = HeldOutScore(metric, len(losses), score, difference)
    return found


def _losses(benchmark: Benchmark, parameters: Floats, unit: float) -> tuple[Floats, Floats]:
    assert benchmark.later is not None
    loss = benchmark.objective.loss

    def losses_and_weight(chunk: Chunk, parameters: Floats) -> Floats:
        return np.stack([loss.value(predictor(chunk, parameters), chunk.label), chunk.weight])

    with np.errstate(over="ignore", invalid="ignore"):
        losses, weight = benchmark.later.map_rows(losses_and_weight, parameters)
    return unit * losses[benchmark.later_order], weight[benchmark.later_order]


class Memory(NamedTuple):
    """Bytes: the rows that have to be at hand at once, and the most that the work takes beside them."""

    rows: int
    working: int


def measure_memory(benchmark: Benchmark, contender: Contender) -> Generator[Progress, None, Memory]:
    """Measure what a contender allocates; return it with the rows it has to hold.

    Full batch reads all rows for each step and is measured on the first chunks, one a thread; the others hold no more
    than these chunks and are measured on the first 4,096 rows. The working memory is what Python and NumPy allocate at
    the most; it is not counted where another trace is running already.
    """
    rows = benchmark.rows
    first = rows.of_chunks(slice(rows.threads))
    held = len(rows) if contender.regime.size is None else len(first)
    if contender.regime.size is not None and len(first) > _TRACED_ROWS:
        first = next(first.stretches(np.arange(_TRACED_ROWS), _TRACED_ROWS))
    if tracemalloc.is_tracing():
        return Memory(round(held * benchmark.row_bytes), 0)
    tracemalloc.start()
    try:
        began = time.perf_counter()
        # From a start that is given: steps that lead to a solver's own take less than these.
        for stretch in epochs(
            benchmark.objective, first, contender.regime, contender.solver, benchmark.start, passes=1.0
        ):
            if time.perf_counter() - began > _LONGEST_TRACE:
                break
            yield Progress(f"memory of {contender.name}", passes=int(stretch.passes))
        working = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Memory(round(held * benchmark.row_bytes), working)


class ResidentMemory:
    """By how much the resident memory of this process grew at most, looked at every few milliseconds."""

    def __init__(self) -> None:
        self.grown = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._start = 0

    def __enter__(self) -> Self:
        self._start = self._resident()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.grown = max(self.grown, self._resident() - self._start)

    @staticmethod
    def _resident() -> int:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * _PAGE
