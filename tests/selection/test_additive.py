"""Additive models from end to end: shapes with honest errors, certified, saved, verified, the same to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.made import arrow, table_of

from batchlearn.kernels.design import Floats
from batchlearn.models.files import load
from batchlearn.models.shapes import shapes
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.training.verification.stored import verify_model

SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "wave": lambda x: np.sin(2.0 * x),
    "bowl": lambda x: 0.5 * x**2,
    "rise": lambda x: np.tanh(2.0 * x),
    "line": lambda x: 0.4 * x,
    "noise": lambda x: 0.0 * x,
}
LEVELS = 30


def drawn(seed: int, loss: str, n: int = 20_000) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Draw a table, and what each column does to the linear predictor of each row."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.uniform(-2.0, 2.0, n) for name in SHAPES}
    columns["wave"], columns["noise"] = rng.normal(size=n), rng.exponential(size=n)
    codes = rng.integers(0, LEVELS, n)
    size = 0.5 if loss == "poisson" else 1.0
    effects = {name: size * shape(columns[name]) for name, shape in SHAPES.items()}
    effects["level"] = size * (0.5 * rng.normal(size=LEVELS))[codes]
    eta = np.sum(list(effects.values()), axis=0)
    columns["level"] = [f"l{code:02d}" for code in codes]
    if loss == "logistic":
        columns["label"] = (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    else:
        columns["label"] = rng.poisson(np.exp(eta)).astype(float) if loss == "poisson" else eta + rng.normal(size=n)
    return columns, effects


def covered(fit: Fit, columns: dict[str, Any], effects: dict[str, Floats]) -> list[bool]:
    """Return for each level of each single term whether its true effect is within 1.96 standard errors."""
    inside: list[bool] = []
    for shape in shapes(fit.model):
        if shape.kind == "bins":
            codes = np.searchsorted(np.asarray(shape.edges), columns[shape.name])
        elif shape.kind == "category":
            codes = np.asarray([shape.names.index(f"{shape.name} = {level}") for level in columns[shape.name]])
        else:
            continue
        counts = np.bincount(codes, minlength=len(shape.effect))
        truth = np.bincount(codes, effects[shape.name], len(shape.effect)) / counts
        assert shape.standard_error is not None
        inside += list(np.abs(shape.effect - (truth - truth.mean())) <= 1.96 * shape.standard_error)
    return inside


def test_true_shapes_lie_within_two_standard_errors_at_nineteen_in_twenty_levels() -> None:
    rates = []
    for seed in range(10):
        loss = ("logistic", "squared", "poisson")[seed % 3]
        columns, effects = drawn(seed, loss)
        fit = train(table_of(columns), Recipe(loss=loss, holdout=0.0), threads=1)
        assert fit.structure.name == "additive"
        assert fit.certificate.certified
        inside = covered(fit, columns, effects)
        assert len(inside) > 300
        rates.append(np.mean(inside))
    print(f"coverage over ten draws: {np.mean(rates):.3f}, least {np.min(rates):.3f}")
    # Intervals of smooth shapes hold on average over a shape, and are a little wide (Nychka 1988).
    assert np.mean(rates) >= 0.93
    assert np.min(rates) >= 0.90


def together(loss: str, n: int = 1500) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    X = rng.uniform(-2.0, 2.0, size=(n, 3))
    colour = rng.integers(0, 5, n)
    eta = 1.5 * X[:, 0] * X[:, 1] + np.where(X[:, 2] > 0.0, 1.0, -1.0) * np.where(colour < 2, 1.5, -1.5)
    eta = eta / (2.0 if loss == "poisson" else 1.0)
    label = {
        "squared": lambda: eta + 0.5 * rng.normal(size=n),
        "logistic": lambda: (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float),
        "poisson": lambda: rng.poisson(np.exp(eta)).astype(float),
    }[loss]()
    columns = {f"x{k}": X[:, k] for k in range(3)}
    columns["x2"][rng.random(n) < 0.1] = np.nan
    named = [None if u < 0.05 else f"c{k}" for u, k in zip(rng.random(n), colour, strict=True)]
    return {**columns, "colour": named, "label": label}


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_a_model_with_pairs_is_saved_loaded_and_verified_to_the_bit(loss: str, tmp_path: Path) -> None:
    columns = together(loss)
    fit = train(table_of(columns), Recipe(loss=loss), threads=1)
    assert {"x0 x x1"} <= {pair.column for pair in fit.structure.pairs}
    assert fit.certificate.certified
    assert fit.to_json()["encoding"] == "additive"
    folder = fit.save(tmp_path / "model")
    loaded = load(folder)
    assert loaded.encoding == fit.model.encoding
    asked = arrow({**columns, "x0": columns["x0"] * 1.3, "colour": ["never seen", None, *columns["colour"][2:]]})
    expected, found = (model.predict(asked, bounds=True) for model in (fit.model, loaded))
    for one, other in zip(expected, found, strict=True):
        assert one is not None
        assert other is not None
        assert one.tobytes() == other.tobytes()
    verification = verify_model(folder, arrow(columns), threads=1)
    assert verification.holds, verification.reasons
    columns["label"] = columns["label"][::-1].copy()
    assert not verify_model(folder, arrow(columns), threads=1).holds


def test_training_twice_and_with_more_threads_gives_the_same_bits() -> None:
    columns = together("logistic", 900)
    first, again = (train(table_of(columns), threads=threads).model for threads in (1, 3))
    assert first.encoding == again.encoding
    assert first.parameters.tobytes() == again.parameters.tobytes()
    assert first.standard_errors is not None
    assert again.standard_errors is not None
    assert first.standard_errors.tobytes() == again.standard_errors.tobytes()


def test_columns_that_repeat_each_other_are_named_whatever_their_strength() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=1000)
    columns = {"x": x, "copy": 2.0 * x + 1.0, "label": x + rng.normal(size=1000)}
    fit = train(table_of(columns), Recipe(holdout=0.0), threads=1)
    assert fit.structure.name == "linear"
    assert fit.structure.strengths
    assert "x and copy repeat each other: the penalty shares their effect." in map(str, fit.notes)
