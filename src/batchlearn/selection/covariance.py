"""How far the coefficients as delivered may be from the true ones: the second moments of their difference.

Given its strengths a penalised fit has the covariance phi H^-1, as if the penalty were a prior (Wahba 1983; Wood 2017,
section 6.10). But the strengths are estimates too: a coefficient that a large one holds at zero would be known to be
zero. So each is weakened to 1 / E[1 / lambda], the mean over what the rows leave plausible: the restricted likelihood
of the term, quadratic at the optimum, times a prior that is uniform in lambda^-1/2 (Gelman 2006) up to the width at
which it says as much as one row (Kass and Wasserman 1995). With V the covariance at the weakened strengths and b the
way to their optimum, one Newton step,

    E[(w - w_true) (w - w_true)']  ~  V + b b':

what another sample would change, and what the penalty took away. phi H^-1 / n takes each row's curvature for what its
gradient varies by, up to phi. Weights that say how much a row counts, and not how precise its label is, have no such
meaning: then J, the mean outer product of the weighted gradients as they are, takes the place of the rows' curvature,

    V = H^-1 (J + phi penalty'') H^-1 / n,

the sandwich (Huber 1967; White 1982) where there is no penalty. Differences of neighbours pull the first and the last
bin to one side only, by more than chance would: both are tied to theirs by one row's worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import Encoding
from batchlearn.data.rows.threads import in_order
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.factor import NotPositiveDefinite, factorise, inverse_for_statistics
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.penalties.smoothing import end_differences
from batchlearn.objectives.triangles import strips
from batchlearn.selection.penalty_selection import PenalisedTerm
from batchlearn.selection.terms import encoding_terms
from batchlearn.statistics.objective import Expansion

# Times what the rows say of a term: beyond it a strength leaves nothing to them, and an inverse would lose its digits.
_STRONGEST = 1e4
_DIGITS = 1e-9
# Prior deviations at which the likelihood of a term is looked at, down to this share of the widest.
_DEVIATIONS, _NARROWEST = 200, 1e-6


@dataclass(frozen=True)
class Expanded:
    """A fit of mean loss and penalty to rows of this total weight, expanded at its parameters (d,)."""

    parameters: Floats
    expansion: Expansion
    inverse: Floats  # (d, d): of its Hessian
    penalty: Quadratic
    dispersion: float
    total_weight: float
    size: int  # coefficients of one output
    scores: Floats | None = None  # (d, d): J where weights say how much rows count
    threads: int = 1  # no bit depends on it

    @property
    def row(self) -> float:
        """The mean curvature of a row along the intercepts: what one row says."""
        return float(np.mean(np.diagonal(self.expansion.hessian)[:: self.size]))

    def covariance(self, hessian: Floats, inverse: Floats) -> Floats:
        """Return V (d, d) where the Hessian and its inverse are these, by another penalty than the one of the fit.

        The inverse is used up: it may hold what is returned.
        """
        if self.scores is None:
            inverse *= self.dispersion / self.total_weight
            return inverse
        penalty = hessian - self.expansion.hessian
        self.penalty.add_to(penalty)
        return np.asarray(inverse @ (self.scores + self.dispersion * penalty) @ inverse / self.total_weight)

    def changed(self, blocks: Sequence[tuple[slice, Floats]]) -> tuple[Floats, Floats]:
        """Return gradient and Hessian once these matrices, in total, are added to the penalty of each output."""
        outputs = range(0, len(self.parameters), self.size)
        repeated = (
            (slice(part.start + first, part.stop + first), matrix / self.total_weight)
            for first in outputs
            for part, matrix in blocks
        )
        change = Quadratic(np.zeros(len(self.parameters)), tuple(repeated))
        hessian = self.expansion.hessian.copy()
        change.add_to(hessian)
        return self.expansion.gradient + change.gradient(self.parameters), hessian


def second_moments(encoding: Encoding, chosen: Mapping[str, float], found: Expanded) -> Floats | None:
    """Return the second moments (d, d) of parameters less true ones; None where they have no safe factor.

    `chosen` are the strengths by term; one without has a strength of one, as in its penalty. Where none was chosen the
    penalty was given, and the moments are V alone.
    """
    if not chosen:
        return found.covariance(found.expansion.hessian, found.inverse.copy())
    terms = encoding_terms(encoding)
    strengths = {name: chosen.get(name, 1.0) for name in terms}
    try:
        weak = plausible_strengths(terms, strengths, found)
        changes = [(term.part, (weak[name] - strengths[name]) * term.unit.matrix) for name, term in terms.items()]
        # What the penalty loses where the ends of a number are tied to their neighbours by one row's worth.
        ends = [
            (part, min(found.row - weak[group.column], 0.0) * end_differences(group.ordered, int(group.missing)))
            for group, part in zip(encoding.groups, encoding.layout.group_slices, strict=True)
            if isinstance(group, BinTerm)
        ]
        gradient, hessian = found.changed([*changes, *ends])
        inverse = inverse_for_statistics(hessian, found.threads)
    except NotPositiveDefinite:
        return None
    way = inverse @ gradient.astype(inverse.dtype)
    moments = found.covariance(hessian, inverse)
    for part in strips(len(way)):
        moments[part] += np.outer(way[part], way)
    return moments


def plausible_strengths(
    terms: Mapping[str, PenalisedTerm], chosen: Mapping[str, float], found: Expanded
) -> dict[str, float]:
    """Return 1 / E[1 / lambda] of each term where that is weaker than what was chosen."""
    # Times the mean prior variance of a coefficient at strength and dispersion one: tr(S^+) / L.
    weakest = {}
    for name, term in terms.items():
        inverse_squares = 1.0 / np.linalg.eigvalsh(term.unit.matrix)[-term.unit.rank :]
        weakest[name] = found.row * (float(np.sum(inverse_squares)) / len(term.unit.matrix))
    safe = {name: min(chosen[name], _STRONGEST * found.total_weight * weakest[name]) for name in terms}
    changes = [
        (t.part, (safe[name] - chosen[name]) * t.unit.matrix) for name, t in terms.items() if safe[name] < chosen[name]
    ]
    inverse = factorise(found.changed(changes)[1], 0.0, found.threads).inverse_hessian if changes else found.inverse
    weak = in_order(
        lambda name: _plausible(terms[name], safe[name], found, inverse, weakest[name]), terms, found.threads
    )
    return {name: min(chosen[name], strength) for name, strength in zip(terms, weak, strict=True)}


def _plausible(term: PenalisedTerm, strength: float, found: Expanded, inverse: Floats, weakest: float) -> float:
    """Return 1 / E[1 / lambda] over the strengths lambda above the weakest that the rows leave plausible.

    `inverse` is the inverse Hessian (d, d) at this strength of the term.
    """
    # 1. What the rows say of the term, all others following, along axes (r,) where it and its prior are independent:
    # the negative second derivative of the log likelihood and the first one where the term is zero, times the
    # dispersion.
    outputs = len(found.parameters) // found.size
    at = np.concatenate([np.arange(term.part.start, term.part.stop) + k * found.size for k in range(outputs)])
    squares, axes = np.linalg.eigh(term.unit.matrix)
    roots, axes = np.sqrt(squares[-term.unit.rank :]), axes[:, -term.unit.rank :]
    into, back = axes / roots, axes * roots
    # The inverse of the term's block is the Schur complement: the curvature along it while all others follow.
    schur = np.linalg.inv(inverse[np.ix_(at, at)]).reshape(outputs, len(squares), outputs, len(squares))
    own = into.T @ schur.transpose(0, 2, 1, 3) @ into
    own = found.total_weight * own.transpose(0, 2, 1, 3).reshape(len(roots) * outputs, -1)
    information, turn = np.linalg.eigh(0.5 * (own + own.T) - strength * np.eye(len(own)))
    information = np.maximum(information, _DIGITS * strength)
    slope = found.total_weight * (found.penalty.gradient(found.parameters) - found.expansion.gradient)
    pull, place = (np.ravel(x[at].reshape(outputs, -1) @ axis) for x, axis in ((slope, into), (found.parameters, back)))
    score = turn.T @ pull + information * (turn.T @ place)
    # 2. The mean over the prior.
    deviations = np.geomspace(_NARROWEST, 1.0, _DEVIATIONS)
    strengths = weakest / deviations[:, None] ** 2
    explained = strengths / (strengths + information)
    misfit = (score**2 / (found.dispersion * information) * explained - np.log(explained)).sum(axis=1)
    likelihood = np.exp(-0.5 * (misfit - misfit.min()))
    variance = np.trapezoid(likelihood * deviations**2, deviations) / np.trapezoid(likelihood, deviations)
    return weakest / float(variance)


def class_moments(moments: Floats, encoding: Encoding, classes: int) -> tuple[Floats, Floats]:
    """Return standard errors, flat, and the moments within each group of levels, a row (sum of L^2,) a class.

    Of more than two classes the coefficients of each are contrasts of the parameters.
    """
    weights = class_contrasts(classes).T if classes > 2 else np.ones((1, 1))
    outputs, size = weights.shape[1], encoding.layout.size
    parts = moments.reshape(outputs, size, outputs, size)
    squares = np.einsum("ka,kb,abj->kj", weights, weights, np.einsum("ajbj->abj", parts), optimize=True)
    blocks = [
        np.einsum("ka,kb,aibj->kij", weights, weights, parts[:, part, :, part], optimize=True).reshape(len(weights), -1)
        for part in encoding.layout.group_slices
    ]
    return np.sqrt(np.maximum(squares, 0.0)).ravel(), np.concatenate([np.zeros((len(weights), 0)), *blocks], axis=1)
