"""How far a prediction may be from that of the optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchlearn.data.encoding import Encoding
from batchlearn.kernels.design import (
    Block,
    Floats,
    absolute,
    predictors,
    quadratic_form,
    quadratic_forms,
    rows_of,
    squared,
)
from batchlearn.kernels.rounding import UNDERFLOW
from batchlearn.models.links import (
    largest_class_form,
    largest_class_range,
)

# Rows of several classes at a time: K^2 numbers each.
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class PredictionBounds:
    """What bounds a prediction's distance from the optimum's (bound C3): radius * sqrt(x' H^-1 x).

    Without the inverse Hessian (too many coefficients to keep it) the sum of the coefficients' own bounds serves.
    """

    radius: float
    norms: Floats  # (parameters,): sqrt((H^-1)_jj), from above
    inverse: Floats | None = None  # (parameters, parameters): H^-1
    inverse_square_scale: Floats | None = None  # (parameters,), with form_error: what rounding can add to x' H^-1 x
    form_error: float = 0.0

    def of(self, encoding: Encoding, block: Block) -> Floats:
        """Return the bound on each row's linear predictor, shape (m,); of classes on the range of their logits."""
        layout = encoding.layout
        outputs = len(self.norms) // layout.size
        if self.inverse is None or self.inverse_square_scale is None:
            each = predictors(layout, absolute(block), self.norms)
            return self.radius * (each if outputs == 1 else largest_class_range(each))
        if outputs == 1:
            form = quadratic_form(layout, block, self.inverse)
        else:
            parts = (rows_of(block, a, a + _ROWS_AT_ONCE) for a in range(0, block.rows, _ROWS_AT_ONCE))
            found = [largest_class_form(quadratic_forms(layout, part, self.inverse)) for part in parts]
            form = np.concatenate([np.zeros(0), *found])
        # The largest square of an entry of a difference of two classes is below two.
        each = predictors(layout, squared(block), self.inverse_square_scale)
        rounding = self.form_error * (each if outputs == 1 else 2.0 * each.sum(axis=0))
        return self.radius * np.sqrt(np.maximum(form, 0.0) + rounding + UNDERFLOW)
