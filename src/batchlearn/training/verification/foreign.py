"""Certificates for models that other libraries fitted: their coefficients, their objective, our bound.

No library is imported: a model is known by the name and module of its class, and read through public attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.losses import Loss, named_loss
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Certificate, Certification, certify
from batchlearn.training.matrix import Matrix, read_matrix, row_weights

SUPPORTED = (
    "scikit-learn's LogisticRegression (two classes), Ridge, LinearRegression, PoissonRegressor, GammaRegressor and "
    "TweedieRegressor (power 0 with the identity link, powers from 1 to 2 with the log link); glum's "
    "GeneralizedLinearRegressor (normal, binomial with their canonical links; poisson, gamma and Tweedie from 1 to 2 "
    "with the log link); statsmodels' OLS, GLM (the same families and links), Logit and Poisson; and batchlearn's "
    "LinearClassifier and LinearRegressor"
)


class FittedModel(NamedTuple):
    """What a fitted model says about its coefficients and about the objective they are meant to minimise."""

    loss: str
    coefficients: Floats  # (outputs, columns)
    intercepts: Floats  # (outputs,)
    has_intercept: bool
    alpha: float = 0.0
    summed: bool = False  # alpha stands beside a sum of losses and not beside their mean
    intercept_alpha: float = 0.0  # the intercept's own penalty, as alpha
    standardize: bool = False
    classes: Any = None
    class_weight: Any = None
    power: float | None = None  # of the Tweedie loss
    threshold: float | None = None  # of the Huber loss


class GivenRows(NamedTuple):
    """The rows as given."""

    values: Any
    label: Any
    weight: Any
    offset: Floats | None = None


def verify(estimator: Any, X: Any = None, y: Any = None, sample_weight: Any = None) -> Certificate:
    """Return a certificate of how far a fitted linear model, as it stands, is from the optimum of its own objective.

    Args:
        estimator: A fitted model of scikit-learn, glum or batchlearn, or results of statsmodels.
        X: The rows it was fitted to, (n, columns), after any encoding; may be left out for results of statsmodels.
        y: Their labels, (n,), left out with X. An offset counts only where statsmodels kept it.
        sample_weight: Their weights, (n,), where it was fitted with some.

    Raises:
        UsageError: The model, or what it minimises, is none of those that can be read; the message names them.
        DataError: The rows do not fit the model.

    Example:
        >>> from batchlearn import verify
        >>> from sklearn.linear_model import Ridge
        >>> x, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0]
        >>> verify(Ridge().fit(x, y), x, y).loss_bound < 1e-20
        True
    """
    reader = _READERS.get((type(estimator).__module__.partition(".")[0], type(estimator).__name__))
    statsmodels = type(getattr(estimator, "model", None)).__module__.partition(".")[0] == "statsmodels"
    if statsmodels:
        model, rows = _statsmodels_results(estimator), GivenRows(X, y, sample_weight)
        if X is None:
            rows = _statsmodels_rows(estimator, sample_weight)
        elif _statsmodels_offset(estimator.model) is not None:
            raise _refused("a model with an offset or an exposure", "leave out X and y: the model kept its rows")
        elif sample_weight is None and _statsmodels_weight(estimator.model) is not None:
            raise _refused("a model with weights and rows without", "leave out X and y: the model kept its rows")
    elif reader is not None:
        if not hasattr(estimator, "coef_"):
            raise UsageError(
                f"The {type(estimator).__name__} has no coefficients; a certificate is for a fitted model. Call fit "
                "first.",
                code="verify-not-fitted",
            )
        model, rows = reader(estimator), GivenRows(X, y, sample_weight)
    else:
        raise _refused(f"a {type(estimator).__module__}.{type(estimator).__name__}", "give one of those")
    if rows.values is None or rows.label is None:
        raise UsageError(
            "The rows are missing; a certificate needs X and y that the model was fitted to. Pass both.",
            code="verify-rows-missing",
        )
    _check_names(estimator, rows.values)
    return _certified(model, rows)


def _certified(model: FittedModel, given: GivenRows) -> Certificate:
    values = check_array(given.values, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="X")
    label = column_or_1d(given.label)
    check_consistent_length(values, label)
    if values.shape[1] != model.coefficients.shape[1]:
        raise DataError(
            f"X has {values.shape[1]} columns and the model has {model.coefficients.shape[1]} coefficients; one each "
            "is needed. Pass the matrix that the model was fitted to, after any encoding.",
            code="columns-do-not-match",
        )
    weight = row_weights(given.weight, len(label))
    if model.class_weight is not None:
        weight = _class_weights(model, label, weight)
    label = _numbers(model, label)
    loss = named_loss(model.loss, model.power, model.threshold, len(model.coefficients) + 1)
    loss.check_labels(label)
    model, values = _intercept_from_ones(model, values)
    with one_blas_thread():
        matrix = read_matrix(
            values,
            label,
            weight,
            offset=given.offset,
            intercept=model.has_intercept,
            centre=model.intercept_alpha == 0.0,
        )
        proof, parameters = _proved(model, matrix, loss)
        centred = proof.expansion and matrix.centred_at(loss, parameters, proof.expansion.hessian)
        return (_proved(model, centred, loss)[0] if centred else proof).certificate


def _proved(model: FittedModel, matrix: Matrix, loss: Loss) -> tuple[Certification, Floats]:
    """Certify the model's coefficients, read in the units inside the matrix; and return them so."""
    mean = matrix.weight if model.summed else 1.0
    penalty = matrix.penalty(
        model.alpha / mean,
        standardize=model.standardize,
        intercept_alpha=model.intercept_alpha / mean,
        outputs=loss.outputs,
    )
    parameters = matrix.inside(model.coefficients, model.intercepts)
    return certify(Objective(loss, penalty), matrix.rows, parameters, matrix.units), parameters


def _class_weights(model: FittedModel, label: Any, weight: Floats | None) -> Floats:
    if weight is not None and not isinstance(model.class_weight, dict):
        raise _refused("class_weight together with sample_weight", "fit with sample_weight alone, multiplied out")
    each = compute_class_weight(model.class_weight, classes=model.classes, y=label)
    product = np.ones(len(label)) if weight is None else weight.copy()
    for value, factor in zip(model.classes, each, strict=True):
        product[label == value] *= factor
    return product


def _numbers(model: FittedModel, label: Any) -> Floats:
    if model.classes is None:
        numbers = np.asarray(label, dtype=np.float64)
        if not np.all(np.isfinite(numbers)):
            raise DataError(
                "A label is not a finite number; every label needs to be one. Leave out rows without a label.",
                code="label-not-finite",
            )
        return numbers
    unknown = ~np.isin(label, model.classes)
    if unknown.any():
        raise DataError(
            f"A label is {quoted(label[unknown][0])}; the model knows {', '.join(quoted(c) for c in model.classes)}. "
            "Pass the labels that the model was fitted to.",
            code="label-unknown",
        )
    return np.asarray(np.searchsorted(model.classes, label), dtype=np.float64)


def _intercept_from_ones(model: FittedModel, values: Any) -> tuple[FittedModel, Any]:
    """Read a column of ones as the intercept that it is: with a free intercept the columns can be centred."""
    if model.has_intercept or model.alpha > 0.0 or not isinstance(values, np.ndarray):
        return model, values
    ones = np.flatnonzero(np.all(values == 1.0, axis=0))
    if not ones.size or values.shape[1] == 1:
        return model, values
    first = int(ones[0])
    rest = np.delete(model.coefficients, first, axis=1)
    free = model._replace(coefficients=rest, intercepts=model.coefficients[:, first], has_intercept=True)
    return free, np.delete(values, first, axis=1)


def _check_names(estimator: Any, values: Any) -> None:
    known = getattr(estimator, "feature_names_in_", None)
    names = getattr(values, "column_names", getattr(values, "columns", None))
    if known is not None and names is not None and list(known) != list(names):
        raise DataError(
            f"The columns are {quoted(', '.join(map(str, names)))}; the model was fitted to "
            f"{quoted(', '.join(map(str, known)))}. Pass the same columns in the same order.",
            code="columns-do-not-match",
        )


def _refused(what: str, remedy: str) -> UsageError:
    return UsageError(
        f"There is no certificate for {what}; verify reads {SUPPORTED}. In this case: {remedy}.",
        code="verify-unsupported",
    )


def _single(estimator: Any, loss: str) -> FittedModel:
    """Return what a model with one output says of its coefficients; no penalty unless its reader says more."""
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    if len(coefficients) != 1:
        raise _refused(f"{len(coefficients)} outputs or classes", "fit one at a time")
    intercepts = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))[:1]
    return FittedModel(loss, coefficients, intercepts, bool(estimator.fit_intercept))


def _logistic_regression(estimator: Any) -> FittedModel:
    penalty, ratio = getattr(estimator, "penalty", "deprecated"), estimator.l1_ratio or 0.0
    free = penalty in (None, "none") or np.isinf(estimator.C)
    if not free and (penalty in ("l1", "elasticnet") or (penalty == "deprecated" and ratio != 0.0)):
        raise _refused("an objective with an L1 part, which has no derivative where a coefficient is 0", "use L2")
    if len(estimator.classes_) != 2 or getattr(estimator, "multi_class", None) == "multinomial":
        raise _refused("a multinomial objective", "fit two classes at a time")
    alpha = 0.0 if free else 1.0 / float(estimator.C)
    penalised = estimator.solver == "liblinear" and estimator.fit_intercept
    return _single(estimator, "logistic")._replace(
        alpha=alpha,
        summed=True,
        # liblinear appends a column of intercept_scaling and penalises its coefficient like any other.
        intercept_alpha=alpha / float(estimator.intercept_scaling) ** 2 if penalised else 0.0,
        classes=estimator.classes_,
        class_weight=estimator.class_weight,
    )


def _least_squares(estimator: Any) -> FittedModel:
    if estimator.positive:
        raise _refused("coefficients that must be positive: their optimum may lie on a bound", "use positive=False")
    alpha = np.ravel(np.asarray(getattr(estimator, "alpha", 0.0), dtype=np.float64))
    return _single(estimator, "squared")._replace(alpha=float(alpha[0]), summed=True)


def _generalised(estimator: Any) -> FittedModel:
    power = float(getattr(estimator, "power", _POWERS.get(type(estimator).__name__, 1.0)))
    link = getattr(estimator, "link", "log")
    link = ("identity" if power <= 0 else "log") if link == "auto" else link
    loss = _loss_of_power(power, link)
    if loss is None:
        raise _refused(f"power {power:g} with the {link} link", "use one of those pairs")
    power_given = power if loss == "tweedie" else None
    return _single(estimator, loss)._replace(alpha=float(estimator.alpha), power=power_given)


_POWERS = {"PoissonRegressor": 1.0, "GammaRegressor": 2.0}


def _loss_of_power(power: float, link: str) -> str | None:
    """Return the loss whose variance is in proportion to mean^power, with the link it is certified for."""
    if link == "log" and 1.0 < power < 2.0:
        return "tweedie"
    return {(0.0, "identity"): "squared", (1.0, "log"): "poisson", (2.0, "log"): "gamma"}.get((power, link))


_GLUM_LOSSES = {
    ("NormalDistribution", "IdentityLink"): "squared",
    ("PoissonDistribution", "LogLink"): "poisson",
    ("BinomialDistribution", "LogitLink"): "logistic",
    ("GammaDistribution", "LogLink"): "gamma",
}


def _glum(estimator: Any) -> FittedModel:
    family, link = type(estimator.family_instance).__name__, type(estimator.link_instance).__name__
    power = getattr(estimator.family_instance, "power", None) if family == "TweedieDistribution" else None
    if power is not None:
        loss = _loss_of_power(power, "log" if link == "LogLink" else "identity" if link == "IdentityLink" else link)
    else:
        loss = _GLUM_LOSSES.get((family, link))
    if loss is None:
        raise _refused(f"{family} with {link}", "use one of those families and links")
    alpha = 0.0 if estimator.alpha is None else estimator.alpha
    if estimator.alpha_search or np.ndim(alpha) != 0:
        raise _refused("a path of penalties", "fit once with the alpha chosen")
    if alpha > 0.0 and estimator.l1_ratio != 0:
        raise _refused("an objective with an L1 part, which has no derivative where a coefficient is 0", "use L2")
    if alpha > 0.0 and not (isinstance(estimator.P2, str) and estimator.P2 == "identity"):
        raise _refused("a penalty matrix P2", "use P2='identity'")
    bounds = ("lower_bounds", "upper_bounds", "A_ineq", "monotonic_constraints")
    if any(getattr(estimator, name, None) is not None for name in bounds):
        raise _refused("coefficients under constraints: their optimum may lie on a bound", "fit without them")
    return _single(estimator, loss)._replace(
        alpha=float(alpha),
        standardize=bool(estimator.scale_predictors),
        power=power if loss == "tweedie" else None,
    )


def _own(estimator: Any) -> FittedModel:
    if len(getattr(estimator, "classes_", ())) > 2:
        # Sums over the predictors that were fitted: contrasts of the classes give those back.
        contrasts = class_contrasts(len(estimator.classes_))
        outputs = contrasts @ estimator.coef_, contrasts @ estimator.intercept_
        own = FittedModel(estimator.loss, *outputs, bool(estimator.fit_intercept))
    else:
        own = _single(estimator, estimator.loss)
    return own._replace(
        alpha=float(estimator.alpha),
        standardize=bool(estimator.standardize),
        classes=getattr(estimator, "classes_", None),
        class_weight=getattr(estimator, "class_weight", None),
        power=float(estimator.power) if estimator.loss == "tweedie" else None,
        threshold=float(estimator.threshold) if estimator.loss == "huber" else None,
    )


_READERS: dict[tuple[str, str], Callable[[Any], FittedModel]] = {
    ("sklearn", "LogisticRegression"): _logistic_regression,
    ("sklearn", "Ridge"): _least_squares,
    ("sklearn", "LinearRegression"): _least_squares,
    ("sklearn", "PoissonRegressor"): _generalised,
    ("sklearn", "GammaRegressor"): _generalised,
    ("sklearn", "TweedieRegressor"): _generalised,
    ("glum", "GeneralizedLinearRegressor"): _glum,
    ("batchlearn", "LinearClassifier"): _own,
    ("batchlearn", "LinearRegressor"): _own,
}

_STATSMODELS_RESULTS = {"GLMResults", "OLSResults", "RegressionResults", "LogitResults", "PoissonResults"}
_STATSMODELS_LOSSES = {"OLS": "squared", "Logit": "logistic", "Poisson": "poisson"}
_STATSMODELS_FAMILIES = {
    ("gaussian", "identity"): "squared",
    ("poisson", "log"): "poisson",
    ("binomial", "logit"): "logistic",
    ("gamma", "log"): "gamma",
}


def _statsmodels_results(results: Any) -> FittedModel:
    kind = type(getattr(results, "_results", results)).__name__
    model, power = results.model, None
    name = type(model).__name__
    if kind not in _STATSMODELS_RESULTS or getattr(results, "constraints", None) is not None:
        raise _refused(f"{kind}, results of a penalised or constrained fit", "use the results of fit()")
    if name == "GLM":
        pair = type(model.family).__name__.lower(), type(model.family.link).__name__.lower()
        loss = _STATSMODELS_FAMILIES.get(pair)
        if pair[0] == "tweedie":
            power = float(model.family.var_power)
            loss = _loss_of_power(power, pair[1])
        name = f"{pair[0]} with the {pair[1]} link"
        if np.any(np.asarray(getattr(model, "n_trials", 1)) != 1):
            raise _refused("binomial counts of several trials", "give one row for each trial or weights")
    else:
        loss = _STATSMODELS_LOSSES.get(name)
    if loss is None:
        raise _refused(f"statsmodels' {name}", "use one of those")
    power = power if loss == "tweedie" else None
    parameters = np.asarray(results.params, dtype=np.float64)[None, :]
    return FittedModel(loss, parameters, np.zeros(1), False, power=power)


def _statsmodels_offset(model: Any) -> Floats | None:
    # statsmodels has taken the logarithm of the exposure by now.
    given = [getattr(model, name, None) for name in ("offset", "exposure")]
    kept = [np.asarray(part, dtype=np.float64) for part in given if part is not None]
    total = sum(kept, start=np.zeros(()))
    return total if total.any() else None


def _statsmodels_weight(model: Any) -> Floats | None:
    given = [getattr(model, name, None) for name in ("freq_weights", "var_weights")]
    kept = [np.asarray(part, dtype=np.float64) for part in given if part is not None]
    product = math.prod(kept, start=np.ones(()))
    return product if np.any(product != 1.0) else None


def _statsmodels_rows(results: Any, sample_weight: Any) -> GivenRows:
    model = results.model
    label = np.asarray(model.endog, dtype=np.float64)
    weight = _statsmodels_weight(model) if sample_weight is None else sample_weight
    offset = _statsmodels_offset(model)
    offset = None if offset is None else np.broadcast_to(offset, label.shape).copy()
    return GivenRows(np.asarray(model.exog), label, weight, offset)
