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

from batchlearn.kernels.design import Floats

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


_dtrtri, _dpotrs, _dpocon = map(_routine, ("dtrtri", "dpotrs", "dpocon"))
# By the letter of the numbers: double or single precision.
_potrf = {"d": _routine("dpotrf"), "f": _routine("spotrf")}
_trsm = {"d": _routine("dtrsm", "cython_blas"), "f": _routine("strsm", "cython_blas")}
_gemm = {"d": _routine("dgemm", "cython_blas"), "f": _routine("sgemm", "cython_blas")}


def _at(array: Floats, letter: str = "d") -> ctypes.c_void_p:
    if not (array.strides[0] == array.itemsize and array.flags["W"] and array.dtype.char == letter):
        raise ValueError("LAPACK works in place: an array needs to be float64, in the order of Fortran")
    return ctypes.c_void_p(array.ctypes.data)


def _matrix(matrix: Floats, letter: str) -> tuple[Any, Any]:
    """Return where a matrix lies and how far apart its columns are, of a part of a matrix as far as in the whole."""
    return _at(matrix, letter), ctypes.byref(ctypes.c_int(max(matrix.strides[1] // matrix.itemsize, 1)))


def _sizes(*sizes: int) -> Iterator[Any]:
    return (ctypes.byref(ctypes.c_int(size)) for size in sizes)


def _in_place(routine: Callable[..., Any], matrix: Floats, *letters: Any) -> int:
    information = ctypes.c_int()
    routine(*letters, *_sizes(len(matrix)), *_matrix(matrix, matrix.dtype.char), ctypes.byref(information))
    return information.value


def factor_lower(matrix: Floats) -> int:
    """Replace a symmetric matrix by its Cholesky factor; return 0, or at which leading minor there is none."""
    return _in_place(_potrf[matrix.dtype.char], matrix, _LOWER)


def invert_lower(matrix: Floats) -> int:
    """Replace a triangle by its inverse; return 0, or which entry of the diagonal is zero."""
    return _in_place(_dtrtri, matrix, _LOWER, _NOT)


def divide_by_lower(matrix: Floats, lower: Floats) -> None:
    """Replace a matrix A, (m, d), by A L'^-1."""
    letter, letters = matrix.dtype.char, (_RIGHT, _LOWER, _TURNED, _NOT)
    _trsm[letter](*letters, *_sizes(*matrix.shape), _ONE[letter], *_matrix(lower, letter), *_matrix(matrix, letter))


def solve_by_lower(lower: Floats, matrix: Floats) -> None:
    """Replace a matrix A, (d, m), by L^-1 A."""
    letter, letters = matrix.dtype.char, (_LOWER, _LOWER, _NOT, _NOT)  # the first for the left side
    _trsm[letter](*letters, *_sizes(*matrix.shape), _ONE[letter], *_matrix(lower, letter), *_matrix(matrix, letter))


def subtract_product(total: Floats, left: Floats, right: Floats) -> None:
    """Subtract A B' of matrices (m, k) and (n, k) from a total (m, n), in place."""
    letter, sizes = total.dtype.char, _sizes(*total.shape, left.shape[1])
    matrices, into = (*_matrix(left, letter), *_matrix(right, letter)), (_ONE[letter], *_matrix(total, letter))
    _gemm[letter](_NOT, _TURNED, *sizes, _LESS_ONE[letter], *matrices, *into)


def solve_lower(factor: Floats, vectors: Floats) -> Floats:
    """Return (L L')^-1 v of a Cholesky factor, for a vector (d,) or for several, (d, k)."""
    solved, information = np.array(vectors, dtype=np.float64, order="F"), ctypes.c_int()
    size, count = (ctypes.byref(ctypes.c_int(one)) for one in (len(factor), solved.size // max(len(factor), 1)))
    _dpotrs(_LOWER, size, count, _at(factor), size, _at(solved), size, ctypes.byref(information))
    return solved


def reciprocal_condition(factor: Floats, norm: float) -> float:
    """Estimate 1 / (||A|| ||A^-1||) of A = L L' in the 1-norm, of which a bound on ||A|| is given."""
    estimate, information = ctypes.c_double(), ctypes.c_int()
    size = ctypes.byref(ctypes.c_int(len(factor)))
    floats, integers = np.empty(3 * len(factor)), np.empty(len(factor), dtype=np.intc)
    of_a, workspace = ctypes.byref(ctypes.c_double(norm)), (_at(floats), ctypes.c_void_p(integers.ctypes.data))
    _dpocon(_LOWER, size, _at(factor), size, of_a, ctypes.byref(estimate), *workspace, ctypes.byref(information))
    return estimate.value
