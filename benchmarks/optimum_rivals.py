"""Who minimises the objective of `made_problems` to a tolerance, each as its own documentation says.

A contender takes rows as they come and converts them itself: that is inside its clock. What it returns is in the units
of the columns. The names end with the type of number that it computes in.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from made_problems import LEVELS, Data, Floats, one_hot

_MOST_ITERATIONS = 20_000


class Answer(NamedTuple):
    """Where a contender ended, and whether it says that it converged; None where it has no way to say."""

    coefficients: Floats
    intercept: float
    claims: bool | None
    passes: float | None = None  # over all rows, where that is known


class OptimumRival(NamedTuple):
    """A contender: the module that it needs, the losses and kinds of rows that it takes, and how it is called."""

    module: str
    losses: tuple[str, ...]
    rows: tuple[str, ...]  # of dense, sparse, codes
    fit: Callable[[Data, str, float], Answer]


def batchlearn(data: Data, loss: str, tolerance: float) -> Answer:
    """This package: its estimators, and for codes, which those do not take, the rows that they make."""
    import batchlearn as bl

    rows = len(data.label)
    if data.codes is None:
        X = data.sparse if data.dense is None else data.dense
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = bl.LinearClassifier(alpha=1.0 / rows, tol=tolerance).fit(X, data.label)
        claims = fitted.certificate_.certified and fitted.certificate_.loss_bound <= tolerance
        return Answer(fitted.coef_[0], float(fitted.intercept_[0]), claims)
    from batchlearn.data.rows.memory import MemoryRows
    from batchlearn.data.rows.stored import StoredChunk
    from batchlearn.data.rows.threads import one_blas_thread
    from batchlearn.kernels.design import Layout
    from batchlearn.objectives.losses import named_loss
    from batchlearn.objectives.stopping import LossWithin
    from batchlearn.statistics.objective import Objective, ridge
    from batchlearn.training.certificate import Units
    from batchlearn.training.optimise import Problem, Status, optimise

    layout = Layout(True, 0, LEVELS)
    cuts = range(0, rows, 65_536)
    none = np.empty((0, rows), dtype=np.float32)
    chunks = [
        StoredChunk(none[:, k : k + 65_536], data.codes[:, k : k + 65_536], data.label[k : k + 65_536]) for k in cuts
    ]
    with one_blas_thread():
        stored = MemoryRows(layout, tuple(chunks), np.zeros(0), np.ones(0))
        objective = Objective(named_loss(loss, None), ridge(layout, 1.0 / rows))
        names = ["x"] * layout.size
        # Of so many rows the estimators ask for bounds within the tolerance, not for leave-one-out losses beside them.
        units = Units.plain(layout.size)
        found = optimise(Problem(objective, stored, LossWithin(tolerance), units, names, quick=True))
    claims = found.status is Status.TOLERANCE
    return Answer(found.parameters[1:], float(found.parameters[0]), claims, found.passes)


def _scikit(solver: str, dtype: type) -> Callable[[Data, str, float], Answer]:
    def fit(data: Data, loss: str, tolerance: float) -> Answer:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression, PoissonRegressor

        most = 300 if solver == "newton-cholesky" else _MOST_ITERATIONS
        if loss == "logistic":
            model = LogisticRegression(C=1.0, solver=solver, tol=tolerance, max_iter=most)
        else:
            model = PoissonRegressor(alpha=1.0 / len(data.label), solver=solver, tol=tolerance, max_iter=most)
        X = one_hot(data.codes) if data.codes is not None else data.sparse if data.dense is None else data.dense
        if data.codes is not None and solver == "newton-cholesky":
            X = X.toarray()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X.astype(dtype, copy=False), data.label)
        claims = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        passes = float(np.ravel(model.n_iter_)[0]) if solver == "saga" else None
        return Answer(np.ravel(model.coef_).astype(np.float64), float(np.ravel(model.intercept_)[0]), claims, passes)

    return fit


def _glum(dtype: type) -> Callable[[Data, str, float], Answer]:
    def fit(data: Data, loss: str, tolerance: float) -> Answer:
        import pandas as pd
        from glum import GeneralizedLinearRegressor
        from sklearn.exceptions import ConvergenceWarning

        if data.codes is not None:
            X: Any = pd.DataFrame(
                {
                    f"c{k}": pd.Categorical.from_codes(codes, categories=range(levels))
                    for k, (codes, levels) in enumerate(zip(data.codes, LEVELS, strict=True))
                }
            )
        else:
            X = (data.sparse if data.dense is None else data.dense).astype(dtype, copy=False)
        model = GeneralizedLinearRegressor(
            family="binomial" if loss == "logistic" else "poisson",
            alpha=1.0 / len(data.label),
            l1_ratio=0.0,
            gradient_tol=tolerance,
            max_iter=300,
            drop_first=False,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, data.label.astype(dtype, copy=False))
        claims = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        return Answer(np.asarray(model.coef_, dtype=np.float64), float(model.intercept_), claims)

    return fit


def liblinear(data: Data, loss: str, tolerance: float) -> Answer:  # noqa: ARG001 - logistic alone
    """LIBLINEAR's trust-region Newton method, the intercept not penalised."""
    from liblinear.liblinearutil import train
    from scipy.sparse import csr_matrix

    X = csr_matrix(data.sparse if data.dense is None else data.dense, dtype=np.float64)
    # What it says goes to the process's own output: the one way to learn whether it gave up.
    with tempfile.TemporaryFile() as said:
        kept = os.dup(1)
        os.dup2(said.fileno(), 1)
        try:
            model = train(np.where(data.label > 0.0, 1.0, -1.0), X, f"-s 0 -c 1 -B 1 -R -e {tolerance}")
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        said.seek(0)
        claims = b"max number of iterations" not in said.read()
    coefficients, intercept = model.get_decfun()
    sign = 1.0 if model.get_labels()[0] == 1 else -1.0
    return Answer(sign * np.asarray(coefficients), sign * float(intercept), claims)


def torch_lbfgs(data: Data, loss: str, tolerance: float) -> Answer:  # noqa: ARG001 - logistic alone
    """PyTorch's L-BFGS with its strong Wolfe line search; it returns without a word however it ended."""
    import torch

    torch.set_num_threads(1)
    X, y = torch.from_numpy(data.dense), torch.from_numpy(data.label.astype(np.float32))
    weight = torch.zeros(X.shape[1] + 1, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight],
        max_iter=_MOST_ITERATIONS,
        tolerance_grad=tolerance,
        tolerance_change=1e-3 * tolerance,
        line_search_fn="strong_wolfe",
    )
    passes = 0

    def closure() -> Any:
        nonlocal passes
        passes += 1
        search.zero_grad()
        eta = X @ weight[:-1] + weight[-1]
        value = torch.nn.functional.binary_cross_entropy_with_logits(eta, y)
        value = value + weight[:-1].square().sum() / (2.0 * len(y))
        value.backward()
        return value

    search.step(closure)
    found = weight.detach().numpy().astype(np.float64)
    return Answer(found[:-1], float(found[-1]), None, float(passes))


CLASSES, BOTH = ("logistic",), ("logistic", "poisson")
OPTIMUM_RIVALS = {
    "batchlearn": OptimumRival("batchlearn", BOTH, ("dense", "sparse", "codes"), batchlearn),
    "scikit-learn lbfgs f64": OptimumRival("sklearn", BOTH, ("dense", "sparse", "codes"), _scikit("lbfgs", np.float64)),
    "scikit-learn lbfgs f32": OptimumRival("sklearn", CLASSES, ("dense",), _scikit("lbfgs", np.float32)),
    "scikit-learn newton-cholesky f64": OptimumRival(
        "sklearn", BOTH, ("dense", "codes"), _scikit("newton-cholesky", np.float64)
    ),
    "scikit-learn saga f64": OptimumRival("sklearn", CLASSES, ("dense", "sparse"), _scikit("saga", np.float64)),
    "glum f64": OptimumRival("glum", BOTH, ("dense", "codes"), _glum(np.float64)),
    "glum f32": OptimumRival("glum", CLASSES, ("dense",), _glum(np.float32)),
    "LIBLINEAR f64": OptimumRival("liblinear", CLASSES, ("dense", "sparse"), liblinear),
    "PyTorch L-BFGS f32": OptimumRival("torch", CLASSES, ("dense",), torch_lbfgs),
}


def installed(module: str) -> bool:
    """Whether a module is there to be imported."""
    return importlib.util.find_spec(module) is not None


def takers(loss: str, data: Data) -> list[str]:
    """Return the contenders that take such rows and are installed."""
    kind = "codes" if data.codes is not None else "sparse" if data.dense is None else "dense"
    return [
        name
        for name, rival in OPTIMUM_RIVALS.items()
        if loss in rival.losses and kind in rival.rows and installed(rival.module)
    ]
