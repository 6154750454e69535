"""Extents of columns, as the kernel reads them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from batchlearn.kernels import native
from batchlearn.kernels.design import Block, Columns, Layout
from batchlearn.kernels.sums import compiled_rows

pytestmark = pytest.mark.skipif(not native.built(), reason="the kernels are not compiled here")


@pytest.mark.parametrize("columns", [3, 8, 13, 33])
def test_extents_of_columns_are_the_same_in_either_order_and_by_the_twin(columns: int) -> None:
    rng = np.random.default_rng(columns)
    for rows in (1, 15, 17, 700):
        X = np.asarray(rng.normal(size=(rows, columns)) * 3.0 + 1.0, dtype=np.float32)
        layout, weight, centre = Layout(False, columns), rng.uniform(0.1, 2.0, rows), rng.normal(size=columns)
        for stored in (X, np.asfortranarray(X)):
            block = Block(Columns(stored.T, np.zeros(columns), np.ones(columns), False), np.empty((0, rows), np.uint8))
            kernel = compiled_rows(layout, block)
            assert kernel is not None
            low, high, first, second = np.empty((4, columns))
            kernel.extents(weight, centre, low, high, first, second, None)
            np.testing.assert_array_equal(low, X.min(axis=0))
            np.testing.assert_array_equal(high, X.max(axis=0))
            distance = X.astype(np.float64) - centre
            np.testing.assert_allclose(first, weight @ distance, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(second, weight @ distance**2, rtol=1e-11)
