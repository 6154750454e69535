"""Parts of the Hessian where the whole is too much: its diagonal, a row's largest share of it, a block a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, squared
from batchlearn.kernels.sums import transposed_product, transposed_products, weighted_grams
from batchlearn.models.links import class_contrasts, class_shares, class_variances
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.rowwise import curvature_diagonal, predictor, weighted_loss, weighted_slope


@dataclass(frozen=True)
class DiagonalTotal:
    """The diagonal of the Hessian's data part, (parameters,): weighted sum of the squared rows times curvature."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's total."""
        curvature = chunk.weight * curvature_diagonal(self.loss, predictor(chunk, parameters), chunk.label)
        return (transposed_products(chunk.layout, squared(chunk.block), curvature),)


@dataclass(frozen=True)
class AnchorTotal:
    """What one reading of all rows says at an anchor: sums of the losses, their gradients, the Hessian's diagonal."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float, Floats, Floats]:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        value = weighted_loss(self.loss, eta, chunk.label, chunk.weight)
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        curvature = chunk.weight * curvature_diagonal(self.loss, eta, chunk.label)
        diagonal = transposed_products(chunk.layout, squared(chunk.block), curvature)
        return value, transposed_products(chunk.layout, chunk.block, slope), diagonal


class Around(NamedTuple):
    """Sums over rows of one output at a point."""

    value: float  # weighted losses
    gradient: Floats  # (d,)
    curvature: float  # weight times curvature
    centre: Floats  # (d,): the same times the row
    diagonal: Floats  # (d,): the same times the squared row


@dataclass(frozen=True)
class AroundTotal:
    """Losses, their gradients and, of the curvatures, what says how they would be if columns were independent."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,) * 5

    def __call__(self, chunk: Chunk, parameters: Floats) -> Around:
        """Return the chunk's totals."""
        eta, layout = predictor(chunk, parameters), chunk.layout
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        (curvature,) = chunk.weight * curvature_diagonal(self.loss, eta, chunk.label)
        return Around(
            weighted_loss(self.loss, eta, chunk.label, chunk.weight),
            transposed_product(layout, chunk.block, slope),
            float(curvature.sum()),
            transposed_product(layout, chunk.block, curvature),
            transposed_product(layout, squared(chunk.block), curvature),
        )


@dataclass(frozen=True)
class LargestCurvatureTotal:
    """The largest share of a row in each entry of the Hessian's diagonal, shape (d,)."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's largest."""
        layout, block = chunk.layout, squared(chunk.block)
        curvatures = chunk.weight * curvature_diagonal(self.loss, predictor(chunk, parameters), chunk.label)
        sizes = np.repeat(curvatures.max(axis=1, initial=0.0)[:, None], layout.size, axis=1)
        for size, curvature in zip(sizes, curvatures, strict=True):
            size[: layout.lead] = np.max(block.dense * curvature, axis=1, initial=0.0)
            if layout.sparse:
                part = block.sparse.multiply(curvature[:, None]).tocsr()
                size[layout.sparse_slice] = part.max(axis=0).toarray().ravel()
        return (sizes.ravel(),)


@dataclass(frozen=True)
class ClassGramTotal:
    """X' diag(weight p (1 - p)) X of each class, the curvature of its own logit: upper triangles, (K, d, d)."""

    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        variances = class_variances(class_shares(class_contrasts(len(eta) + 1).T @ eta))
        first = variances[:, :1]
        if np.all(variances == first):  # before the first step all rows are told alike: one matrix serves all classes
            gram = weighted_grams(chunk.layout, chunk.block, chunk.weight[None])
            return (first[:, :, None] * gram,)
        return (weighted_grams(chunk.layout, chunk.block, chunk.weight * variances),)
