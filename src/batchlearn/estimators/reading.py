"""How the estimators read what they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from batchlearn.errors import DataError, UsageError, quoted
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


def class_labels(label: Any, classes: Any, known: Any) -> tuple[Floats, Any]:
    """Return labels as 0 to K - 1, and the K classes, sorted: those known, else those given. Raises DataError."""
    if known is None and classes is None:
        raise UsageError(
            "The first call of partial_fit does not know the classes of rows to come. Give all: classes=[0, 1].",
            code="partial-fit-classes",
        )
    given = np.unique(known if classes is None else classes)
    listed = ", ".join(map(quoted, given.tolist()))
    if len(given) < 2 or (known is not None and not np.array_equal(given, known)):
        came = "" if known is None else f"; the classes so far are {', '.join(map(quoted, known.tolist()))}"
        raise UsageError(
            f"The classes given are {listed}{came}; partial_fit needs the same ones, two or more, in each call.",
            code="partial-fit-classes",
        )
    label = np.asarray(label)
    if len(given) == 2 and np.all((second := label == given[1]) | (label == given[0])):  # takes no search
        return second.astype(np.float64), given
    numbers = np.minimum(np.searchsorted(given, label), len(given) - 1)
    unknown = given[numbers] != label
    if unknown.any():
        raise DataError(
            f"A label is {quoted(np.unique(label[unknown]).tolist()[0])}; the classes are {listed}. Leave such rows "
            "out, or begin again with other classes.",
            code="label-unknown",
        )
    return numbers.astype(np.float64), given
