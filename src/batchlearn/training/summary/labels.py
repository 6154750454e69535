"""What the labels are in the rows of a split, and whether the row just before gives them away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger
from batchlearn.data.split import Split, SplitKind, by_time
from batchlearn.data.target import class_name
from batchlearn.formatting.names import how_split
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Table

# The first and the last time of some rows: numbers, or texts where the column holds timestamps.
Ends = tuple[float | str, float | str]
# Fewer pairs of neighbours say nothing of how alike neighbours are.
_FEWEST_PAIRS = 100


@dataclass(frozen=True)
class LabelSummary:
    """Labels of some rows: class shares, or mean and range of numbers; nothing of these where there is no row."""

    rows: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    shares: Mapping[str, float] | None = None


@dataclass(frozen=True)
class SplitSummary:
    """How the rows that judge were told from those that were learned from: of a split by time, when each part was."""

    by: SplitKind
    early: int
    late: int
    one_time: bool = False  # by chance, because all rows have the same time
    earlier: Ends | None = None
    later: Ends | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values, the four times side by side."""
        how = how_split(self.by, self.one_time)
        plain = {"by": self.by.value, "how": how, "early": self.early, "late": self.late}
        if self.earlier is None or self.later is None:
            return plain
        return {**plain, **dict(zip(("first", "until", "from", "last"), (*self.earlier, *self.later), strict=True))}


@dataclass(frozen=True)
class NeighbourSummary:
    """How alike the labels of neighbours in time are: all, those of one time, and those of different times."""

    measure: str  # "share" of rows with the label of the row before, or "correlation" with it
    tied: float  # share of rows that have the time of the row before
    by_chance: float
    alike: float | None
    alike_tied: float | None
    alike_untied: float | None


def part_labels(ledger: Ledger, split: Split) -> dict[str, LabelSummary]:
    """Return what the labels are in all rows, and in those of each part where rows were held out."""
    parts = {"all": ledger.used}
    if split.late is not None:
        parts |= {"early": split.early, "late": split.late & ledger.used}
    return {name: summarise_labels(ledger, part) for name, part in parts.items()}


def summarise_labels(ledger: Ledger, part: NDArray[np.bool_]) -> LabelSummary:
    """Return rows, mean, range and class shares of the labels of a part, each row counted by its weight."""
    label = ledger.label[part]
    weight = None if ledger.weight is None else ledger.weight[part]
    if not len(label):
        return LabelSummary(0)
    classes = ledger.target.classes
    if classes:
        held = np.bincount(label.astype(np.intp), weight, len(classes))
        names = [class_name(one) for one in classes]
        return LabelSummary(len(label), shares=dict(zip(names, (held / held.sum()).tolist(), strict=True)))
    mean = float(np.average(label, weights=weight))
    return LabelSummary(len(label), mean, float(label.min()), float(label.max()))


def summarise_split(table: Table, ledger: Ledger, split: Split) -> SplitSummary | None:
    """Return how the rows that judge were told from those that they were learned from; None where none were."""
    if split.late is None:
        return None
    late = split.late & ledger.used
    parts = split.kind, int(split.early.sum()), int(late.sum()), split.one_time
    if split.kind is not SplitKind.TIME or ledger.time is None or not late.any():
        return SplitSummary(*parts)
    stamps = table.column(table.roles.time or "").kind is Kind.TIMESTAMP
    times = ledger.time[split.early], ledger.time[late]
    said = moment_said if stamps else float
    return SplitSummary(*parts, *((said(float(at.min())), said(float(at.max()))) for at in times))


def moment_said(value: float) -> str:
    """Return a time, in microseconds since 1970, as text without the parts that are 0."""
    shown = str(np.datetime64(int(value), "us")).replace("T", " ")
    for nothing in (".000000", ":00", " 00:00"):
        shown = shown.removesuffix(nothing)
    return shown


def summarise_neighbours(ledger: Ledger) -> NeighbourSummary | None:
    """Return how alike the labels of neighbouring rows are in the order of time, among equal times and between them.

    Of classes the share of rows with the label of the row before, of numbers the correlation with it. None without a
    time, or where a group says which row comes before.
    """
    if ledger.time is None or ledger.group is not None:
        return None
    order = by_time(ledger.time, np.flatnonzero(ledger.used))
    label, tied = ledger.label[order], np.diff(ledger.time[order]) == 0.0
    if len(tied) < _FEWEST_PAIRS:
        return None
    classes = len(ledger.target.classes)
    shares = np.bincount(label.astype(np.intp), minlength=classes) / len(label) if classes else np.zeros(1)
    every = np.ones_like(tied)
    return NeighbourSummary(
        measure="share" if classes else "correlation",
        tied=float(tied.mean()),
        by_chance=float(shares @ shares),
        alike=_alike(label, every, classes),
        alike_tied=_alike(label, tied, classes),
        alike_untied=_alike(label, ~tied, classes),
    )


def _alike(label: NDArray[np.float64], chosen: NDArray[np.bool_], classes: int) -> float | None:
    """Return how alike the label of each chosen row and of the one before it are; None where they are too few."""
    if np.count_nonzero(chosen) < _FEWEST_PAIRS:
        return None
    if classes:
        return float(np.mean((label[:-1] == label[1:])[chosen]))
    before, after = label[:-1][chosen], label[1:][chosen]
    spread = float(np.std(before) * np.std(after))
    return float(np.mean((before - before.mean()) * (after - after.mean())) / spread) if spread > 0.0 else None
