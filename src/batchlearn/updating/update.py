"""An update of a version by new rows: what goes into it, where it came to, and the proof of how far that is.

At any point where the gradient of all rows is known up to an error and a matrix below their Hessian is known, C1 and C2
follow from kappa nu < 1. No old row is read for kappa: an old row's leverage is at most the kept bound over mu, the
smallest eigenvalue of that matrix against the Hessian that was kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.self_concordance import Bounds, bounds
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import Hessian, HessianTotal
from batchlearn.statistics.updates import FormTotal, totals_together
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal
from batchlearn.updating.sufficient_statistics import SufficientStatistics, largest_leverage

# Up to so many coefficients all generalised eigenvalues cost less than a reading.
_EIGENVALUES = 600


class Fresh(NamedTuple):
    """Sums over the new rows at w0: where the search begins, so that nobody asks for their rounding."""

    weight: float
    gradient: Floats  # (d,)
    hessian: Floats  # (d, d)


class Local(NamedTuple):
    """What is known of the total objective at one point."""

    gradient: Floats  # (d,)
    gradient_error: Floats  # (d,): rounding
    unknown: float  # and off by no more than this in the dual norm of the Hessian there
    hessian: Floats  # (d, d): at most the Hessian
    relative: float  # error of its entries, relative to its diagonal
    guess: float  # of its smallest generalised eigenvalue against the Hessian that was kept


class Proof(NamedTuple):
    """C1 and C2 at a point, with what they follow from, for the mean objective."""

    bounds: Bounds | None
    kappa: float
    decrement: float
    decrement_known: float  # without what is unknown of the old rows; of the total objective
    floor: float  # the loss bound that rounding alone would leave
    factor: Factor | None  # of `Local.hessian`


class BestKnown(NamedTuple):
    """The best known optimum of all rows and the total Hessian there, as far as they are known: nothing is proved."""

    parameters: Floats  # (d,)
    hessian: Floats  # (d, d)


class UpdateResult(NamedTuple):
    """Where an update came to and what is known there. Gains are of the mean objective over all rows."""

    parameters: Floats  # (d,)
    lower: float  # F(w0) - F* is at least this
    upper: float | None  # and at most this; None where that is not proved
    estimate: float
    proof: Proof
    reach: float  # how far the update moved any row's linear predictor
    readings: int  # of the new rows
    optimum: BestKnown
    gradient: Floats | None = None  # of the total objective at the parameters, where all rows were read


@dataclass(frozen=True)
class Update:
    """Kept totals, the rows that came, and the objective over both: what an update is made of."""

    kept: SufficientStatistics
    added: Rows | None
    objective: Objective
    fresh: Fresh
    domain: Domain  # of old and new rows
    seconds: float  # of one reading of the new rows

    @staticmethod
    def of(kept: SufficientStatistics, added: Rows | None, objective: Objective) -> Update:
        """Read the new rows at w0."""
        began = time.perf_counter()
        size = kept.layout.size
        if added is None:
            return Update(kept, None, objective, Fresh(0.0, np.zeros(size), np.zeros((size, size))), kept.domain, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            read = totals_together(added, (HessianTotal(objective.loss), DomainTotal()), kept.parameters)
        found, domain = Hessian(*read[0]), Domain(kept.layout, DomainParts(*read[1]))
        fresh = Fresh(added.total_weight, found.gradient, symmetric(found.grams[0]))
        return Update(kept, added, objective, fresh, kept.domain.widened(domain), time.perf_counter() - began)

    @property
    def weight(self) -> float:
        """Total weight of all rows."""
        return self.kept.totals.weight + self.fresh.weight

    @property
    def penalty(self) -> Quadratic:
        """The penalty of the total objective."""
        return self.objective.penalty.times(self.weight)

    def shortened(self, step: Floats, safe: float) -> Floats:
        """Return a Newton step (d,), shortened where it moves a row far, beyond what is safe without.

        ln(1 + a) / a of it is safe, a the largest change of a row's predictor (Sun and Tran-Dinh 2019).
        """
        a = self.objective.loss.self_concordance * self.domain.reach(step)
        return step if a <= safe else np.asarray(step * (math.log1p(a) / a))

    def new_leverage(self, factor: Factor) -> float:
        """Return an upper bound on the largest leverage of a new row; one reading."""
        if self.added is None:
            return 0.0
        (form,) = self.added.total(FormTotal(factor.inverse_hessian), self.kept.parameters)
        return largest_leverage(factor, form, self.domain.square(1.0 / factor.diagonal**2))


def prove(update: Update, local: Local) -> Proof:
    """Bound how far a point is from the optimum of all rows; reads the new rows once, for their leverages."""
    constant, root = update.objective.loss.self_concordance, math.sqrt(update.weight)
    try:
        factor = factorise(local.hessian, local.relative)
    except NotPositiveDefinite:
        return Proof(None, math.inf, math.inf, 0.0, math.inf, None)
    known = factor.norm(local.gradient, local.gradient_error)
    decrement = (known + local.unknown) / root * (1.0 + 1e-12)
    mine = update.new_leverage(factor)
    # No mu is above the smallest quotient of the diagonals: where even that is too small, none need be looked for.
    most = float(np.min(np.diagonal(local.hessian) / np.diagonal(update.kept.reference)))
    least_kappa = root * math.sqrt(max(update.kept.leverage / most, mine))
    if constant > 0.0 and not least_kappa * decrement < 1.0:
        return Proof(None, least_kappa, decrement, known, math.inf, factor)
    share = least_share(local, update.kept)
    old = update.kept.leverage / share * (1.0 + 1e-12) if share > 0.0 else math.inf
    kappa = root * math.sqrt(max(old, mine)) * (1.0 + 1e-12)
    least = bounds(factor.norm(np.zeros_like(local.gradient), local.gradient_error) / root, kappa, constant)
    reached = bounds(decrement, kappa, constant) if math.isfinite(decrement) else None
    return Proof(reached, kappa, decrement, known, least.loss if least else math.inf, factor)


def least_share(local: Local, kept: SufficientStatistics) -> float:
    """Return a mu > 0 with local.hessian >= mu reference, shown by a Cholesky factor; 0 where none was."""
    matrix, reference, guess = local.hessian, kept.reference, local.guess
    if len(matrix) <= _EIGENVALUES:
        try:
            guess = float(scipy.linalg.eigh(matrix, reference, eigvals_only=True, subset_by_index=[0, 0])[0])
        except scipy.linalg.LinAlgError:
            return 0.0
    own = np.diagonal(matrix)
    for share in (0.97 * guess, 0.7 * guess, 0.3 * guess):
        difference = matrix - share * reference
        if not share > 0.0 or np.any(np.diagonal(difference) <= 0.0):
            continue
        parts = [(local.relative + accumulated(4), own), (kept.totals.relative, share * np.diagonal(reference))]
        try:
            factorise(difference, joint_error(difference, parts))
        except NotPositiveDefinite:
            continue
        return share
    return 0.0


def joint_error(matrix: Floats, parts: Sequence[tuple[float, Floats]]) -> float:
    """Return the relative error of a sum's entries; each part of it has one, relative to a scale (d,) of its own."""
    diagonal = np.maximum(np.diagonal(matrix), 1e-300)
    return sum(relative * float(np.max(scale / diagonal)) for relative, scale in parts) + accumulated(8)
