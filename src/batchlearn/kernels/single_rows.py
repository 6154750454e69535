"""Products with few rows at a time, for updates that must not cost a touch of every coefficient.

A stretch of rows is turned row-major once; a batch of it is then a slice. Parameters carry one place more than there
are coefficients, always zero: the place of "no level". With several outputs they are (outputs, coefficients + 1).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Block, Floats, Layout


class RowMajor(NamedTuple):
    """The rows of a block, one after the other."""

    lead: int
    dense: Floats  # (m, lead)
    levels: NDArray[np.intp]  # (m, groups): where each level's coefficient stands
    sparse: Any = None  # CSR (m, columns) whose column numbers count from `first`
    first: int = 0


class RowLoss(Protocol):
    """What a loop over single rows asks of a loss; arrays have one entry a row, or (outputs, m)."""

    self_concordance: ClassVar[float]

    @property
    def outputs(self) -> int:
        """Linear predictors a row has."""
        ...

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return the first derivative."""
        ...

    def least_curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return the least second derivative along a direction of unit reach, (m,)."""
        ...


class RowPenalty(Protocol):
    """What a loop over single rows asks of a penalty on flat parameters (d,)."""

    def gradient(self, parameters: Floats) -> Floats:
        """Return the gradient."""
        ...

    def magnitude(self, parameters: Floats) -> Floats:
        """Return the gradient's terms without their signs."""
        ...


class LabelledRows(NamedTuple):
    """Rows with what is to be learned from each, (m,)."""

    rows: RowMajor
    offset: Floats
    label: Floats
    weight: Floats


def row_major(layout: Layout, block: Block) -> RowMajor:
    """Return the rows of a block, one after the other."""
    index = np.empty((block.dense.shape[1], len(layout.groups)), dtype=np.intp)
    parts = zip(block.codes, layout.group_slices, layout.groups, strict=True)
    for column, (codes, part, levels) in enumerate(parts):
        index[:, column] = codes
        index[:, column] += part.start
        index[codes == levels, column] = layout.size
    dense = np.ascontiguousarray(block.dense.T)
    return RowMajor(layout.lead, dense, index, block.sparse, layout.size - layout.sparse)


def padded(parameters: Floats, outputs: int) -> Floats:
    """Return the parameters with a place for "no level": (coefficients + 1,), or (outputs, coefficients + 1)."""
    if outputs == 1:
        return np.append(parameters, 0.0)
    return np.column_stack([parameters.reshape(outputs, -1), np.zeros(outputs)])


def unpadded(parameters: Floats) -> Floats:
    """Return the parameters flat, output after output, without the place for "no level"."""
    return np.ravel(parameters[..., :-1]).copy()


def batch_predictor(rows: RowMajor, start: int, stop: int, parameters: Floats) -> Floats:
    """Return X w of rows start to stop, (m,) or (outputs, m), for padded parameters."""
    eta: Floats = parameters[..., : rows.lead] @ rows.dense[start:stop].T
    if rows.levels.shape[1]:
        eta += parameters[..., rows.levels[start:stop]].sum(axis=-1)
    if rows.sparse is not None:
        row, column, value = _entries(rows, start, stop)
        for part, out in zip(np.atleast_2d(parameters), np.atleast_2d(eta), strict=True):
            out += np.bincount(row, weights=part[column] * value, minlength=stop - start)
    return eta


def add_products(rows: RowMajor, start: int, stop: int, parameters: Floats, values: Floats) -> None:
    """Add X' v of rows start to stop to padded parameters, in place, touching only what the rows meet."""
    parameters[..., : rows.lead] += values @ rows.dense[start:stop]
    for part, value in zip(np.atleast_2d(parameters), np.atleast_2d(values), strict=True):
        if rows.levels.shape[1]:
            index = rows.levels[start:stop]
            np.add.at(part, index.ravel(), np.repeat(value, index.shape[1]))
        if rows.sparse is not None:
            row, column, entry = _entries(rows, start, stop)
            np.add.at(part, column, value[row] * entry)
        part[-1] = 0.0


def _entries(rows: RowMajor, start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return row (from 0), coefficient and value of each stored entry of some rows of the sparse part."""
    pointers = rows.sparse.indptr[start : stop + 1]
    first, last = int(pointers[0]), int(pointers[-1])
    row = np.repeat(np.arange(stop - start), np.diff(pointers))
    return row, rows.sparse.indices[first:last] + rows.first, rows.sparse.data[first:last]
