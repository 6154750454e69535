"""Products with the design matrix of one block of rows, without ever writing that matrix down.

A row of the design matrix is: a 1 for the intercept, the dense columns, one indicator for each group of category
levels, and a sparse part. Any of the four may be absent. Blocks are column-major: the dense columns of m rows are an
array of shape (columns, m), because that is how columnar files arrive and what full-batch products read fastest.

A code equal to the number of levels of its group stands for "no level": it meets no coefficient and adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.bundles import Bundle, bundles

Floats = NDArray[np.float64]
_Found = tuple[Bundle, NDArray[np.intp]]

# Sparse quadratic forms are dense in the columns: this many rows at a time keep the work array small.
_SPARSE_ROWS = 4096


@dataclass(frozen=True)
class Layout:
    """Where each coefficient stands in the parameter vector: intercept, dense, groups, sparse, in that order."""

    intercept: bool
    dense: int
    groups: tuple[int, ...] = ()
    sparse: int = 0

    @property
    def lead(self) -> int:
        """Coefficients in front of the groups: the intercept and the dense columns."""
        return int(self.intercept) + self.dense

    @cached_property
    def group_slices(self) -> tuple[slice, ...]:
        """The coefficients of each group of levels."""
        ends = self.lead + np.cumsum((0, *self.groups))
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @cached_property
    def code_type(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest integers, of 1, 2 or 4 bytes, that hold every level and "no level" of each group."""
        return np.min_scalar_type(max(self.groups, default=0))

    @property
    def sparse_slice(self) -> slice:
        """The coefficients of the sparse part."""
        return slice(self.size - self.sparse, self.size)

    @property
    def size(self) -> int:
        """The number of coefficients, the intercept included."""
        return self.lead + sum(self.groups) + self.sparse

    @property
    def terms(self) -> int:
        """The most non-zero entries a row can have: the length of one inner product."""
        return self.lead + len(self.groups) + self.sparse


class EntryKind(IntEnum):
    """What stands in the place of each entry of the design matrix."""

    AS_THEY_ARE = 0
    ABSOLUTE = 1
    SQUARED = 2


@dataclass(frozen=True, eq=False)
class Columns:
    """Dense columns as they are stored, and how they are read: (value - shift) / scale, in float64."""

    stored: NDArray[Any]  # (columns, m)
    shift: Floats
    scale: Floats
    intercept: bool
    entries: EntryKind = EntryKind.AS_THEY_ARE

    def standardised(self) -> Floats:
        """Return the dense part of a block, (lead, m): a row of ones where there is an intercept, then the columns."""
        lead = int(self.intercept)
        block = np.empty((lead + len(self.stored), self.stored.shape[1]))
        block[:lead] = 1.0
        np.subtract(self.stored, self.shift[:, None], out=block[lead:])
        block[lead:] /= self.scale[:, None]
        return _changed(block, self.entries)


def _changed(dense: Floats, entries: EntryKind) -> Floats:
    if entries is EntryKind.AS_THEY_ARE:
        return dense
    return np.abs(dense) if entries is EntryKind.ABSOLUTE else dense**2


@dataclass(frozen=True, eq=False)
class SparseColumns:
    """Sparse columns as they are stored, and how they are read: each entry times the factor of its column."""

    stored: Any  # scipy.sparse CSR array (m, columns)
    factor: Floats | None = None  # (columns,); None where all are one
    entries: EntryKind = EntryKind.AS_THEY_ARE

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Pointers and indices, of one type, and entries, as they are stored."""
        pointers, indices = self.stored.indptr, self.stored.indices
        if pointers.dtype != indices.dtype:
            pointers, indices = pointers.astype(np.int64), indices.astype(np.int64)
        return pointers, indices, self.stored.data

    def multiplied(self) -> Any:
        """Return the sparse part of a block, CSR (m, columns)."""
        stored, values = self.stored, self.stored.data
        if self.factor is not None:
            # By hand: a product of SciPy's with a row goes through coordinates, at four times the cost.
            values = values * self.factor[stored.indices]
        values = _changed(values, self.entries)
        return type(stored)((values, stored.indices, stored.indptr), shape=stored.shape)


@dataclass(frozen=True, eq=False)
class Block:
    """One block of m encoded rows. Compiled kernels read columns as they are stored, others in float64."""

    given: Floats | Columns  # dense columns: (lead, m), a row of ones first where there is an intercept, or as stored
    codes: NDArray[np.integer[Any]]  # (groups, m), each in 0 .. levels (= no level)
    given_sparse: Any = None  # scipy.sparse CSR array (m, sparse), or as stored, or None

    @cached_property
    def dense(self) -> Floats:
        """The dense columns in float64, (lead, m), made when they are first asked for."""
        return self.given.standardised() if isinstance(self.given, Columns) else self.given

    @property
    def sparse_columns(self) -> SparseColumns | None:
        """The sparse columns as they are stored; as they were given where that was in float64."""
        given = self.given_sparse
        return given if given is None or isinstance(given, SparseColumns) else SparseColumns(given)

    @cached_property
    def sparse(self) -> Any:
        """The sparse columns, scipy.sparse CSR array (m, sparse) or None, made when they are first asked for."""
        given = self.given_sparse
        return given.multiplied() if isinstance(given, SparseColumns) else given

    @property
    def stored(self) -> NDArray[Any]:
        """The dense columns as they are stored, (columns, m); as they were given where that was in float64."""
        return self.given.stored if isinstance(self.given, Columns) else self.given

    @property
    def rows(self) -> int:
        """The number of rows, m."""
        return int(self.stored.shape[1])

    def with_entries(self, entries: EntryKind) -> Block:
        """Return the block of the absolute or squared entries of one of entries as they are."""
        given, sparse = self.given, self.sparse_columns
        if sparse is not None:
            sparse = replace(sparse, entries=entries)
        if isinstance(given, Columns) and "dense" not in self.__dict__:
            return Block(replace(given, entries=entries), self.codes, sparse)
        return Block(_changed(self.dense, entries), self.codes, sparse)


def linear_predictor(layout: Layout, block: Block, parameters: Floats) -> Floats:
    """Return X w for the rows of the block, shape (m,).

    Column by column, not by BLAS: a row's predictor has the same bits in whatever block it comes, so training, batch
    scoring and a single request agree.
    """
    eta = np.zeros(block.rows)
    term = np.empty_like(eta)
    for parameter, column in zip(parameters[: layout.lead], block.dense, strict=True):
        np.multiply(column, parameter, out=term)
        eta += term
    for codes, part in zip(block.codes, layout.group_slices, strict=True):
        # For codes of a byte or two `take` is twice as fast as an index.
        eta += np.take(np.append(parameters[part], 0.0), codes)
    if layout.sparse:
        eta += block.sparse @ parameters[layout.sparse_slice]
    return eta


def predictors(layout: Layout, block: Block, parameters: Floats) -> Floats:
    """Return X w, (m,); for parameters of several outputs, one after the other, one row for each: (outputs, m)."""
    if len(parameters) == layout.size:
        return linear_predictor(layout, block, parameters)
    return np.stack([linear_predictor(layout, block, part) for part in parameters.reshape(-1, layout.size)])


def absolute(block: Block) -> Block:
    """Return the block of |X|: what bounds on rounding errors are made of."""
    return block.with_entries(EntryKind.ABSOLUTE)


def squared(block: Block) -> Block:
    """Return the block of the squared entries of X."""
    return block.with_entries(EntryKind.SQUARED)


def quadratic_form(layout: Layout, block: Block, matrix: Floats) -> Floats:
    """Return x' A x for each row x of the block, shape (m,); A is symmetric, (coefficients, coefficients)."""
    lead, first, count = layout.lead, int(layout.intercept), block.rows
    form: Floats = np.einsum("jm,jm->m", block.dense, matrix[:lead, :lead] @ block.dense)
    found = [(bundle, bundle.cell(block.codes)) for bundle in bundles(layout.groups, count)]
    spots: list[Any] = []
    for bundle, _ in found:
        parts = [layout.group_slices[group] for group in bundle.groups]
        # A slice where a bundle is one group: a view of the matrix and not a copy.
        several = len(parts) > 1
        spots.append(np.concatenate([np.arange(part.start, part.stop) for part in parts]) if several else parts[0])
    for i, ((one, cells), here) in enumerate(zip(found, spots, strict=True)):
        strip = matrix[here]
        own = one.cell_forms(strip[:, here])
        if layout.intercept:
            own += 2.0 * one.cell_sums(strip[:, 0])
        # Summed bundle by bundle, so that no term goes through more additions than a few for each group.
        pairs = np.zeros(count)
        for (two, others), there in zip(found[:i], spots, strict=False):
            _add_pairs(pairs, (one, cells), (two, others), strip[:, there])
        form += own[cells] + 2.0 * pairs
        if lead > first:
            cross = one.cell_sums(strip[:, first:lead]).T
            form += 2.0 * np.einsum("jm,jm->m", block.dense[first:], cross[:, cells])
    if layout.sparse:
        for start in range(0, count, _SPARSE_ROWS):
            stop = start + _SPARSE_ROWS
            _sparse_form(form[start:stop], layout, rows_of(block, start, stop), matrix)
    return form


def _add_pairs(pairs: Floats, one: _Found, two: _Found, matrix: Floats) -> None:
    """Add what the levels of two bundles have together in each row, from what each two have, (levels, levels)."""
    (first, here), (second, there) = one, two
    if first.indicator is None and second.indicator is None and first.cells * second.cells > len(pairs):
        known = (here < first.cells - 1) & (there < second.cells - 1)
        pairs[known] += matrix[here[known], there[known]]
    else:
        table = second.cell_sums(first.cell_sums(matrix).T)
        pairs += table.ravel()[there * first.cells + here]


def quadratic_forms(layout: Layout, block: Block, matrix: Floats) -> Floats:
    """Return x' A_ab x for each row and each two outputs, (outputs, outputs, m), of A (outputs d, outputs d)."""
    outputs, size = len(matrix) // layout.size, layout.size
    forms = np.empty((outputs, outputs, block.rows))
    for a in range(outputs):
        for b in range(a + 1):
            part = matrix[a * size : (a + 1) * size, b * size : (b + 1) * size]
            forms[a, b] = forms[b, a] = quadratic_form(layout, block, part if a == b else 0.5 * (part + part.T))
    return forms


def rows_of(block: Block, start: int, stop: int) -> Block:
    """Return some consecutive rows of a block."""
    sparse = block.sparse_columns
    if sparse is not None:
        sparse = replace(sparse, stored=sparse.stored[start:stop])
    some = block.stored[:, start:stop]
    given = replace(block.given, stored=some) if isinstance(block.given, Columns) else some
    return Block(given, block.codes[:, start:stop], sparse)


def _sparse_form(form: Floats, layout: Layout, block: Block, matrix: Floats) -> None:
    part = layout.sparse_slice
    form += np.asarray(block.sparse.multiply(block.sparse @ matrix[part, part]).sum(axis=1)).ravel()
    cross = np.asarray(block.sparse @ matrix[part, : layout.lead])
    form += 2.0 * np.einsum("jm,mj->m", block.dense, cross)
    for codes, levels, where in zip(block.codes, layout.groups, layout.group_slices, strict=True):
        table = np.zeros((len(codes), levels + 1))
        table[:, :-1] = block.sparse @ matrix[part, where]
        form += 2.0 * table[np.arange(len(codes)), codes]
