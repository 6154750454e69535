"""LAPACK's work on triangles, as SciPy brings it, with Python's lock released: SciPy's own calls hold it to the end.

All work in place on square matrices in the order of Fortran, of which they read and write the lower triangle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_lapack

_LOWER, _NOT_UNIT = ctypes.byref(ctypes.c_char(b"L")), ctypes.byref(ctypes.c_char(b"N"))


def _routine(name: str) -> Callable[..., Any]:
    """Return a routine by the address that SciPy gives to compiled code."""
    capsule, capsules = cython_lapack.__pyx_capi__[name], ctypes.pythonapi
    capsules.PyCapsule_GetName.restype, capsules.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", capsules))(
        capsule, capsules.PyCapsule_GetName(capsule)
    )
    # A function of this type, unlike one of PYFUNCTYPE, runs without the lock.
    return ctypes.CFUNCTYPE(None)(address)


# By the numbers of the matrix: of double and of single precision.
_POTRF, _TRTRI, _LAUUM = ({kind: _routine(f"{kind}{name}") for kind in "ds"} for name in ("potrf", "trtri", "lauum"))


def _in_place(routines: dict[str, Callable[..., Any]], matrix: NDArray[np.floating[Any]], *letters: Any) -> int:
    routine = routines.get({"d": "d", "f": "s"}.get(matrix.dtype.char, ""))
    if not (matrix.flags["F"] and matrix.flags["W"] and routine):
        raise ValueError("a triangle is worked on in place: the matrix needs to be of floats, in the order of Fortran")
    size, information = ctypes.byref(ctypes.c_int(len(matrix))), ctypes.c_int()
    routine(*letters, size, ctypes.c_void_p(matrix.ctypes.data), size, ctypes.byref(information))
    return information.value


def factor_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a symmetric matrix by its Cholesky factor; return 0, or at which leading minor there is none."""
    return _in_place(_POTRF, matrix, _LOWER)


def invert_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a triangle by its inverse; return 0, or which entry of the diagonal is zero."""
    return _in_place(_TRTRI, matrix, _LOWER, _NOT_UNIT)


def square_lower(matrix: NDArray[np.floating[Any]]) -> int:
    """Replace a triangle L by the lower triangle of L'L; return 0."""
    return _in_place(_LAUUM, matrix, _LOWER)
