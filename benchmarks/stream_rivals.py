"""Who learns rows in the order they come, one at a time or 128 together, once through.

`learn` is timed: from rows as they come to a model. `quality` is not: the mean loss of rows that were predicted before
they were learned from (16 at a time where one call a row would take minutes), or for batches the objective after the
pass. Rates of those who need one are chosen beforehand, on the first rows, from the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from made_problems import Data, Floats, losses, objective

CALLS_OF, TOGETHER, BATCH, GRID_ROWS = 10_000, 16, 128, 10_000
# River takes a dictionary a row: its speed shows on fewer.
RIVER_ROWS = 10_000

Setting = dict[str, Any]


class StreamRival(NamedTuple):
    """A contender: the module that it needs, the kinds of problem it takes, its grid, how it learns and how well."""

    module: str
    kinds: tuple[str, ...]
    grid: tuple[Setting, ...]
    learn: Callable[[Data, Setting], Any]
    quality: Callable[[Data, Setting], float]
    rows: int | None = None  # no more than so many


def design(data: Data) -> Any:
    return data.sparse if data.dense is None else data.dense


def in_calls(model: Any, data: Data, size: int) -> Iterator[tuple[Any, Floats]]:
    """Yield rows, so many at a time, and have the model learn them afterwards."""
    for start in range(0, len(data.label), size):
        part = slice(start, start + size)
        yield design(data)[part], data.label[part]
        model.partial_fit(design(data)[part], data.label[part], classes=[0.0, 1.0])


def learn_in_calls(make: Callable[[Data, Setting], Any], data: Data, setting: Setting) -> Any:
    model = make(data, setting)
    for _ in in_calls(model, data, CALLS_OF):
        pass
    return model


def progressive_loss(make: Callable[[Data, Setting], Any], data: Data, setting: Setting) -> float:
    """Return the mean log loss of predictions made before their rows were learned; zero before the first."""
    model, total, known = make(data, setting), 0.0, False
    for X, label in in_calls(model, data, TOGETHER):
        eta = np.asarray(model.decision_function(X), dtype=np.float64) if known else np.zeros(len(label))
        total += float(losses("logistic", eta, label)[0].sum())
        known = True
    return total / len(data.label)


def make_batchlearn(data: Data, setting: Setting) -> Any:  # noqa: ARG001 - nothing to set
    from batchlearn import LinearClassifier

    return LinearClassifier(alpha=1.0 / len(data.label))


def make_scikit(data: Data, setting: Setting) -> Any:  # noqa: ARG001 - the setting says it all
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", **setting)


def posed_here(data: Data) -> tuple[Any, Any]:
    """Return objective and rows of this package for the problem."""
    from batchlearn.objectives.losses import named_loss
    from batchlearn.statistics.objective import Objective
    from batchlearn.training.matrix import read_matrix

    squared = len(np.unique(data.label[:100])) > 2
    matrix = read_matrix(design(data), data.label, None, intercept=True, threads=1)
    loss = named_loss("squared" if squared else "logistic", None)
    return Objective(loss, matrix.penalty(1.0 / len(data.label))), matrix


def learn_epoch(regime: str, solver: str | None, data: Data, setting: Setting) -> tuple[Floats, float]:  # noqa: ARG001
    """One pass of a named solver of this package over rows as stored; coefficients and intercept."""
    from batchlearn.data.rows.threads import one_blas_thread
    from batchlearn.training.regimes import epochs, parse_regime

    with one_blas_thread():
        posed, matrix = posed_here(data)
        way = epochs(posed, matrix.rows, parse_regime(regime), _solver(solver), order="stored", passes=1.0)
        coefficients, intercepts = matrix.deliver(list(way)[-1].parameters)
        return coefficients[0], float(intercepts[0])


def _solver(name: str | None) -> Any:
    from batchlearn.solvers.online.diagonal import DiagonalNewton
    from batchlearn.solvers.stochastic import StochasticGradient

    return {None: None, "diagonal": DiagonalNewton(), "sgd": StochasticGradient()}[name]


def progressive_diagonal(data: Data, setting: Setting) -> float:  # noqa: ARG001 - nothing to set
    from batchlearn.data.rows.threads import one_blas_thread
    from batchlearn.training.regimes import Online, progressive

    with one_blas_thread():
        posed, matrix = posed_here(data)
        eta = progressive(posed, matrix.rows, Online(), _solver("diagonal"))
    return float(losses("logistic", eta, data.label)[0].mean())


def squared_objective(learn: Callable[[Data, Setting], tuple[Floats, float]], data: Data, setting: Setting) -> float:
    coefficients, intercept = learn(data, setting)
    return objective(data, "squared", coefficients, intercept)


def learn_torch(data: Data, setting: Setting) -> tuple[Floats, float]:
    """Plain steps along the gradient of each 128 rows, on tensors and without a DataLoader."""
    import torch

    torch.set_num_threads(1)
    X, y = torch.from_numpy(data.dense), torch.from_numpy(data.label.astype(np.float32))
    linear = torch.nn.Linear(X.shape[1], 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    steps = torch.optim.SGD(linear.parameters(), lr=setting["lr"])
    for start in range(0, len(y), BATCH):
        steps.zero_grad(set_to_none=True)
        rest = linear(X[start : start + BATCH]).squeeze(1) - y[start : start + BATCH]
        (0.5 * rest.square().mean()).backward()
        steps.step()
    found = linear.weight.detach().numpy()[0].astype(np.float64)
    return found, float(linear.bias.detach()[0])


def learn_vowpal(data: Data, setting: Setting) -> float:
    """Vowpal Wabbit over its own text format, which is written and read inside the clock; its progressive loss."""
    from vowpalwabbit import Workspace

    X = design(data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.vw"
        with path.open("w", encoding="ascii") as file:
            for row in range(len(data.label)):
                if data.dense is not None:
                    entries: Any = enumerate(X[row].tolist())
                else:
                    part = slice(X.indptr[row], X.indptr[row + 1])
                    entries = zip(X.indices[part].tolist(), X.data[part].tolist(), strict=True)
                label = 1 if data.label[row] > 0.0 else -1
                file.write(f"{label} | " + " ".join(f"{column}:{value:.7g}" for column, value in entries) + "\n")
        words = " ".join(f"--{name} {value}" for name, value in setting.items())
        space = Workspace(f"--loss_function logistic --quiet -b 18 {words} -d {path}")
        loss = float(space.get_sum_loss()) / len(data.label)
        space.finish()
    return loss


def learn_river(data: Data, setting: Setting) -> float:
    """River, a dictionary a row, which is made inside the clock; its progressive loss."""
    from river import linear_model, optim

    model = linear_model.LogisticRegression(optimizer=optim.AdaGrad(setting["lr"]))
    X, total = design(data), 0.0
    for row, label in enumerate(data.label.tolist()):
        if data.dense is not None:
            features = dict(enumerate(X[row].tolist()))
        else:
            part = slice(X.indptr[row], X.indptr[row + 1])
            features = dict(zip(X.indices[part].tolist(), X.data[part].tolist(), strict=True))
        chance = min(max(model.predict_proba_one(features)[True], 1e-15), 1.0 - 1e-15)
        total -= float(np.log(chance if label else 1.0 - chance))
        model.learn_one(features, bool(label))
    return total / len(data.label)


def _scikit_grid() -> Iterator[Setting]:
    for alpha in (1e-6, 1e-4):
        yield {"learning_rate": "optimal", "alpha": alpha}
        for rate in (1e-4, 1e-3, 1e-2, 3e-2, 1e-1):
            yield {"learning_rate": "constant", "eta0": rate, "alpha": alpha}
        for rate in (1e-2, 1e-1, 3e-1, 1.0):
            yield {"learning_rate": "invscaling", "eta0": rate, "alpha": alpha}


_NOTHING: tuple[Setting, ...] = ({},)
_RATES = tuple({"lr": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1))


def _in_batches(module: str, grid: tuple[Setting, ...], learn: Callable[[Data, Setting], Any]) -> StreamRival:
    return StreamRival(module, ("batches",), grid, learn, partial(squared_objective, learn))


def _in_stream(make: Callable[[Data, Setting], Any], module: str, grid: tuple[Setting, ...]) -> StreamRival:
    return StreamRival(module, ("stream",), grid, partial(learn_in_calls, make), partial(progressive_loss, make))


STREAM_RIVALS = {
    "batchlearn partial_fit": _in_stream(make_batchlearn, "batchlearn", _NOTHING),
    "batchlearn DiagonalNewton": StreamRival(
        "batchlearn", ("stream",), _NOTHING, partial(learn_epoch, "1", "diagonal"), progressive_diagonal
    ),
    "scikit-learn SGDClassifier": _in_stream(make_scikit, "sklearn", tuple(_scikit_grid())),
    "Vowpal Wabbit": StreamRival(
        "vowpalwabbit",
        ("stream",),
        tuple({"learning_rate": rate} for rate in (0.1, 0.5, 2.0)),
        learn_vowpal,
        learn_vowpal,
    ),
    "River AdaGrad": StreamRival("river", ("stream",), _RATES[1:], learn_river, learn_river, RIVER_ROWS),
    "batchlearn default": _in_batches("batchlearn", _NOTHING, partial(learn_epoch, "128", None)),
    "batchlearn StochasticGradient": _in_batches("batchlearn", _NOTHING, partial(learn_epoch, "128", "sgd")),
    "PyTorch tensors": _in_batches("torch", _RATES, learn_torch),
}


def best_setting(rival: StreamRival, data: Data) -> Setting:
    """Return the setting of the grid that does best on the first rows."""
    if len(rival.grid) == 1:
        return rival.grid[0]
    some = data.first(GRID_ROWS)
    scored = [(rival.quality(some, setting), number) for number, setting in enumerate(rival.grid)]
    return rival.grid[min(pair for pair in scored if np.isfinite(pair[0]))[1]]
