"""One digest for the values of a table in order, whatever file format, chunking or integer width holds them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.errors import DataError, quoted
from batchlearn.tables.columns import Kind, kind_of


class Fingerprint:
    """SHA-256 over column names, kinds, values and missing values of canonical batches, as `Table.scan` gives them.

    Null and NaN are the same, and so are -0.0 and 0.0. The order of rows matters, that of columns does not.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, _ColumnDigest] | None = None

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows; DataError where the columns are not those of the batches before."""
        kinds = {field.name: kind_of(field.type) for field in batch.schema}
        if self._columns is None:
            self._columns = {name: _ColumnDigest(name, kind) for name, kind in kinds.items()}
        if {name: column.kind for name, column in self._columns.items()} != kinds:
            raise DataError(
                f"a batch has the columns {quoted(sorted(kinds))}, the batches before {quoted(sorted(self._columns))}; "
                "one fingerprint needs the same columns throughout: start a new one",
                code="fingerprint-columns",
            )
        for name, column in self._columns.items():
            column.update(batch.column(name), self._rows)
        self._rows += batch.num_rows

    def hexdigest(self) -> str:
        """Return the digest of all rows taken in so far, as 64 hexadecimal digits."""
        columns = [self._columns[name].summary() for name in sorted(self._columns)] if self._columns else []
        summary = {"batchlearn fingerprint": 1, "rows": self._rows, "columns": columns}
        return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


class _ColumnDigest:
    """Three streams that no cut into batches changes: values, lengths of texts, rows without a value."""

    def __init__(self, name: str, kind: Kind | None) -> None:
        self.name = name
        self.kind = kind
        # BLAKE2b, which is as strong and takes half the time where the processor has no instructions for SHA-256.
        self._values = hashlib.blake2b(digest_size=32)
        self._lengths = hashlib.blake2b(digest_size=32)
        self._missing = hashlib.blake2b(digest_size=32)

    def update(self, array: pa.Array, first_row: int) -> None:
        if array.null_count:
            self._missing.update(
                _bytes(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)) + first_row, "<i8")
            )
        match self.kind:
            case Kind.CATEGORY:
                lengths = pc.binary_length(array.dictionary).take(array.indices).fill_null(0)
                self._lengths.update(_bytes(lengths.to_numpy(), "<i4"))
                _, offsets, characters = array.dictionary.take(array.indices).fill_null("").buffers()
                if characters is not None:
                    ends = np.frombuffer(offsets, np.int32)
                    self._values.update(memoryview(characters)[ends[0] : ends[len(array)]])
            case Kind.BOOLEAN:
                self._values.update(_bytes(array.fill_null(False).cast(pa.uint8()).to_numpy(), "u1"))
            case Kind.TIMESTAMP:
                self._values.update(_bytes(array.cast(pa.int64()).fill_null(0).to_numpy(), "<i8"))
            case _:
                numbers = array.fill_null(0.0).to_numpy()
                self._values.update(_bytes(numbers + 0.0, "<f8"))  # -0.0 + 0.0 = 0.0

    def summary(self) -> list[str]:
        digests = (stream.hexdigest() for stream in (self._values, self._lengths, self._missing))
        return [self.name, str(self.kind), *digests]


def _bytes(values: NDArray[Any], layout: str) -> memoryview:
    """View values as bytes in a layout that does not depend on the machine."""
    return np.ascontiguousarray(values, dtype=layout).view(np.uint8).data
