"""Bundles: a few groups of levels counted as one, whose cells are the combinations of their levels.

A sum over rows for each pair of bundles goes through the rows a few times less often than one for each pair of groups,
and what it says about the pairs of groups follows from so many cells instead of so many rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from math import isqrt, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Bundle(NamedTuple):
    """Some groups, each with its levels and "no level"."""

    groups: tuple[int, ...]
    levels: tuple[int, ...]
    cells: int
    indicator: Floats | None  # (cells, levels of all): which level of each group a cell has; None for one group alone

    def cell(self, codes: NDArray[np.integer[Any]], kind: type[np.integer[Any]] = np.intp) -> NDArray[Any]:
        """Return each row's cell, (m,), from the codes of all groups, (groups, m)."""
        first, *others = self.groups
        numbers: NDArray[Any] = codes[first].astype(kind)
        for group, levels in zip(others, self.levels[1:], strict=True):
            numbers *= levels + 1
            np.add(numbers, codes[group], out=numbers, casting="unsafe")
        return numbers

    def level_sums(self, tables: Floats) -> Floats:
        """Return the sums over the cells with each level, (..., levels of all), from those of the cells, (..., cells).

        Additions of zero round nothing: no term goes through more roundings than there are rows.
        """
        return tables[..., :-1] if self.indicator is None else tables @ self.indicator

    def cell_sums(self, values: Floats) -> Floats:
        """Return what the levels of each cell have together, (cells, ...), from what each has, (levels of all, ...)."""
        if self.indicator is None:
            return np.concatenate([values, np.zeros((1, *values.shape[1:]))])
        return np.asarray(self.indicator @ values)

    def cell_forms(self, matrix: Floats) -> Floats:
        """Return what the levels of each cell have two by two, (cells,), from what each two have, (levels, levels)."""
        if self.indicator is None:
            return np.append(np.diagonal(matrix), 0.0)
        return np.asarray(np.einsum("cl,cl->c", self.indicator @ matrix, self.indicator))

    def parts(self) -> Iterator[tuple[int, slice]]:
        """Yield each group and where its levels stand among those of all."""
        for group, stop, levels in zip(self.groups, accumulate(self.levels), self.levels, strict=True):
            yield group, slice(stop - levels, stop)


# Cells of a bundle whose sums are added up in one table for all bundles: it should stay small.
_CELLS_TOGETHER = 64
# Tables of so many cells cost less than what is done to make them, however few the rows.
_FEWEST_CELLS = 4096


@lru_cache(maxsize=64)
def _bundles(levels: tuple[int, ...], most: int) -> tuple[Bundle, ...]:
    found, waiting, cells = [], list[int](), 1
    for group in sorted(range(len(levels)), key=lambda g: levels[g]):
        if waiting and cells * (levels[group] + 1) > most:
            found.append(waiting)
            waiting, cells = [], 1
        waiting.append(group)
        cells *= levels[group] + 1
    found += [waiting] if waiting else []
    made = []
    for groups in found:
        own = tuple(levels[group] for group in groups)
        wide, indicator = [count + 1 for count in own], None
        if len(groups) > 1:
            places = np.indices(wide).reshape(len(own), -1)
            parts = [place[:, None] == np.arange(n) for place, n in zip(places, own, strict=True)]
            indicator = np.concatenate(parts, axis=1).astype(np.float64)
        made.append(Bundle(tuple(groups), own, prod(wide), indicator))
    return tuple(made)


def bundles(levels: tuple[int, ...], rows: int) -> tuple[Bundle, ...]:
    """Return the groups in bundles, such that the cells of two bundles together are fewer than the rows."""
    # To a power of two: chunks of many lengths share their bundles.
    return _bundles(levels, isqrt(max(1 << (rows // 2).bit_length(), _FEWEST_CELLS)))


def small_bundles(levels: tuple[int, ...]) -> tuple[Bundle, ...]:
    """Return the groups in bundles whose cells can all be told from each other in one table."""
    return _bundles(levels, _CELLS_TOGETHER)
