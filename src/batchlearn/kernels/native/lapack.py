"""LAPACK's work on triangles, as SciPy brings it, with Python's lock released: SciPy's own calls hold it to the end.

Matrices are in the order of Fortran; of square ones the lower triangle is read, and written where work is in place. In
strips of large matrices numbers may be of single precision.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

_LOWER, _RIGHT, _TURNED, _NOT = (ctypes.byref(ctypes.c_char(letter)) for letter in (b"L", b"R", b"T", b"N"))
_ONE, _LESS_ONE = (
    {"d": ctypes.byref(ctypes.c_double(one)), "f": ctypes.byref(ctypes.c_float(one))} for one in (1.0, -1.0)
)


def addresses_in(module: str) -> Any:
    """Return what `scipy.linalg.cython_blas` or `cython_lapack` hands to compiled code: a capsule for each routine.

    The module is found beside the package and not through it: `import scipy.linalg` loads a hundred and fifty modules,
    of NumPy's tests and of Fortran, which is a fifth of a second of every command.
    """
    name = f"scipy.linalg.{module}"
    if name not in sys.modules:
        spec = PathFinder.find_spec(name, [str(Path(folder) / "linalg") for folder in scipy.__path__])
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"SciPy {scipy.__version__} has no {name}.", name=name)
        # Where the package is imported later it finds the module under its name.
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].__pyx_capi__


def _routine(name: str, module: str = "cython_lapack") -> Callable[..., Any]:
    """Return a routine by the address that SciPy gives to compiled code."""
    capsule, capsules = addresses_in(module)[name], ctypes.pythonapi
    capsules.PyCapsule_GetName.restype, capsules.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", capsules))(
        capsule, capsules.PyCapsule_GetName(capsule)
    )
    # A function of this type, unlike one of PYFUNCTYPE, runs without the lock.
    return ctypes.CFUNCTYPE(None)(address)


# By the numbers of the matrix, as NumPy names them: of double and of single precision.
_POTRF, _TRTRI, _LAUUM = (
    {kind: _routine(f"{letter}{name}") for kind, letter in ("dd", "fs")} for name in ("potrf", "trtri", "lauum")
)
_TRSM, _GEMM = (
    {kind: _routine(f"{letter}{name}", "cython_blas") for kind, letter in ("dd", "fs")} for name in ("trsm", "gemm")
)
_dpotrs, _dpocon = map(_routine, ("dpotrs", "dpocon"))


def _at(array: NDArray[Any], kinds: str = "d") -> ctypes.c_void_p:
    if not (array.strides[0] == array.itemsize and array.flags["W"] and array.dtype.char in kinds):
        raise ValueError("LAPACK works in place: an array needs to be of floats, in the order of Fortran")
    return ctypes.c_void_p(array.ctypes.data)


def _matrix(matrix: NDArray[np.floating[Any]], kinds: str = "df") -> tuple[Any, Any]:
    """Return where a matrix lies and how far apart its columns are, of a part of a matrix as far as in the whole."""
    return _at(matrix, kinds), ctypes.byref(ctypes.c_int(max(matrix.strides[1] // matrix.itemsize, 1)))


def _sizes(*sizes: int) -> Iterator[Any]:
    return (ctypes.byref(ctypes.c_int(size)) for size in sizes)


def _in_place(routines: dict[str, Callable[..., Any]], matrix: NDArray[np.floating[Any]], *letters: Any) -> int:
    place, information = _matrix(matrix), ctypes.c_int()
    routines[matrix.dtype.char](*letters, *_sizes(len(matrix)), *place, ctypes.byref(information))
    return information.value


def factor_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a symmetric matrix by its Cholesky factor; return 0, or at which leading minor there is none."""
    return _in_place(_POTRF, matrix, _LOWER)


def invert_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a triangle by its inverse; return 0, or which entry of the diagonal is zero."""
    return _in_place(_TRTRI, matrix, _LOWER, _NOT)


def square_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a triangle L by the lower triangle of L'L; return 0."""
    return _in_place(_LAUUM, matrix, _LOWER)


def divide_by_lower(matrix: NDArray[np.floating[Any]], lower: NDArray[np.floating[Any]]) -> None:
    """Replace a matrix A, (m, d), by A L'^-1."""
    kind, letters = matrix.dtype.char, (_RIGHT, _LOWER, _TURNED, _NOT)
    _TRSM[kind](*letters, *_sizes(*matrix.shape), _ONE[kind], *_matrix(lower, kind), *_matrix(matrix, kind))


def solve_by_lower(lower: NDArray[np.floating[Any]], matrix: NDArray[np.floating[Any]]) -> None:
    """Replace a matrix A, (d, m), by L^-1 A."""
    kind, letters = matrix.dtype.char, (_LOWER, _LOWER, _NOT, _NOT)  # the first for the left side
    _TRSM[kind](*letters, *_sizes(*matrix.shape), _ONE[kind], *_matrix(lower, kind), *_matrix(matrix, kind))


def subtract_product(
    total: NDArray[np.floating[Any]], left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]]
) -> None:
    """Subtract A B' of matrices (m, k) and (n, k) from a total (m, n), in place."""
    kind, sizes = total.dtype.char, _sizes(*total.shape, left.shape[1])
    matrices, into = (*_matrix(left, kind), *_matrix(right, kind)), (_ONE[kind], *_matrix(total, kind))
    _GEMM[kind](_NOT, _TURNED, *sizes, _LESS_ONE[kind], *matrices, *into)


def solve_lower(factor: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (L L')^-1 v of a Cholesky factor, for a vector (d,) or for several, (d, k)."""
    solved, information = np.array(vectors, dtype=np.float64, order="F"), ctypes.c_int()
    size, count = (ctypes.byref(ctypes.c_int(one)) for one in (len(factor), solved.size // max(len(factor), 1)))
    _dpotrs(_LOWER, size, count, _at(factor), size, _at(solved), size, ctypes.byref(information))
    return solved


def reciprocal_condition(factor: NDArray[np.float64], norm: float) -> float:
    """Estimate 1 / (||A|| ||A^-1||) of A = L L' in the 1-norm, of which a bound on ||A|| is given."""
    estimate, information = ctypes.c_double(), ctypes.c_int()
    size = ctypes.byref(ctypes.c_int(len(factor)))
    floats, integers = np.empty(3 * len(factor)), np.empty(len(factor), dtype=np.intc)
    of_a, workspace = ctypes.byref(ctypes.c_double(norm)), (_at(floats), ctypes.c_void_p(integers.ctypes.data))
    _dpocon(_LOWER, size, _at(factor), size, of_a, ctypes.byref(estimate), *workspace, ctypes.byref(information))
    return estimate.value
