"""What the factor says of each row at the optimum: leverages, bounds on predictions, leave-one-out.

With A the inverse Hessian, a row of one output has the quadratic form x' A x; a row of several has the matrix of the
forms of each two outputs, and its leverage is the largest form of the difference of two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, quadratic_forms, rows_of
from batchlearn.kernels.rounding import UNDERFLOW, accumulated, predictor_error
from batchlearn.kernels.sums import output_forms, output_triangles, quadratic_forms_of_rows
from batchlearn.models.links import largest_class_form, returned_distance
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.rowwise import left_out_predictor, predictor, predictor_sizes, scaled_squares

# Rows of several classes at a time: K^2 numbers each.
_ROWS_AT_ONCE = 2048


class Leverage(NamedTuple):
    """The largest of quantities that each row has at the optimum."""

    form: float  # max x' A x
    scaled: float  # max ||x / diagonal||^2, for the rounding of the form
    response: float  # max distance of a returned prediction from the optimum's, on the response scale
    loss: float  # weighted sum of the approximate leave-one-out losses
    square: float  # weighted sum of their squares
    margin: float  # by how much, at least, a row stays on its side of a corner of its loss; infinite without corners


@dataclass(frozen=True)
class LeverageTotal:
    """Quadratic forms x' A x with A the inverse Hessian, and what follows from them.

    `radius` is the certificate's r (bound C3: a row's predictor is off by at most r sqrt(x' A x)). The approximate
    leave-one-out predictor of a row is eta + h slope / (1 - h curvature), h = weight x' A x / total weight
    (Rad and Maleki 2020); with several outputs h and the curvature are matrices.
    """

    loss: Loss
    inverse: Floats  # (parameters, parameters)
    inverse_square_scale: Floats  # (parameters,)
    radius: float
    form_error: float
    total_weight: float
    carried: float = 0.0  # what a returned predictor can be off by beyond one made here (`certificate.Units`)
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum, np.maximum, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Leverage:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        counted = chunk.weight > 0
        form, left_out = self._one(chunk, eta) if self.loss.outputs == 1 else self._classes(chunk, eta)
        scaled = scaled_squares(chunk, self.inverse_square_scale)
        bound = self.radius * np.sqrt(form + self.form_error * scaled + UNDERFLOW)
        # What each row's prediction, as it is returned, can be off by. Both probabilities of two classes are returned:
        # the one near one is rounded most.
        sizes = predictor_sizes(chunk, parameters)
        error = predictor_error(chunk.layout, self.loss.outputs, sizes) + self.carried
        shown = np.abs(eta) if self.loss.name == "logistic" else eta
        response = returned_distance(self.loss.name, shown, bound, error)
        margin, cornered = np.inf, self.loss.corners
        if cornered is not None:
            error = accumulated(chunk.layout.terms + 8) * (sizes + np.abs(chunk.label) + cornered.threshold)
            margins = cornered.distance_to_a_corner(eta, chunk.label) - bound * (1.0 + 1e-9) - 2.0 * error
            margin = float(margins[counted].min(initial=np.inf))
        left_out = left_out[..., counted]
        losses = self.loss.value(left_out, chunk.label[counted])
        weight = chunk.weight[counted]
        with np.errstate(over="ignore"):
            loss, square = float(weight @ losses), float(weight @ losses**2)
        return Leverage(
            float(form[counted].max(initial=0.0)),
            float(scaled[counted].max(initial=0.0)),
            float(response[counted].max(initial=0.0)),
            loss,
            square,
            margin,
        )

    @cached_property
    def _triangles(self) -> Floats:
        """Of the inverse, as `output_forms` reads them."""
        return output_triangles(len(self.inverse) // self.loss.outputs, self.inverse)

    @cached_property
    def _padded(self) -> Floats:
        """The inverse, as `quadratic_forms_of_rows` reads it."""
        return np.pad(self.inverse, (0, 1))

    def _one(self, chunk: Chunk, eta: Floats) -> tuple[Floats, Floats]:
        """Return the rows' forms (m,) and their leave-one-out predictors (m,)."""
        form = np.maximum(quadratic_forms_of_rows(chunk.layout, chunk.block, self._padded), 0.0)
        share = form * chunk.weight / self.total_weight
        return form, left_out_predictor(self.loss, eta, chunk.label, share)

    def _classes(self, chunk: Chunk, eta: Floats) -> tuple[Floats, Floats]:
        """Return the rows' largest forms (m,) and their leave-one-out predictors (K-1, m)."""
        form, left_out = np.empty(len(chunk.label)), np.empty_like(eta)
        contrasts, slope = self.loss.contrasts, self.loss.slope(eta, chunk.label)
        outer = (contrasts[:, None] * contrasts).reshape(len(eta) ** 2, -1)
        for start in range(0, len(form), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            block = rows_of(chunk.block, part.start, part.stop)
            forms = output_forms(chunk.layout, block, self._triangles, len(eta))
            if forms is None:
                forms = quadratic_forms(chunk.layout, block, self.inverse)
            form[part] = np.maximum(largest_class_form(forms), 0.0)
            curvature = np.stack(list(self.loss.curvatures(eta[:, part], chunk.label[part])))
            hessian = (outer @ curvature).T.reshape(-1, len(eta), len(eta))
            share = np.moveaxis(forms * (chunk.weight[part] / self.total_weight), 2, 0)
            room = (1.0 + 1e-10) * np.eye(len(eta)) - share @ hessian
            moved = np.linalg.solve(room, share @ slope[:, part].T[..., None])
            left_out[:, part] = eta[:, part] + moved[..., 0].T
        return form, left_out
