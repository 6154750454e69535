"""The effects of one term as figures need them: each with its interval, its rows and what hovering says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from batchlearn.formatting.numbers import count, plain
from batchlearn.models.shapes import Shape
from batchlearn.report.figures.scales import Scale, scale
from batchlearn.report.values import short

_Z = 1.96
# A level of fewer rows, or of a smaller share of them, says little: it is drawn in grey and moves no axis.
FEWEST_ROWS, FEWEST_SHARE = 20, 0.0005


@dataclass(frozen=True)
class Effects:
    """One term: an effect for each level with its error and its rows, as far as they are known."""

    name: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    effect: tuple[float, ...]
    error: tuple[float, ...] | None
    edges: tuple[float, ...]
    low: float | None
    high: float | None
    rows: tuple[int, ...] | None

    def interval(self, at: int) -> tuple[float, float] | None:
        """The 95 % interval of one effect."""
        if self.error is None:
            return None
        return self.effect[at] - _Z * self.error[at], self.effect[at] + _Z * self.error[at]

    def says(self, at: int) -> str:
        """What hovering over one effect says."""
        ends = self.interval(at)
        between = "" if ends is None else f" ({plain(ends[0])} to {plain(ends[1])})"
        rows = "" if self.rows is None else f", {count(self.rows[at], 'row')}"
        return f"{self.names[at]}: {plain(self.effect[at])}{between}{rows}"

    @cached_property
    def has_few(self) -> tuple[bool, ...]:
        """Whether each level has too few rows to be looked at; none has where rows are not known."""
        if self.rows is None:
            return (False,) * len(self.effect)
        fewest = max(FEWEST_ROWS, FEWEST_SHARE * sum(self.rows))
        few = tuple(one < fewest for one in self.rows)
        return few if not all(few) else (False,) * len(few)

    @property
    def ends(self) -> str | None:
        """Where the effect is highest and lowest, of the levels that have rows enough; None where nothing is said."""
        shown = [at for at, few in enumerate(self.has_few) if not few]
        if len(shown) < 2:
            return None
        highest, lowest = (pick(shown, key=self.effect.__getitem__) for pick in (max, min))
        said = (f"{self.names[at]} ({plain(self.effect[at], 2)})" for at in (highest, lowest))
        return "highest where {}, lowest where {}".format(*said)

    @property
    def direction(self) -> str | None:
        """Which way predictions go as a number rises: its first effect is a slope, and no level to be compared."""
        if self.effect[0] == 0.0:
            return None
        return "predictions rise with it" if self.effect[0] > 0.0 else "predictions fall as it rises"

    @property
    def vertical(self) -> Scale:
        """The axis of the effects: of the levels that have rows enough."""
        shown = [at for at, few in enumerate(self.has_few) if not few]
        ends = [end for at in shown for end in self.interval(at) or ()]
        return scale([*(self.effect[at] for at in shown), *ends, 0.0])


def effects_of(shape: Shape) -> Effects:
    """Return the effects of a term as Python's own numbers, which overflow without a word where NumPy's warn."""
    return Effects(
        short(shape.name),
        tuple(map(short, shape.names)),
        tuple(map(short, shape.labels)),
        tuple(map(float, shape.effect)),
        None if shape.standard_error is None else tuple(map(float, shape.standard_error)),
        shape.edges or (),
        shape.low,
        shape.high,
        shape.rows if shape.rows and sum(shape.rows) else None,
    )
