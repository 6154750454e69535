"""Terms whose levels have no order: a forest of levels, and a map of the cells of a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from batchlearn.formatting.numbers import count, decimals, fixed, plain
from batchlearn.report.figures.plots import Entry, Forest, Interval, forest
from batchlearn.report.figures.scales import NARROWEST_LANE, NARROWEST_PLOT, Tick, apart
from batchlearn.report.terms.effects import Effects
from batchlearn.report.values import short

_MOST_LEVELS_AT_FIRST = 8
_MOST_WORDS = 40
MOST_CELLS = 900
_SHADES = 4
_MOST_LABELS, _LONGEST_DOWN, _LONGEST_ACROSS = 12, 11, 9


class Cell(NamedTuple):
    """One cell of a pair, in per cent; `shade` runs from -4 to 4."""

    x: float
    y: float
    width: float
    height: float
    shade: int
    says: str


@dataclass(frozen=True)
class Heatmap:
    """A pair of columns: one cell for each pair of their levels; `shades` says what effect a shade stands for."""

    title: str
    caption: str
    cells: tuple[Cell, ...]
    first: tuple[Tick, ...]
    second: tuple[Tick, ...]
    axes: tuple[str, str]
    shades: tuple[tuple[int, str], ...]
    is_upright: bool  # the labels below: they stand where they have no room side by side


def levels(effects: Effects) -> Forest:
    """List the levels of a term by the size of their effects, each with its interval; of most account at first."""
    size, few = len(effects.effect), effects.has_few
    order = sorted(range(size), key=lambda at: -effects.effect[at])
    weight = effects.rows or (1.0,) * size
    middle = median(effects.effect)
    if effects.rows is not None:
        middle = sum(e / 2.0 * (w / sum(weight)) for e, w in zip(effects.effect, weight, strict=True)) * 2.0
    # What a level moves the rows by, all in all; without rows, how far it lies from the middle one.
    account = [math.sqrt(w) * abs(e / 2.0 - middle / 2.0) for e, w in zip(effects.effect, weight, strict=True)]
    first = sorted(range(size), key=lambda at: (few[at], -account[at]))[:_MOST_LEVELS_AT_FIRST]
    shown = [at for at in order if at in set(first)]
    shown += sorted((at for at in order if at not in set(first)), key=lambda at: few[at])
    places = decimals(min(effects.effect), max(effects.effect))
    entries = [
        Entry(
            effects.labels[at],
            "" if effects.rows is None else count(effects.rows[at], "row"),
            _interval(effects, at),
            fixed(effects.effect[at], places),
        )
        for at in shown
    ]
    caption, lane = _caption(effects, len(first)), NARROWEST_LANE
    return forest(effects.name, caption, "effect", entries, zero=True, first=len(first), width=lane)


def words(effects: Effects) -> Forest:
    """List the words of a text that move predictions most, from the highest effect to the lowest, with intervals."""
    size, rows = len(effects.effect), effects.rows
    # What a word moves the rows by, all in all: those without it are not moved.
    account = [abs(e) * (1.0 if rows is None else math.sqrt(rows[at])) for at, e in enumerate(effects.effect)]
    first = sorted(range(size), key=lambda at: -account[at])[:_MOST_WORDS]
    shown = [
        *sorted(first[:_MOST_LEVELS_AT_FIRST], key=lambda at: -effects.effect[at]),
        *sorted(first[_MOST_LEVELS_AT_FIRST:], key=lambda at: -effects.effect[at]),
    ]
    places = decimals(min(effects.effect), max(effects.effect))
    entries = [
        Entry(
            effects.labels[at],
            "" if rows is None else count(rows[at], "row"),
            _interval(effects, at),
            fixed(effects.effect[at], places),
        )
        for at in shown
    ]
    largest = "have the largest effects" if rows is None else "move most rows furthest"
    few = f"The {len(first)} of {size:,} words and pairs that {largest}. " if size > len(first) else ""
    caption = f"{few}Against texts without the word."
    lane, at_first = NARROWEST_LANE, min(_MOST_LEVELS_AT_FIRST, size)
    return forest(effects.name, caption, "effect", entries, zero=True, first=at_first, width=lane)


def _interval(effects: Effects, at: int) -> Interval:
    low, high = effects.interval(at) or (None, None)
    return Interval(effects.effect[at], low, high, "other" if effects.has_few[at] else "model")


def _caption(effects: Effects, first: int) -> str:
    size, few = len(effects.effect), sum(effects.has_few)
    said = []
    if size > first and effects.rows is None:
        said.append(f"The {first} of {size} levels furthest from the middle one.")
    elif size > first:
        said.append(f"The {first} of {size} levels that move most rows furthest.")
    if few:
        said.append("In grey: few rows.")
    return " ".join(said)


def heatmap(effects: Effects, first: Sequence[str], second: Sequence[str], axes: tuple[str, str]) -> Heatmap:
    """Draw a cell for each pair of levels, the darker the larger its effect; cells of few rows stay empty."""
    few = effects.has_few
    largest = max((abs(e) for e, lacks in zip(effects.effect, few, strict=True) if not lacks), default=0.0) or 1.0
    width, height = 100.0 / len(second), 100.0 / len(first)
    cells = tuple(
        Cell(
            round(width * (at % len(second)), 3),
            round(height * (at // len(second)), 3),
            round(width, 3),
            round(height, 3),
            0 if few[at] else round(_SHADES * (value / largest)),
            effects.says(at),
        )
        for at, value in enumerate(effects.effect)
    )
    below = _marks(second, width, len(second), _LONGEST_ACROSS)
    is_upright = len(apart(below, NARROWEST_PLOT)) < len(below)
    said = "What the two add together, beyond what each adds by itself."
    return Heatmap(
        effects.name,
        f"{said} Cells of few rows are left blank." if any(few) else said,
        cells,
        tuple(_marks(first, height, _MOST_LABELS, _LONGEST_DOWN)),
        tuple(_marks(second, width, _MOST_LABELS, _LONGEST_ACROSS) if is_upright else below),
        axes,
        tuple((shade, plain(largest * shade / _SHADES, 2)) for shade in (-4, -2, 0, 2, 4)),
        is_upright,
    )


def _marks(names: Sequence[str], size: float, most: int, longest: int) -> list[Tick]:
    step = max(1, math.ceil(len(names) / most))
    return [Tick(size * (at + 0.5), short(names[at], longest)) for at in range(0, len(names), step)]
