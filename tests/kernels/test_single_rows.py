"""Products with some rows agree with those of whole blocks, and touch nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from batchlearn.kernels.design import Block, Layout, predictors
from batchlearn.kernels.single_rows import add_products, batch_predictor, padded, row_major, unpadded
from batchlearn.kernels.sums import transposed_products

ROWS = 23


def drawn(outputs: int) -> tuple[Layout, Block, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    layout = Layout(True, 2, (3, 5), 4)
    dense = np.vstack([np.ones(ROWS), rng.normal(size=(2, ROWS))])
    codes = np.stack([rng.integers(0, 4, ROWS), rng.integers(0, 6, ROWS)])
    sparse = csr_array(rng.normal(size=(ROWS, 4)) * (rng.random((ROWS, 4)) < 0.5))
    shape = (ROWS,) if outputs == 1 else (outputs, ROWS)
    return layout, Block(dense, codes, sparse), rng.normal(size=outputs * layout.size), rng.normal(size=shape)


@pytest.mark.parametrize("outputs", [1, 3])
def test_predictors_and_products_are_those_of_the_block(outputs: int) -> None:
    layout, block, parameters, values = drawn(outputs)
    rows, point = row_major(layout, block), padded(parameters, outputs)
    np.testing.assert_array_equal(unpadded(point), parameters)
    whole = predictors(layout, block, parameters)
    total = padded(np.zeros_like(parameters), outputs)
    for start, stop in ((0, 1), (1, 8), (8, ROWS)):
        found = batch_predictor(rows, start, stop, point)
        np.testing.assert_allclose(found, whole[..., start:stop], rtol=1e-13, atol=1e-14)
        add_products(rows, start, stop, total, values[..., start:stop])
    np.testing.assert_allclose(unpadded(total), transposed_products(layout, block, values), rtol=1e-12, atol=1e-13)


def test_only_what_a_row_meets_is_touched_and_no_level_stays_zero() -> None:
    layout = Layout(False, 0, (3, 2))
    block = Block(np.empty((0, 2)), np.array([[1, 3], [2, 0]]))
    total = padded(np.full(5, np.nan), 1)
    total[[1, 3]] = 0.0
    add_products(row_major(layout, block), 0, 2, total, np.array([2.0, 5.0]))
    np.testing.assert_array_equal(total, [np.nan, 2.0, np.nan, 5.0, np.nan, 0.0])
