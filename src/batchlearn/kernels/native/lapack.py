"""LAPACK's work on triangles, as SciPy brings it, with Python's lock released: SciPy's own calls hold it to the end.

Matrices are in the order of Fortran; of square ones the lower triangle is read, and written where work is in place.
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
_ONE, _LESS_ONE = ctypes.byref(ctypes.c_double(1.0)), ctypes.byref(ctypes.c_double(-1.0))


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


_dpotrf, _dtrtri, _dpotrs, _dpocon = map(_routine, ("dpotrf", "dtrtri", "dpotrs", "dpocon"))
_dgemm, _dtrsm = _routine("dgemm", "cython_blas"), _routine("dtrsm", "cython_blas")


def _at(array: Floats) -> ctypes.c_void_p:
    if not (array.strides[0] == 8 and array.flags["W"] and array.dtype.char == "d"):
        raise ValueError("LAPACK works in place: an array needs to be float64, in the order of Fortran")
    return ctypes.c_void_p(array.ctypes.data)


def _apart(matrix: Floats) -> Any:
    """Return how far apart columns lie, of a part of a matrix as far as in the whole."""
    return ctypes.byref(ctypes.c_int(max(matrix.strides[1] // 8, 1)))


def _sizes(*sizes: int) -> Iterator[Any]:
    return (ctypes.byref(ctypes.c_int(size)) for size in sizes)


def _in_place(routine: Callable[..., Any], matrix: Floats, *letters: Any) -> int:
    information = ctypes.c_int()
    routine(*letters, *_sizes(len(matrix)), _at(matrix), _apart(matrix), ctypes.byref(information))
    return information.value


def factor_lower(matrix: Floats) -> int:
    """Replace a symmetric matrix by its Cholesky factor; return 0, or at which leading minor there is none."""
    return _in_place(_dpotrf, matrix, _LOWER)


def invert_lower(matrix: Floats) -> int:
    """Replace a triangle by its inverse; return 0, or which entry of the diagonal is zero."""
    return _in_place(_dtrtri, matrix, _LOWER, _NOT)


def divide_by_lower(matrix: Floats, lower: Floats) -> None:
    """Replace a matrix A, (m, d), by A L'^-1."""
    letters, places = (_RIGHT, _LOWER, _TURNED, _NOT), (_at(lower), _apart(lower), _at(matrix), _apart(matrix))
    _dtrsm(*letters, *_sizes(*matrix.shape), _ONE, *places)


def solve_by_lower(lower: Floats, matrix: Floats) -> None:
    """Replace a matrix A, (d, m), by L^-1 A."""
    # The first letter is for the left side.
    letters, places = (_LOWER, _LOWER, _NOT, _NOT), (_at(lower), _apart(lower), _at(matrix), _apart(matrix))
    _dtrsm(*letters, *_sizes(*matrix.shape), _ONE, *places)


def subtract_product(total: Floats, left: Floats, right: Floats) -> None:
    """Subtract A B' of matrices (m, k) and (n, k) from a total (m, n), in place."""
    sizes, into = _sizes(*total.shape, left.shape[1]), (_at(total), _apart(total))
    _dgemm(_NOT, _TURNED, *sizes, _LESS_ONE, _at(left), _apart(left), _at(right), _apart(right), _ONE, *into)


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
