"""Kept totals: what a version keeps of its rows, so that an update needs none of them.

At the parameters w0 of the version: the data parts of gradient and Hessian with bounds on their rounding, the
third-order total where it is worth its size, the domain of the rows, how much their gradients vary, and a bound on
their leverages. Everything is a plain sum over rows, so rows are removed by subtracting theirs and decay by a factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows, Statistic
from batchlearn.errors import CertificateError
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.rounding import accumulated
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.losses import LOSSES, Loss
from batchlearn.statistics.leverage import LeverageTotal
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rounding import Rounding, RoundingTotal
from batchlearn.statistics.totals import Hessian, HessianTotal
from batchlearn.statistics.updates import Scatter, ScatterTotal, totals_together
from batchlearn.training.optimise import Optimum
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal
from batchlearn.updating.third_order import ThirdTotal, worth_keeping

# Beyond this the d x d matrix is too large to keep with every version.
MOST_COEFFICIENTS = 5000


class RowTotals(NamedTuple):
    """Sums over some rows at one point, with bounds on what rounding did to them."""

    weight: float
    gradient: Floats  # (d,)
    gradient_error: Floats  # (d,)
    hessian: Floats  # (d, d)
    relative: float  # error of a Hessian entry (a, b), relative to sqrt(scale_aa scale_bb)
    scale: Floats  # (d,): Hessian diagonal that `relative` refers to; larger than its own after a removal
    magnitude: Floats  # (d,): sum of weight phi'' |x|
    third: Floats | None  # blocks of the third-order total (`third_order`)


@dataclass(frozen=True)
class SufficientStatistics:
    """What a version keeps; its penalty is not among it, but what its model's terms and recipe say (`Penalty`)."""

    loss: str
    layout: Layout
    parameters: Floats  # (d,): w0
    totals: RowTotals
    domain: Domain
    reference: Floats  # (d, d): total Hessian at w0 with its penalty, of the rows as they were kept
    leverage: float  # x' reference^-1 x is at most this for every row
    scatter: Scatter  # trace in the metric of the reference
    rows: int
    reference_weight: float

    def without(self, removed: RowTotals, rows: int) -> SufficientStatistics:
        """Return the totals of the rows that are left when some of them, with these totals at w0, are removed."""
        old = self.totals
        third = None if old.third is None or removed.third is None else old.third - removed.third
        rounded = np.asarray(accumulated(4) * (np.abs(old.gradient) + np.abs(removed.gradient)))
        left = RowTotals(
            old.weight - removed.weight,
            old.gradient - removed.gradient,
            (old.gradient_error + removed.gradient_error) * (1.0 + 1e-9) + rounded,
            old.hessian - removed.hessian,
            old.relative + removed.relative + accumulated(4),
            old.scale,
            old.magnitude,
            third,
        )
        return replace(self, totals=left, rows=self.rows - rows)

    def decayed(self, factor: float) -> SufficientStatistics:
        """Return the totals with every row's weight times a factor above 0."""
        old = self.totals
        scaled = RowTotals(
            old.weight * factor,
            old.gradient * factor,
            old.gradient_error * (factor * (1.0 + 1e-9)) + accumulated(4) * factor * np.abs(old.gradient),
            old.hessian * factor,
            old.relative + accumulated(4),
            old.scale * factor,
            old.magnitude * factor * (1.0 + 1e-9),
            None if old.third is None else old.third * factor,
        )
        return replace(self, totals=scaled)


def collect_statistics(objective: Objective, rows: Rows, optimum: Optimum) -> SufficientStatistics:
    """Return what a version keeps of its rows, reading them twice.

    CertificateError where the objective has no factored Hessian, more than one output, or a loss with a number of its
    own (a power, a threshold), which new rows would choose anew: nothing can be bounded from totals there.
    """
    size = rows.layout.size
    if optimum.certification.factor is None or len(optimum.parameters) != size or size > MOST_COEFFICIENTS:
        raise CertificateError(
            f"No totals can be kept for {len(optimum.parameters):,} coefficients without a factored Hessian, or of "
            "more than one output; an update from new rows alone needs them. Retrain warm instead.",
            code="no-kept-totals",
        )
    totals, domain = totals_at(objective.loss, rows, optimum.parameters)
    return assemble_statistics(objective, rows, optimum.parameters, totals, domain)


def totals_at(loss: Loss, rows: Rows, parameters: Floats, third: bool = True) -> tuple[RowTotals, Domain]:
    """Return the totals of rows at given parameters and their domain, reading them once.

    CertificateError for a loss with a number of its own: read back they would be taken for those of the default one.
    """
    if LOSSES.get(loss.name) != loss:
        raise CertificateError(
            f"No totals can be kept for the {loss.name} loss with a number of its own or several outputs; an update "
            f"from new rows alone knows {', '.join(LOSSES)}. Retrain warm instead.",
            code="no-kept-totals",
        )
    length = rows.additions
    statistics: list[Statistic[Any]] = [HessianTotal(loss), RoundingTotal(loss, length), DomainTotal()]
    if third and worth_keeping(loss, rows.layout):
        statistics.append(ThirdTotal(loss))
    with np.errstate(over="ignore", invalid="ignore"):
        first, second, parts, *rest = totals_together(rows, tuple(statistics), parameters)
    found, rounding = Hessian(*first), Rounding(*second)
    hessian = symmetric(found.grams[0])
    totals = RowTotals(
        rows.total_weight,
        found.gradient,
        rounding.error * (1.0 + 1e-9),
        hessian,
        accumulated(length + 20) + math.expm1(min(rounding.growth, 700.0)),
        np.diagonal(hessian).copy(),
        rounding.magnitude[0] * (1.0 + 1e-6),
        rest[0][0] if rest else None,
    )
    return totals, Domain(rows.layout, DomainParts(*parts))


def assemble_statistics(
    objective: Objective, rows: Rows, parameters: Floats, totals: RowTotals, domain: Domain
) -> SufficientStatistics:
    """Return kept totals from the rows' totals: one more reading, for leverages and the spread of gradients."""
    reference = totals.hessian.copy()
    objective.penalty.times(totals.weight).add_to(reference)
    try:
        factor = factorise(reference, totals.relative)
    except NotPositiveDefinite as refusal:
        raise CertificateError(
            f"No totals can be kept: the Hessian has no safe factor, {refusal}. Ask for a penalty above 0 (--alpha).",
            code="no-kept-totals",
        ) from refusal
    leverages = leverage_total(objective.loss, factor)
    read = totals_together(rows, (leverages, ScatterTotal(objective.loss, factor.inverse_hessian)), parameters)
    form, scaled = float(read[0][0]), float(read[0][1])
    return SufficientStatistics(
        loss=objective.loss.name,
        layout=rows.layout,
        parameters=parameters,
        totals=totals,
        domain=domain,
        reference=reference,
        leverage=largest_leverage(factor, form, scaled),
        scatter=Scatter(*read[1]),
        rows=len(rows),
        reference_weight=totals.weight,
    )


def leverage_total(loss: Loss, factor: Factor) -> LeverageTotal:
    """Return the statistic of the largest leverage x' K^-1 x, with the factor of a total Hessian K."""
    scale = 1.0 / factor.diagonal**2
    return LeverageTotal(loss, factor.inverse_hessian, scale, factor.inflation, factor.form_error, 1.0)


def largest_leverage(factor: Factor, form: float, scaled: float) -> float:
    """Return an upper bound on the largest x' K^-1 x from what `leverage_total` found."""
    return (form + factor.form_error * scaled) * factor.inflation**2 * (1.0 + 1e-12)
