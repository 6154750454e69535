"""The certificate: how far, at most, loss, coefficients and predictions are from the optimum of all rows.

With g the gradient and H the Hessian at w, nu = sqrt(g' H^-1 g) and kappa = max_i sqrt(x_i' H^-1 x_i), generalised
self-concordance (Bach 2010; Sun and Tran-Dinh 2019) gives, where kappa nu < 1 and r = -ln(1 - kappa nu) / kappa,

    C1  ||w - w*||_H   <= r
    C2  F(w) - F*      <= nu r psi(kappa r),  psi(a) = 1 / (1 - e^-a) - 1 / a
    C3  |x'(w - w*)|   <= r sqrt(x' H^-1 x)   for every x

For the squared loss the bounds are exact: r = nu and F(w) - F* = nu^2 / 2. So they are for the Huber loss where no row
can cross its threshold inside of ||v - w||_H <= nu: there the objective is one quadratic, its minimum w - H^-1 g lies
in that ellipsoid, and a stationary point of a convex function is its optimum. Everything floating point can have done
to g, to H and to the factor of H is bounded and added (`objectives.factor`, `statistics.rounding`). The certificate
holds at any w, whoever found it; it is conditional on the encoding and the strength of the penalty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import rounded_up
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import UNDERFLOW, accumulated
from batchlearn.models.bounds import PredictionBounds
from batchlearn.models.links import class_contrasts, class_logits, largest_returned_distance
from batchlearn.objectives.factor import FACTOR_LIMIT, Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.self_concordance import bounds
from batchlearn.solvers import AnchoredPoint, FactoredPoint
from batchlearn.statistics.leverage import LeverageTotal
from batchlearn.statistics.lower_bound import LowerBound, largest_square
from batchlearn.statistics.objective import Expansion, GradientError, NearPoint, Objective
from batchlearn.statistics.rounding import ReturnedTotal

# Up to so many the inverse Hessian (8 d^2 bytes) is kept with the model, and made where a proof alone can do without.
KEPT_COEFFICIENTS = 2500
# Multiplications that the exact leverages may cost; beyond it the leverage bound on kappa serves where it can.
_LEVERAGE_BUDGET = 4e12
# So many roundings, of a sum of nine thousand terms, are one part in 1e12.
_SUM_OF_TERMS = 1e-12
EXACT = "second order, exact leverages"
BOUNDED = "second order, leverage bound"
LOWER_BOUND = "lower bound on the Hessian"


class Proved(StrEnum):
    """Whether a certificate bounds anything."""

    CERTIFIED = "certified"
    NOT_CERTIFIED = "not certified"


@dataclass(frozen=True)
class Certificate:
    """What is proved about one fit. Bounds are None where nothing could be proved; `reason` then says why.

    Attributes:
        status: "certified" or "not certified".
        reason: Why nothing is proved; None where something is.
        method: How it was proved, by generalised self-concordance (Bach 2010; Sun and Tran-Dinh 2019).
        loss_bound: F(w) - F* is at most this.
        coefficient_bound: No coefficient, in the units of its column, is further from the optimum's; None also where
            that number is beyond the largest float.
        prediction_bound: No training row's prediction, as double precision returns it on the response scale, is
            further from the optimum's.
        floor: The `loss_bound` that rounding alone would leave.
        rows: How many rows it is about.
        fingerprint: Of those rows; None where they were given as arrays.
        decrement: nu, the length of the gradient in the metric of the inverse Hessian.
        kappa: The largest length of a row in that metric.
        radius: No further, in the metric of the Hessian, is the optimum.

    Example:
        >>> from batchlearn import LinearRegressor
        >>> certificate = LinearRegressor().fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0]).certificate_
        >>> certificate.certified, certificate.loss_bound < 1e-20, certificate.reason
        (True, True, None)
    """

    status: Proved
    reason: Note | None
    method: str | None
    loss_bound: float | None
    coefficient_bound: float | None
    prediction_bound: float | None
    floor: float | None
    rows: int
    fingerprint: str | None
    decrement: float | None = None
    kappa: float | None = None
    radius: float | None = None

    @property
    def certified(self) -> bool:
        """Whether a bound was proved."""
        return self.status == Proved.CERTIFIED

    def of_moved(self, shift: Floats) -> Certificate:
        """Return the certificate of a model whose intercepts were moved afterwards.

        The bounds on loss, coefficients and linear predictors stay. The slope of a probability p is at most p (1 - p),
        of which two classes change by no more than e^|shift| and more classes each factor by e^(range of the shifts).

        Args:
            shift: What was added to each intercept, (outputs,).
        """
        if self.prediction_bound is None or not np.any(shift):
            return self
        reach = float(abs(shift[0])) if len(shift) == 1 else 2.0 * float(np.ptp(class_logits(shift[:, None])))
        bound = self.prediction_bound * math.exp(min(reach, 700.0)) * (1.0 + 1e-12)
        # Of moving them: a rounding of the size of the shift, times what a sum of so many terms can make of it.
        bound += _SUM_OF_TERMS * reach
        return replace(self, prediction_bound=min(bound, 1.0))

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain values, the reason as a clause and beside it by its code."""
        reason = None if self.reason is None else str(self.reason)
        noted = None if self.reason is None else self.reason.to_json()
        return {**vars(self), "status": self.status.value, "reason": reason, "reason_noted": noted}

    def __str__(self) -> str:
        if self.loss_bound is None:
            return f"not certified because {self.reason}"
        bounds = (("coefficient off", self.coefficient_bound), ("prediction", self.prediction_bound))
        moved = ", ".join(
            f"no {what} by more than {rounded_up(bound):.1e}" for what, bound in bounds if bound is not None
        )
        return f"certified: loss <= optimum + {rounded_up(self.loss_bound):.1e}{moved and f'; {moved}'}"


@dataclass(frozen=True)
class Units:
    """How internal parameters read in the units of the columns: u_j / scale_j, intercept minus `shift`' u."""

    scale: Floats  # (d,), one for the intercept; the same for each output
    shift: Floats | None = None  # (d,): the intercept in original units is u_0 - sum_j shift_j u_j

    @staticmethod
    def plain(size: int) -> Units:
        """Return the units of parameters that are coefficients already."""
        return Units(np.ones(size))

    def coefficient_bound(
        self, radius: float, norms: Floats, parameters: Floats, factor: Factor | None = None
    ) -> float | None:
        """Return the furthest that a coefficient, as it is delivered, can be from the optimum's; None beyond floats.

        With `radius` that of C1 it is radius sqrt(v' H^-1 v) for the functional v that reads off the coefficient
        (`norms`: of each parameter), and the rounding of delivering it. Of classes those of a class are sums over the
        outputs with weights |C| of no more than one: bounded one by one.
        """
        outputs, sizes = norms.reshape(-1, len(self.scale)), np.abs(parameters).reshape(-1, len(self.scale))
        count = len(outputs)
        if count > 1:
            contrasts = np.abs(class_contrasts(count + 1)).T
            outputs, sizes = contrasts @ outputs * (1.0 + 1e-12), contrasts @ sizes
        with np.errstate(over="ignore"):
            distances = radius * (outputs / self.scale) + accumulated(count + 3) * (sizes / self.scale)
        largest = float(np.max(distances, initial=0.0)) * (1.0 + 1e-14) + UNDERFLOW
        if self.shift is not None:
            intercept = np.append(1.0, -self.shift[1:])
            if factor is None:
                reads = norms.reshape(count, -1) @ np.abs(intercept)
            else:
                reads = np.asarray([factor.norm(functional) for functional in np.kron(np.eye(count), intercept)])
            if count > 1:
                reads = contrasts @ reads * (1.0 + 1e-12)
            # The intercept inside is rounded once from the delivered one, that of a class as its coefficients are.
            moved = radius * reads * (1.0 + 1e-14) + accumulated(count + 1) * sizes[:, 0] + UNDERFLOW
            largest = max(largest, float(np.max(moved)))
        return largest if math.isfinite(largest) else None

    def carried(self, parameters: Floats) -> float:
        """Return what a prediction from delivered coefficients can be off by beyond one made inside.

        The terms' sizes are |x_j| |w_j| <= |z_j| |u_j| + |shift_j| |u_j|, and the intercept's is no more than
        |u_0| + |shift|'|u|; of several outputs the largest.
        """
        if self.shift is None:
            return 0.0
        sizes = np.abs(parameters).reshape(-1, len(self.shift)) @ np.abs(self.shift)
        return accumulated(len(parameters) + 2) * 2.0 * float(np.max(sizes))


@dataclass(frozen=True)
class Certification:
    """A certificate with what was computed on the way: it answers more questions than one."""

    certificate: Certificate
    expansion: Expansion | None = None
    factor: Factor | None = None
    leave_one_out: tuple[float, float] | None = None  # mean loss and mean squared loss of the approximate leave-one-out
    value: float | None = None  # of the objective, where no expansion has it
    anchored: AnchoredPoint | None = None  # the Hessian that it stands on, where that need not be the point's own

    def prediction_bounds(self) -> PredictionBounds | None:
        """Return what bounds single predictions, of rows to come too; None where there is no factor or no radius."""
        factor, radius = self.factor, self.certificate.radius
        if factor is None or radius is None:
            return None
        kept = len(factor.diagonal) <= KEPT_COEFFICIENTS
        return PredictionBounds(
            radius * factor.inflation * (1.0 + 1e-9),
            factor.coefficient_norms(),
            factor.inverse_hessian if kept else None,
            1.0 / factor.diagonal**2 if kept else None,
            factor.form_error,
        )


def certify(  # noqa: PLR0913 - the point, what is known of it already, and what is asked for
    objective: Objective,
    rows: Rows,
    parameters: Floats,
    units: Units | None = None,
    anchored: AnchoredPoint | None = None,
    factored: FactoredPoint | None = None,
    *,
    steps_are_cheaper: bool = False,
    proof_alone: bool = False,
) -> Certification:
    """Bound how far `parameters` (d,) are from the optimum of the objective over all rows.

    Reads the rows three times (curvature, rounding, leverages); twice where there are too many coefficients for a
    factor, or many and a `proof_alone` is asked for; once or not at all where the Hessian at an anchor near by, from
    below, and the leverage bound are enough. `factored`: the curvature, where it was read from these rows here already.
    Where a further step costs less than the other readings, nothing is certified if the anchor is not near enough.
    """
    units = units or Units.plain(rows.layout.size)
    if anchored is not None:
        near = anchored.near or objective.near(rows, parameters, anchored.anchor, anchored.factor.diagonal)
        proof = _certify_anchored(_CertifiedPoint(objective, rows, parameters, near, units), near, anchored)
        if proof is None and steps_are_cheaper:
            far = Note(Code.NOT_NEAR_ENOUGH, {"product": near.kappa * anchored.factor.norm(near.gradient)})
            proof = Certification(not_certified(rows, far))
        if proof is not None:
            return replace(proof, anchored=anchored._replace(near=None))
    many, corners = len(parameters) > FACTOR_LIMIT, objective.loss.corners is not None
    spared = many or (proof_alone and factored is None and len(parameters) > KEPT_COEFFICIENTS and not corners)
    with np.errstate(over="ignore", invalid="ignore"):
        error = objective.gradient_error(rows, parameters, gradient=spared, centred=spared)
    if not np.all(np.isfinite(error.error)):
        return Certification(not_certified(rows, Note(Code.GRADIENT_NOT_FINITE)))
    if many and corners:
        return Certification(not_certified(rows, Note(Code.HUBER_WITHOUT_FACTOR, {"coefficients": len(parameters)})))
    point = _CertifiedPoint(objective, rows, parameters, error, units)
    proof = _certify_many(point, error) if spared else None
    if proof is not None and (many or proof.certificate.certified):
        return proof
    expansion = objective.expand(rows, parameters) if factored is None else factored.expansion
    try:
        known = None if factored is None else factored.factor.charged(error.relative)
        factor = known or factorise(expansion.hessian, error.relative, rows.threads)
    except NotPositiveDefinite as refusal:
        return Certification(not_certified(rows, Note(Code.NO_SAFE_FACTOR, {"why": str(refusal)})), expansion)
    return _certify_factored(point, expansion, factor)


class _CertifiedPoint(NamedTuple):
    objective: Objective
    rows: Rows
    parameters: Floats
    error: GradientError | NearPoint
    units: Units


def not_certified(rows: Rows, reason: Note, floor: float | None = None, method: str | None = None) -> Certificate:
    """Return a certificate that bounds nothing, and says why."""
    return Certificate(Proved.NOT_CERTIFIED, reason, method, None, None, None, floor, len(rows), rows.fingerprint)


def _certify_anchored(point: _CertifiedPoint, near: NearPoint, anchored: AnchoredPoint) -> Certification | None:
    """Certify from the Hessian at an anchor: H >= share e^-drift H_anchor, row by row; None where that is too far."""
    expansion = Expansion(near.value, near.gradient, anchored.hessian, near.kappa)
    if not np.all(np.isfinite(near.error)):
        return None
    try:
        factor = anchored.factor.charged(near.relative)
    except NotPositiveDefinite:
        return None
    looseness = -math.expm1(math.log1p(-factor.looseness) - near.drift) * (1.0 + 1e-12)
    if not looseness < 0.5:
        return None
    factor = replace(factor, looseness=1.0 - (1.0 - looseness) * anchored.share * (1.0 - 1e-12))
    proof = _certify_factored(point, expansion._replace(kappa=min(near.kappa, factor.longest(near.spread))), factor)
    return proof if proof.certificate.certified else None


def _certify_factored(point: _CertifiedPoint, expansion: Expansion, factor: Factor) -> Certification:
    objective, rows = point.objective, point.rows
    constant, gradients = objective.loss.self_concordance, np.outer(expansion.gradient, (1.0, 0.0))
    decrement, rounding = map(float, factor.norms(gradients, np.outer(point.error.error, (1.0, 1.0))))
    kappa = expansion.kappa * math.exp(0.5 * point.error.relative)
    reached = bounds(decrement, kappa, constant)
    method, leave_one_out, prediction = BOUNDED, None, None
    corners, outputs = objective.loss.corners is not None, objective.loss.outputs
    lead, groups, sparse = rows.layout.lead, len(rows.layout.groups), rows.layout.sparse
    row = lead**2 + groups * lead + groups**2 + sparse * (sparse + lead)
    cost = float(len(rows)) * (row * outputs * (outputs + 1) / 2.0 + float(outputs) ** 4)
    near = isinstance(point.error, NearPoint)
    if reached is None and not near:  # a reading for the longest row alone is cheaper than leverages twice
        kappa = min(kappa, factor.longest(largest_square(rows, objective.loss, factor.diagonal)))
        reached = bounds(decrement, kappa, constant)
    if not near and (reached is None or corners or cost <= _LEVERAGE_BUDGET):
        radius = reached.radius if reached else 0.0
        leverage = rows.total(_leverages(point, factor, radius), point.parameters)
        form = leverage.form + factor.form_error * leverage.scaled + UNDERFLOW
        exact = math.sqrt(form) * factor.inflation * (1.0 + 1e-12)
        if exact < kappa:
            kappa, method = exact, EXACT
        reached = bounds(decrement, kappa, constant)
        if radius == 0.0 and reached is not None:
            leverage = rows.total(_leverages(point, factor, reached.radius), point.parameters)
        mean, square = (float(total / rows.total_weight) for total in (leverage.loss, leverage.square))
        leave_one_out, prediction = (mean, square), leverage.response
        if not leverage.margin > 0.0:
            crossing = not_certified(rows, Note(Code.MAY_CROSS_THRESHOLD), None, method)
            return Certification(crossing, expansion, factor, leave_one_out)
    floor = bounds(rounding, kappa, constant)
    if reached is None:
        reason = Note(Code.NOT_NEAR_ENOUGH, {"product": kappa * decrement})
        refused = not_certified(rows, reason, floor.loss if floor else None, method)
        return Certification(refused, expansion, factor, leave_one_out)
    if prediction is None:
        prediction = _returned(point, reached.radius * kappa)
    norms = factor.coefficient_norms()
    certificate = Certificate(
        status=Proved.CERTIFIED,
        reason=None,
        method=method,
        loss_bound=reached.loss,
        coefficient_bound=point.units.coefficient_bound(reached.radius, norms, point.parameters, factor),
        prediction_bound=prediction if prediction is not None and math.isfinite(prediction) else None,
        floor=floor.loss if floor else None,
        rows=len(rows),
        fingerprint=rows.fingerprint,
        decrement=decrement,
        kappa=kappa,
        radius=reached.radius,
    )
    return Certification(certificate, expansion, factor, leave_one_out)


def _leverages(point: _CertifiedPoint, factor: Factor, radius: float) -> LeverageTotal:
    return LeverageTotal(
        loss=point.objective.loss,
        inverse=factor.inverse_hessian,
        inverse_square_scale=1.0 / factor.diagonal**2,
        radius=radius * factor.inflation * (1.0 + 1e-9),
        form_error=factor.form_error,
        total_weight=point.rows.total_weight,
        carried=point.units.carried(point.parameters),
    )


def _returned(point: _CertifiedPoint, predictor_bound: float) -> float | None:
    """Return the bound on the returned prediction of any row whose exact predictor is within a bound; None without."""
    loss = point.objective.loss
    if loss.outputs == 1:
        error = (point.error.predictor + point.units.carried(point.parameters)) * (1.0 + 1e-12)
    else:
        error, _ = point.rows.total(ReturnedTotal(loss, point.units.carried(point.parameters)), point.parameters)
    return largest_returned_distance(loss.name, predictor_bound + error, loss.outputs)


def _certify_many(point: _CertifiedPoint, error: GradientError) -> Certification:
    """Certify from a lower bound on the Hessian: C1-C3 hold with any Hhat <= H."""
    objective, rows, parameters, _, units = point
    loss, constant = objective.loss, objective.loss.self_concordance
    lower = LowerBound(loss, objective.penalty, error, rows.layout.intercept)
    if lower.reason is not None:
        many = Note(Code.TOO_MANY_TO_FACTOR, {"coefficients": len(parameters), "why": lower.reason})
        return Certification(not_certified(rows, many))
    decrement = lower.norm(error.gradient, error.error)
    rounding = lower.norm(np.zeros_like(error.gradient), error.error)
    longest = lower.reach(rows)
    kappa = min(error.kappa * math.exp(0.5 * error.relative), longest)
    by_row = reached = bounds(decrement, kappa, constant)
    change = math.inf if by_row is None else kappa * by_row.radius
    floor, needed = bounds(rounding, kappa, constant), kappa
    if loss.outputs == 1:
        reached, floor, needed = lower.reached(decrement), lower.reached(rounding), lower.kappa
        change = min(change, math.inf if reached is None else reached.radius * longest)
    if reached is None:
        reason = Note(Code.NOT_NEAR_ENOUGH, {"product": needed * decrement})
        return Certification(not_certified(rows, reason, floor.loss if floor else None, LOWER_BOUND))
    # In the norm of the Hessian itself: rows keep so much of their curvature where no predictor changes by more.
    fallen = constant * change
    radius = decrement * (fallen / -math.expm1(-fallen) if fallen > 0.0 else 1.0) * (1.0 + 1e-12)
    shorter = min(reached.radius, radius) * (1.0 + 1e-6)
    moved = units.coefficient_bound(shorter, lower.coefficient_norms(), parameters), _returned(point, change)
    least = floor.loss if floor else None
    own = LOWER_BOUND, reached.loss, *moved, least, len(rows), rows.fingerprint, decrement, kappa, radius
    return Certification(Certificate(Proved.CERTIFIED, None, *own), value=error.value)
