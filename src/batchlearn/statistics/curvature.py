"""Parts of the Hessian where the whole is too much: its diagonal, a row's largest share of it, a block a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, squared
from batchlearn.kernels.sums import transposed_products, weighted_grams
from batchlearn.models.links import class_contrasts, class_shares, class_variances
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.rowwise import curvature_diagonal, predictor, weighted_loss, weighted_slope


class Diagonal(NamedTuple):
    """Weighted sum of the squared rows times curvature, (parameters,)."""

    diagonal: Floats


@dataclass(frozen=True)
class DiagonalTotal:
    """The diagonal of the Hessian's data part."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Diagonal:
        """Return the chunk's total."""
        curvature = chunk.weight * curvature_diagonal(self.loss, predictor(chunk, parameters), chunk.label)
        return Diagonal(transposed_products(chunk.layout, squared(chunk.block), curvature))


class Anchored(NamedTuple):
    """Weighted sums of the losses, their gradients, and the squared rows times curvature."""

    value: float
    gradient: Floats
    diagonal: Floats


@dataclass(frozen=True)
class AnchorTotal:
    """What one reading of all rows says at an anchor."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Anchored:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        value = weighted_loss(self.loss, eta, chunk.label, chunk.weight)
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        curvature = chunk.weight * curvature_diagonal(self.loss, eta, chunk.label)
        diagonal = transposed_products(chunk.layout, squared(chunk.block), curvature)
        return Anchored(value, transposed_products(chunk.layout, chunk.block, slope), diagonal)


class LargestCurvature(NamedTuple):
    """What one row brings to the Hessian's diagonal at most, (parameters,)."""

    size: Floats


@dataclass(frozen=True)
class LargestCurvatureTotal:
    """The largest share of a row in each entry of the Hessian's diagonal, shape (d,)."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> LargestCurvature:
        """Return the chunk's largest."""
        layout, block = chunk.layout, squared(chunk.block)
        curvatures = chunk.weight * curvature_diagonal(self.loss, predictor(chunk, parameters), chunk.label)
        sizes = np.repeat(curvatures.max(axis=1, initial=0.0)[:, None], layout.size, axis=1)
        for size, curvature in zip(sizes, curvatures, strict=True):
            size[: layout.lead] = np.max(block.dense * curvature, axis=1, initial=0.0)
            if layout.sparse:
                part = block.sparse.multiply(curvature[:, None]).tocsr()
                size[layout.sparse_slice] = part.max(axis=0).toarray().ravel()
        return LargestCurvature(sizes.ravel())


class ClassGrams(NamedTuple):
    """X' diag(weight p (1 - p)) X of each class, upper triangles, (K, d, d)."""

    grams: Floats


@dataclass(frozen=True)
class ClassGramTotal:
    """The curvature of each class's own logit."""

    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> ClassGrams:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        variances = class_variances(class_shares(class_contrasts(len(eta) + 1).T @ eta))
        first = variances[:, :1]
        if np.all(variances == first):  # before the first step all rows are told alike: one matrix serves all classes
            gram = weighted_grams(chunk.layout, chunk.block, chunk.weight[None])
            return ClassGrams(first[:, :, None] * gram)
        return ClassGrams(weighted_grams(chunk.layout, chunk.block, chunk.weight * variances))
