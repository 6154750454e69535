"""One fit of an estimator: from checked rows to coefficients, in the units of the columns, and their certificate."""

from __future__ import annotations

import warnings
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
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.refinement import refine
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import certify
from batchlearn.training.matrix import Matrix, read_matrix
from batchlearn.training.optimise import Optimum, Problem, optimise
from batchlearn.training.regimes import default_solver

# Of kappa times decrement: far inside the region of quadratic convergence.
_LARGEST_REACH = 0.1
# Multiplications up to which exact leverages of all rows make every bound tighter in a fraction of a second.
_EXACT_LEVERAGES = 1e9


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
            warnings.warn(
                f"{' and '.join(columns[:3])}{' and others' if len(columns) > 3 else ''} never vary: with alpha=0 "
                "their coefficients are set to 0. Drop such columns.",
                UserWarning,
                stacklevel=3,
            )
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
        certificate, value = optimum.certification.certificate, optimum.value
        if not np.array_equal(delivered, optimum.parameters):
            certificate = certify(objective, matrix.rows, delivered, matrix.units).certificate
            value = objective.value(matrix.rows, delivered)
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


def _problem(settings: EstimatorSettings, matrix: Matrix, names: list[str]) -> Problem:
    rows, loss, outputs = matrix.rows, settings.loss, settings.loss.outputs
    objective = Objective(loss, matrix.penalty(settings.alpha, standardize=settings.standardize, outputs=outputs))
    # Steps that end at delivered points are for one smooth output.
    fast = settings.regime.size is None and outputs == 1 and loss.corners is None
    quick = fast and float(len(rows)) * rows.layout.size**2 > _EXACT_LEVERAGES
    return Problem(objective, rows, settings.stopping, matrix.units, names * outputs, quick=quick)


def _optimum(settings: EstimatorSettings, matrix: Matrix, problem: Problem) -> Optimum:
    """Minimise; where rows are many, by steps that end at points which stay as they are when they are delivered."""
    solver = default_solver(problem.objective, matrix.rows, settings.regime)
    if problem.quick and isinstance(solver, Newton):
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
