"""How the estimators read what they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from batchlearn.kernels.design import Floats
from batchlearn.training.matrix import row_predictors

STORED_TYPES = [np.float64, np.float32]
"""Values of these types are read as they are stored."""


def arrays(X: Any) -> Any:
    """Return an Arrow table for objects that offer Arrow data and nothing NumPy could read; else what came."""
    if hasattr(X, "__arrow_c_stream__") and not hasattr(X, "__array__"):
        import pyarrow as pa  # imported here: arrays and data frames do not need it

        return pa.table(X)
    return X


def names_of(estimator: Any) -> list[str]:
    """Return what the coefficients of a fitted estimator are called, the intercept first."""
    names = getattr(estimator, "feature_names_in_", None)
    columns = [f"column {j}" for j in range(estimator.n_features_in_)] if names is None else [str(n) for n in names]
    return ["the intercept", *columns] if estimator.fit_intercept else columns


def linear_predictors(estimator: Any, X: Any) -> Floats:
    """Return the linear predictor of each row, shape (n,); of K > 2 classes their logits, (K, n)."""
    check_is_fitted(estimator)
    X = validate_data(estimator, arrays(X), accept_sparse="csr", dtype=STORED_TYPES, reset=False)
    return row_predictors(X, np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_))
