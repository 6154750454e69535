"""The third-order total of the rows: sum of weight times phi''' times x_a x_b x_c over all triples of coefficients.

With it a version knows how the Hessian of its rows changes along any later step: to first order exactly, and to the
order after that within a bound (`remainder`). One group of levels meets at most one coefficient of a row, so that the
tensor falls into blocks: the dense columns (with a one), dense columns and one or two groups, and triples of groups.
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
    lead = layout.dense + 1
    shapes: dict[Key, tuple[int, ...]] = {(): (lead, lead, lead)}
    levels = layout.groups
    shapes |= {(g,): (lead, lead, levels[g]) for g in range(len(levels))}
    shapes |= {(g, h): (lead, levels[g], levels[h]) for g, h in combinations(range(len(levels)), 2)}
    shapes |= {key: tuple(levels[g] for g in key) for key in combinations(range(len(levels)), 3)}
    return shapes


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
        for key, shape in block_shapes(chunk.layout).items():
            if key:
                # With three groups no dense column takes part: the row of ones stands in.
                sides = self._pairs(lead, weighted) if len(key) == 1 else weighted if len(key) == 2 else weighted[:1]
                blocks.append(self._counted(chunk, key, sides).reshape(-1))
                assert blocks[-1].size == prod(shape)
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
    dense, slices = step[lead], layout.group_slices
    levels = [step[part] for part in slices]
    for key, shape in block_shapes(layout).items():
        block = entries[start : start + prod(shape)].reshape(shape)
        start += block.size
        parts = [slices[g] for g in key]
        if len(key) == 3:
            matrix[parts[0], parts[1]] += _last(block, levels[key[2]])
            matrix[parts[0], parts[2]] += levels[key[1]] @ block
            matrix[parts[1], parts[2]] += _first(levels[key[0]], block)
        elif len(key) == 2:
            # A level times itself is itself: what two groups share with the ones is what they share alone.
            (a, b), (at_a, at_b) = parts, (levels[g] for g in key)
            along_b, along_a = block @ at_b, at_a @ block
            matrix[lead, a] += along_b[first:]
            matrix[lead, b] += along_a[first:]
            diagonal[a] += along_b[0]
            diagonal[b] += along_a[0]
            matrix[a, b] += _first(dense, block[first:]) + block[0] * (at_a[:, None] + at_b)
        elif len(key) == 1:
            (part,), own = parts, levels[key[0]]
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


def _last(block: Floats, values: Floats) -> Floats:
    """Contract the last axis of a block of three with values."""
    return np.asarray((block.reshape(prod(block.shape[:2]), len(values)) @ values).reshape(block.shape[:2]))
