"""One 64-bit hash a row, of its values alone: rows are recognised, and drawn by chance, wherever they stand."""

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


class RowHashes:
    """Hashes the rows of canonical batches, as `Table.scan` gives them, whatever order their columns are in.

    Two different rows have the same hash once in 2^64 pairs: among 10 million rows in one table of 400,000.
    """

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}

    def of(self, batch: pa.RecordBatch) -> Hashes:
        """Return the hash of each row."""
        hashes = np.zeros(batch.num_rows, dtype=np.uint64)
        for name in sorted(batch.schema.names):
            hashes = mixed(hashes ^ self._bits(batch.column(name)), np.uint64(self._text(name)))
        return hashes

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
                bits = bits_of(np.asarray(column.fill_null(0.0).to_numpy(), dtype=np.float64))
        return np.where(missing, np.uint64(_MISSING), bits)

    def _text(self, level: str | None) -> int:
        text = "" if level is None else level
        if text not in self._texts:
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            self._texts[text] = int.from_bytes(digest, "little")
        return self._texts[text]


def bits_of(numbers: NDArray[np.float64]) -> Hashes:
    """Return the bits of numbers; -0.0 has those of 0.0."""
    return (numbers + 0.0).view(np.uint64)


def mixed(values: Hashes, salt: np.uint64) -> Hashes:
    """Return values whose every bit depends on every bit of (values + salt)."""
    with np.errstate(over="ignore"):
        mixed = values + (salt + np.uint64(1)) * _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
