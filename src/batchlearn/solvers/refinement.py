"""The last digits: Newton steps with a factor already made and, on small tables, gradients in extended precision.

A gradient is a small difference of large terms where residuals are large and columns nearly repeat each other; its
rounding, times the inverse Hessian, is then what separates the coefficients from the optimum (Björck 1996, section
2.9). Where the platform's long double is a double, nothing is gained or lost.
"""

from __future__ import annotations

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor
from batchlearn.statistics.objective import Expansion, Objective
from batchlearn.statistics.totals import ExtendedGradientTotal

# Values of the design matrix, rows times columns: a fraction of a second for all steps.
_LARGEST_DESIGN = 250_000
_STEPS = 6


def refine(objective: Objective, rows: Rows, parameters: Floats, expansion: Expansion, factor: Factor) -> Floats:
    """Return the parameters (d,) moved on from a point near the optimum, with the expansion and the factor made there.

    One step where rows are many or have several outputs, which reads none of them; on small tables steps until they
    stop getting smaller.
    """
    layout = rows.layout
    if objective.loss.outputs > 1 or layout.size > layout.lead or len(rows) * layout.size > _LARGEST_DESIGN:
        return parameters - factor.solve(expansion.gradient)
    previous = np.inf
    for _ in range(_STEPS):
        (total,) = rows.total(ExtendedGradientTotal(objective.loss), parameters)
        penalty = objective.penalty.gradient(parameters)
        gradient = np.asarray(total / np.longdouble(rows.total_weight) + penalty, dtype=np.float64)
        length = factor.norm(gradient)
        if not length < 0.5 * previous:
            break
        parameters, previous = parameters - factor.solve(gradient), length
    return parameters
