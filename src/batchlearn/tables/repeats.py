"""How many rows say exactly what an earlier row said, counted by a 64-bit hash of each row."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.tables.columns import Kind, kind_of

Hashes = NDArray[np.uint64]

# Odd constants of SplitMix64 (Steele, Lea and Flood 2014), whose output passes for independent bits.
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Texts whose hash is remembered: enough for the levels of most tables, and no memory for those of the others.
_MOST_TEXTS = 100_000
_MISSING = 0x6A09E667F3BCC909


class RepeatedRows:
    """Takes in canonical batches, as `Table.scan` gives them, and counts the rows that were there before.

    Two different rows have the same hash once in 2^64 pairs: among 10 million rows in one table of 400,000.
    """

    def __init__(self) -> None:
        self._hashes: list[Hashes] = []
        self._texts: dict[str, int] = {}

    def update(self, batch: pa.RecordBatch, more: NDArray[np.float64]) -> None:
        """Take in the next rows; `more`, shape (rows,), is one column that the batch lacks."""
        hashes = _mixed(more.view(np.uint64), _STEP)
        for place, column in enumerate(batch.columns):
            with np.errstate(over="ignore"):
                salt = np.uint64(place + 2) * _STEP
            hashes = _mixed(hashes ^ self._bits(column), salt)
        self._hashes.append(hashes)

    def count(self) -> int:
        """Return how many rows repeat an earlier one."""
        if not self._hashes:
            return 0
        hashes = np.concatenate(self._hashes)
        hashes.sort()
        return int(np.count_nonzero(hashes[1:] == hashes[:-1]))

    def _bits(self, column: pa.Array) -> Hashes:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        match kind_of(column.type):
            case Kind.CATEGORY:
                levels = np.array([self._text(level) for level in column.dictionary.to_pylist()] + [0], dtype=np.uint64)
                bits = levels[column.indices.fill_null(len(levels) - 1).to_numpy(zero_copy_only=False)]
            case Kind.BOOLEAN:
                bits = column.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
            case Kind.TIMESTAMP:
                bits = column.cast(pa.int64()).fill_null(0).to_numpy().view(np.uint64)
            case _:
                numbers = np.asarray(column.fill_null(0.0).to_numpy(), dtype=np.float64) + 0.0  # -0.0 is 0.0
                bits = numbers.view(np.uint64)
        return np.where(missing, np.uint64(_MISSING), bits)

    def _text(self, level: str | None) -> int:
        text = "" if level is None else level
        if text not in self._texts:
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            self._texts[text] = int.from_bytes(digest, "little")
        return self._texts[text]


def _mixed(values: Hashes, salt: np.uint64) -> Hashes:
    """Return values whose every bit depends on every bit of (values + salt)."""
    with np.errstate(over="ignore"):
        mixed = values + salt
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
