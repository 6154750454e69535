"""What came out of a comparison: one record a contender, and all of them with the optimum they are measured from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from batchlearn.artifacts.strict_json import plain
from batchlearn.comparison.contenders import Budget, Contender, Run, RunCheckpoint, passes_each, seconds_each
from batchlearn.comparison.critical import MeasuredBatchSizes, NoiseAt, sampling_loss
from batchlearn.comparison.judging import HeldOutScore, Memory
from batchlearn.comparison.problem import Benchmark
from batchlearn.formatting.notes import Note
from batchlearn.training.regimes import FullBatch, Online

FORMAT_VERSION = 1
CERTIFIED, BEST_KNOWN = "certified optimum", "best known"


@dataclass(frozen=True)
class Rates:
    """What plain stochastic gradient descent had left at each learning rate: there is none to choose by default."""

    batch_size: int
    passes: float
    tried: tuple[tuple[float, float], ...]  # rate, excess loss; infinite where it diverged

    def to_json(self) -> dict[str, Any]:
        """Return the rates as plain values."""
        tried = [{"rate": rate, "excess_loss": excess} for rate, excess in self.tried]
        return {"solver": "sgd", "batch_size": self.batch_size, "passes": self.passes, "tried": tried}


@dataclass(frozen=True)
class Outcome:
    """The runs of one contender: one for each seed on shuffled rows, and one on the rows as they are stored."""

    contender: Contender
    runs: tuple[Run, ...]
    stored: Run | None
    held_out: HeldOutScore | None
    memory: Memory
    best: float  # the lowest objective known
    loss_bound: float | None  # how far below it the optimum can lie
    row_bytes: float

    def excess(self, run: Run) -> float:
        """Return how far a run ended above the best known objective."""
        return max(run.last.value - self.best, 0.0)

    def bytes_read(self, point: RunCheckpoint) -> int:
        """Return how many bytes of rows, as kept in memory, were read until a point of a run."""
        return round(point.rows_read * self.row_bytes)

    @property
    def typical(self) -> Run:
        """The run with the median excess loss; of two in the middle the worse one."""
        ordered = sorted(self.runs, key=self.excess)
        return ordered[len(ordered) // 2]

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest excess loss over the seeds."""
        every = [self.excess(run) for run in self.runs]
        return min(every), max(every)

    @property
    def diverged(self) -> bool:
        """Whether a run on shuffled rows ended farther from the optimum than it began, or any run overflowed.

        One that its budget cut off while it came nearer has not.
        """
        start = self.runs[0].points[0].value
        # Where there is next to nothing to learn, noise leaves a run a little above its start: that is no divergence.
        allowed = start + max(0.1 * (start - self.best), 0.01 * abs(start))
        for run in self.runs:
            looks = [point.value for point in run.points[1:]]  # the start not counted
            coming_nearer = len(looks) > 1 and looks[-1] < looks[-2] < math.inf
            if not run.last.value <= allowed and not coming_nearer:
                return True
        return self.stored is not None and not math.isfinite(self.stored.last.value)

    def spent_until(self, excess: float) -> tuple[float, float] | None:
        """Return the passes and seconds after which the excess loss stayed below; None where it never did.

        Medians over the seeds; None where any seed never came so near.
        """
        found = []
        for run in self.runs:
            reached = None
            for point in reversed(run.points):
                if not point.value - self.best <= excess:
                    break
                reached = point.passes, point.seconds
            if reached is None:
                return None
            found.append(reached)
        return median(passes for passes, _ in found), median(seconds for _, seconds in found)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values: of the typical run where one run is meant."""
        run, excess = self.typical, self.excess(self.typical)
        low, high = self.spread
        return {
            "name": self.contender.name,
            "regime": str(self.contender.regime),
            "solver": run.solver,
            "passes": run.last.passes,
            "rows_read": run.last.rows_read,
            "seconds": run.last.seconds,
            "bytes_read": self.bytes_read(run.last),
            "excess_loss": excess,
            "excess_low": excess,
            "excess_high": None if self.loss_bound is None else excess + self.loss_bound,
            "ended": run.ended.value,
            "diverged": self.diverged,
            "held_out": None if self.held_out is None else self.held_out.to_json(),
            "spread_over_seeds": {"low": low, "high": high, "seeds": len(self.runs)},
            "stored_order": None
            if self.stored is None
            else {
                "excess_loss": self.excess(self.stored),
                "passes": self.stored.last.passes,
                "seconds": self.stored.last.seconds,
                "better_than_start": self.stored.last.value < self.stored.points[0].value,
            },
            "memory": {"rows": self.memory.rows, "working": self.memory.working},
            "curve": [
                {
                    "passes": point.passes,
                    "seconds": point.seconds,
                    "bytes": self.bytes_read(point),
                    "excess_loss": max(point.value - self.best, 0.0),
                }
                for point in run.points
            ],
        }


@dataclass(frozen=True)
class Recommendation:
    """Which contender, why, and what would change it."""

    contender: str
    reason: str
    changes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the recommendation as plain values."""
        return {"contender": self.contender, "reason": self.reason, "changes": list(self.changes)}


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns: all contenders beside one optimum. As text it is the recommendation.

    Attributes:
        benchmark: What all were given: the objective, the rows, the optimum and the rows held out.
        table: The name of the table.
        budget: What each run could spend.
        outcomes: One for each contender: its runs, and its score on the rows held out.
        noise: The gradient noise at the start, on the way and at the optimum, each with its critical batch size
            (McCandlish et al. 2018).
        measured: The largest batch that lost nothing, as measured; None without mini-batches.
        rates: What plain stochastic gradients left at five learning rates; None where there was no time for it.
        recommendation: The contender recommended, the reason, and what would change it.
        seconds: Seconds of the whole comparison.
        notes: Sentences on what was left out or sampled.

    Example:
        >>> import batchlearn as bl
        >>> table = bl.read({"x": [float(i % 7) for i in range(50)], "y": [2.0 * i for i in range(50)]}, target="y")
        >>> plan = bl.ComparisonPlan((bl.Contender("all rows", bl.FullBatch()),), bl.Budget(3, 0.1), seeds=1)
        >>> comparison = bl.compare(table, plan)
        >>> comparison.recommendation.contender, comparison.to_json()["rows"]
        ('all rows', 40)
    """

    benchmark: Benchmark
    table: str
    budget: Budget
    outcomes: tuple[Outcome, ...]
    noise: tuple[NoiseAt, ...]
    measured: MeasuredBatchSizes | None
    rates: Rates | None
    recommendation: Recommendation
    seconds: float
    notes: tuple[Note, ...] = ()

    @property
    def best(self) -> float:
        """The lowest objective that the optimum or any contender reached."""
        return min([self.benchmark.optimum.value, *(outcome.best for outcome in self.outcomes)])

    @property
    def run_seconds(self) -> float:
        """Seconds that each run could spend."""
        return seconds_each(self.budget, self.benchmark.steps_seconds)

    @property
    def good_enough(self) -> float:
        """The excess loss below which more training is not worth it; having only so many rows costs as much."""
        return good_enough(self.benchmark, self.noise)

    def __str__(self) -> str:
        recommended = self.recommendation
        return f"{recommended.contender}: {recommended.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return what `compare --json` prints, the path of the report aside, as plain values."""
        optimum = self.benchmark.optimum
        certificate = optimum.certification.certificate
        on_the_way = self.noise[1].critical_batch
        whole: dict[str, Any] = plain(
            {
                "format_version": FORMAT_VERSION,
                "question": "regimes",
                "table": self.table,
                "target": self.benchmark.target.column,
                "loss": self.benchmark.objective.loss.name,
                "rows": len(self.benchmark.rows),
                "coefficients": len(self.benchmark.start),
                "budget": {
                    "passes": passes_each(self.budget, Online()),
                    "full_batch_passes": passes_each(self.budget, FullBatch()),
                    "seconds": self.run_seconds,
                },
                "optimum": {
                    "called": CERTIFIED if certificate.certified else BEST_KNOWN,
                    "objective": self.best,
                    "certificate": certificate.to_json(),
                    "null_objective": optimum.null_value,
                    "solver": optimum.solver,
                    "passes": optimum.passes,
                    "seconds": optimum.seconds,
                },
                "good_enough": self.good_enough,
                "sampling_loss": sampling_loss(self.noise),
                "contenders": [outcome.to_json() for outcome in self.outcomes],
                "critical_batch": {
                    "predicted": on_the_way,
                    "measured": None if self.measured is None else self.measured.largest,
                    "noise": [one.to_json() for one in self.noise],
                    "measurement": None if self.measured is None else self.measured.to_json(),
                },
                "learning_rate": None if self.rates is None else self.rates.to_json(),
                "recommendation": self.recommendation.to_json(),
                "seconds": self.seconds,
                "notes": list(map(str, self.notes)),
                "noted": [note.to_json() for note in self.notes],
            }
        )
        return whole


def good_enough(benchmark: Benchmark, noise: Sequence[NoiseAt]) -> float:
    """Return the excess loss below which more training is not worth it.

    What having no more than these rows costs on average; where the Hessian has no factor, a ten-thousandth of what the
    optimum gains over the mean.
    """
    found = sampling_loss(noise)
    gain = max(benchmark.optimum.null_value - benchmark.optimum.value, 0.0)
    return 1e-4 * gain if found is None else found
