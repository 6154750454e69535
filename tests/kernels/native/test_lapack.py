"""LAPACK without Python's lock: the bits of SciPy's own calls, and other threads that go on meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from scipy.linalg import lapack

from batchlearn.kernels.native.lapack import (
    addresses_in,
    divide_by_lower,
    factor_lower,
    invert_lower,
    reciprocal_condition,
    solve_by_lower,
    solve_lower,
    square_lower,
    subtract_product,
)


@pytest.mark.parametrize("kind", "ds")
@pytest.mark.parametrize("size", [1, 2, 65, 300])
def test_each_gives_the_bits_of_scipys_call(size: int, kind: str) -> None:
    half = np.random.default_rng(size).normal(size=(size, size))
    matrix = np.asfortranarray(half @ half.T + size * np.eye(size), dtype={"d": np.float64, "s": np.float32}[kind])
    potrf, trtri, lauum = (getattr(lapack, f"{kind}{name}") for name in ("potrf", "trtri", "lauum"))
    expected, _ = potrf(matrix, lower=1)
    assert factor_lower(matrix) == 0
    assert np.array_equal(np.tril(matrix), expected)
    inverse, _ = trtri(expected, lower=1)
    assert invert_lower(matrix) == 0
    assert np.array_equal(np.tril(matrix), inverse)
    product, _ = lauum(np.asfortranarray(np.tril(matrix)), lower=1)
    assert square_lower(matrix) == 0
    assert np.array_equal(np.tril(matrix), np.tril(product))
    if kind == "d":
        for vectors in (half[0], half[:, :3]):
            assert np.array_equal(solve_lower(expected, vectors), lapack.dpotrs(expected, vectors, lower=1)[0])
        # Not to the bit: its sums begin where its workspace lies.
        condition, _ = lapack.dpocon(expected, 2.0 * size, uplo="L")
        assert reciprocal_condition(expected, 2.0 * size) == pytest.approx(condition, rel=1e-12)


def test_parts_of_a_matrix_are_worked_on_where_they_lie() -> None:
    rng = np.random.default_rng(0)
    whole = np.asfortranarray(rng.normal(size=(30, 30)) + 30.0 * np.eye(30))
    given, lower = whole.copy(), np.tril(whole[5:12, 5:12])
    divide_by_lower(whole[14:24, 5:12], whole[5:12, 5:12])
    assert whole[14:24, 5:12] @ lower.T == pytest.approx(given[14:24, 5:12], abs=1e-12)
    solve_by_lower(whole[5:12, 5:12], whole[5:12, 14:25])
    assert lower @ whole[5:12, 14:25] == pytest.approx(given[5:12, 14:25], abs=1e-12)
    subtract_product(whole[20:23, 0:4], whole[14:17, 5:12], whole[7:11, 14:21])
    assert whole[20:23, 0:4] == pytest.approx(given[20:23, 0:4] - whole[14:17, 5:12] @ whole[7:11, 14:21].T, abs=1e-12)
    changed = np.zeros((30, 30), dtype=bool)
    changed[14:24, 5:12] = changed[5:12, 14:25] = changed[20:23, 0:4] = True
    assert np.array_equal(whole != given, changed)


def test_what_cannot_be_done_is_said() -> None:
    assert factor_lower(np.asfortranarray(np.diag([1.0, -1.0, 1.0]))) == 2
    assert invert_lower(np.asfortranarray(np.diag([1.0, 1.0, 0.0]))) == 3
    with pytest.raises(ValueError, match="in the order of Fortran"):
        factor_lower(np.ones((3, 3)) + np.eye(3))
    with pytest.raises(ValueError, match="of floats"):
        factor_lower(np.asfortranarray(np.eye(3, dtype=np.int64)))
    with pytest.raises(ValueError, match="in the order of Fortran"):
        solve_lower(np.tril(np.ones((3, 3))), np.ones(3))
    with pytest.raises(ModuleNotFoundError, match=r"has no scipy\.linalg\.cython_lapacks"):
        addresses_in("cython_lapacks")


@pytest.mark.parametrize("first", ["batchlearn.kernels.native.lapack", "scipy.linalg"])
def test_it_and_the_whole_of_scipys_linear_algebra_may_come_in_either_order(first: str) -> None:
    program = (
        f"import sys, {first}; alone = 'scipy.linalg' not in sys.modules\n"
        "import batchlearn.kernels.native.lapack as ours, scipy.linalg.lapack, numpy as np\n"
        "from scipy.linalg import cython_lapack\n"
        "assert cython_lapack.__pyx_capi__ is ours.addresses_in('cython_lapack')\n"
        "matrix = np.asfortranarray(np.diag([4.0, 9.0])); assert ours.factor_lower(matrix) == 0\n"
        "assert np.array_equal(matrix, scipy.linalg.lapack.dpotrf(np.diag([4.0, 9.0]), lower=1)[0])\n"
        "print(alone)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (str(first != "scipy.linalg"), "")


def test_other_threads_go_on_while_a_matrix_is_factored() -> None:
    size, seen, over = 2_500, 0, threading.Event()
    matrix = np.eye(size, order="F") * 2.0

    def watch() -> None:
        nonlocal seen
        while not over.wait(0.0005):
            seen += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = seen
    factor_lower(matrix)
    invert_lower(matrix)
    during = seen - before
    over.set()
    watcher.join()
    assert during >= 5, "half a second and more, looked at every half millisecond"
