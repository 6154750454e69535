"""Cholesky factors, inverses of triangles and their squares, in strips that threads share.

Where a strip ends follows from the size of the matrix: no bit depends on the number of threads. Products and solutions
are those of BLAS, and the bounds of Higham 2002 hold in whatever order sums are taken: theorem 10.3 of the factor, 8.5
of each column of the inverse. All triangles are lower, in the order of Fortran, in double or in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from batchlearn.data.rows.threads import Result, in_order
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.lapack import divide_by_lower, factor_lower, solve_by_lower, subtract_product
from batchlearn.kernels.sums import symmetric

# A matrix up to this size is factored at once: of larger ones it is a few hundredths of the work.
_AT_ONCE = 512
_STRIP = 256
# Up to so many strips, of a matrix of some 600 rows, threads take longer to start than they save.
_ALONE = 5


def strips(size: int) -> list[slice]:
    """Return where the strips of so many rows or columns begin and end."""
    # Narrow ones skip more of the zeros; a large matrix is read once a strip.
    width = _STRIP if size > 8 * _STRIP else _STRIP // 2
    return [slice(start, min(start + width, size)) for start in range(0, size, width)]


def _shared(work: Callable[[slice], Result], parts: Sequence[slice], threads: int) -> Iterator[Result]:
    """Yield the work of each strip, in order; threads share what is worth their start."""
    return in_order(work, parts, threads if len(parts) > _ALONE else 1)


def factor_in_strips(matrix: Floats, threads: int) -> int:
    """Replace a symmetric matrix (d, d) by its Cholesky factor; return 0, or at which leading minor there is none."""
    size = len(matrix)
    if size <= _AT_ONCE:
        return factor_lower(matrix)
    half = size // 2
    first, beside, second = matrix[:half, :half], matrix[half:, :half], matrix[half:, half:]
    order = factor_in_strips(first, threads)
    if order != 0:
        return order
    parts = strips(size - half)
    for _ in _shared(lambda part: divide_by_lower(beside[part], first), parts, threads):
        pass
    for _ in _shared(
        lambda part: subtract_product(second[part.start :, part], beside[part.start :], beside[part]), parts, threads
    ):
        pass
    order = factor_in_strips(second, threads)
    return order and half + order


def invert_in_strips(lower: Floats, threads: int) -> None:
    """Replace a triangle (d, d), with anything above its diagonal, by its inverse, with zeros there."""
    size, parts = len(lower), strips(len(lower))

    def solved(part: slice) -> Floats:
        columns = np.zeros((size - part.start, part.stop - part.start), lower.dtype, order="F")
        columns[np.diag_indices(part.stop - part.start)] = 1.0
        solve_by_lower(lower[part.start :, part.start :], columns)
        return columns

    # A strip is written once those before it are solved: those after it do not read it.
    for part, columns in zip(parts, _shared(solved, parts, threads), strict=True):
        lower[: part.start, part] = 0.0
        lower[part.start :, part] = columns


def square_in_strips(lower: Floats, scale: Floats, threads: int) -> Floats:
    """Return D L'L D, (d, d), of a triangle with zeros above its diagonal; D is the scale, (d,)."""
    square = np.empty(lower.shape, lower.dtype)

    def multiply(part: slice) -> None:
        strip = square[part, : part.stop]
        np.matmul(lower[part.start :, part].T, lower[part.start :, : part.stop], out=strip)
        strip *= scale[part, None]
        strip *= scale[: part.stop]
        symmetric(strip[:, part])
        square[: part.start, part] = strip[:, : part.start].T

    for _ in _shared(multiply, strips(len(lower)), threads):
        pass
    return square
