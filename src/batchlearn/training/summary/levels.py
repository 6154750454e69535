"""How many rows each level of a term has, and what their labels say: one look at the codes of the encoded rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding, PairTerm
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.target import Target, class_name
from batchlearn.kernels.design import Floats

# A level tells the label where nearly all of its rows have one class, where that is not the class of most rows anyway
# (half of them are many, so it takes more), and where the rows are too many for chance.
NEARLY_ALL, MOST = 0.99, 2.0 / 3.0
FEWEST_ROWS, FEWEST_SHARE = 50, 0.001
_MOST_LEAKING = 5


class LevelCounts(NamedTuple):
    """Of one group of levels, the last entry for the rows that meet no coefficient."""

    rows: NDArray[np.intp]  # (levels + 1,)
    labels: Floats  # (levels + 1, classes): rows of each class; (levels + 1, 1): sums of the labels that are numbers


class LeakingLevel(NamedTuple):
    """A level whose rows nearly all have one class."""

    level: str
    rows: int
    label: str
    share: float  # of its rows
    share_of_all: float  # of all rows

    def to_json(self) -> dict[str, Any]:
        """Return the level as plain values."""
        plain = self._asdict()
        return {"class": plain.pop("label"), **plain}


@dataclass(frozen=True)
class _LevelTotal:
    """The counts of all groups, one after the other."""

    classes: int
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> LevelCounts:  # noqa: ARG002 - every statistic is called alike
        width, rows, labels = max(self.classes, 1), list[NDArray[np.intp]](), list[Floats]()
        for own, levels in zip(chunk.block.codes, chunk.layout.groups, strict=True):
            codes, size = own.astype(np.intp), levels + 1
            rows.append(np.bincount(codes, minlength=size))
            if self.classes:
                counts = np.bincount(codes * width + chunk.label.astype(np.intp), minlength=size * width)
            else:
                counts = np.bincount(codes, chunk.label, size)
            labels.append(counts.astype(np.float64).reshape(size, width))
        return LevelCounts(np.concatenate(rows), np.concatenate(labels))


def count_levels(rows: Rows, encoding: Encoding, target: Target) -> dict[str, LevelCounts]:
    """Return the counts of every group of levels by its name."""
    if not encoding.groups:
        return {}
    counts = rows.levels_only().total(_LevelTotal(len(target.classes)), np.empty(0))
    ends = np.cumsum([levels + 1 for levels in rows.layout.groups])[:-1]
    parts = zip(encoding.groups, np.split(counts.rows, ends), np.split(counts.labels, ends), strict=True)
    return {group.key: LevelCounts(number, labels) for group, number, labels in parts}


def leaking_levels(
    encoding: Encoding, counts: Mapping[str, LevelCounts], target: Target
) -> dict[str, tuple[LeakingLevel, ...]]:
    """Return by column the levels that all but determine the class, those of most rows first."""
    if not target.classes:
        return {}
    found: dict[str, tuple[LeakingLevel, ...]] = {}
    for group in encoding.groups:
        if isinstance(group, PairTerm):
            continue
        rows, labels = counts[group.key]
        total = max(int(rows.sum()), 1)
        common = labels.sum(axis=0) / total
        likeliest = labels.argmax(axis=1)
        share = labels.max(axis=1) / np.maximum(rows, 1)
        enough = rows >= max(FEWEST_ROWS, FEWEST_SHARE * total)
        clear = enough & (share >= NEARLY_ALL) & (common[likeliest] < MOST)
        order = [int(k) for k in np.argsort(-rows, kind="stable") if clear[k] and k < len(group.names)]
        levels = tuple(
            LeakingLevel(
                level=group.names[k],
                rows=int(rows[k]),
                label=class_name(target.classes[int(likeliest[k])]),
                share=float(share[k]),
                share_of_all=float(common[likeliest[k]]),
            )
            for k in order[:_MOST_LEAKING]
        )
        if levels:
            found[group.column] = levels
    return found
