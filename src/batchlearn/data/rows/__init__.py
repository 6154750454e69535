"""Rows: the encoded rows of one data set as all that learns from them sees them, wherever they are kept.

Everything a batch learner needs from its data is a sum over rows, so there is one way to read the full batch:
`rows.total(statistic, parameters)`. What each row has for itself comes from `rows.map_rows`, and what reads rows in an
order of its own gets them from `rows.stretches`. Where chunks begin and end, nobody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Block, Floats, Layout

Totals = TypeVar("Totals", bound=tuple[Any, ...])
Totals_co = TypeVar("Totals_co", bound=tuple[Any, ...], covariant=True)
Values = TypeVar("Values", bound=NDArray[Any])
State = TypeVar("State")


class Chunk(NamedTuple):
    """Some rows as a statistic sees them; labels, weights and offsets have one entry a row, in float64."""

    layout: Layout
    block: Block
    label: Floats
    weight: Floats
    offset: Floats | float  # 0.0 where no offset was given


class Statistic(Protocol[Totals_co]):
    """What is computed from one chunk at given parameters, and how two chunks' answers are put together."""

    combine: ClassVar[tuple[Any, ...]]  # one ufunc for each field of the totals, whose arrays are nobody else's

    def __call__(self, chunk: Chunk, parameters: Floats) -> Totals_co:
        """Return this chunk's totals."""
        ...


class Rows(Protocol):
    """All rows of one data set, encoded. What is returned as rows shares memory with these where it can."""

    @property
    def layout(self) -> Layout:
        """Where each coefficient of a row stands."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the values that were read; None where none was taken, or for some of the rows."""
        ...

    @property
    def threads(self) -> int:
        """How many chunks are read at a time."""
        ...

    def __len__(self) -> int: ...

    @property
    def total_weight(self) -> float:
        """The sum of the row weights; the number of rows where none were given."""
        ...

    @property
    def squared_weight(self) -> float:
        """The sum of the squared row weights."""
        ...

    @property
    def has_offset(self) -> bool:
        """Whether the rows carry offsets."""
        ...

    @property
    def chunk_count(self) -> int:
        """How many chunks one reading goes through."""
        ...

    @property
    def additions(self) -> int:
        """The additions that a term of a total goes through, at most: those in its chunk and those of the chunks."""
        ...

    @property
    def stored_entries(self) -> int:
        """EntryKind of the sparse part."""
        ...

    @property
    def stored_bytes(self) -> int:
        """Bytes of the rows as they are kept, without the sparse part."""
        ...

    def total(self, statistic: Statistic[Totals], parameters: Floats) -> Totals:
        """Read every row once and return the totals of the statistic, added in the order of the chunks."""
        ...

    def map_rows(self, values: Callable[[Chunk, Floats], Values], parameters: Floats) -> Values:
        """Read every row once and return what `values` says of each, (..., rows), from (..., m) of a chunk."""
        ...

    def counted(self) -> NDArray[np.intp]:
        """Return the numbers of the rows of a weight above 0, in order."""
        ...

    def sample(self, seed: Sequence[int], count: int) -> Rows:
        """Return so many of the rows that count, drawn without replacement, in their order."""
        ...

    def stretches(self, order: NDArray[np.intp], length: int) -> Iterator[Rows]:
        """Yield the rows of these numbers in this order, so many at a time, each stretch as one chunk."""
        ...

    def walk(
        self, order: NDArray[np.intp], length: int, step: Step[State], state: State
    ) -> Iterator[tuple[State, int]]:
        """Go through the rows of these numbers in this order, so many at a time, a step for each stretch.

        Yields the state after a step and the rows so far; rows that keep a journal yield once for the steps it knows.
        """
        ...

    def together(self) -> Chunk:
        """Return all rows as one chunk."""
        ...

    def thin(self, step: int) -> Rows:
        """Return every so many-th row of each chunk; all for a step of one."""
        ...

    def of_chunks(self, which: slice) -> Rows:
        """Return the rows of some of the chunks."""
        ...

    def deduplicate(self) -> Rows:
        """Return rows that repeat each other as one of their added weight; these rows where few do.

        Sums over rows are the same but for rounding, and cost as much less: for the way to an optimum, not for what is
        said about each row.
        """
        ...

    def intercept_only(self) -> Rows:
        """Return the same rows without any feature."""
        ...

    def levels_only(self) -> Rows:
        """Return the same rows with no features but their levels."""
        ...

    def with_offset(self, offset: Floats) -> Rows:
        """Return the same rows with other offsets, shape (rows,)."""
        ...


# From the rows of a stretch and the state before to the state after.
Step: TypeAlias = Callable[[Rows, State], State]


def stored_codes(rows: Rows) -> NDArray[np.integer[Any]]:
    """Return the code of each row's level in each group, (groups, rows), in as few bytes as it is kept in."""
    return rows.levels_only().map_rows(lambda chunk, _: chunk.block.codes, np.empty(0))


def level_codes(rows: Rows) -> NDArray[np.intp]:
    """Return the same to be reckoned with."""
    return stored_codes(rows).astype(np.intp)
