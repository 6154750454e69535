"""What the loss of rows can be at another point, from their totals at one: a Taylor polynomial and its remainder.

With a the largest |x's| of a row for a step s (`Domain.reach`), |phi'''| <= phi'' lets phi'' change by at most a factor
e^a. Hence for every vector v, in sums over the rows (a = c times the reach for a constant c other than one),

    |g(w0 + s)'v - (g + A s)'v|          <= (e^a - 1 - a) / a        ||s||_A ||v||_A
    |f(w0 + s) - f - g's - s'As / 2|     <= (e^a - 1 - a - a^2/2) / a^2  ||s||_A^2
    A(w0 + s) >= e^-a A

and with the third-order total T and |phi''''| <= phi'' each of the three is one order better:

    |g(w0 + s)'v - (g + A s + T[s]s / 2)'v|   <= (e^a - 1 - a - a^2/2) / a         ||s||_A ||v||_A
    |f(w0 + s) - (... + T[s,s,s] / 6)|        <= (e^a - 1 - a - a^2/2 - a^3/6) / a^2  ||s||_A^2
    A(w0 + s) >= A + T[s] - (e^a - 1 - a) A

each by Taylor's theorem with the integral remainder, row by row, and Cauchy-Schwarz.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.updating.sufficient_statistics import SufficientStatistics
from batchlearn.updating.third_order import along

# From here on the third-order lower bound on the Hessian may be none, and e^-a serves.
FAR = 0.9


def tail(a: float, order: int) -> float:
    """Return e^a less the first `order` terms of its series, from above, for a >= 0; infinite beyond 50."""
    if not a <= 50.0:
        return math.inf
    term = a**order / math.factorial(order)
    total, k = term, order
    while term > 1e-18 * total:
        k += 1
        term *= a / k
        total += term
    return total * (1.0 + 1e-12)


class Way(NamedTuple):
    """A step from w0 and what the totals make of it; `turn`, T[s], is None where no third-order total was kept."""

    step: Floats  # (d,): s
    bent: Floats  # (d,): A s
    turned: Floats  # (d,): T[s] s
    reach: float  # a
    size: float  # no row has a sum of |x_j s_j| above this; zero where no third-order total was kept
    turn: Floats | None = None  # (d, d)

    def part(self, length: float) -> Way:
        """Return the way to length times the step, without the matrix."""
        longer = length * (1.0 + 1e-15)  # what bounds rows is not rounded down
        return Way(
            length * self.step, length * self.bent, length**2 * self.turned, longer * self.reach, longer * self.size
        )


class Rise(NamedTuple):
    """The change of the loss of the rows from w0 to w0 + s, in sums: best known, and how far off."""

    change: float
    error: float


class Ahead(NamedTuple):
    """The loss of the rows at w0 + s, in sums: best known, and how far off."""

    rise: Rise
    gradient: Floats  # (d,)
    gradient_error: Floats  # (d,): rounding
    unknown: float  # the gradient is off by no more than this in the dual norm of the Hessian there
    reach: float  # a


class Bend(NamedTuple):
    """A matrix below the rows' total Hessian at w0 + s, and the best known one."""

    lower: Floats  # (d, d)
    relative: float  # error of an entry, relative to sqrt(scale scale) of the totals
    likely: Floats  # (d, d): A + T[s], A alone where that is far or not kept


class OldRows:
    """Rows known by their totals alone."""

    def __init__(self, kept: SufficientStatistics, self_concordance: float) -> None:
        self.kept = kept
        self.constant = self_concordance
        self._root = np.sqrt(np.maximum(kept.totals.scale, 0.0))

    def way(self, step: Floats) -> Way:
        """Return the way to w0 + s."""
        third = self.kept.totals.third
        turn = None if third is None else along(self.kept.layout, third, step)
        return self._way(step, turn, np.zeros_like(step) if turn is None else turn @ step)

    def near(self, way: Way, step: Floats) -> Way:
        """Return the way to w0 + s from one close by, without T[d] d of their difference d: enough to search with."""
        turned = way.turned if way.turn is None else way.turn @ (2.0 * step - way.step)
        return self._way(step, way.turn, turned)

    def _way(self, step: Floats, turn: Floats | None, turned: Floats) -> Way:
        totals, domain = self.kept.totals, self.kept.domain
        size = 0.0 if totals.third is None else domain.size(step)
        return Way(step, totals.hessian @ step, turned, self.constant * domain.reach(step), size, turn)

    def slope(self, way: Way, *, cubic: bool = True) -> Floats:
        """Return the gradient at w0 + s as the polynomial has it, (d,), of third order or of second."""
        second = self.kept.totals.gradient + way.bent
        return np.asarray(second + 0.5 * way.turned if cubic else second)

    def ahead(self, way: Way) -> Ahead:
        """Return what the totals say about the rows at w0 + s."""
        totals, a, order = self.kept.totals, way.reach, self._order
        length, relative, rounding = self._scales(way)
        error = totals.gradient_error + rounding * np.abs(totals.gradient) + relative * length * self._root
        error = error + relative * way.size**2 * totals.magnitude
        beyond = tail(a, order) / a if a > 0.0 else 0.0
        return Ahead(
            rise=self.rise(way),
            gradient=self.slope(way),
            gradient_error=error * (1.0 + 1e-9),
            # The dual norm is that of the Hessian at w0 + s, which is at least e^-a A.
            unknown=beyond * math.sqrt(self._square(way)) * math.exp(min(0.5 * a, 700.0)) * (1.0 + 1e-9),
            reach=a,
        )

    def rise(self, way: Way) -> Rise:
        """Return the change of the rows' loss along the way."""
        totals, step, a = self.kept.totals, way.step, way.reach
        length, relative, rounding = self._scales(way)
        change = totals.gradient @ step + 0.5 * step @ way.bent + step @ way.turned / 6.0
        doubt = float(totals.gradient_error @ np.abs(step)) + rounding * float(np.abs(totals.gradient) @ np.abs(step))
        doubt += relative * length**2 * (1.0 + way.size)
        further = tail(a, self._order + 1) / a**2 if a > 0.0 else 0.0
        return Rise(float(change), (doubt + further * self._square(way)) * (1.0 + 1e-9))

    @property
    def _order(self) -> int:
        return 2 if self.kept.totals.third is None else 3

    def _scales(self, way: Way) -> tuple[float, float, float]:
        """Return a length that is at least ||s||_A and what rounding scales with, and two relative errors."""
        rounding = accumulated(4 * len(way.step) + 40)
        relative = (self.kept.totals.relative + rounding) * (1.0 + 1e-6)
        return float(self._root @ np.abs(way.step)), relative, rounding

    def _square(self, way: Way) -> float:
        """Return an upper bound on ||s||_A^2."""
        length, relative, _ = self._scales(way)
        return max(float(way.step @ way.bent), 0.0) + relative * length**2

    def below(self, way: Way) -> Bend:
        """Return a matrix that is below the rows' total Hessian at w0 + s, and the best known one."""
        totals, step, a = self.kept.totals, way.step, way.reach
        relative = totals.relative + accumulated(8)
        if way.turn is None or a >= FAR:
            return Bend(math.exp(-min(a, 700.0)) * (1.0 - 1e-12) * totals.hessian, relative, totals.hessian.copy())
        relative = (relative + accumulated(2 * len(step))) * (1.0 + way.size)
        return Bend((1.0 - tail(a, 2)) * totals.hessian + way.turn, relative, totals.hessian + way.turn)
