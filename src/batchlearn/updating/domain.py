"""The domain of encoded rows: which levels occur and between which values each column lies.

It says how far a step can move any row that lies in it, from the step alone: each column and each group at its worst.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.rounding import accumulated


class DomainParts(NamedTuple):
    """Rows of each level, extremes and moments of each column, over rows with weight."""

    counts: Floats  # (levels of all groups, then one "no level" for each group)
    low: Floats  # (dense columns then sparse columns), as the objective reads them
    high: Floats
    first: Floats  # (dense,): weighted sum
    second: Floats  # (dense,): weighted sum of squares


@dataclass(frozen=True)
class DomainTotal:
    """The domain of the rows."""

    combine: ClassVar[tuple[Any, ...]] = (np.add, np.minimum, np.maximum, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> DomainParts:  # noqa: ARG002 - every statistic is called alike
        """Return the chunk's domain; the parameters do not matter."""
        layout, counts_as = chunk.layout, chunk.weight > 0.0
        kept = slice(None) if counts_as.all() else counts_as
        dense = chunk.block.dense[int(layout.intercept) :, kept]
        low, high = dense.min(axis=1, initial=np.inf), dense.max(axis=1, initial=-np.inf)
        if layout.sparse and not counts_as.any():
            low, high = np.append(low, np.full(layout.sparse, np.inf)), np.append(high, np.full(layout.sparse, -np.inf))
        elif layout.sparse:
            columns = chunk.block.sparse[np.flatnonzero(counts_as)]
            # A row without an entry has a zero there; it counts even where no row is without one.
            low = np.append(low, columns.min(axis=0).toarray().ravel().clip(max=0.0))
            high = np.append(high, columns.max(axis=0).toarray().ravel().clip(min=0.0))
        counted = [np.bincount(c[kept], minlength=k + 1) for c, k in zip(chunk.block.codes, layout.groups, strict=True)]
        counts = np.concatenate([*(c[:-1] for c in counted), *(c[-1:] for c in counted), np.empty(0)])
        weight = chunk.weight[kept]
        return DomainParts(counts.astype(np.float64), low, high, dense @ weight, dense**2 @ weight)


class _Box(NamedTuple):
    """A domain as the extremes of a step read it."""

    low: Floats  # (dense columns then sparse columns), zero for a column of no row at all
    high: Floats
    seen: NDArray[np.intp]  # coefficients of the levels that occur, group after group; d stands for "no level"
    starts: NDArray[np.intp]  # where each group begins among them


@dataclass(frozen=True)
class Domain:
    """A box around rows: the product of what each column and each group takes."""

    layout: Layout
    parts: DomainParts

    def widened(self, other: Domain) -> Domain:
        """Return the domain of both sets of rows."""
        merged = (add(a, b) for add, a, b in zip(DomainTotal.combine, self.parts, other.parts, strict=True))
        return Domain(self.layout, DomainParts(*merged))

    def group_counts(self) -> list[Floats]:
        """Return, for each group, the rows of each level and last of "no level": (levels + 1,)."""
        levels = self.layout.groups
        ends = np.cumsum((0, *levels))
        lone = self.parts.counts[int(ends[-1]) :]
        return [np.append(self.parts.counts[ends[g] : ends[g + 1]], lone[g]) for g in range(len(levels))]

    def reach(self, step: Floats) -> float:
        """Return an upper bound on |x'step| over every row x of the domain; `step` has shape (d,)."""
        low, high, size = self._extremes(step)
        return max(high, -low, 0.0) + 2.0 * accumulated(self.layout.terms + 8) * size

    def size(self, step: Floats) -> float:
        """Return an upper bound on sum_j |x_j step_j| over every row x of the domain."""
        return self._extremes(step)[2] * (1.0 + 2.0 * accumulated(self.layout.terms + 8))

    def square(self, scale: Floats) -> float:
        """Return an upper bound on sum_j x_j^2 scale_j over every row x of the domain; `scale` (d,), none below 0."""
        layout, box = self.layout, self._box
        total = float(scale[0]) if layout.intercept else 0.0
        total += float(np.maximum(box.low**2, box.high**2) @ self._of_columns(scale))
        if box.seen.size:
            total += float(np.maximum.reduceat(np.append(scale, 0.0)[box.seen], box.starts).sum())
        return total * (1.0 + 2.0 * accumulated(layout.terms + 8))

    def _of_columns(self, values: Floats) -> Floats:
        """Return what of values (d,) belongs to dense columns, then to sparse ones."""
        return np.concatenate([values[int(self.layout.intercept) : self.layout.lead], values[self.layout.sparse_slice]])

    def _extremes(self, step: Floats) -> tuple[float, float, float]:
        layout, box = self.layout, self._box
        first = float(step[0]) if layout.intercept else 0.0
        slopes = self._of_columns(step)
        at_low, at_high = box.low * slopes, box.high * slopes
        low = first + float(np.minimum(at_low, at_high).sum())
        high = first + float(np.maximum(at_low, at_high).sum())
        size = abs(first) + float(np.maximum(np.abs(at_low), np.abs(at_high)).sum())
        if box.seen.size:
            values = np.append(step, 0.0)[box.seen]
            least, most = np.minimum.reduceat(values, box.starts), np.maximum.reduceat(values, box.starts)
            low, high = low + float(least.sum()), high + float(most.sum())
            size += float(np.maximum(np.abs(least), np.abs(most)).sum())
        return low, high, size

    @cached_property
    def _box(self) -> _Box:
        known = np.isfinite(self.parts.low)  # a column of no row at all has no range
        seen = [
            np.append(np.arange(part.start, part.stop), self.layout.size)[counts > 0.0]
            for counts, part in zip(self.group_counts(), self.layout.group_slices, strict=True)
        ]
        seen = [group for group in seen if group.size]
        return _Box(
            np.where(known, self.parts.low, 0.0),
            np.where(known, self.parts.high, 0.0),
            np.concatenate([np.empty(0, dtype=np.intp), *seen]),
            np.cumsum([0, *map(len, seen)])[:-1],
        )
