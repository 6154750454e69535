"""The third-order total of the rows: sum of weight times phi''' times x_a x_b x_c over all triples of coefficients.

With it a version knows how the Hessian of its rows changes along any later step: to first order exactly, and to the
order after that within a bound (`remainder`). One group of levels meets at most one coefficient of a row, so that the
tensor falls into blocks: the dense columns (with a one), these with one group, and for each two groups all that stands
in front of the first of them (the dense columns and the groups before it) with both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.statistics import predictor

# Losses whose third and fourth derivatives are both at most the second one in size.
THIRD_ORDER_LOSSES = ("logistic", "poisson")
# Entries that are worth keeping: 32 MB.
_LARGEST_TENSOR = 4_000_000

Key = tuple[int, ...]


def third_derivative(loss: Loss, eta: Floats, curvature: Floats) -> Floats:
    """Return phi''' from the linear predictor and phi'', shape (m,), for the losses listed above.

    Logistic: p (1 - p) (1 - 2p), whose next derivative is p (1 - p) (1 - 6 p (1 - p)), between -1/2 and 1 times phi''.
    Poisson: every derivative from the second on is exp(eta).
    """
    return -curvature * np.tanh(0.5 * eta) if loss.name == "logistic" else curvature


@lru_cache(maxsize=16)
def block_shapes(layout: Layout) -> Mapping[Key, tuple[int, ...]]:
    """Return the blocks in their order: the groups that each is about, and its shape."""
    lead, levels = layout.dense + 1, layout.groups
    shapes: dict[Key, tuple[int, ...]] = {(): (lead, lead, lead)}
    shapes |= {(g,): (lead, lead, levels[g]) for g in range(len(levels))}
    pairs = combinations(range(len(levels)), 2)
    return shapes | {(g, h): (lead + sum(levels[:g]), levels[g], levels[h]) for g, h in pairs}


def tensor_size(layout: Layout) -> int:
    """Return how many numbers the blocks hold."""
    return sum(prod(shape) for shape in block_shapes(layout).values())


def worth_keeping(loss: Loss, layout: Layout) -> bool:
    """Whether there is a bound on what follows the third order, and the tensor is small enough to keep."""
    return loss.name in THIRD_ORDER_LOSSES and layout.sparse == 0 and tensor_size(layout) <= _LARGEST_TENSOR


class Third(NamedTuple):
    """All blocks, one after the other."""

    entries: Floats


@dataclass(frozen=True)
class ThirdTotal:
    """The third-order total, in blocks."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Third:
        """Return the chunk's total."""
        eta = predictor(chunk, parameters)
        values = chunk.weight * third_derivative(self.loss, eta, self.loss.least_curvature(eta, chunk.label))
        lead = chunk.block.dense if chunk.layout.intercept else np.vstack([np.ones_like(eta), chunk.block.dense])
        weighted = lead * values
        blocks = [(weighted[a] * lead @ lead.T).ravel() for a in range(len(lead))]
        for key in block_shapes(chunk.layout):
            if len(key) == 1:
                blocks.append(self._counted(chunk, key, self._pairs(lead, weighted)).ravel())
            elif key:
                before = [self._counted(chunk, (g, *key), weighted[:1]).ravel() for g in range(key[0])]
                blocks += [self._counted(chunk, key, weighted).ravel(), *before]
        return Third(np.concatenate(blocks))

    @staticmethod
    def _pairs(lead: Floats, weighted: Floats) -> Floats:
        return (weighted[:, None, :] * lead[None, :, :]).reshape(-1, lead.shape[1])

    @staticmethod
    def _counted(chunk: Chunk, key: Key, sides: Floats) -> Floats:
        """Return the sums of each row of `sides` (k, m) over the cells of these groups: (k, levels, ...)."""
        wide = tuple(chunk.layout.groups[g] + 1 for g in key)
        cell = np.zeros(sides.shape[1], dtype=np.int64)
        for g, levels in zip(key, wide, strict=True):
            cell = cell * levels + chunk.block.codes[g]
        tables = np.stack([np.bincount(cell, weights=side, minlength=prod(wide)) for side in sides])
        inside = (slice(None), *(slice(0, levels - 1) for levels in wide))
        return np.asarray(tables.reshape(-1, *wide)[inside])


def along(layout: Layout, entries: Floats, step: Floats) -> Floats:
    """Return the tensor contracted with a step (d,): the symmetric matrix (d, d) sum_c T_abc step_c."""
    matrix, diagonal = np.zeros((layout.size, layout.size)), np.zeros(layout.size)
    lead, first, start = slice(0, layout.lead), 0 if layout.intercept else 1, 0
    moves = np.append(np.zeros(first), step)  # of a one, which need not be a coefficient, and of the coefficients
    dense, slices = step[lead], layout.group_slices
    for key, shape in block_shapes(layout).items():
        block = entries[start : start + prod(shape)].reshape(shape)
        start += block.size
        if len(key) == 2:
            a, b = slices[key[0]], slices[key[1]]
            at_a, at_b, above = step[a], step[b], slice(0, a.start)
            along_b, along_a = (block.reshape(-1, len(at_b)) @ at_b).reshape(shape[:2]), at_a @ block
            matrix[above, a] += along_b[first:]
            matrix[above, b] += along_a[first:]
            # A level times itself is itself: what two groups share with the ones is what they share alone.
            diagonal[a] += along_b[0]
            diagonal[b] += along_a[0]
            matrix[a, b] += _first(moves[: shape[0]], block) + block[0] * (at_a[:, None] + at_b)
        elif len(key) == 1:
            part = slices[key[0]]
            own = step[part]
            matrix[lead, lead] += block[first:, first:] @ own
            matrix[lead, part] += _first(dense, block[first:, first:]) + block[first:, 0] * own
            diagonal[part] += dense @ block[first:, 0] + block[0, 0] * own
        else:
            matrix[lead, lead] += block[first:, first:, first:] @ dense
    matrix[np.diag_indices_from(matrix)] += diagonal
    return symmetric(matrix)


def _first(values: Floats, block: Floats) -> Floats:
    """Contract the first axis of a block of three with values."""
    return np.asarray((values @ block.reshape(len(values), prod(block.shape[1:]))).reshape(block.shape[1:]))
