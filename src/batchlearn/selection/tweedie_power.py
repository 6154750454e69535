"""The power of a Tweedie model, where none is given: the one under which the labels are likeliest.

The density has no closed form. For y > 0 it is the sum over the Poisson number j of gamma amounts of Dunn and Smyth
2005 (Statistics and Computing 15, equations 9 to 12); where the terms of that sum are many they are smooth in j, and a
coarser grid gives the same sum. Means are fitted again at each power found, so that power, dispersion and means are
likeliest together.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import Ledger
from batchlearn.data.rows import Chunk
from batchlearn.data.rows.journal import Journal
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses.log_link import TweedieLoss
from batchlearn.selection.linear_sample import linear_sample
from batchlearn.selection.penalty_selection import select_penalties
from batchlearn.statistics.dispersion import pearson_dispersion
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Table

FIRST_POWER = 1.5
_LOWEST, _HIGHEST = 1.01, 1.99
_ROUNDS, _SETTLED = 4, 2e-3
_STARTS = (1.1, 1.3, 1.5, 1.7, 1.9)
# Up to so many expected terms the series is summed term by term, to the term given.
_SUMMED = ((8.0, 40), (70.0, 150))
# Beyond so many expected terms the saddlepoint approximation is exact to eight digits.
_SMOOTH = 1e7


@dataclass(frozen=True)
class PowerProfile:
    """The power chosen, rounded so that it can be typed, its dispersion, and the rows that it was chosen on."""

    power: float
    dispersion: float | None  # None where the rows cannot tell
    rows: int

    @property
    def note(self) -> Note:
        """How the power was found, and of which other loss it is near."""
        if self.dispersion is None:
            return Note(Code.TWEEDIE_POWER_UNKNOWN, {"power": self.power})
        near = "gamma" if self.power >= _HIGHEST - 0.01 else "poisson" if self.power <= _LOWEST + 0.01 else None
        found = {"power": self.power, "rows": self.rows, "dispersion": self.dispersion, "near": near}
        return Note(Code.TWEEDIE_POWER, found)


def log_density(label: Floats, mean: Floats, dispersion: float, power: float) -> Floats:
    """Return the logarithm of the Tweedie density (of the probability of 0 where the label is 0), shape (n,)."""
    rise, fall = 2.0 - power, power - 1.0
    natural = (-(label * mean**-fall) / fall - mean**rise / rise) / dispersion
    found = natural.copy()
    positive = label > 0.0
    amount = label[positive]
    terms = amount**rise / (dispersion * rise)
    series, least = np.empty(len(amount)), 0.0
    for most, last in _SUMMED:
        few = (terms > least) & (terms <= most)
        j = np.arange(1.0, last + 1.0)[:, None]
        series[few], least = _log_sum(_log_terms(j, amount[few], dispersion, power)), most
    smooth = terms > _SMOOTH
    many = (terms > least) & ~smooth
    # Over eight standard deviations either side; half a deviation apart a smooth sum is exact to 1e-34.
    step = np.maximum(0.5 * np.sqrt(terms[many] * (power - 1.0)), 1.0)
    j = np.rint(terms[many]) + np.arange(-16.0, 17.0)[:, None] * step
    series[many] = _log_sum(_log_terms(j, amount[many], dispersion, power)) + np.log(step)
    # exp(-deviance / (2 phi)) / sqrt(2 pi phi y^p), less the part that is in `natural` already.
    saturated = amount[smooth] ** rise / (fall * rise * dispersion)
    series[smooth] = saturated - 0.5 * np.log(2.0 * np.pi * dispersion * amount[smooth] ** power)
    series[~smooth] -= np.log(amount[~smooth])
    found[positive] += series
    return found


def _log_terms(j: Floats, amount: Floats, dispersion: float, power: float) -> Floats:
    """Return log W_j; j broadcasts against the amounts."""
    alpha = (2.0 - power) / (1.0 - power)
    step = -alpha * np.log(amount) + alpha * np.log(power - 1.0) - (1.0 - alpha) * np.log(dispersion)
    return np.asarray(
        j * (step - np.log(2.0 - power)) - scipy.special.gammaln(1.0 + j) - scipy.special.gammaln(-alpha * j)
    )


def _log_sum(terms: Floats) -> Floats:
    largest = terms.max(axis=0)
    return np.asarray(largest + np.log(np.exp(terms - largest).sum(axis=0)))


def likeliest_power(
    label: Floats, mean: Floats, weight: Floats, start: float, dispersion: float
) -> tuple[float, float]:
    """Return the power and the dispersion under which the labels are likeliest, their means given."""

    def badness(point: Floats) -> float:
        power, scale = _power(float(point[0])), float(np.exp(point[1]))
        return -float(weight @ log_density(label, mean, scale, power))

    spread = _HIGHEST - _LOWEST
    starts = np.asarray([[scipy.special.logit((p - _LOWEST) / spread), np.log(dispersion)] for p in (start, *_STARTS)])
    variance = weight @ (label - mean) ** 2
    for one, power in zip(starts[1:], _STARTS, strict=True):
        # What makes the variance right at this power.
        one[1] = np.log(variance / float(weight @ mean**power))
    best = starts[int(np.argmin([badness(one) for one in starts]))]
    simplex = best + np.asarray([[0.0, 0.0], [0.4, 0.0], [0.0, 0.2]])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-3, "maxfev": 200}
    found = scipy.optimize.minimize(badness, best, method="Nelder-Mead", options=options)
    return _power(float(found.x[0])), float(np.exp(found.x[1]))


def _power(point: float) -> float:
    return _LOWEST + (_HIGHEST - _LOWEST) * float(scipy.special.expit(point))


def profile_power(
    table: Table,
    ledger: Ledger,
    part: NDArray[np.bool_],
    rules: EncodingRules,
    seed: int,
    threads: int,
    *,
    journal: Journal | None = None,
) -> Generator[int, None, PowerProfile]:
    """Yield rows read; return the power that a random sample of the part asks for, with a linear model of the means."""
    if not np.any(ledger.label[part] > 0.0):
        part = ledger.used
    rows, terms = yield from linear_sample(table, ledger, part, rules, seed, threads, journal=journal)

    def means(chunk: Chunk, parameters: Floats) -> Floats:
        """Return label, mean and weight of each row, (3, m)."""
        return np.stack([chunk.label, np.exp(predictor(chunk, parameters)), chunk.weight])

    power, dispersion, start = FIRST_POWER, 1.0, None
    for _ in range(_ROUNDS):
        before, loss = power, TweedieLoss(power)
        strengths, parameters = select_penalties(loss, rows, terms, start)
        label, mean, weight = rows.map_rows(means, parameters)
        dispersion = pearson_dispersion(loss, rows, parameters, 1.0 + sum(strengths.degrees_of_freedom))
        if not (np.isfinite(dispersion) and dispersion > 1e-12 * float(np.max(label)) ** (2.0 - power)):
            return PowerProfile(FIRST_POWER, None, len(rows))
        power, dispersion = likeliest_power(label, mean, weight, power, dispersion)
        start = strengths.values, parameters
        if abs(power - before) < _SETTLED:
            break
    return PowerProfile(round(power, 3), dispersion, len(rows))
