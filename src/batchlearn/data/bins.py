"""A number as it is, or in bins: a group of ordered levels, so that a linear model becomes an additive one.

Cut points come from the values' distribution. A value that alone holds as many rows as a bin would (an atom, such as
the zeros of an amount) gets a bin of its own; plain quantiles would put the same cut point again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.artifacts.checks import Checked
from batchlearn.errors import quoted
from batchlearn.formatting.numbers import MINUS
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind, floats

MISSING_BIN = "(missing)"

# Up to so many edges, and from so many rows on, comparing with each edge is several times faster than a search, whose
# branches are guessed wrongly.
_EDGES_COMPARED, _ROWS_COMPARED = 32, 1000


@dataclass(frozen=True)
class NumberTerm:
    """A number as (value - mean) / deviation; a missing value is the mean, with an indicator where training had any."""

    column: str
    mean: float
    deviation: Annotated[float, Checked(gt=0.0)]
    low: float  # range seen in training
    high: float
    # Of the training rows' weight; above 0 there is an indicator column.
    missing_share: Annotated[float, Checked(ge=0.0, lt=1.0)] = 0.0
    reads: ClassVar = (Kind.NUMBER, Kind.BOOLEAN)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"the range of {quoted(self.column)} ends before it begins: {self.low!r} to {self.high!r}")

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return 2 if self.missing_share > 0.0 else 1

    @property
    def names(self) -> tuple[str, ...]:
        """The column's name, and that of the indicator."""
        return (self.column, f"{self.column} = {MISSING_BIN}") if self.missing_share > 0.0 else (self.column,)

    @property
    def shift(self) -> tuple[float, ...]:
        """What is subtracted from each dense column."""
        return (self.mean, self.missing_share) if self.missing_share > 0.0 else (self.mean,)

    @property
    def scale(self) -> tuple[float, ...]:
        """What each dense column is divided by."""
        share = self.missing_share
        return (self.deviation, float(np.sqrt(share * (1.0 - share)))) if share > 0.0 else (self.deviation,)

    def encode(self, array: pa.Array, out: Floats) -> None:
        """Fill `out` (columns, rows) with values not yet shifted and scaled."""
        values = pc.cast(array, pa.float64()) if not pa.types.is_float64(array.type) else array
        out[0] = pc.fill_null(values, self.mean).to_numpy(zero_copy_only=False)
        if self.missing_share > 0.0:
            out[1] = pc.is_null(array).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class BinTerm:
    """A number in bins: (-inf, edge_0], (edge_0, edge_1], ..., (edge_last, inf), and one more where it is missing."""

    kind: Literal["bins"] = field(default="bins", kw_only=True)
    column: str
    edges: Annotated[tuple[float, ...], Checked(min_length=1, max_length=4096)]  # ascending
    low: float  # range seen in training
    high: float
    missing: bool = False
    reads: ClassVar = (Kind.NUMBER, Kind.BOOLEAN)

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"the edges of {quoted(self.column)} do not ascend")
        if self.low > self.high:
            raise ValueError(f"the range of {quoted(self.column)} ends before it begins: {self.low!r} to {self.high!r}")

    @property
    def key(self) -> str:
        """What it is called wherever terms are listed."""
        return self.column

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return self.ordered + self.missing

    @property
    def columns(self) -> tuple[str, ...]:
        """The column it reads."""
        return (self.column,)

    @property
    def ordered(self) -> int:
        """How many of its coefficients are neighbours of each other: all but the one for missing."""
        return len(self.edges) + 1

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        shown = self._shown
        inner = [f"{a} < {self.column} <= {b}" for a, b in pairwise(shown)]
        names = (f"{self.column} <= {shown[0]}", *inner, f"{self.column} > {shown[-1]}")
        return (*names, f"{self.column} = {MISSING_BIN}") if self.missing else names

    @property
    def labels(self) -> tuple[str, ...]:
        """The upper end of each bin, of the last one the lower: where it lies on an axis."""
        ends = [f"{MINUS}{text[1:]}" if text.startswith("-") else text for text in self._shown]
        return (*(f"\u2264 {end}" for end in ends), f"> {ends[-1]}", *[MISSING_BIN] * self.missing)

    @cached_property
    def _shown(self) -> list[str]:
        for digits in (6, 9, 12, 17):
            shown = [f"{edge:.{digits}g}" for edge in self.edges]
            if len(set(shown)) == len(shown):
                break
        return shown

    def encode(self, array: pa.Array) -> NDArray[np.intp]:
        """Return the codes of the rows; a missing value that training never met has no level."""
        numbers = floats(array)
        codes = _edges_below(np.asarray(self.edges), numbers)
        codes[np.isnan(numbers)] = self.ordered
        return codes


def _edges_below(edges: Floats, numbers: Floats) -> NDArray[np.intp]:
    """Return how many of the ascending edges are below each number, (rows,)."""
    if len(edges) > _EDGES_COMPARED or len(numbers) < _ROWS_COMPARED:
        return np.asarray(np.searchsorted(edges, numbers, side="left"), dtype=np.intp)
    below = np.zeros(len(numbers), dtype=np.uint8)
    for edge in edges:
        below += numbers > edge
    return below.astype(np.intp)


def cut_points(values: Floats, bins: int) -> tuple[float, ...]:
    """Return at most `bins` - 1 ascending edges between the values, shape (n,), without NaN.

    Each edge lies half-way between two values that occur, or on the lower one where no float lies between: every value
    is on the side where it was counted.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        return ()
    if len(distinct) <= bins:
        last = np.arange(len(distinct) - 1)
    else:
        atom = counts >= len(values) / bins
        room = max(bins - int(atom.sum()), 1)
        share = float(counts[~atom].sum()) / room
        last, upto = _ends(counts, atom, share), np.cumsum(counts)
        # What lies between atoms makes more bins than asked for: the smallest neighbours merge.
        while len(last) >= bins:
            held = np.diff(upto[last], prepend=0, append=upto[-1])
            last = np.delete(last, int(np.argmin(held[:-1] + held[1:])))
    middle = 0.5 * distinct[last] + 0.5 * distinct[last + 1]
    # Half-way between neighbouring floats rounds to one of them: the lower one keeps the two apart.
    middle = np.where(middle >= distinct[last + 1], distinct[last], middle)
    return tuple(float(edge) for edge in middle)


def _ends(counts: NDArray[np.intp], atom: NDArray[np.bool_], share: float) -> NDArray[np.intp]:
    """Return the positions of the last value of each bin but the highest."""
    ends, position, upto = [], 0, np.cumsum(counts)
    atoms = np.append(np.flatnonzero(atom), len(counts))
    while position < len(counts) - 1:
        if not atom[position]:
            before = upto[position - 1] if position else 0
            # Where the bin is full, or an atom comes next.
            position = min(int(np.searchsorted(upto, before + share)), int(atoms[np.searchsorted(atoms, position)]) - 1)
        ends.append(position)
        position += 1
    ends = [end for end in ends if end < len(counts) - 1]
    return np.asarray(ends, dtype=np.intp)
