"""The effects of one term as the result has them, and which of its levels have rows enough to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from batchlearn.report.scales import Scale, scale
from batchlearn.report.values import number, numbers, text, texts
from batchlearn.words.numbers import MINUS, count, plain

_Z = 1.96
_OF_CLASS = " (class "
# A level of fewer rows, or of a smaller share of them, says little: it is drawn in grey and moves no axis.
FEWEST_ROWS, FEWEST_SHARE = 20, 0.0005


class Effects(NamedTuple):
    """One term: an effect for each level with its error and its rows, as far as they are known."""

    name: str
    names: tuple[str, ...]
    effect: tuple[float, ...]
    error: tuple[float, ...] | None
    edges: tuple[float, ...]
    low: float | None
    high: float | None
    rows: tuple[float, ...] | None

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

    @property
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
        if len(self.effect) == 1 and self.effect[0] != 0.0:
            return "predictions rise with it" if self.effect[0] > 0.0 else "predictions fall as it rises"
        if len(shown) < 2:
            return None
        highest, lowest = (pick(shown, key=self.effect.__getitem__) for pick in (max, min))
        said = (f"{self.names[at]} ({plain(self.effect[at], 2)})" for at in (highest, lowest))
        return "highest where {}, lowest where {}".format(*said)

    @property
    def vertical(self) -> Scale:
        """The axis of the effects: of the levels that have rows enough."""
        shown = [at for at, few in enumerate(self.has_few) if not few]
        ends = [end for at in shown for end in self.interval(at) or ()]
        return scale([*(self.effect[at] for at in shown), *ends, 0.0])


def effects_of(given: Mapping[str, Any]) -> Effects | None:
    """Return the effects of a term, or None where it has none."""
    effect = numbers(given.get("effect"))
    if not effect:
        return None
    names = texts(given.get("names"))
    error, rows = numbers(given.get("standard_error")), numbers(given.get("rows"))
    return Effects(
        text(given.get("column")) or "?",
        tuple(names if len(names) == len(effect) else [f"level {at + 1}" for at in range(len(effect))]),
        tuple(effect),
        tuple(error) if len(error) == len(effect) else None,
        tuple(numbers(given.get("edges"))),
        number(given.get("low")),
        number(given.get("high")),
        tuple(rows) if len(rows) == len(effect) and min(rows) >= 0.0 < sum(rows) < 1e15 else None,
    )


def column_of(name: str) -> str:
    """Return the name of a term without the class that it is of."""
    return name.rpartition(_OF_CLASS)[0] or name


def last_word(name: str, most: int = 9) -> str:
    """Return the level of a name, short enough for an axis: of a bin, the upper end says where it lies."""
    shown = name.rpartition(" = ")[2] or name
    shown = f"\u2264 {shown.rpartition(' <= ')[2]}" if " <= " in shown else shown
    shown = f"> {shown.rpartition(' > ')[2]}" if " > " in shown else shown
    shown = shown.replace(" -", f" {MINUS}")
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
