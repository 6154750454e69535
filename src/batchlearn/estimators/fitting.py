"""One fit of an estimator: from checked rows to coefficients, in the units of the columns, and their certificate."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite

from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.estimators.incremental import go_on
from batchlearn.estimators.reading import names_of
from batchlearn.estimators.settings import EstimatorSettings
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import UNDERFLOW, accumulated
from batchlearn.models.links import class_contrasts
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.refinement import refine
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Certificate, certify
from batchlearn.training.matrix import Matrix, read_matrix
from batchlearn.training.optimise import Optimum, Problem, optimise
from batchlearn.training.regimes import default_solver

# Of kappa times decrement: far inside the region of quadratic convergence.
_LARGEST_REACH = 0.1
# Multiplications up to which exact leverages of all rows make every bound tighter in a fraction of a second.
_EXACT_LEVERAGES = 1e9
_LARGEST_EXPONENT = 300.0


def fit_rows(
    estimator: Any, settings: EstimatorSettings, X: Any, label: Floats, weight: Floats | None
) -> tuple[Floats, Floats]:
    """Fit to checked rows; return coefficients (outputs, columns) and intercepts (outputs,).

    The estimator keeps certificate and learner.
    """
    loss, names = settings.loss, names_of(estimator)
    loss.check_labels(label)
    with one_blas_thread():
        try:
            matrix = read_matrix(X, label, weight, intercept=settings.intercept, threads=settings.threads)
        except DataError:
            # Missing and infinite values are found while the columns are scaled: looking for them costs a reading.
            assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
            raise
        lead = int(settings.intercept)
        names = [*names[:lead], *(names[lead + j] for j in matrix.order)]
        if settings.alpha == 0.0 and matrix.constant.any():
            columns = [names[lead + j] for j in np.flatnonzero(matrix.constant)]
            said = f"{' and '.join(columns[:3])}{' and others' if len(columns) > 3 else ''} never vary: with alpha=0 "
            warnings.warn(f"{said}their coefficients are set to 0. Drop such columns.", UserWarning, stacklevel=3)
        # 1. The optimum.
        problem = _problem(settings, matrix, names)
        try:
            optimum = _optimum(settings, matrix, problem)
        except NoFiniteOptimum:
            # To rows far out all others are alike: classes that seem apart along a column may only be far from one row.
            resistant = matrix.centred_at_medians()
            if resistant is None:
                raise
            matrix, problem = resistant, _problem(settings, resistant, names)
            optimum = _optimum(settings, matrix, problem)
        # 2. Once more in better numbers, where a row far out hides a column in the rounding of the intercept.
        hessian = optimum.certification.expansion and optimum.certification.expansion.hessian
        centred = None if hessian is None else matrix.centred_at(loss, optimum.parameters, hessian)
        if centred is not None:
            start = centred.inside(*matrix.deliver(optimum.parameters))
            matrix, problem = centred, _problem(settings, centred, names)
            optimum = optimise(problem, start)
        # 3. What is delivered, in the units of the columns, and what is proved of that.
        objective = problem.objective
        full = settings.regime.size is None
        parameters = _refined(objective, matrix, optimum) if full and not problem.quick else optimum.parameters
        coefficients, intercepts = matrix.deliver(parameters)
        delivered = matrix.inside(coefficients, intercepts)
        proof, value = optimum.certification, optimum.value
        if not np.array_equal(delivered, optimum.parameters):
            proof = certify(objective, matrix.rows, delivered, matrix.units, proof.anchored)
            value = objective.value(matrix.rows, delivered)
        certificate = proof.certificate
        if loss.outputs > 1:
            roots = None if proof.factor is None else proof.factor.diagonal
            if roots is None:
                roots = np.sqrt(objective.hessian_diagonal(matrix.rows, delivered))
            certificate = of_classes(certificate, _rounded_off(matrix, coefficients, intercepts, roots))
    if not certificate.certified:
        warnings.warn(
            f"The fit is not certified because {certificate.reason}. It may be far from the optimum: rescale or drop "
            "columns, or raise alpha.",
            ConvergenceWarning,
            stacklevel=3,
        )
    estimator.objective_, estimator.n_iter_, estimator.certificate_ = value, len(optimum.trace), certificate
    estimator._learner = go_on(loss, settings.alpha, matrix, delivered, optimum.certification.factor)
    return coefficients, intercepts


def of_classes(certificate: Certificate, distance: float) -> Certificate:
    """Return the certificate of coefficients of each class, from that of the contrasts they are sums of.

    `distance`: how far, in the metric of the Hessian, rounding the sums can have moved them. The gain in the loss is
    at most nu d + d^2/2 e^(kappa d) along the contrasts, and what no longer sums to zero costs a penalty of d^2/2.
    """
    bound, nu, kappa, radius = certificate.loss_bound, certificate.decrement, certificate.kappa, certificate.radius
    if bound is None or nu is None or kappa is None or radius is None:
        return certificate
    growth = math.exp(min(kappa * distance, _LARGEST_EXPONENT))
    moved = 0.5 * (1.0 + growth) * distance**2
    bound = (bound + nu * distance + moved) * (1.0 + 1e-14)
    floor = None if certificate.floor is None else certificate.floor + moved
    return replace(
        certificate, loss_bound=bound, floor=floor, decrement=nu + growth * distance, radius=radius + distance
    )


def _rounded_off(matrix: Matrix, coefficients: Floats, intercepts: Floats, diagonal: Floats) -> float:
    """Return how far, in the metric of the Hessian, rounding moves coefficients and intercepts made of contrasts.

    Of each column the length over the classes, which none of its contrasts exceeds; `diagonal` (parameters,) has the
    roots of the Hessian's diagonal.
    """
    sums = np.abs(class_contrasts(len(coefficients) + 1)).T
    unit = accumulated(len(coefficients) + 2) * (1.0 + 1e-6)
    each = unit * np.linalg.norm(sums @ np.abs(coefficients[:, matrix.order]), axis=0)
    inside = each * matrix.scale
    if matrix.intercept:
        own = unit * float(np.linalg.norm(sums @ np.abs(intercepts)))
        inside = np.append(own + float(np.abs(matrix.shift) @ each), inside)
    return float(diagonal.reshape(len(coefficients), -1).sum(axis=0) @ inside) + UNDERFLOW


def _problem(settings: EstimatorSettings, matrix: Matrix, names: list[str]) -> Problem:
    rows, loss, outputs = matrix.rows, settings.loss, settings.loss.outputs
    objective = Objective(loss, matrix.penalty(settings.alpha, standardize=settings.standardize, outputs=outputs))
    fast = settings.regime.size is None and loss.corners is None
    quick = fast and float(len(rows)) * (outputs * rows.layout.size) ** 2 > _EXACT_LEVERAGES
    return Problem(objective, rows, settings.stopping, matrix.units, names * outputs, quick=quick)


def _optimum(settings: EstimatorSettings, matrix: Matrix, problem: Problem) -> Optimum:
    """Minimise; where rows are many, by steps that end at points which stay as they are when they are delivered.

    Those of classes, which are delivered as other sums, have none.
    """
    solver = default_solver(problem.objective, matrix.rows, settings.regime)
    if problem.quick and isinstance(solver, Newton) and settings.loss.outputs == 1:
        solver = Newton(lambda parameters: matrix.inside(*matrix.deliver(parameters)))
    return optimise(problem, None, solver, regime=settings.regime)


def _refined(objective: Objective, matrix: Matrix, optimum: Optimum) -> Floats:
    """Move on from a certified point: its bounds only get better where Newton's method is sure to converge."""
    proof, certificate = optimum.certification, optimum.certification.certificate
    if proof.factor is None or proof.expansion is None or certificate.decrement is None or certificate.kappa is None:
        return optimum.parameters
    if objective.loss.self_concordance * certificate.kappa * certificate.decrement > _LARGEST_REACH:
        return optimum.parameters
    return refine(objective, matrix.rows, optimum.parameters, proof.expansion, proof.factor)
