"""What the model has learned: one figure for each term, those that move most rows' predictions most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchlearn.report.plots import Forest, Plot
from batchlearn.report.terms.curves import calendar, steps, straight
from batchlearn.report.terms.effects import Effects, column_of, effects_of
from batchlearn.report.terms.levels import Heatmap, heatmap, levels, pair_names
from batchlearn.report.values import number, records
from batchlearn.words.numbers import size_said

# A term that moves predictions by less than this share of what the largest does is named and not drawn.
_FLAT = 0.02


@dataclass(frozen=True)
class Shape:
    """One term: its name, kind, size and figure; `deviation` is None where the rows of its levels are not known."""

    name: str
    kind: str
    spread: float
    deviation: float | None
    figure: Plot | Forest | Heatmap
    ends: str | None = None  # where its effect is highest and lowest

    @property
    def shown(self) -> str:
        """The size in words."""
        return size_said(self.size)

    @property
    def size(self) -> float:
        """How much the term moves predictions: over the rows, or from its lowest to its highest effect."""
        return self.spread if self.deviation is None else self.deviation


def shapes(result: Mapping[str, Any]) -> list[Shape]:
    """Return the terms of the model, those that move predictions most first."""
    found = [shape for one in records(result.get("shapes")) if (shape := _shape(one)) is not None]
    if any(shape.deviation is None for shape in found):
        return sorted(found, key=lambda shape: -shape.spread)
    return sorted(found, key=lambda shape: (-shape.size, -shape.spread))


def flat_from(found: Sequence[Shape]) -> int:
    """Return the place of the first of the terms, in order, that moves predictions hardly at all."""
    if not found or found[0].deviation is None:
        return len(found)
    return next((at for at, one in enumerate(found) if one.size < _FLAT * found[0].size), len(found))


def by_column(found: Sequence[Shape]) -> list[tuple[str, float]]:
    """Return the terms by name with their sizes, of those that each class has one of the largest."""
    largest: dict[str, float] = {}
    for one in found:
        largest.setdefault(column_of(one.name), one.size)
    return list(largest.items())


def _shape(given: Mapping[str, Any]) -> Shape | None:
    effects = effects_of(given)
    if effects is None:
        return None
    kind, deviation = str(given.get("kind")), number(given.get("deviation"))
    size = None if deviation is None else abs(deviation)
    return Shape(effects.name, kind, _spread(given, effects), size, _figure(kind, given, effects), effects.ends)


def _figure(kind: str, given: Mapping[str, Any], effects: Effects) -> Plot | Forest | Heatmap:
    known_range = effects.low is not None and effects.high is not None and effects.low < effects.high
    if kind == "number" and len(effects.effect) <= 2 and known_range:
        return straight(effects)
    if kind == "bins" and known_range and 0 <= len(effects.effect) - len(effects.edges) - 1 <= 1 and effects.edges:
        return steps(effects)
    if kind == "calendar" and len(effects.effect) > 1:
        return calendar(effects)
    if kind == "pair" and (pair := pair_names(given, effects)) is not None:
        return heatmap(effects, *pair)
    return levels(effects)


def _spread(given: Mapping[str, Any], effects: Effects) -> float:
    """Return how far apart the effects lie: as given, or the largest minus the smallest."""
    told = number(given.get("spread"))
    if told is not None:
        return abs(told)
    if len(effects.effect) == 1 and effects.low is not None and effects.high is not None:
        return abs(effects.effect[0] * (effects.high - effects.low))
    return max(effects.effect) - min(effects.effect)


def flat_said(found: Sequence[Shape]) -> str:
    """Name the terms that are not drawn because they move predictions hardly at all."""
    names = [one.name for one in found]
    return f"{', '.join(names)} ({found[0].shown} or less)" if found else ""
