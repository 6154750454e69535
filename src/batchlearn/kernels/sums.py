"""Sums over the rows of a block: X' v, X' diag(v) X, and predictors that only enter such sums.

Apart from `design`, which predicting needs too: serving loads neither this nor SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from batchlearn.kernels import native
from batchlearn.kernels.bundles import Bundle, bundles, small_bundles
from batchlearn.kernels.design import Block, Columns, Floats, Layout, SparseColumns, linear_predictor, quadratic_form
from batchlearn.kernels.native.lapack import addresses_in

# So many rows of dense columns stay in the cache while they are weighted and multiplied.
_ROWS_AT_ONCE = 4096
_MIRRORED = 128
# Pairs of groups less, twice, from which on bundles are worth the codes of their cells.
_WORTH_PAIRS = 100
# Kernels multiply coefficients by the factors of sparse columns instead of entries: what underflow loses then, times
# the largest value, has to be below what is charged for it (`rounding.UNDERFLOW`).
_LEAST_FACTOR, _MOST_FACTOR = 2.0**-60, 2.0**60
Precision = TypeVar("Precision", np.float32, np.float64)
_BELOW = np.tri(_MIRRORED, k=-1, dtype=bool)
# Dense columns beyond which quadratic forms of several outputs are products of matrices.
_FEW_COLUMNS = 128

if native.built():
    # Compiled kernels leave the products of many columns to SciPy's BLAS.
    native.compiled().use_blas(addresses_in("cython_blas")["dsyrk"])


def compiled_rows(layout: Layout, block: Block, bundled: Sequence[Bundle] = ()) -> Any:
    """Return the block as compiled kernels read it; None where their NumPy twins serve.

    Where bundles are given each is one group, its cells are the levels.
    """
    module = native.compiled()
    if module is None:
        return None
    given = block.given
    if isinstance(given, np.ndarray):
        given = Columns(given, np.zeros(layout.lead), np.ones(layout.lead), False)
    stored = given.stored
    if stored.dtype not in (np.float32, np.float64):
        stored = stored.astype(np.float64)
    codes, levels = block.codes, layout.groups
    if bundled:
        codes = np.stack([one.cell(codes, np.uint32) for one in bundled])
        levels = tuple(one.cells for one in bundled)
    rows = module.Rows(stored, given.shift, given.scale, given.intercept, int(given.entries), codes, _levels(levels))
    sparse = block.sparse_columns
    if sparse is not None:
        factor = sparse.factor
        if factor is not None and not _LEAST_FACTOR < factor.min(initial=1.0) <= factor.max(initial=1.0) < _MOST_FACTOR:
            sparse, factor = SparseColumns(block.sparse), None
        rows.set_sparse(*sparse.arrays, layout.sparse, factor, int(sparse.entries))
    return rows


@lru_cache(maxsize=64)
def _levels(groups: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(groups, dtype=np.int64)


def summed_predictors(layout: Layout, block: Block, parameters: Floats) -> Floats:
    """Return `design.predictors` for sums over rows, not for predictions.

    The dense columns of several outputs are left to BLAS, which is many times faster and rounds a row's predictors as
    the number of rows beside it has it.
    """
    if len(parameters) == layout.size:
        compiled = compiled_rows(layout, block)
        if compiled is None:
            return linear_predictor(layout, block, parameters)
        eta = np.empty(block.rows)
        compiled.predictors(np.ascontiguousarray(parameters), eta)
        return eta
    outputs = parameters.reshape(-1, layout.size)
    eta = outputs[:, : layout.lead] @ block.dense
    if layout.groups:
        parts = [np.pad(outputs[:, part], ((0, 0), (0, 1))) for part in layout.group_slices]
        eta += (_indicators(layout, block) @ np.ascontiguousarray(np.concatenate(parts, axis=1).T)).T
    if layout.sparse:
        eta += (block.sparse @ outputs[:, layout.sparse_slice].T).T
    return np.asarray(eta)


def transposed_product(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return X' v, shape (coefficients,), for one value a row."""
    total = np.empty(layout.size)
    compiled = compiled_rows(layout, block)
    if compiled is not None:
        compiled.transposed(np.ascontiguousarray(values), total)
        return total
    total[: layout.lead] = block.dense @ values
    for codes, part, levels in zip(block.codes, layout.group_slices, layout.groups, strict=True):
        total[part] = np.bincount(codes, weights=values, minlength=levels + 1)[:levels]
    if layout.sparse:
        total[layout.sparse_slice] = block.sparse.T @ values
    return total


def transposed_products(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return X' v for one value a row, (m,), or for one of each output, (outputs, m), one after the other."""
    if values.ndim == 1 or len(values) == 1:
        return transposed_product(layout, block, values.ravel())
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
    groups, count = block.codes.shape
    starts = np.cumsum((0, *(levels + 1 for levels in layout.groups)), dtype=np.int32)
    cells = np.empty((count, groups), dtype=np.int32)
    np.add(block.codes.T, starts[:-1], out=cells, casting="unsafe")
    pointers = np.arange(0, count * groups + 1, groups, dtype=np.int32 if count * groups < 2**31 else np.int64)
    return scipy.sparse.csr_array((np.ones(count * groups), cells.ravel(), pointers), shape=(count, int(starts[-1])))


def weighted_gram(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return the upper triangle of X' diag(v) X, (coefficients, coefficients), for one non-negative value a row.

    What stands below the diagonal is undefined: `symmetric` completes a total once, not each of its parts.
    """
    return np.asarray(weighted_grams(layout, block, values[None])[0])


def weighted_grams(layout: Layout, block: Block, values: Floats) -> Floats:
    """Return what `weighted_gram` does for each row of the values, (k, m), as (k, coefficients, coefficients)."""
    bundled = bundled_groups(layout)
    compiled = compiled_rows(layout, block, bundled)
    if compiled is not None:
        return _compiled_grams(compiled, layout, block, bundled, values)
    grams = np.zeros((len(values), layout.size, layout.size))
    for start in range(0, values.shape[1], _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        for gram, own_values in zip(grams, values, strict=True):
            root = block.dense[:, rows] * np.sqrt(own_values[rows])
            gram[: layout.lead, : layout.lead] += root @ root.T
    by_row, first = np.ascontiguousarray(values.T), int(layout.intercept)
    found = [(bundle, bundle.cell(block.codes)) for bundle in bundles(layout.groups, values.shape[1])]
    for i, (one, cells) in enumerate(found):
        counts = _sums(cells, one.cells, by_row)
        _place_own(grams, layout, one, counts)
        sides = [one.level_sums(counts)] if layout.intercept else []
        sides += [one.level_sums(_sums(cells, one.cells, by_row, column)) for column in block.dense[first:]]
        for part, own in one.parts():
            for j, side in enumerate(sides):
                grams[:, j, layout.group_slices[part]] = side[:, own]
        for two, others in found[:i]:
            tables = _sums(others * one.cells + cells, two.cells * one.cells, by_row).reshape(-1, two.cells, one.cells)
            _place(grams, layout, one, two, two.level_sums(one.level_sums(tables).swapaxes(1, 2)))
    if layout.sparse:
        for gram, own_values in zip(grams, values, strict=True):
            _add_sparse(gram, layout, block, block.dense * own_values, own_values)
    return grams


def _compiled_grams(compiled: Any, layout: Layout, block: Block, bundled: Sequence[Bundle], values: Floats) -> Floats:
    known = layout.lead + sum(one.cells for one in bundled) if bundled else layout.sparse_slice.start
    places = np.zeros((len(values), known + 1, known + 1))
    for own_values, place in zip(np.ascontiguousarray(values), places, strict=True):
        compiled.gram(own_values, place)
    if not layout.sparse and not bundled:
        return places[:, :known, :known]
    grams = np.zeros((len(values), layout.size, layout.size))
    if bundled:
        unbundle(grams, layout, bundled, places)
    else:
        grams[:, :known, :known] = places[:, :known, :known]
    if layout.sparse:
        for gram, own_values in zip(grams, values, strict=True):
            _add_sparse(gram, layout, block, block.dense * own_values, own_values)
    return grams


def bundled_groups(layout: Layout) -> tuple[Bundle, ...]:
    """Return the groups in bundles where that leaves so few pairs that Gram matrices cost less; else nothing."""
    small = small_bundles(layout.groups)
    return small if len(layout.groups) ** 2 - len(small) ** 2 >= _WORTH_PAIRS else ()


def cell_parameters(layout: Layout, bundled: Sequence[Bundle], parameters: Floats) -> Floats:
    """Return the parameters (d,) as those of dense columns and cells, one after the other."""
    levels = (np.concatenate([parameters[layout.group_slices[g]] for g in one.groups]) for one in bundled)
    cells = (one.cell_sums(own) for one, own in zip(bundled, levels, strict=True))
    return np.concatenate([parameters[: layout.lead], *cells])


def level_totals(layout: Layout, bundled: Sequence[Bundle], totals: Floats) -> Floats:
    """Return sums of dense columns and cells as those of the coefficients, (d,)."""
    found, start = np.empty(layout.size), layout.lead
    found[:start] = totals[:start]
    for one in bundled:
        sums = one.level_sums(totals[start : start + one.cells])
        for part, own in one.parts():
            found[layout.group_slices[part]] = sums[own]
        start += one.cells
    return found


def unbundle(grams: Floats, layout: Layout, bundled: Sequence[Bundle], places: Floats) -> None:
    """Put what the upper triangles of the cells say, (k, lead and cells, the same), into those of the levels."""
    lead, start, before = layout.lead, layout.lead, list[tuple[Bundle, slice]]()
    grams[:, :lead, :lead] = places[:, :lead, :lead]
    for one in bundled:
        here = slice(start, start + one.cells)
        _place_own(grams, layout, one, np.diagonal(places[:, here, here], axis1=1, axis2=2))
        sides = one.level_sums(places[:, :lead, here])
        for part, own in one.parts():
            grams[:, :lead, layout.group_slices[part]] = sides[..., own]
        for two, there in before:
            tables = one.level_sums(places[:, there, here])
            _place(grams, layout, two, one, two.level_sums(tables.swapaxes(1, 2)).swapaxes(1, 2))
        before.append((one, here))
        start += one.cells


def _place_own(grams: Floats, layout: Layout, bundle: Bundle, counts: Floats) -> None:
    """Put the sums for each two levels of a bundle, from those of its cells (k, cells), into the upper triangles."""
    if bundle.indicator is None:
        part = layout.group_slices[bundle.groups[0]]
        diagonal = range(part.start, part.stop)
        grams[:, diagonal, diagonal] = counts[:, :-1]
    else:
        _place(grams, layout, bundle, bundle, bundle.indicator.T @ (bundle.indicator * counts[..., None]))


def _place(grams: Floats, layout: Layout, one: Bundle, two: Bundle, tables: Floats) -> None:
    """Put the tables of the levels of two bundles, (k, levels of one, levels of two), into the upper triangles."""
    slices = layout.group_slices
    for (g, here), (h, there) in product(one.parts(), two.parts()):
        table = tables[:, here, there]
        if g <= h:
            grams[:, slices[g], slices[h]] = table
        else:
            grams[:, slices[h], slices[g]] = table.swapaxes(1, 2)


def _sums(cells: NDArray[np.intp], count: int, values: Floats, column: Floats | None = None) -> Floats:
    """Return the sum of each of the values, (m, k), in each cell, (k, count), times the column (m,) where one is given.

    The values of one row are next to each other: all sums go through the cells once.
    """
    if values.shape[1] == 1:
        own = values[:, 0] if column is None else values[:, 0] * column
        return np.asarray(np.bincount(cells, weights=own, minlength=count)[None], dtype=np.float64)
    entries = np.ones(len(cells)) if column is None else column
    rows = scipy.sparse.csr_array((entries, cells, np.arange(len(cells) + 1)), shape=(len(cells), count))
    return np.asarray((rows.T @ values).T)


def _add_sparse(gram: Floats, layout: Layout, block: Block, weighted: Floats, values: Floats) -> None:
    part = layout.sparse_slice
    scaled = block.sparse.multiply(values[:, None]).tocsr()
    gram[part, part] = (block.sparse.T @ scaled).toarray()
    gram[: layout.lead, part] = weighted @ block.sparse
    for codes, levels, where in zip(block.codes, layout.groups, layout.group_slices, strict=True):
        indicator = np.zeros((levels + 1, len(codes)))
        indicator[codes, np.arange(len(codes))] = 1.0
        gram[where, part] = (indicator @ scaled)[:-1]


def quadratic_forms_of_rows(layout: Layout, block: Block, padded: Floats) -> Floats:
    """Return what `design.quadratic_form` does, shape (m,); rows without levels, or with sparse columns, by its way.

    `padded`: the matrix with one more row and column, of zeros: those of no level.
    """
    compiled = compiled_rows(layout, block) if layout.groups and not layout.sparse else None
    if compiled is None:
        return quadratic_form(layout, block, padded[:-1, :-1])
    form = np.empty(block.rows)
    compiled.forms(padded, form)
    return form


def output_triangles(size: int, matrix: Floats) -> Floats:
    """Return the lower triangles of the symmetric parts of A_ab for each two outputs, of A (outputs d, outputs d).

    `size` is d. (d (d + 1) / 2, places), places in eights: those with b <= a, one after the other, doubled off the
    diagonal.
    """
    outputs = len(matrix) // size
    row, column = np.tril_indices(size)
    pairs = outputs * (outputs + 1) // 2
    triangles = np.zeros((len(row), -(-pairs // 8) * 8))
    for place, (a, b) in enumerate(zip(*np.tril_indices(outputs), strict=True)):
        part = matrix[a * size : (a + 1) * size, b * size : (b + 1) * size]
        triangles[:, place] = part[row, column] + part[column, row]
    triangles[row == column] *= 0.5
    return triangles


def output_forms(layout: Layout, block: Block, triangles: Floats, outputs: int) -> Floats | None:
    """Return what `design.quadratic_forms` does, from the triangles of the matrix; None where its way is quicker."""
    if layout.sparse or layout.lead > _FEW_COLUMNS:
        return None
    compiled = compiled_rows(layout, block)
    if compiled is None:
        return None
    found, forms = np.empty((block.rows, triangles.shape[1])), np.empty((outputs, outputs, block.rows))
    compiled.forms_of_classes(triangles, found)
    for place, (a, b) in enumerate(zip(*np.tril_indices(outputs), strict=True)):
        forms[a, b] = forms[b, a] = found[:, place]
    return forms


def symmetric(whole: NDArray[Precision]) -> NDArray[Precision]:
    """Complete a symmetric matrix from its upper triangle, in place, and return it."""
    for start in range(0, len(whole), _MIRRORED):  # a strip at a time: it stays in the cache while it is turned
        stop = start + _MIRRORED
        whole[start:stop, :start] = whole[:start, start:stop].T
        square = whole[start:stop, start:stop]
        np.copyto(square, square.T, where=_BELOW[: len(square), : len(square)])
    return whole
