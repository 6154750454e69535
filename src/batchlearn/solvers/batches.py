"""A stretch of rows as the loops over single rows and batches read it."""

from __future__ import annotations

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.single_rows import LabelledRows, row_major


def labelled(rows: Rows) -> LabelledRows:
    """Return rows one after the other, with offset, label and weight."""
    chunk = rows.together()
    offset = chunk.offset if isinstance(chunk.offset, np.ndarray) else np.full(len(chunk.label), chunk.offset)
    return LabelledRows(row_major(chunk.layout, chunk.block), offset, chunk.label, chunk.weight)
