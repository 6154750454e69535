"""Real tables as rows that come one after the other, in the columns that this package encodes them in."""

from __future__ import annotations

import numpy as np
from made_problems import Data
from scipy.sparse import csr_array

REAL = ("bank_marketing", "chicago_taxi_15k", "noaa_weather")


def make_real(name: str) -> Data:
    """Return the rows of a set, dense: on sparse columns scikit-learn learns the intercept a hundred times slower."""
    from data_sets import data_sets
    from regimes import posed

    (data,) = (data for data in data_sets(("binary",)) if data.name == name)
    _, rows = posed(data)
    parts = []
    for stored in rows.chunks:
        chunk = rows.read(stored)
        columns = [chunk.block.dense[1:].T]
        for codes, levels in zip(chunk.block.codes, rows.layout.groups, strict=True):
            row = np.flatnonzero(codes < levels)
            columns.append(csr_array((np.ones(len(row)), (row, codes[row])), shape=(len(codes), levels)).toarray())
        parts.append(np.concatenate(columns, axis=1).astype(np.float32))
    return Data(np.concatenate([chunk.label for chunk in rows.chunks]), dense=np.concatenate(parts))
