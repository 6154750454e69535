"""The third-order total of the rows: sum of weight times phi''' times x_a x_b x_c over all triples of coefficients.

With it a version knows how the Hessian of its rows changes along any later step: to first order exactly, and to the
order after that within a bound (`remainder`). One group of levels meets at most one coefficient of a row, so that the
tensor falls into blocks: the dense columns (with a one) twice and everything; and for each group but the last all that
stands in front of it (the dense columns and other groups), the group, and all groups behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.rowwise import predictor

# Losses whose third and fourth derivatives are both at most the second one in size.
THIRD_ORDER_LOSSES = ("logistic", "poisson")
# EntryKind that are worth keeping: 32 MB.
_LARGEST_TENSOR = 4_000_000


def third_derivative(loss: Loss, eta: Floats, curvature: Floats) -> Floats:
    """Return phi''' from the linear predictor and phi'', shape (m,), for the losses listed above.

    Logistic: p (1 - p) (1 - 2p), whose next derivative is p (1 - p) (1 - 6 p (1 - p)), between -1/2 and 1 times phi''.
    Poisson: every derivative from the second on is exp(eta).
    """
    return -curvature * np.tanh(0.5 * eta) if loss.name == "logistic" else curvature


def block_shapes(layout: Layout) -> tuple[tuple[int, int, int], ...]:
    """Return the shapes of the blocks: that of the dense columns, then those of the groups but the last."""
    lead, levels = layout.dense + 1, layout.groups
    groups = ((lead + sum(levels[:g]), levels[g], sum(levels[g + 1 :])) for g in range(len(levels) - 1))
    return (lead, lead, lead + sum(levels)), *groups


def tensor_size(layout: Layout) -> int:
    """Return how many numbers the blocks hold."""
    return sum(map(prod, block_shapes(layout)))


def worth_keeping(loss: Loss, layout: Layout) -> bool:
    """Whether there is a bound on what follows the third order, and the tensor is small enough to keep."""
    return loss.name in THIRD_ORDER_LOSSES and layout.sparse == 0 and tensor_size(layout) <= _LARGEST_TENSOR


@dataclass(frozen=True)
class ThirdTotal:
    """The third-order total: all blocks, one after the other."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's total."""
        eta = predictor(chunk, parameters)
        values = chunk.weight * third_derivative(self.loss, eta, self.loss.least_curvature(eta, chunk.label))
        lead = chunk.block.dense if chunk.layout.intercept else np.vstack([np.ones_like(eta), chunk.block.dense])
        weighted = lead * values
        levels = chunk.layout.groups
        blocks = list[Floats]()
        for sides in (row * lead for row in weighted):
            counted = (self._counted(chunk, (g,), sides) for g in range(len(levels)))
            blocks.append(np.concatenate([sides @ lead.T, *counted], axis=1).ravel())
        for g in range(len(levels) - 1):
            behind = range(g + 1, len(levels))
            rows = [[self._counted(chunk, (g, k), weighted) for k in behind]]
            rows += [[self._counted(chunk, (h, g, k), weighted[:1])[0] for k in behind] for h in range(g)]
            blocks.append(np.concatenate([np.concatenate(row, axis=2) for row in rows]).ravel())
        return (np.concatenate(blocks),)

    @staticmethod
    def _counted(chunk: Chunk, groups: tuple[int, ...], sides: Floats) -> Floats:
        """Return the sums of each row of `sides` (k, m) over the cells of these groups: (k, levels, ...)."""
        wide = tuple(chunk.layout.groups[g] + 1 for g in groups)
        cell = np.zeros(sides.shape[1], dtype=np.int64)
        for g, levels in zip(groups, wide, strict=True):
            cell = cell * levels + chunk.block.codes[g]
        tables = np.stack([np.bincount(cell, weights=side, minlength=prod(wide)) for side in sides])
        inside = (slice(None), *(slice(0, levels - 1) for levels in wide))
        return np.asarray(tables.reshape(-1, *wide)[inside])


def along(layout: Layout, entries: Floats, step: Floats) -> Floats:
    """Return the tensor contracted with a step (d,): the symmetric matrix (d, d) sum_c T_abc step_c."""
    size, lead, first = layout.size, layout.lead, 0 if layout.intercept else 1
    matrix, diagonal = np.zeros((size, size)), np.zeros(size)
    moves = np.append(np.zeros(first), step)  # of a one, which need not be a coefficient, and of the coefficients
    shapes = block_shapes(layout)
    ends = np.cumsum([prod(shape) for shape in shapes])
    dense, *others = (part.reshape(shape) for part, shape in zip(np.split(entries, ends[:-1]), shapes, strict=True))
    # A level times itself is itself: what it shares with the ones is what it shares alone.
    levels, alone = step[lead:], dense[:, 0, first + lead :]
    matrix[:lead, :lead] = (dense @ moves)[first:, first:]
    matrix[:lead, lead:] = _first(step[:lead], dense[first:, first:, first + lead :]) + alone[first:] * levels
    diagonal[lead:] = step[:lead] @ alone[first:] + alone[0] * levels
    for block, part in zip(others, layout.group_slices[:-1], strict=True):
        own, behind = step[part], step[part.stop :]
        along_behind, along_own = (block.reshape(-1, len(behind)) @ behind).reshape(block.shape[:2]), own @ block
        matrix[: part.start, part] += along_behind[first:]
        matrix[: part.start, part.stop :] += along_own[first:]
        matrix[part, part.stop :] += _first(moves[: len(block)], block) + block[0] * (own[:, None] + behind)
        diagonal[part] += along_behind[0]
        diagonal[part.stop :] += along_own[0]
    matrix[np.diag_indices_from(matrix)] += diagonal
    return symmetric(matrix)


def _first(values: Floats, block: Floats) -> Floats:
    """Contract the first axis of a block of three with values."""
    return np.asarray((values @ block.reshape(len(values), prod(block.shape[1:]))).reshape(block.shape[1:]))
