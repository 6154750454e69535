"""Arrays with one entry a row, filled batch by batch: how many rows there are is known at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import floats


class RowArray:
    """Takes in the entries of some rows after another, in one array that doubles: a list of parts would be there twice.

    What has not been filled yet is not touched and takes no memory.
    """

    def __init__(self) -> None:
        self._filled, self._values = 0, np.empty(0)

    def add(self, part: NDArray[Any]) -> None:
        """Take in what the next rows have, (rows, ...), in the type and shape of the first."""
        end = self._filled + len(part)
        if end > len(self._values):
            before = self.all
            self._values = np.empty((max(end, 2 * self._filled), *part.shape[1:]), dtype=part.dtype)
            if self._filled:
                self._values[: self._filled] = before
        self._values[self._filled : end] = part
        self._filled = end

    @property
    def all(self) -> NDArray[Any]:
        """The entries of all rows so far."""
        return self._values[: self._filled]


class Groups:
    """Takes in the values of a column of groups; gives each group a code, in the order of the values."""

    def __init__(self) -> None:
        self._codes, self._known, self._type = RowArray(), dict[Any, int](), pa.null()

    def add(self, column: pa.Array) -> None:
        """Take in what the next rows have."""
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        encoded, self._type = plain.dictionary_encode(), plain.type
        own = [self._known.setdefault(value, len(self._known)) for value in encoded.dictionary.to_pylist()]
        codes = encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
        self._codes.add(np.asarray([*own, -1], dtype=np.intp)[codes])

    @property
    def codes(self) -> NDArray[np.intp]:
        """The code of each row's group, -1 where it is missing."""
        place = np.full(len(self._known) + 1, -1, dtype=np.intp)
        order = pc.sort_indices(pa.array(list(self._known), self._type)).to_numpy()
        place[order] = np.arange(len(order))
        codes: NDArray[np.intp] = place[self._codes.all]
        return codes


def moments(column: pa.Array) -> Floats:
    """Return times as numbers, NaN where missing: microseconds since 1970 of timestamps, numbers as they are."""
    if pa.types.is_timestamp(column.type):
        # Beyond 285 years from 1970 floats have no single microseconds any more: order is kept, near times become one.
        column = pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False)
    return floats(column)
