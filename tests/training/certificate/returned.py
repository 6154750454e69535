"""Trials of what is delivered: coefficients, and predictions as floats, against 60-digit arithmetic.

The other trials judge the exact x'w. Here an estimator, or a model trained on a table, returns its numbers, and each is
compared with the optimum of the objective over the columns as given, written out entry by entry.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from mpmath import mp
from scipy.sparse import csr_array
from tests.objectives.oracle import Oracle, Vector, exact, exact_rows
from tests.training.classes.class_trials import ClassOracle
from tests.training.trials import Verdict, amounts

from batchlearn.data.build import build_rows
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.errors import BatchlearnError
from batchlearn.estimators import LinearClassifier, LinearRegressor
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.progress import finish
from batchlearn.statistics.objective import Objective
from batchlearn.tables.table import read
from batchlearn.training.certificate import Certificate
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import fit_objective, train
from batchlearn.training.verification.foreign import verify

Matrix = Any  # (rows, columns), NumPy or CSR


def far_means(rng: np.random.Generator, n: int) -> Matrix:
    """Columns whose means are up to 1e9 times their deviations and more."""
    return rng.normal(size=(n, 3)) + 10.0 ** rng.uniform(3.0, 9.5, 3) * rng.choice([-1.0, 1.0], 3)


def extreme_scales(rng: np.random.Generator, n: int) -> Matrix:
    """One to three columns of size 1e-160 to 1e160."""
    columns = int(rng.integers(1, 4))
    return rng.normal(size=(n, columns)) * 10.0 ** rng.uniform(-160.0, 160.0, columns)


def giant_row(rng: np.random.Generator, n: int) -> Matrix:
    """A column with one row 1e2 to 1e8 times larger than the rest."""
    X = rng.normal(size=(n, 3))
    X[rng.integers(n), rng.integers(3)] = 10.0 ** rng.uniform(2.0, 8.0) * rng.choice([-1.0, 1.0])
    return X


def sparse_means(rng: np.random.Generator, n: int) -> Matrix:
    """Sparse columns: means far from zero, a value in one row of four, and a value in all rows but a few."""
    X = far_means(rng, n)
    X[rng.random(n) < 0.75, 1] = 0.0
    X[rng.integers(n, size=2), 2] = 0.0
    return csr_array(X)


KINDS: dict[str, Callable[[np.random.Generator, int], Matrix]] = {
    draw.__name__: draw for draw in (far_means, extreme_scales, giant_row, sparse_means)
}
TABLES = ("table", "table_of_classes")


def labels(rng: np.random.Generator, loss: str, X: Floats, steep: float = 1.0) -> Floats:
    """Draw labels that follow the ranks of some columns."""
    ranks = np.argsort(np.argsort(X, axis=0), axis=0) / len(X) - 0.5
    eta: Floats = steep * (2.0 * ranks @ rng.normal(size=X.shape[1]))
    if loss == "squared":
        return np.asarray(eta + rng.normal(size=len(eta)), dtype=np.float64)
    if loss == "logistic":
        label = np.asarray(rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta)), dtype=np.float64)
        label[:2] = 0.0, 1.0
        return label
    if loss == "poisson":
        return np.asarray(rng.poisson(np.exp(eta)) + (np.arange(len(eta)) == 0), dtype=np.float64)
    amount = np.maximum(amounts(rng, loss, np.exp(eta)), 1e-6 if loss == "gamma" else 0.0)
    return np.asarray(amount + (np.arange(len(eta)) == 0), dtype=np.float64)


def _below(bound: float | None, truth: Any, name: str) -> list[str]:
    return [f"{name} {bound!r} < {mp.nstr(truth, 17)}"] if bound is not None and mp.mpf(bound) < truth else []


def _distance(certificate: Certificate, truth: Any) -> float:
    """Return the prediction bound over the true distance, where there are both."""
    if certificate.prediction_bound is None or not truth:
        return float("nan")
    return float(mp.mpf(certificate.prediction_bound) / truth)


def judge_estimator(number: int, seed: int) -> list[Verdict]:
    """Judge the certificate of one estimator and `verify`'s of the same coefficients."""
    rng = np.random.default_rng((seed, number, 1))
    kind, loss = list(KINDS)[number // len(LOSSES) % len(KINDS)], list(LOSSES)[number % len(LOSSES)]
    n = int(rng.integers(8, 40))
    X = KINDS[kind](rng, n)
    plain = X.toarray() if kind == "sparse_means" else X
    label = labels(rng, loss, plain)
    alpha = 0.0 if rng.random() < 0.2 else float(10.0 ** rng.uniform(-6.0, 0.0))
    weight = None if rng.random() < 0.5 else rng.uniform(0.1, 10.0, n)
    # A mean of many deviations and no intercept to take it up: nobody's model.
    intercept = kind in ("far_means", "sparse_means") or bool(rng.random() < 0.7)
    estimator: Any = LinearClassifier if loss == "logistic" else LinearRegressor
    model = estimator(alpha=alpha, fit_intercept=intercept, loss=loss)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, label, weight)
            certificates = [model.certificate_, verify(model, X, label, weight)]
    except BatchlearnError as refusal:
        return [Verdict(kind, loss, "end", False, (), float("nan"), refusal.message)]
    if not any(one.certified for one in certificates):
        return [Verdict(kind, loss, "end", False, (), float("nan"), one.reason) for one in certificates]
    power = mp.mpf(model.power) if loss == "tweedie" else None
    # In units, powers of two, in which a column or its penalty is near one: else a pivot would pass for zero.
    largest = np.maximum(np.abs(plain).max(axis=0), max(np.sqrt(alpha), 1e-290))
    units = np.append(np.ones(int(intercept)), np.exp2(np.rint(np.log2(largest))))
    design = [exact(np.append(np.ones(int(intercept)), row) / units) for row in plain]
    strengths = [mp.mpf(0)] * intercept + [mp.mpf(alpha) / one**2 for one in exact(units[int(intercept) :])]
    if alpha == 0.0:
        # Of a column that tells no two rows apart the coefficient is 0, and anything holds it there.
        alike = (plain == plain[0]).all(axis=0) & (intercept | (plain[0] == 0.0))
        strengths[int(intercept) :] = [mp.mpf(int(each)) for each in alike]
    weights = exact(np.ones(n) if weight is None else weight)
    oracle = Oracle(loss, design, exact(label), weights, [mp.mpf(0)] * n, strengths, power)
    start = np.concatenate([np.ravel(model.intercept_)[: int(intercept)], np.ravel(model.coef_)])
    at = [a * unit for a, unit in zip(exact(start), exact(units), strict=True)]
    optimum = oracle.optimum(start * units)
    gap = oracle.gap(at, optimum)
    moved = max(abs(a - b) / unit for a, b, unit in zip(at, optimum, exact(units), strict=True))
    off = max(chain.from_iterable(_off(oracle, model, X, optimum)))
    verdicts = []
    for one in certificates:
        wrong = _below(one.loss_bound, gap, "loss_bound")
        wrong += _below(one.coefficient_bound, moved, "coefficient_bound")
        wrong += _below(one.prediction_bound, off, "prediction_bound")
        verdicts.append(Verdict(kind, loss, "end", one.certified, tuple(wrong), _distance(one, off), one.reason))
    return verdicts


def _off(oracle: Oracle, model: Any, X: Matrix, optimum: Vector) -> Iterator[list[Any]]:
    """Yield how far each returned prediction of a row is from the optimum's."""
    best = oracle.predictors(optimum)
    if oracle.loss == "logistic":
        for found, eta in zip(model.predict_proba(X), best, strict=True):
            both = (1 / (1 + mp.exp(eta)), 1 / (1 + mp.exp(-eta)))
            yield [abs(mp.mpf(float(p)) - q) for p, q in zip(found, both, strict=True)]
    else:
        for found, eta in zip(model.predict(X), best, strict=True):
            yield [abs(mp.mpf(float(found)) - oracle.response(eta))]


def judge_table(number: int, seed: int) -> list[Verdict]:
    """Judge `predict` with bounds of one trained model, on its own rows and on rows far outside."""
    rng = np.random.default_rng((seed, number, 2))
    family, n = TABLES[number % 2], int(rng.integers(30, 60))
    size = 10.0 ** rng.uniform(-160.0, 140.0)
    X = np.column_stack([far_means(rng, n)[:, 0], size * rng.normal(size=n), rng.normal(size=n)])
    loss = "softmax" if family == "table_of_classes" else list(LOSSES)[number // 2 % len(LOSSES)]
    if loss == "softmax":
        drawn: Any = np.array(["a", "b", "c", "d"])[np.argmax(X[:, [0, 2]] @ rng.normal(size=(2, 4)), axis=1)]
        drawn[:4] = ["a", "b", "c", "d"]
    else:
        drawn = labels(rng, loss, X, steep=4.0)
    names = [f"x{j}" for j in range(X.shape[1])]
    columns = dict(zip(names, X.T, strict=True)) | {"level": rng.choice(["u", "v", "w"], n)}
    alpha = float(10.0 ** rng.uniform(-6.0, -1.0))
    power, tolerance = 1.5 if loss == "tweedie" else None, None if rng.random() < 0.5 else 1e-22
    recipe = Recipe(None if loss == "softmax" else loss, alpha, tolerance, 0.0, power=power)
    table = read(pa.table({**columns, "label": drawn}), target="label")
    try:
        fit = train(table, recipe, threads=1)
    except BatchlearnError as refusal:
        return [Verdict(family, loss, "end", False, (), float("nan"), refusal.message)]
    if not fit.certificate.certified:
        return [Verdict(family, loss, "end", False, (), float("nan"), str(fit.certificate.reason))]
    # Five times further out than any row of the training, so that many probabilities end near zero or one.
    outside = columns | {"x2": 5.0 * X[:, 2], "x0": X[:, 0].mean() + 5.0 * (X[:, 0] - X[:, 0].mean())}
    rows = _drained(table, fit)
    objective = fit_objective(fit.model.target, fit.model.encoding, fit.structure.strengths, alpha, rows.total_weight)
    oracle: Any = ClassOracle.of(objective, rows) if loss == "softmax" else Oracle.of(objective, rows)
    optimum, verdicts = oracle.optimum(fit.model.parameters), []
    for which, given in (("end", columns), ("outside", outside)):
        found = fit.model.predict(pa.table(given), bounds=True)
        assert found.bound is not None
        best = _responses(objective, _encoded(rows, fit, given), oracle, optimum)
        off = [
            max(abs(mp.mpf(float(p)) - q) for p, q in zip(np.ravel(returned), exactly, strict=True))
            for returned, exactly in zip(found.response, best, strict=True)
        ]
        wrong = list(chain.from_iterable(_below(float(b), o, "bound") for b, o in zip(found.bound, off, strict=True)))
        if which == "end":
            wrong += _below(fit.certificate.prediction_bound, max(off), "prediction_bound")
        ratio = [float(mp.mpf(float(b)) / o) for b, o in zip(found.bound, off, strict=True) if o]
        verdicts.append(Verdict(family, loss, which, True, tuple(wrong), float(np.median(ratio)), None))
    return verdicts


def _drained(table: Any, fit: Fit) -> MemoryRows:
    ledger = read_ledger(table, fit.model.target)
    return finish(build_rows(table, ledger, fit.model.encoding, ledger.used, 1))


def _encoded(rows: MemoryRows, fit: Fit, columns: dict[str, Any]) -> list[list[Any]]:
    """Return the design of a table in exact numbers."""
    scan = read(pa.table(columns)).scan(fit.model.columns)
    design = []
    for batch in scan:
        dense, codes = fit.model.encoding.encode(batch)
        design += exact_rows(rows, StoredChunk(dense, codes, np.zeros(batch.num_rows)))
    return design


def _responses(objective: Objective, design: list[list[Any]], oracle: Any, optimum: Vector) -> Iterator[list[Any]]:
    size, outputs = len(design[0]), objective.loss.outputs
    for row in design:
        etas = [mp.fdot(row, optimum[a * size : (a + 1) * size]) for a in range(outputs)]
        if outputs == 1:
            yield [oracle.response(etas[0])]
        else:
            logits = [mp.fsum(oracle.contrasts[a][k] * etas[a] for a in range(outputs)) for k in range(outputs + 1)]
            total = mp.fsum(mp.exp(one) for one in logits)
            yield [mp.exp(one) / total for one in logits]


def judge_returned(number: int, seed: int) -> list[Verdict]:
    """Judge one problem: four estimators to one table."""
    return judge_table(number // 5, seed) if number % 5 == 4 else judge_estimator(number // 5 * 4 + number % 5, seed)
