"""The last digits: Newton steps with a factor already made and, on small tables, gradients in extended precision.

A gradient is a small difference of large terms where residuals are large and columns nearly repeat each other; its
rounding, times the inverse Hessian, is then what separates the coefficients from the optimum (Björck 1996, section
2.9). Where the platform's long double is a double, nothing is gained or lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.objective import Expansion, Objective

# Values of the design matrix, rows times columns: a fraction of a second for all steps.
_LARGEST_DESIGN = 250_000
_STEPS = 6


class _Extended(NamedTuple):
    gradient: Any  # (d,), long double


@dataclass(frozen=True)
class _ExtendedGradientTotal:
    """Weighted sum of the gradients of the losses, in long double; dense columns alone."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> _Extended:
        block = chunk.block.dense.astype(np.longdouble)
        eta: Any = parameters.astype(np.longdouble) @ block + chunk.offset
        return _Extended(block @ (chunk.weight * self.loss.slope(eta, chunk.label)))


def refine(objective: Objective, rows: Rows, parameters: Floats, expansion: Expansion, factor: Factor) -> Floats:
    """Return the parameters (d,) moved on from a point near the optimum, with the expansion and the factor made there.

    One step where rows are many, which reads none of them; on small tables steps until they stop getting smaller.
    """
    layout = rows.layout
    if layout.size > layout.lead or len(rows) * layout.size > _LARGEST_DESIGN:
        return parameters - factor.solve(expansion.gradient)
    previous = np.inf
    for _ in range(_STEPS):
        total = rows.total(_ExtendedGradientTotal(objective.loss), parameters)
        penalty = objective.penalty.gradient(parameters)
        gradient = np.asarray(total.gradient / np.longdouble(rows.total_weight) + penalty, dtype=np.float64)
        length = factor.norm(gradient)
        if not length < 0.5 * previous:
            break
        parameters, previous = parameters - factor.solve(gradient), length
    return parameters
