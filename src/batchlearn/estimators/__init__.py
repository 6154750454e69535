"""Linear models behind scikit-learn's interface, with a certificate beside the coefficients.

Both minimise F = weighted mean loss + alpha/2 ||coef||^2 over the columns as given; the intercept is not penalised.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from batchlearn.errors import DataError, quoted
from batchlearn.estimators.fitting import fit_rows
from batchlearn.estimators.incremental import learn_rows
from batchlearn.estimators.reading import STORED_TYPES, arrays, class_labels, linear_predictors
from batchlearn.estimators.settings import checked
from batchlearn.kernels.design import Floats
from batchlearn.models.links import INVERSE_LINKS, class_contrasts, class_shares, logistic
from batchlearn.objectives.class_weights import weights_of_classes
from batchlearn.objectives.losses import named_loss
from batchlearn.training.certificate import Certificate
from batchlearn.training.matrix import row_weights

_REGRESSION_LOSSES = ("squared", "huber", "poisson", "gamma", "tweedie")


class LinearClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression for two or more classes, with a proved bound on its distance from the optimum.

    More than two classes are learned jointly (softmax), not one against the rest.

    Args:
        alpha: Strength of the penalty, 0 or more: F = weighted mean loss + alpha/2 ||coef||^2. The default is that of
            scikit-learn's SGDClassifier; LogisticRegression(C=1) on n rows is alpha = 1/n.
        loss: "logistic": the negative log likelihood of the class.
        fit_intercept: Whether there is an intercept; it is never penalised.
        tol: Above 0. The fit ends once the bound on F - F* is this times the loss of the model without features, or
            once rounding allows no better; `certificate_.loss_bound` says which.
        standardize: Whether the penalty is on coefficients per standard deviation of their column. `coef_` is in the
            units of the columns as given either way.
        class_weight: "balanced" or a dict of what a row of each class counts, as in scikit-learn: probabilities are
            those of the weighted rows and are not corrected, unlike those of `batchlearn.train`. Classes that a dict
            does not name count once.
        threads: Threads that read the rows; None is one. The answer has the same bits for any number.
        batch_size: Rows an update of `fit` sees: "full", 1 for online, or a number such as 256. The objective is the
            same.

    Attributes:
        coef_: Coefficients of the log odds of `classes_[1]`, shape `(1, n_features_in_)`; of K > 2 classes those of
            each class's logit, `(K, n_features_in_)`, which sum to zero in every column.
        intercept_: The intercept, shape (1,); of K > 2 classes (K,).
        classes_: The labels, sorted, shape (K,).
        certificate_: What is proved about `coef_` and `intercept_` as delivered, a `Certificate`.
        objective_: F at the fitted coefficients.
        n_iter_: Points the solver looked at.
        n_features_in_: The number of columns.
        feature_names_in_: Their names, where they have names.

    Example:
        >>> import numpy as np
        >>> from batchlearn import LinearClassifier
        >>> x = np.arange(8.0)[:, None]
        >>> fitted = LinearClassifier(alpha=0.1).fit(x, [0, 0, 1, 0, 1, 0, 1, 1])
        >>> fitted.certificate_.certified, fitted.certificate_.loss_bound < 1e-9
        (True, True)
        >>> fitted.predict([[0.0], [7.0]])
        array([0, 1])
    """

    # Kept by `fit` and `partial_fit`.
    objective_: float
    n_iter_: int
    certificate_: Certificate

    def __init__(  # noqa: PLR0913 - scikit-learn reads parameters from here
        self,
        *,
        alpha: float = 1e-4,
        loss: str = "logistic",
        fit_intercept: bool = True,
        tol: float = 1e-10,
        standardize: bool = False,
        class_weight: dict[Any, float] | str | None = None,
        threads: int | None = None,
        batch_size: str | int = "full",
    ) -> None:
        self.alpha = alpha
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.standardize = standardize
        self.class_weight = class_weight
        self.threads = threads
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to every row.

        Args:
            X: Rows, (n, columns): an array, a sparse matrix, a data frame or Arrow data, all numbers and none missing.
            y: Labels of two or more classes, (n,).
            sample_weight: How much each row counts, 0 or more, (n,); a row of weight 0 changes nothing.

        Returns:
            This estimator. A ConvergenceWarning says where the fit is not certified.

        Raises:
            UsageError: A parameter is out of its range.
            DataError: Rows or labels are not what they should be; it is a ValueError, as is UsageError.
            NoFiniteOptimum: alpha is 0 and the objective has no minimum: separable classes, or repeated columns.
        """
        settings = checked(self, ("logistic",))
        # `fit_rows` finds missing values of rows that count.
        finite = sample_weight is not None
        X, y = validate_data(self, arrays(X), y, accept_sparse="csr", dtype=STORED_TYPES, ensure_all_finite=finite)
        # Of two numbers it is enough to look at both.
        two = np.unique([y.min(), y.max()]) if y.dtype.kind in "biuf" and y.ndim == 1 else y
        known = two if two is y or np.all((y == two[0]) | (y == two[-1])) else y
        check_classification_targets(known)
        weight = row_weights(sample_weight, len(y))
        self.classes_ = np.unique(known)
        seen = self.classes_ if weight is None else np.unique(y[weight > 0.0])
        if len(seen) < 2:
            raise DataError(
                f"The rows that count have one class, {quoted(seen[0])}; rows of two classes are needed. Check the "
                "labels and the sample weights.",
                code="one-class",
            )
        if len(seen) < len(self.classes_):
            raise DataError(
                f"No row of class {quoted(np.setdiff1d(self.classes_, seen)[0])} counts: its best intercept would be "
                "infinite. Leave such rows out, or give some of them a weight above 0.",
                code="class-without-rows",
            )
        two_classes = len(self.classes_) == 2
        code = y == self.classes_[1] if two_classes else np.searchsorted(self.classes_, y)
        if self.class_weight is not None:
            code = code.astype(np.intp)
            each = weights_of_classes(self.class_weight, self.classes_.tolist(), code, weight)
            weight = each[code] * (1.0 if weight is None else weight)
        settings = settings._replace(loss=named_loss(self.loss, classes=len(self.classes_)))
        self._keep(*fit_rows(self, settings, X, code.astype(np.float64), weight))
        return self

    def _keep(self, coefficients: Floats, intercepts: Floats) -> None:
        """Keep those of each class, from those of the K - 1 contrasts that are fitted where there are K > 2."""
        if len(coefficients) > 1:
            contrasts = class_contrasts(len(coefficients) + 1).T
            coefficients, intercepts = contrasts @ coefficients, contrasts @ intercepts
        self.coef_, self.intercept_ = coefficients, intercepts

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn more rows, one by one; the answer does not depend on how rows are cut into calls.

        Goes on from what `fit` or earlier calls learned, without a certificate. Returns and raises as `fit`.

        Args:
            X: Rows, as for `fit`.
            y: Labels, (n,).
            classes: All classes; the first call of all needs them.
            sample_weight: As for `fit`.
        """
        first = not hasattr(self, "classes_")
        settings = checked(self, ("logistic",))
        X, y = validate_data(self, arrays(X), y, accept_sparse="csr", dtype=STORED_TYPES, reset=first)
        # It refuses a label that is no class: whether labels can be classes at all need not be asked.
        label, self.classes_ = class_labels(y, classes, None if first else self.classes_)
        settings = settings._replace(loss=named_loss(self.loss, classes=len(self.classes_)))
        self._keep(*learn_rows(self, settings, X, label, sample_weight))
        return self

    def decision_function(self, X: Any) -> Floats:
        """Return the log odds of `classes_[1]`, shape (n,); of K > 2 classes their logits, (n, K).

        Args:
            X: Rows, as for `fit`.
        """
        return linear_predictors(self, X).T

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class of each row, shape (n,).

        Args:
            X: Rows, as for `fit`.
        """
        eta = self.decision_function(X)
        best = eta > 0.0 if eta.ndim == 1 else np.argmax(eta, axis=1)
        return np.asarray(self.classes_[best.astype(np.intp)])

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, shape (n, K).

        Args:
            X: Rows, as for `fit`.
        """
        eta = linear_predictors(self, X)
        return np.column_stack([logistic(-eta), logistic(eta)]) if eta.ndim == 1 else class_shares(eta).T

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithm of the probability of each class, shape (n, K), finite however sure the model is.

        Args:
            X: Rows, as for `fit`.
        """
        eta = linear_predictors(self, X)
        if eta.ndim == 1:
            return -np.column_stack([np.logaddexp(0.0, eta), np.logaddexp(0.0, -eta)])
        return np.asarray(eta - np.logaddexp.reduce(eta, axis=0)).T

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class LinearRegressor(RegressorMixin, BaseEstimator):
    """Least squares, Huber, Poisson, gamma or Tweedie regression, with a proved bound on the distance to its optimum.

    Args:
        alpha: Strength of the penalty, 0 or more: F = weighted mean loss + alpha/2 ||coef||^2. The default is that of
            scikit-learn's SGDRegressor; Ridge(alpha=a) on n rows is alpha = a/n.
        loss: "squared" is half the squared error; "poisson", "gamma" and "tweedie" are half the deviance of a mean
            that is exp(x'coef + intercept): of counts, of amounts above 0, or of amounts some of which are 0; "huber"
            is half the squared error up to `threshold` and grows as a line beyond.
        power: Of the Tweedie loss, above 1 and below 2: the variance is in proportion to mean^power. Others have none.
        threshold: Of the Huber loss, above 0, in units of the label: 1.345 standard deviations of the noise lose 5 % of
            the efficiency of least squares where the noise is normal. `batchlearn.train` chooses it by the data.
        fit_intercept: Whether there is an intercept; it is never penalised.
        tol: Above 0. The fit ends once the bound on F - F* is this times the loss of the model without features, or
            once rounding allows no better; `certificate_.loss_bound` says which. Least squares goes on to what
            rounding allows.
        standardize: Whether the penalty is on coefficients per standard deviation of their column. `coef_` is in the
            units of the columns as given either way.
        threads: Threads that read the rows; None is one. The answer has the same bits for any number.
        batch_size: Rows an update of `fit` sees: "full", 1 for online, or a number such as 256. The objective is the
            same.

    Attributes:
        coef_: Coefficients, shape `(n_features_in_,)`.
        intercept_: The intercept, a number.
        certificate_: What is proved about `coef_` and `intercept_` as delivered, a `Certificate`.
        objective_: F at the fitted coefficients.
        n_iter_: Points the solver looked at.
        n_features_in_: The number of columns.
        feature_names_in_: Their names, where they have names.

    Example:
        >>> import numpy as np
        >>> from batchlearn import LinearRegressor
        >>> x = np.arange(8.0)[:, None]
        >>> fitted = LinearRegressor(alpha=0.0).fit(x, 3.0 * x[:, 0] + 1.0)
        >>> fitted.coef_.round(12), round(fitted.intercept_, 12)
        (array([3.]), 1.0)
    """

    # Kept by `fit` and `partial_fit`.
    objective_: float
    n_iter_: int
    certificate_: Certificate

    def __init__(  # noqa: PLR0913 - scikit-learn reads parameters from here
        self,
        *,
        alpha: float = 1e-4,
        loss: str = "squared",
        power: float = 1.5,
        threshold: float = 1.345,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        standardize: bool = False,
        threads: int | None = None,
        batch_size: str | int = "full",
    ) -> None:
        self.alpha = alpha
        self.loss = loss
        self.power = power
        self.threshold = threshold
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.standardize = standardize
        self.threads = threads
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to every row. Returns and warns as `LinearClassifier.fit`.

        Args:
            X: Rows, (n, columns): an array, a sparse matrix, a data frame or Arrow data, all numbers and none missing.
            y: Labels, (n,): 0 or more for "poisson" and "tweedie", above 0 for "gamma".
            sample_weight: How much each row counts, 0 or more, (n,); a row of weight 0 changes nothing.

        Raises:
            UsageError: A parameter is out of its range.
            DataError: Rows or labels are not what they should be; it is a ValueError, as is UsageError.
            NoFiniteOptimum: alpha is 0 and no minimum exists: repeated columns, or labels that are all 0 along one.
        """
        settings = checked(self, _REGRESSION_LOSSES)
        X, y = validate_data(
            self,
            arrays(X),
            y,
            accept_sparse="csr",
            dtype=STORED_TYPES,
            y_numeric=True,
            ensure_all_finite=sample_weight is not None,
        )
        label = np.asarray(y, dtype=np.float64)
        self._keep(*fit_rows(self, settings, X, label, row_weights(sample_weight, len(label))))
        return self

    def _keep(self, coefficients: Floats, intercepts: Floats) -> None:
        self.coef_, self.intercept_ = coefficients[0], float(intercepts[0])

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn more rows, one by one; the answer does not depend on how rows are cut into calls.

        Goes on from what `fit` or earlier calls learned, without a certificate. Returns and raises as `fit`.

        Args:
            X: Rows, as for `fit`.
            y: Labels, (n,).
            sample_weight: As for `fit`.
        """
        settings, first = checked(self, _REGRESSION_LOSSES), not hasattr(self, "coef_")
        X = arrays(X)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=STORED_TYPES, y_numeric=True, reset=first)
        self._keep(*learn_rows(self, settings, X, np.asarray(y, dtype=np.float64), sample_weight))
        return self

    def predict(self, X: Any) -> Floats:
        """Return the mean of each row's label, shape (n,).

        Args:
            X: Rows, as for `fit`.
        """
        return INVERSE_LINKS[self.loss](linear_predictors(self, X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.positive_only = self.loss in ("poisson", "gamma", "tweedie")
        return tags
