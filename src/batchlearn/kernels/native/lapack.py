"""LAPACK's work on triangles, as SciPy brings it, with Python's lock released: SciPy's own calls hold it to the end.

All work in place on square matrices in the order of Fortran, of which they read and write the lower triangle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from scipy.linalg import cython_lapack

from batchlearn.kernels.design import Floats

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


_dpotrf, _dtrtri, _dlauum = map(_routine, ("dpotrf", "dtrtri", "dlauum"))


def _in_place(routine: Callable[..., Any], matrix: Floats, *letters: Any) -> int:
    if not (matrix.flags["F"] and matrix.flags["W"] and matrix.dtype.char == "d"):
        raise ValueError("a triangle is worked on in place: the matrix needs to be float64, in the order of Fortran")
    size, information = ctypes.byref(ctypes.c_int(len(matrix))), ctypes.c_int()
    routine(*letters, size, ctypes.c_void_p(matrix.ctypes.data), size, ctypes.byref(information))
    return information.value


def factor_lower(matrix: Floats) -> int:
    """Replace a symmetric matrix by its Cholesky factor; return 0, or at which leading minor there is none."""
    return _in_place(_dpotrf, matrix, _LOWER)


def invert_lower(matrix: Floats) -> int:
    """Replace a triangle by its inverse; return 0, or which entry of the diagonal is zero."""
    return _in_place(_dtrtri, matrix, _LOWER, _NOT_UNIT)


def square_lower(matrix: Floats) -> int:
    """Replace a triangle L by the lower triangle of L'L; return 0."""
    return _in_place(_dlauum, matrix, _LOWER)
