"""What becomes of the columns of a sparse matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from batchlearn import LinearClassifier
from batchlearn.training.matrix import read_matrix


@pytest.mark.parametrize(("centre", "full", "dense"), [(1.0, 1, 0), (50.0, 1, 1), (1.0, 4, 4)])
def test_sparse_columns_become_dense_where_they_hold_much_or_lie_far_from_zero(
    centre: float, full: int, dense: int
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 40)) * (rng.random((400, 40)) < 0.2)
    x[:, 3 : 3 + full] = centre + rng.normal(size=(400, full))
    sparse = csr_array(x)
    matrix = read_matrix(sparse, np.zeros(400))
    assert (matrix.rows.layout.dense, matrix.rows.layout.sparse) == (dense, 40 - dense)
    assert np.count_nonzero(matrix.shift) == dense
    if not dense:
        assert all(np.shares_memory(chunk.sparse.data, sparse.data) for chunk in matrix.rows.chunks)
    y = (rng.random(400) < 0.5).astype(int)
    one, other = (LinearClassifier(alpha=1e-3).fit(values, y) for values in (sparse, x))
    bound = sum(each.certificate_.coefficient_bound or np.inf for each in (one, other))
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-9, atol=bound)
