"""The batch size that a data set wants: predicted from its gradient noise, and measured; never one for the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from batchlearn.comparison.problem import Benchmark
from batchlearn.statistics.noise import Noise, gradient_noise

# Where on the straight line from the start to the optimum the noise is taken; at 0.9 about 1 % of the gain is left.
_ON_THE_WAY = 0.9
# An excess this much above the lowest is no loss; neither is one of so small a share of what the rows cannot tell.
_TOLERANCE, _NEGLIGIBLE = 1.1, 0.01


class NoisePlace(StrEnum):
    """Where the noise is taken; the value is what `--json` says."""

    START = "start"
    ON_THE_WAY = "on the way"
    OPTIMUM = "optimum"


@dataclass(frozen=True)
class NoiseAt:
    """The gradient noise at one place; `preconditioned` is in the metric of the Hessian at the optimum."""

    where: NoisePlace
    excess_loss: float
    plain: Noise
    preconditioned: Noise | None

    @property
    def critical_batch(self) -> float:
        """The predicted critical batch size for steps that are preconditioned where there is a factor."""
        return (self.preconditioned or self.plain).critical_batch

    def to_json(self) -> dict[str, Any]:
        """Return the noise as plain values."""
        return {
            "where": self.where.value,
            "excess_loss": self.excess_loss,
            "trace": self.plain.trace,
            "critical_batch_plain": self.plain.critical_batch,
            "trace_preconditioned": None if self.preconditioned is None else self.preconditioned.trace,
            "critical_batch_preconditioned": (
                None if self.preconditioned is None else self.preconditioned.critical_batch
            ),
        }


def noise_along(benchmark: Benchmark) -> list[NoiseAt]:
    """Return the gradient noise at the start, on the way and at the optimum, one reading of the rows a metric."""
    objective, rows = benchmark.objective, benchmark.rows
    start, optimum = benchmark.start, benchmark.optimum.parameters
    factor = benchmark.optimum.certification.factor
    points = start, start + _ON_THE_WAY * (optimum - start), optimum
    plain = gradient_noise(objective, rows, points)
    fitting = (None,) * len(points) if factor is None else gradient_noise(objective, rows, points, factor)
    excess = [max(objective.value(rows, point) - benchmark.optimum.value, 0.0) for point in points]
    return [NoiseAt(*found) for found in zip(NoisePlace, excess, plain, fitting, strict=True)]


def sampling_loss(noise: Sequence[NoiseAt]) -> float | None:
    """Return what having no more than these rows costs in loss on average; None where there is no factor."""
    at_optimum = noise[-1].preconditioned
    return None if at_optimum is None else at_optimum.sampling_loss


@dataclass(frozen=True)
class MeasuredBatchSizes:
    """What each batch size had left after the same number of passes: the median over seeds and the ends."""

    passes: float
    sizes: tuple[tuple[int, float, float, float], ...]  # size, median excess, lowest, highest; by size
    negligible: float

    @property
    def largest(self) -> int | None:
        """The largest size that lost nothing beside the best; None where every run overflowed."""
        lowest = min((middle for _, middle, _, _ in self.sizes), default=math.inf)
        if not math.isfinite(lowest):
            return None
        allowed = max(_TOLERANCE * lowest, self.negligible)
        return max(size for size, middle, _, _ in self.sizes if middle <= allowed)

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as plain values."""
        return {
            "passes": self.passes,
            "negligible": self.negligible,
            "sizes": [
                {"batch_size": size, "excess_loss": middle, "low": low, "high": high}
                for size, middle, low, high in self.sizes
            ],
        }


def judge_batch_sizes(
    excess: Mapping[int, Sequence[float]], passes: float, yardstick: float | None, loss_bound: float | None
) -> MeasuredBatchSizes:
    """Judge batch sizes by the excess losses of their runs, one a seed, after the same number of passes."""
    negligible = max(_NEGLIGIBLE * (yardstick or 0.0), loss_bound or 0.0)
    sizes = tuple(
        (size, float(median(values)), min(values), max(values)) for size, values in sorted(excess.items()) if values
    )
    return MeasuredBatchSizes(passes, sizes, negligible)
