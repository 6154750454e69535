"""A matrix of columns as given: its rows, how they are scaled inside, and its coefficients in the columns' own units.

Inside, a column is read as (value - shift) / scale, near its mean and its standard deviation: the free intercept makes
that the same objective, with better numbers. Scales are powers of two, so a coefficient and its penalty change units
without rounding, and shifts have few digits, so that a difference from a value with few digits is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.memory import MemoryRows, chunk_rows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.errors import CertificateError, DataError
from batchlearn.kernels.design import Block, Columns, Floats, Layout, predictors, squared
from batchlearn.kernels.sums import compiled_rows, transposed_product
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.curvature import DiagonalTotal
from batchlearn.training.certificate import Units

# Sums and differences of values up to this cannot overflow.
_LARGEST_VALUE = 1e290
# Below the least scale a penalty strength could overflow; no column of ordinary data is so narrow.
_LEAST_EXPONENT, _LARGEST_EXPONENT = -380, 1000
# Rows whose mean is near enough to that of all for squares of distances from it.
_CENTRE_ROWS = 1024
# Sparse columns that most rows have become dense where they hold so much of the entries, or means of four deviations.
_MUCH, _FAR = 0.25, 16.0 / 17.0
# Shifts are multiples of scale / 256.
_SHIFT_STEPS = 256.0
# Of a column's second moment, as curvature weighs the rows, in its mean: what is left is below a thirtieth of it.
_HIDDEN = 0.999
# Of a column's deviation: what most rows differ by where a few far out make all of it.
_FAR_OUT = 1e-3


@dataclass(frozen=True)
class _ExtentTotal:
    """Of each column the smallest and largest value, and weighted sums of the distances from a centre, and of squares.

    The centre of sparse columns is 0; of these also how many entries each has.
    """

    centre: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.minimum, np.maximum, np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:  # noqa: ARG002 - the protocol of a statistic
        """Return the chunk's totals."""
        block, entries = chunk.block, np.empty(0)
        compiled, centre = compiled_rows(chunk.layout, block), self.centre[: chunk.layout.dense]
        if compiled is not None:
            low, high, first, second = np.empty((4, chunk.layout.dense))
            cells = np.empty((chunk.layout.sparse, 8)) if chunk.layout.sparse else None
            compiled.extents(chunk.weight, centre, low, high, first, second, cells)
            if cells is None:
                return low, high, first, second, entries
            entries = cells[:, 4].copy()
            lacking = entries < len(chunk.label)
            least, most = np.where(lacking, np.minimum(cells[:, 0], 0.0), cells[:, 0]), cells[:, 1]
            most = np.where(lacking, np.maximum(most, 0.0), most)
            own = (least, most, cells[:, 2], cells[:, 3])
        else:
            low, high, distance = block.dense.min(axis=1), block.dense.max(axis=1), block.dense - centre[:, None]
            first, second = distance @ chunk.weight, distance**2 @ chunk.weight
            if not chunk.layout.sparse:
                return low, high, first, second, entries
            part, ends = chunk.block.sparse, [getattr(chunk.block.sparse, end)(axis=0) for end in ("min", "max")]
            entries = np.bincount(part.indices, minlength=part.shape[1]).astype(np.float64)
            own = (
                *(each.toarray().ravel() for each in ends),
                part.T @ chunk.weight,
                part.multiply(part).T @ chunk.weight,
            )
        every = zip((low, high, first, second), own, strict=True)
        low, high, first, second = (np.append(dense, sparse) for dense, sparse in every)
        return low, high, first, second, entries


@dataclass(frozen=True)
class _ColumnSpreadTotal:
    """Weighted sums of the distances from the mean as a float, and of their squares, in units of each magnitude."""

    mean: Floats
    magnitude: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats, Floats]:  # noqa: ARG002 - the protocol of a statistic
        mean, magnitude = np.split(self.mean, [chunk.layout.dense]), np.split(self.magnitude, [chunk.layout.dense])
        columns = Block(Columns(chunk.block.stored, mean[0], magnitude[0], False), chunk.block.codes)
        dense = Layout(False, chunk.layout.dense)
        first, second = (transposed_product(dense, block, chunk.weight) for block in (columns, squared(columns)))
        if not chunk.layout.sparse:
            return first, second
        part = chunk.block.sparse
        column, row = part.indices, np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        weight, size = chunk.weight[row], part.shape[1]
        distance = (part.data - mean[1][column]) / magnitude[1][column]
        stored = np.bincount(column, weights=weight, minlength=size)
        lacking = np.bincount(column, minlength=size) < part.shape[0]
        absent = np.where(lacking, np.maximum(chunk.weight.sum() - stored, 0.0), 0.0)
        of_absent = -mean[1] / magnitude[1]
        of_first, of_second = (
            np.bincount(column, weights=weight * distance**power, minlength=size) + absent * of_absent**power
            for power in (1, 2)
        )
        return np.append(first, of_first), np.append(second, of_second)


@dataclass(frozen=True)
class Matrix:
    """Rows of a matrix with what is known about its columns; arrays over columns have shape (columns,).

    Columns inside stand in an order of their own: dense ones first, among them some of a sparse matrix. Sparse columns
    are not shifted (the mean of one that most rows lack is no larger than its standard deviation, and no other has a
    much larger one), nor are columns of a model without a free intercept.
    """

    rows: MemoryRows
    shift: Floats
    scale: Floats
    deviation: Floats  # weighted standard deviations
    constant: NDArray[np.bool_]  # columns that can tell no two rows apart, beyond what the intercept says
    weight: float  # total, as given
    order: NDArray[np.intp]  # the column of the matrix that each column inside is

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept."""
        return self.rows.layout.intercept

    @cached_property
    def units(self) -> Units:
        """How the parameters inside read in the units of the columns."""
        if not self.intercept:
            return Units(self.scale)
        shift = np.append(0.0, self.shift / self.scale)
        return Units(np.append(1.0, self.scale), shift if shift.any() else None)

    def penalty(
        self, alpha: float, *, standardize: bool = False, intercept_alpha: float = 0.0, outputs: int = 1
    ) -> Quadratic:
        """Return alpha/2 ||coefficients||^2 in terms of the parameters inside.

        With `standardize`, coefficients are per standard deviation of their column. Outputs are penalised alike. A
        column without information and without penalty gets one: it leaves the optimum of the other coefficients and
        its value as they are, and makes this one's coefficient 0.
        """
        unit = self.deviation if standardize else np.ones_like(self.scale)
        strengths = alpha * (unit / self.scale) ** 2
        strengths = np.where(self.constant & (strengths == 0.0), 1.0, strengths)
        return Quadratic(np.tile(np.append(intercept_alpha, strengths) if self.intercept else strengths, outputs))

    def centred_at(self, loss: Loss, parameters: Floats, hessian: Floats) -> Matrix | None:
        """Return the matrix with dense columns near their means as the curvature at these parameters weighs the rows.

        One row far from all others gives a column a mean and a deviation that are its own. Where such a row has no
        curvature (it is certain of its class) the column is all but constant to those that have: a twin of the
        intercept, in whose rounding the rest of it is hidden. The objective is the same, in better numbers. Reads the
        rows once; None where no column is hidden so, and for a loss of several outputs, whose curvature is no number.
        """
        dense = self.rows.layout.dense
        lead, curvature = slice(1, 1 + dense), float(hessian[0, 0])
        if loss.outputs > 1 or not (self.intercept and self.shift.any() and curvature > 0.0):
            return None
        distance = hessian[0, lead] / curvature
        if not np.any(hessian[0, lead] * distance > _HIDDEN * np.diagonal(hessian)[lead]):
            return None
        mean = self.shift[:dense] + distance * self.scale[:dense]
        moved = np.append(parameters[0] + distance @ parameters[lead], parameters[1:])
        (diagonal,) = replace(self.rows, shift=mean).total(DiagonalTotal(loss), moved)
        deviation = np.sqrt(diagonal[lead] / self.rows.total_weight / curvature) * self.scale[:dense]
        return self._moved_to(mean, deviation)

    def centred_at_medians(self) -> Matrix | None:
        """Return the matrix with dense columns near their medians, in units of the median distance from there.

        For where nothing is known of the curvature. None where no column's deviation is that of a few rows far out.
        """
        dense = self.rows.layout.dense
        if not (self.intercept and self.shift.any()):
            return None
        columns = (self.rows.stored_column(j) for j in range(dense))
        found = [(float(np.median(x)), float(np.median(np.abs(x - np.median(x))))) for x in columns]
        middle, distance = np.asarray(found).T
        hidden = (distance > 0.0) & (distance < _FAR_OUT * self.deviation[:dense])
        if not hidden.any():
            return None
        return self._moved_to(
            np.where(hidden, middle, self.shift[:dense]), np.where(hidden, distance, self.scale[:dense])
        )

    def _moved_to(self, mean: Floats, deviation: Floats) -> Matrix:
        """Return the matrix with these means and deviations of dense columns; 0 keeps a scale."""
        dense = self.rows.layout.dense
        scale, shift = self.scale.copy(), self.shift.copy()
        scale[:dense] = _power_of_two(np.where(deviation > 0.0, deviation, scale[:dense]))
        shift[:dense] = _few_digits(mean, scale[:dense])
        rows = replace(self.rows, shift=shift[:dense], scale=scale[:dense])
        return replace(self, rows=rows, shift=shift, scale=scale)

    def deliver(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return coefficients (outputs, columns) and intercepts (outputs,) in the columns' units, each rounded once."""
        lead = int(self.intercept)
        outputs = parameters.reshape(-1, lead + len(self.scale))
        coefficients = outputs[:, lead:] / self.scale
        if not (np.all(np.isfinite(parameters)) and np.all(np.isfinite(coefficients))):
            raise CertificateError(
                "A coefficient is beyond the largest float; columns and labels need to be in units that make their "
                "ratios smaller. Rescale them.",
                code="coefficient-overflow",
            )
        intercepts = np.zeros(len(outputs))
        if lead:
            own = zip(outputs[:, 0], coefficients, strict=True)
            intercepts[:] = [float(Fraction(first) - self._moved(each)) for first, each in own]
        return coefficients[:, np.argsort(self.order)], intercepts

    def inside(self, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return the parameters inside that are exactly these numbers, up to one rounding of each intercept.

        As `deliver` returns them. The bound on a gradient's rounding has room for that one.
        """
        coefficients = coefficients[:, self.order]
        parameters = coefficients * self.scale
        if self.intercept:
            own = zip(intercepts, coefficients, strict=True)
            parameters = np.insert(parameters, 0, [float(Fraction(b) + self._moved(each)) for b, each in own], axis=1)
        return parameters.ravel()

    def _moved(self, coefficients: Floats) -> Fraction:
        moved = (self.shift != 0.0) & (coefficients != 0.0)
        products = zip(coefficients[moved].tolist(), self.shift[moved].tolist(), strict=True)
        return sum((Fraction(a) * Fraction(b) for a, b in products), Fraction(0))


def read_matrix(
    values: Any,
    label: Floats,
    weight: Floats | None = None,
    *,
    offset: Floats | None = None,
    intercept: bool = True,
    centre: bool = True,
    threads: int = 1,
) -> Matrix:
    """Look at every row of a checked matrix, (n, columns) NumPy or CSR, twice, to scale its columns.

    Nothing is copied unless rows without weight have to be left out, or columns of a sparse matrix that most rows have
    a value of hold much of it or lie far from zero: these become dense ones. Raises DataError.
    """
    total = float(len(label)) if weight is None else math.fsum(weight)
    if weight is not None:
        # By a power of two: the largest weight is near one, a mean stays as it is, and nothing overflows.
        weight = np.asarray(np.ldexp(weight, 1 - int(np.frexp(weight.max())[1])))
        counted = weight > 0.0
        if not counted.all():
            values, label, weight = values[counted], label[counted], weight[counted]
            offset = None if offset is None else offset[counted]
    if issparse(values) and not values.has_canonical_format:
        values = values.copy()
        values.sum_duplicates()
    order = np.arange(values.shape[1])
    dense, sparse = (None, values) if issparse(values) else (values, None)
    rows = _stored(dense, sparse, label, weight, offset, threads)
    near, low, high, sums, squares, entries = _extents(rows, dense)
    if sparse is not None and intercept and centre:
        full = 2 * entries > len(label)
        with np.errstate(over="ignore", invalid="ignore"):
            far = full & (sums**2 > _FAR * squares * rows.total_weight)
        if far.any() or entries[full].sum() > _MUCH * entries.sum():
            order = np.concatenate([np.flatnonzero(full), np.flatnonzero(~full)])
            dense, sparse = np.asfortranarray(sparse[:, full].toarray()), None if full.all() else sparse[:, ~full]
            rows = _stored(dense, sparse, label, weight, offset, threads)
            near, low, high, sums, squares, _ = _extents(rows, dense)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    if not (float(magnitude.max(initial=0.0)) <= _LARGEST_VALUE and np.all(np.isfinite(sums))):
        raise DataError(
            f"A value of the matrix is {magnitude.max():.1e} in size; values need to be below {_LARGEST_VALUE:.0e}, or "
            "their sums overflow. Rescale that column.",
            code="value-too-large",
        )
    # By a power of two, which rounds nothing.
    magnitude = np.exp2(np.ceil(np.log2(np.where(magnitude > 0.0, magnitude, 1.0))))
    mean, spread = _spread(rows, near, sums, squares, magnitude)
    same = low == high
    deviation = np.where(same, 0.0, spread * magnitude)
    shifted = np.arange(len(mean)) < (rows.layout.dense if intercept and centre else 0)
    scale = _power_of_two(np.where(shifted, deviation, np.hypot(spread, mean / magnitude) * magnitude))
    shift = np.where(shifted, np.where(same, low, _few_digits(mean, scale)), 0.0)
    constant = same if intercept and centre else same & (low == 0.0)
    rows = replace(rows, layout=replace(rows.layout, intercept=intercept))
    count = rows.layout.dense
    rows = replace(rows, shift=shift[:count], scale=scale[:count], sparse_scale=scale[count:])
    return Matrix(rows, shift, scale, deviation, constant, total, order)


def _extents(rows: MemoryRows, dense: Any) -> tuple[Floats, ...]:
    """Return a centre of each column, near its mean where it is dense, and the totals of the distances from there."""
    near = np.zeros(rows.layout.size)
    with np.errstate(over="ignore", invalid="ignore"):
        if dense is not None:
            near[: dense.shape[1]] = np.asarray(dense[:_CENTRE_ROWS], dtype=np.float64).mean(axis=0)
        return near, *rows.total(_ExtentTotal(near), np.empty(0))


def _spread(
    rows: MemoryRows, centre: Floats, sums: Floats, squares: Floats, magnitude: Floats
) -> tuple[Floats, Floats]:
    """Return the mean of each column and, in units of its magnitude, its standard deviation."""
    weight = rows.total_weight
    moved, square = sums / weight / magnitude, squares / weight / magnitude / magnitude
    mean = centre + sums / weight
    # Where the centre, of the first rows, is not near the mean, most of the squares is the distance between the two.
    if np.all(moved**2 <= _FAR * square) and np.all(np.isfinite(square)):
        return mean, np.sqrt(square - moved**2)
    first, second = rows.total(_ColumnSpreadTotal(mean, magnitude), np.empty(0))
    # The mean is rounded: where columns vary in its last places only, that is most of the squares (Chan, Golub and
    # LeVeque 1983, the corrected two-pass algorithm).
    return mean, np.sqrt(np.maximum(second / weight - (first / weight) ** 2, 0.0))


def row_predictors(values: Any, coefficients: Floats, intercepts: Floats) -> Floats:
    """Return Xw + intercept of a checked matrix, (n,), with the same bits in whatever batch a row comes.

    Coefficients are (outputs, columns), intercepts (outputs,); of several outputs the answer is (outputs, n).
    """
    dense, sparse = (None, values) if issparse(values) else (values, None)
    rows = _stored(dense, sparse, np.zeros(values.shape[0]), None, None, 1)
    rows = replace(rows, layout=replace(rows.layout, intercept=True))
    parameters = np.column_stack([intercepts, coefficients]).ravel()
    return rows.map_rows(lambda chunk, inside: predictors(chunk.layout, chunk.block, inside), parameters)


def row_weights(sample_weight: Any, rows: int) -> Floats | None:
    """Check the weights of rows as given, one number or one a row. Raises DataError."""
    if sample_weight is None:
        return None
    weight = np.array(sample_weight, dtype=np.float64)
    if weight.ndim == 0:
        weight = np.full(rows, float(weight))
    if weight.shape != (rows,):
        raise DataError(
            f"The sample weights have shape {weight.shape}; they need one number for each of the {rows} rows, in one "
            "dimension. Check where they were made.",
            code="weight-shape",
        )
    if not np.all(np.isfinite(weight)) or np.any(weight < 0.0):
        worst = weight[~(np.isfinite(weight) & (weight >= 0.0))][0]
        raise DataError(
            f"A sample weight is {worst}; weights need to be finite numbers of 0 or more. Negative values in "
            "sample_weight mean nothing here: leave such a row out, or correct its weight.",
            code="weight-not-usable",
        )
    if not math.isfinite(float(weight.max()) * rows):
        raise DataError(
            f"A sample weight is {weight.max():.1e}: their sum may be beyond the largest float. Divide all by one.",
            code="weight-not-usable",
        )
    if not weight.any():
        raise DataError(
            "The sample weights are all zero; at least one row needs a weight above 0. Check where they were made.",
            code="weight-total-zero",
        )
    return weight


def _power_of_two(size: Floats) -> Floats:
    exponent = np.rint(np.log2(np.where(size > 0.0, size, 1.0)))
    return np.asarray(np.exp2(np.clip(exponent, _LEAST_EXPONENT, _LARGEST_EXPONENT)))


def _few_digits(mean: Floats, scale: Floats) -> Floats:
    return np.asarray(np.rint(mean / scale * _SHIFT_STEPS) / _SHIFT_STEPS * scale)


def _stored(
    dense: Any, sparse: Any, label: Floats, weight: Floats | None, offset: Floats | None, threads: int
) -> MemoryRows:
    """Return rows of dense columns, (n, columns) or None, and sparse ones, CSR (n, columns) or None."""
    count = len(label)
    dense = np.empty((count, 0)) if dense is None else dense
    wide = dense.shape[1] + (0 if sparse is None else math.ceil(sparse.nnz / max(count, 1)))
    length = chunk_rows(wide)
    codes = np.empty((0, count), dtype=np.uint8)
    entries = None if sparse is None else csr_array(sparse, copy=False)
    whole = StoredChunk(dense.T, codes, label, weight, offset, entries)
    chunks = tuple(whole.part(slice(start, start + length)) for start in range(0, count, length))
    layout = Layout(False, dense.shape[1], (), 0 if sparse is None else sparse.shape[1])
    plain = np.zeros(layout.dense), np.ones(layout.dense)
    return MemoryRows(layout, chunks, *plain, threads=threads)
