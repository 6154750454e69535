"""Whether an export predicts what the model predicts: on rows given, or on rows made to find where it would not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import pyarrow as pa

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import LevelTerm
from batchlearn.errors import IntegrityError
from batchlearn.exports.exportable import single_terms
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel
from batchlearn.tables.columns import Kind

TOLERANCE = 1e-9
"""Of a prediction's size, or of one where it is smaller."""
UNSEEN = "a level that no row has"
_ROWS = 2_000
# One moment of each hour, weekday and month, and some from before 1970.
_MOMENTS = np.arange("1962-03-01T00:30", "2031-01-01", np.timedelta64(6_173, "h"), dtype="datetime64[us]").astype(
    np.int64
)


def telling_rows(model: LinearModel, seed: int = 0) -> pa.RecordBatch:
    """Return rows in canonical types that meet every code of every term.

    In turn and in random company each column is missing, has each level and one never seen, the ends of the range and
    beyond, each edge of a bin and the floats on both sides of it, and times of each hour, weekday and month.
    """
    values = {name: _values(model, name) for name in model.columns}
    rng, count = np.random.default_rng(seed), max(_ROWS, *(len(each) for each in values.values()))
    # Each value once at least, in an order that meets those of other columns in any combination.
    picked = {name: rng.permutation(np.arange(count) % len(each)) for name, each in values.items()}
    kinds = (model.encoding.kinds.get(name, Kind.NUMBER) for name in values)
    arrays = [
        pa.array([values[name][place] for place in picked[name]], _TYPES[kind])
        for name, kind in zip(values, kinds, strict=True)
    ]
    arrays = [one.dictionary_encode() if pa.types.is_string(one.type) else one for one in arrays]
    return pa.RecordBatch.from_arrays(arrays, names=list(values))


_TYPES = {
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.CATEGORY: pa.string(),
    Kind.TIMESTAMP: pa.timestamp("us"),
}


def _values(model: LinearModel, column: str) -> list[object]:
    if column in (model.roles.offset, model.roles.exposure):
        return [0.5, 1.0, 3.0]
    match model.encoding.kinds[column]:
        case Kind.BOOLEAN:
            return [True, False, None]
        case Kind.TIMESTAMP:
            return [*_MOMENTS.tolist(), None]
        case Kind.CATEGORY:
            terms = [term for term in single_terms(model) if isinstance(term, LevelTerm) and term.column == column]
            known = chain.from_iterable((*term.levels, term.reference) for term in terms)
            return [*dict.fromkeys(known), "", UNSEEN, None]
    ends = [end for term in model.encoding.numbers if term.column == column for end in (term.low, term.high, term.mean)]
    for term in single_terms(model):
        if isinstance(term, BinTerm) and term.column == column:
            near = np.nextafter(term.edges, [[-np.inf], [np.inf]])
            ends += [term.low, term.high, *term.edges, *near.ravel().tolist()]
    return [*ends, *(end + step for end in ends[:2] for step in (-1.0, 1.0)), -0.0, None]


def largest_difference(
    model: LinearModel, predicted: Callable[[pa.RecordBatch], Floats], batches: Iterable[pa.RecordBatch]
) -> tuple[float, int]:
    """Return the largest difference between the model's responses and others, per size above one; and the rows."""
    largest, rows = 0.0, 0
    for batch in batches:
        ours, theirs = model.predict_batch(batch).response, predicted(batch)
        finite = np.isfinite(ours)
        gap = np.where(
            finite, np.abs(ours - theirs) / np.maximum(np.abs(ours), 1.0), np.where(ours == theirs, 0.0, np.inf)
        )
        largest, rows = max(largest, float(np.max(gap, initial=0.0))), rows + batch.num_rows
    return largest, rows


def check_agreement(
    model: LinearModel, predicted: Callable[[pa.RecordBatch], Floats], batches: Iterable[pa.RecordBatch]
) -> tuple[float, int]:
    """Return what `largest_difference` returns; IntegrityError where it is above the tolerance."""
    largest, rows = largest_difference(model, predicted, batches)
    if not largest <= TOLERANCE:
        raise IntegrityError(
            f"The export predicts otherwise than the model: of {rows:,} rows one differs by {largest:.2g} of its size; "
            f"{TOLERANCE:g} is allowed. Nothing was written: please report it with the model.",
            code="export-disagrees",
        )
    return largest, rows
