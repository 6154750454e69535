"""Figures as values: every position is a per cent of the figure's width or height, so that a figure fits any screen.

The templates draw them as SVG without any script. Text keeps its size whatever the width, because only paths are
stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from batchlearn.report.figures.scales import Scale, Tick, apart, scale

# Beyond this many marks a row of them is read no better and the page grows.
MOST_POINTS = 400
MOST_BARS = 48

Position = TypeVar("Position", bound=tuple[object, ...])


class Point(NamedTuple):
    """A value on both axes, its interval on the vertical one, and what hovering says."""

    x: float
    y: float
    says: str = ""
    low: float | None = None
    high: float | None = None


class Dot(NamedTuple):
    """A mark, in per cent; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    role: str
    says: str
    low: float | None
    high: float | None


class Path(NamedTuple):
    """A line or an area in a square of 100 by 100."""

    drawn: str
    role: str


class Rule(NamedTuple):
    """A level that the figure is read against."""

    at: float
    label: str


class Legend(NamedTuple):
    """What a colour stands for."""

    role: str
    text: str


@dataclass(frozen=True)
class Plot:
    """A figure with two axes."""

    title: str
    caption: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Path, ...] = ()
    areas: tuple[Path, ...] = ()
    dots: tuple[Dot, ...] = ()
    rules: tuple[Rule, ...] = ()
    legend: tuple[Legend, ...] = ()
    shape: str = "wide"

    @property
    def margin(self) -> str:
        """How much room the labels of the vertical axis need."""
        longest = max((len(tick.label) for tick in self.y_ticks), default=0)
        return "narrow" if longest <= 4 else "middle" if longest <= 7 else "broad"


class Interval(NamedTuple):
    """One row's mark and its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    role: str = "model"


class Bar(NamedTuple):
    """One row of a forest: a name, where its mark and interval lie in per cent, and the figure in words."""

    name: str
    detail: str
    at: float | None
    low: float | None
    high: float | None
    role: str
    shown: str


@dataclass(frozen=True)
class Forest:
    """Rows of names, marks with intervals on one axis, and figures: what is read across and down."""

    title: str
    caption: str
    axis: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero: float | None = None
    more: tuple[Bar, ...] = ()
    unshown: int = 0


class Entry(NamedTuple):
    """What a row of a forest is made of."""

    name: str
    detail: str
    mark: Interval
    shown: str


def forest(
    title: str,
    caption: str,
    axis: str,
    entries: Sequence[Entry],
    zero: bool = False,
    first: int = 12,
    width: float = 240.0,
) -> Forest:
    """Lay the entries on one axis, which includes 0 where `zero` is asked for; those after `first` fold away.

    EntryKind after the 48th are counted only. `width` is that of the narrowest axis, in CSS pixels.
    """
    shown = entries[:MOST_BARS]
    ends = [end for entry in shown for end in entry.mark[:3] if isinstance(end, float)]
    drawn = scale([*ends, 0.0] if zero else ends)
    bars, ticks = tuple(_bar(drawn, entry) for entry in shown), apart(drawn.ticks(4), width)
    at_zero, unshown = drawn.place(0.0) if zero else None, len(entries) - len(shown)
    return Forest(title, caption, axis, bars[:first], ticks, at_zero, bars[first:], unshown)


def _bar(axis: Scale, entry: Entry) -> Bar:
    places = [None if end is None or math.isnan(end) else axis.place(end) for end in entry.mark[:3]]
    return Bar(entry.name, entry.detail, places[0], places[1], places[2], entry.mark.role, entry.shown)


@dataclass(frozen=True)
class Axes:
    """The two axes of a plot; the vertical one points up."""

    x: Scale
    y: Scale

    def dots(self, points: Sequence[Point], role: str) -> tuple[Dot, ...]:
        """Return the marks of the points, thinned evenly where there are too many to tell apart."""
        return tuple(
            Dot(self.x.place(p.x), self.up(p.y), role, p.says, self._end(p.low), self._end(p.high))
            for p in thinned([p for p in points if not math.isnan(p.x) and not math.isnan(p.y)])
        )

    def line(self, points: Sequence[tuple[float, float]], role: str) -> Path:
        """Return a line through the points, but those of which a place is not known."""
        drawn = [(x, y) for x, y in points if not math.isnan(x) and not math.isnan(y)]
        return Path("M" + "L".join(f"{self.x.place(x):g} {self.up(y):g}" for x, y in thinned(drawn)), role)

    def area(self, upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], role: str) -> Path:
        """Return the area between two lines."""
        return Path(f"{self.line([*upper, *reversed(lower)], role).drawn}Z", role)

    def up(self, value: float) -> float:
        """Return how far below the top a value of the vertical axis lies."""
        return round(100.0 - self.y.place(value), 3)

    def rule(self, value: float, label: str) -> Rule:
        """Return a level across the figure."""
        return Rule(self.up(value), label)

    def y_ticks(self, about: int = 4) -> tuple[Tick, ...]:
        """Return the marks of the vertical axis."""
        return tuple(Tick(round(100.0 - tick.at, 3), tick.label) for tick in self.y.ticks(about))

    def _end(self, value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else self.up(value)


def thinned(points: Sequence[Position]) -> list[Position]:
    """Return at most 400 of the points, evenly, the last one among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[at * last // (MOST_POINTS - 1)] for at in range(MOST_POINTS)]
