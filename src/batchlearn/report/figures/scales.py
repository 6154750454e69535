"""Axes: where a value lies between the ends of a figure, and which values are marked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from batchlearn.formatting.numbers import MINUS, plain, power_of_ten

# Room at both ends, so that no mark is cut in half.
_PADDING = 0.04
_DIGITS = 12
# Whole numbers of an axis inside this range are taken for years: they have no comma.
_YEARS = (1800.0, 2200.0)
# About what a digit of a label takes, and what is left free between two labels, in CSS pixels.
_DIGIT_WIDTH, _GAP = 7.0, 6.0
WIDE_PLOT, NARROWEST_PLOT, NARROWEST_LANE = 290.0, 205.0, 95.0


class Tick(NamedTuple):
    """A marked value: its place in per cent of the axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A range of finite values, low < high; both above 0 where it is logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, in per cent of the axis, held between 0 and 100."""
        if self.logarithmic:
            low, high = math.log10(self.low), math.log10(self.high)
            share = (math.log10(max(value, self.low)) - low) / (high - low)
        else:
            # Halves, because the difference of two large numbers may overflow.
            share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
        return round(100.0 * min(max(share, 0.0), 1.0), 3)

    def ticks(self, about: int = 5, whole: bool = False) -> tuple[Tick, ...]:
        """Return round values inside the range, whole numbers where that is asked for."""
        if self.logarithmic:
            return self._powers(about)
        step = _round_step((self.high / 2.0 - self.low / 2.0) / about * 2.0)
        step = max(1.0, math.ceil(step)) if whole and step < math.inf else step
        if not 0.0 < step < math.inf:
            return ()
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [at * step for at in range(first, min(last, first + 4 * about) + 1)]
        places = max(0, -math.floor(math.log10(step)))
        years = whole and _YEARS[0] <= self.low and self.high <= _YEARS[1]
        return tuple(Tick(self.place(value), f"{value:.0f}" if years else _label(value, places)) for value in values)

    def _powers(self, about: int) -> tuple[Tick, ...]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        step = max(1, math.ceil((last - first) / about))
        exponents = range(last, first - 1, -step)
        return tuple(Tick(self.place(10.0**exponent), power_of_ten(exponent)) for exponent in exponents)


def scale(values: Iterable[float], least: float = 0.0) -> Scale:
    """Return a linear scale that holds the finite values with room at both ends, at least `least` wide."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = max((high / 2.0 - low / 2.0) * 2.0 * _PADDING, (least - (high - low)) / 2.0)
    if not room > 1e-12 * max(abs(low), abs(high)):
        room = max(0.5 * abs(high), 1e-12)
    return Scale(max(low - room, -1e308), min(high + room, 1e308))


def exact_scale(low: float, high: float) -> Scale:
    """Return a linear scale with just these ends, or one around them where they are equal."""
    return Scale(low, high) if high / 2.0 - low / 2.0 > 1e-300 else scale([low, high])


def powers(values: Iterable[float]) -> Scale | None:
    """Return a logarithmic scale from a power of ten to a power of ten, or None where no value is above 0."""
    above = [value for value in values if value > 0.0 and math.isfinite(value)]
    if not above:
        return None
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    return Scale(10.0 ** max(low, -300), 10.0 ** max(high, low + 1, -299), logarithmic=True)


def apart(ticks: Iterable[Tick], width: float) -> tuple[Tick, ...]:
    """Return the ticks whose labels do not touch the one before on an axis of so many CSS pixels."""
    kept: list[Tick] = []
    free = -math.inf
    for tick in ticks:
        size = _DIGIT_WIDTH * len(tick.label)
        # At the very start of an axis a label may be drawn beginning at its place.
        start = tick.at * width / 100.0 - (0.5 * size if tick.at >= 4.0 else 0.0)
        if start >= free:
            kept.append(tick)
            free = start + size + _GAP
    return tuple(kept)


def _round_step(rough: float) -> float:
    if not 0.0 < rough < math.inf:
        return 0.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((size * power for size in (1.0, 2.0, 2.5, 5.0) if size * power >= rough * 0.999), 10.0 * power)


def _label(value: float, places: int) -> str:
    if abs(value) >= 1e6 or places > _DIGITS or 0.0 < abs(value) < 1e-6:
        return plain(value, 3)
    shown = f"{value + 0.0:,.{places + 1}f}".rstrip("0").rstrip(".")
    return shown.replace("-", MINUS) if float(shown.replace(",", "")) else "0"
