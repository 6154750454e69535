"""Products with the design matrix of one block of rows, without ever writing that matrix down.

A row of the design matrix is: a 1 for the intercept, the dense columns, one indicator for each group of category
levels, and a sparse part. Any of the four may be absent. Blocks are column-major: the dense columns of m rows are an
array of shape (columns, m), because that is how columnar files arrive and what full-batch products read fastest.

A code equal to the number of levels of its group stands for "no level": it meets no coefficient and adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Sparse quadratic forms are dense in the columns: this many rows at a time keep the work array small.
_SPARSE_ROWS = 4096
# Groups of no more levels are written out as indicators for a Gram matrix, this many rows at a time.
_WRITTEN_OUT, _ROWS_WRITTEN = 8, 4096


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


class Block(NamedTuple):
    """One block of m encoded rows."""

    dense: Floats  # (lead, m): a row of ones first where there is an intercept
    codes: NDArray[np.integer[Any]]  # (groups, m), each in 0 .. levels (= no level)
    sparse: Any = None  # scipy.sparse CSR array (m, sparse) or None


def standardised(layout: Layout, dense: NDArray[Any], shift: Floats, scale: Floats) -> Floats:
    """Return the dense part of a block, (lead, m), of stored columns: a row of ones, then (value - shift) / scale."""
    lead = int(layout.intercept)
    block = np.empty((layout.lead, dense.shape[1]))
    block[:lead] = 1.0
    np.subtract(dense, shift[:, None], out=block[lead:])
    block[lead:] /= scale[:, None]
    return block


def linear_predictor(layout: Layout, block: Block, parameters: Floats) -> Floats:
    """Return X w for the rows of the block, shape (m,).

    Column by column, not by BLAS: a row's predictor has the same bits in whatever block it comes, so training, batch
    scoring and a single request agree.
    """
    eta = np.zeros(block.dense.shape[1])
    term = np.empty_like(eta)
    for parameter, column in zip(parameters[: layout.lead], block.dense, strict=True):
        np.multiply(column, parameter, out=term)
        eta += term
    for codes, part in zip(block.codes, layout.group_slices, strict=True):
        eta += np.append(parameters[part], 0.0)[codes]
    if layout.sparse:
        eta += block.sparse @ parameters[layout.sparse_slice]
    return eta


def transposed_product(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return X' v, shape (coefficients,), for one value a row."""
    total = np.empty(layout.size)
    total[: layout.lead] = block.dense @ values
    for codes, part, levels in zip(block.codes, layout.group_slices, layout.groups, strict=True):
        total[part] = np.bincount(codes, weights=values, minlength=levels + 1)[:levels]
    if layout.sparse:
        total[layout.sparse_slice] = block.sparse.T @ values
    return total


def predictors(layout: Layout, block: Block, parameters: Floats, *, by_matrix: bool = False) -> Floats:
    """Return X w, (m,); for parameters of several outputs, one after the other, one row for each: (outputs, m).

    `by_matrix` leaves the dense columns of several outputs to BLAS, which is many times faster and rounds a row's
    predictors as the number of rows beside it has it: for sums over rows, not for predictions.
    """
    if len(parameters) == layout.size:
        return linear_predictor(layout, block, parameters)
    outputs = parameters.reshape(-1, layout.size)
    if not by_matrix:
        return np.stack([linear_predictor(layout, block, part) for part in outputs])
    eta = outputs[:, : layout.lead] @ block.dense
    if layout.groups:
        parts = [np.pad(outputs[:, part], ((0, 0), (0, 1))) for part in layout.group_slices]
        eta += (_indicators(layout, block) @ np.ascontiguousarray(np.concatenate(parts, axis=1).T)).T
    if layout.sparse:
        eta += (block.sparse @ outputs[:, layout.sparse_slice].T).T
    return np.asarray(eta)


def transposed_products(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return X' v for one value a row, (m,), or for one of each output, (outputs, m), one after the other."""
    if values.ndim == 1:
        return transposed_product(layout, block, values)
    totals = np.empty((len(values), layout.size))
    totals[:, : layout.lead] = values @ block.dense.T
    if layout.groups:
        found = (_indicators(layout, block).T @ np.ascontiguousarray(values.T)).T
        starts = np.cumsum((0, *(levels + 1 for levels in layout.groups)))
        for part, levels, start in zip(layout.group_slices, layout.groups, starts[:-1], strict=True):
            totals[:, part] = found[:, start : start + levels]
    if layout.sparse:
        totals[:, layout.sparse_slice] = (block.sparse.T @ values.T).T
    return totals.ravel()


def with_absolute(layout: Layout, block: Block, totals: Floats, values: Floats) -> Floats:
    """Return |X|' v, (k, coefficients), from X' v for each row of the values, (k, m): indicators are their own size."""
    changed = totals.copy()
    changed[:, : layout.lead] = values @ np.abs(block.dense).T
    if layout.sparse:
        changed[:, layout.sparse_slice] = (abs(block.sparse).T @ values.T).T
    return changed


def _indicators(layout: Layout, block: Block) -> Any:
    """Return the groups' levels as a CSR array, (m, levels and "no level" of each group): one entry a row and group.

    Its products with several outputs go through the cells once, all outputs together.
    """
    from scipy.sparse import csr_array  # imported here: serving reads rows too and does not need it

    groups, count = block.codes.shape
    starts = np.cumsum((0, *(levels + 1 for levels in layout.groups)), dtype=np.int32)
    cells = np.empty((count, groups), dtype=np.int32)
    np.add(block.codes.T, starts[:-1], out=cells, casting="unsafe")
    pointers = np.arange(0, count * groups + 1, groups, dtype=np.int32 if count * groups < 2**31 else np.int64)
    return csr_array((np.ones(count * groups), cells.ravel(), pointers), shape=(count, int(starts[-1])))


def absolute(block: Block) -> Block:
    """Return the block of |X|: what bounds on rounding errors are made of."""
    return Block(np.abs(block.dense), block.codes, None if block.sparse is None else abs(block.sparse))


def squared(block: Block) -> Block:
    """Return the block of the squared entries of X."""
    return Block(block.dense**2, block.codes, None if block.sparse is None else block.sparse.multiply(block.sparse))


def weighted_gram(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return the upper triangle of X' diag(v) X, (coefficients, coefficients), for one non-negative value a row.

    What stands below the diagonal is undefined: `symmetric` completes a total once, not each of its parts.
    """
    return np.asarray(weighted_grams(layout, block, values[None])[0])


def weighted_grams(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return what `weighted_gram` does for each row of the values, (k, m), as (k, coefficients, coefficients).

    The cells of a pair of groups are numbered once for all of them.
    """
    grams = np.zeros((len(values), layout.size, layout.size))
    slices, levels = layout.group_slices, layout.groups
    few = [g for g, count in enumerate(levels) if count <= _WRITTEN_OUT]
    written = np.concatenate([np.arange(layout.lead), *(np.arange(slices[g].start, slices[g].stop) for g in few)])
    grams[:, written[:, None], written] = _written_out(layout, block, few, values)
    by_row = np.ascontiguousarray(values.T)
    for g, codes in enumerate(block.codes):
        part, wide, numbers = slices[g], levels[g] + 1, codes.astype(np.intp)
        if g not in few:
            diagonal = range(part.start, part.stop)
            for j, column in enumerate(block.dense):
                grams[:, j, part] = _sums(numbers, wide, by_row, column)[:, :-1]
            grams[:, diagonal, diagonal] = _sums(numbers, wide, by_row)[:, :-1]
        for h in range(g):
            if g not in few or h not in few:
                cells = block.codes[h].astype(np.intp) * wide + numbers
                tables = _sums(cells, (levels[h] + 1) * wide, by_row)
                grams[:, slices[h], part] = tables.reshape(-1, levels[h] + 1, wide)[:, :-1, :-1]
    if layout.sparse:
        for gram, own in zip(grams, values, strict=True):
            _add_sparse(gram, layout, block, block.dense * own, own)
    return grams


def _written_out(layout: Layout, block: Block, few: list[int], values: Floats) -> Floats:
    """Return the Gram matrices, (k, columns, columns), of the dense columns and the indicators of groups of few levels.

    A matrix product of small indicators is cheaper than a table for each pair of their groups.
    """
    levels = [(block.codes[g], np.arange(layout.groups[g])[:, None]) for g in few]
    size = layout.lead + sum(layout.groups[g] for g in few)
    grams = np.zeros((len(values), size, size))
    for start in range(0, values.shape[1], _ROWS_WRITTEN):
        rows = slice(start, start + _ROWS_WRITTEN)
        columns = np.concatenate([block.dense[:, rows], *(codes[rows] == numbers for codes, numbers in levels)])
        for gram, own in zip(grams, values, strict=True):
            root = columns * np.sqrt(own[rows])
            gram += root @ root.T
    return grams


def _sums(cells: NDArray[np.intp], count: int, values: Floats, column: Floats | None = None) -> Floats:
    """Return the sum of each of the values, (m, k), in each cell, (k, count), times the column (m,) where one is given.

    The values of one row are next to each other: all sums go through the cells once.
    """
    if values.shape[1] == 1:
        own = values[:, 0] if column is None else values[:, 0] * column
        return np.asarray(np.bincount(cells, weights=own, minlength=count)[None], dtype=np.float64)
    from scipy.sparse import csr_array

    entries = np.ones(len(cells)) if column is None else column
    return np.asarray((csr_array((entries, cells, np.arange(len(cells) + 1)), shape=(len(cells), count)).T @ values).T)


def symmetric(upper: Floats) -> Floats:
    """Return the symmetric matrix whose upper triangle is given."""
    return np.asarray(np.triu(upper) + np.triu(upper, 1).T)


def _add_sparse(gram: Floats, layout: Layout, block: Block, weighted: Floats, values: Floats) -> None:
    part = layout.sparse_slice
    scaled = block.sparse.multiply(values[:, None]).tocsr()
    gram[part, part] = (block.sparse.T @ scaled).toarray()
    gram[: layout.lead, part] = weighted @ block.sparse
    for codes, levels, where in zip(block.codes, layout.groups, layout.group_slices, strict=True):
        indicator = np.zeros((levels + 1, len(codes)))
        indicator[codes, np.arange(len(codes))] = 1.0
        gram[where, part] = (indicator @ scaled)[:-1]


def quadratic_form(layout: Layout, block: Block, matrix: Floats) -> Floats:
    """Return x' A x for each row x of the block, shape (m,); A is symmetric, (coefficients, coefficients)."""
    lead = layout.lead
    form: Floats = np.einsum("jm,jm->m", block.dense, matrix[:lead, :lead] @ block.dense)
    rows = np.arange(block.dense.shape[1])
    for g, (codes, part) in enumerate(zip(block.codes, layout.group_slices, strict=True)):
        cross = np.zeros((lead, layout.groups[g] + 1))
        cross[:, :-1] = matrix[:lead, part]
        form += 2.0 * np.einsum("jm,jm->m", block.dense, cross[:, codes])
        # Summed group by group, so that no term goes through more additions than a few for each group.
        own = np.append(np.diagonal(matrix)[part], 0.0)[codes]
        for h in range(g):
            other = layout.group_slices[h]
            table = np.zeros((layout.groups[h] + 1, layout.groups[g] + 1))
            table[:-1, :-1] = matrix[other, part]
            own += 2.0 * table[block.codes[h], codes]
        form += own
    if layout.sparse:
        for start in range(0, len(rows), _SPARSE_ROWS):
            stop = start + _SPARSE_ROWS
            _sparse_form(form[start:stop], layout, rows_of(block, start, stop), matrix)
    return form


def quadratic_forms(layout: Layout, block: Block, matrix: Floats) -> Floats:
    """Return x' A_ab x for each row and each two outputs, (outputs, outputs, m), of A (outputs d, outputs d)."""
    outputs, size = len(matrix) // layout.size, layout.size
    forms = np.empty((outputs, outputs, block.dense.shape[1]))
    for a in range(outputs):
        for b in range(a + 1):
            part = matrix[a * size : (a + 1) * size, b * size : (b + 1) * size]
            forms[a, b] = forms[b, a] = quadratic_form(layout, block, part if a == b else 0.5 * (part + part.T))
    return forms


def rows_of(block: Block, start: int, stop: int) -> Block:
    """Return some consecutive rows of a block."""
    sparse = None if block.sparse is None else block.sparse[start:stop]
    return Block(block.dense[:, start:stop], block.codes[:, start:stop], sparse)


def _sparse_form(form: Floats, layout: Layout, block: Block, matrix: Floats) -> None:
    part = layout.sparse_slice
    form += np.asarray(block.sparse.multiply(block.sparse @ matrix[part, part]).sum(axis=1)).ravel()
    cross = np.asarray(block.sparse @ matrix[part, : layout.lead])
    form += 2.0 * np.einsum("jm,mj->m", block.dense, cross)
    for codes, levels, where in zip(block.codes, layout.groups, layout.group_slices, strict=True):
        table = np.zeros((len(codes), levels + 1))
        table[:, :-1] = block.sparse @ matrix[part, where]
        form += 2.0 * table[np.arange(len(codes)), codes]
