"""What the model has learned: one figure for each term, those that move most rows' predictions most first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchlearn.formatting.numbers import size_said
from batchlearn.models.shapes import Shape
from batchlearn.report.figures.plots import Forest, Plot
from batchlearn.report.terms.curves import calendar, steps, straight
from batchlearn.report.terms.effects import Effects, effects_of
from batchlearn.report.terms.levels import MOST_CELLS, Heatmap, heatmap, levels, words
from batchlearn.report.values import short

# A term that moves predictions by less than this share of what the largest does is named and not drawn.
_FLAT = 0.02


@dataclass(frozen=True)
class Drawn:
    """One term as a figure; `deviation` is None where the rows of its levels are not known."""

    name: str
    term: str  # the name without the class that it is of
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


def drawn(shapes: Iterable[Shape]) -> list[Drawn]:
    """Return the terms of the model, those that move predictions most first."""
    found = [_drawn(shape) for shape in shapes if len(shape.effect)]
    if any(one.deviation is None for one in found):
        return sorted(found, key=lambda one: -one.spread)
    return sorted(found, key=lambda one: (-one.size, -one.spread))


def flat_from(found: Sequence[Drawn]) -> int:
    """Return the place of the first of the terms, in order, that moves predictions hardly at all."""
    if not found or found[0].deviation is None:
        return len(found)
    return next((at for at, one in enumerate(found) if one.size < _FLAT * found[0].size), len(found))


def by_term(found: Iterable[Drawn]) -> list[tuple[str, float]]:
    """Return the terms by name with their sizes, of those that each class has one of the largest."""
    largest: dict[str, float] = {}
    for one in found:
        largest.setdefault(one.term, one.size)
    return list(largest.items())


def _drawn(shape: Shape) -> Drawn:
    effects = effects_of(shape)
    figure = _figure(shape, effects)
    ends = effects.direction if shape.kind == "number" else effects.ends
    return Drawn(shape.name, shape.term, shape.kind, shape.spread, shape.deviation, figure, ends)


def _figure(shape: Shape, effects: Effects) -> Plot | Forest | Heatmap:
    known_range = effects.low is not None and effects.high is not None and effects.low < effects.high
    if shape.kind == "number" and len(effects.effect) <= 2 and known_range:
        return straight(effects)
    if shape.kind == "bins" and known_range and effects.edges:
        return steps(effects)
    if shape.kind == "calendar" and len(effects.effect) > 1:
        return calendar(effects)
    if shape.kind == "text":
        return words(effects)
    if shape.pair is not None and len(effects.effect) <= MOST_CELLS:
        (first, down), (second, across) = shape.pair
        return heatmap(effects, [*map(short, down)], [*map(short, across)], (short(first), short(second)))
    return levels(effects)


def flat_said(found: Sequence[Drawn]) -> str:
    """Name the terms that are not drawn because they move predictions hardly at all."""
    names = [short(one.name) for one in found]
    return f"{', '.join(names)} ({found[0].shown} or less)" if found else ""
