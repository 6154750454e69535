"""Small made tables, and their design written out by hand: what an encoding and a fit are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.tables.table import Table, read
from batchlearn.training.recipe import Recipe

Floats = NDArray[np.float64]
LEVELS = ("blue", "green", "pink", "red")
LOSSES = ("gamma", "logistic", "poisson", "squared", "tweedie")
POWER = 1.5


def made(rows: int = 400, seed: int = 0, loss: str = "squared") -> dict[str, Any]:
    """Draw two numbers, a category whose levels are all frequent, a label, a weight, an offset and an exposure."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(5.0, 3.0, rows), rng.exponential(2.0, rows)
    colour = rng.choice(len(LEVELS), rows, p=[0.4, 0.3, 0.2, 0.1])
    offset, exposure = rng.normal(0.0, 0.3, rows), rng.uniform(0.5, 2.0, rows)
    eta = 0.3 * (first - 5.0) - 0.2 * second + np.array([0.5, -0.5, 0.2, 0.0])[colour]
    return {
        "first": first,
        "second": second,
        "colour": [LEVELS[k] for k in colour],
        "weight": rng.integers(1, 4, rows).astype(float),
        "offset": offset,
        "exposure": exposure,
        "label": labels(rng, loss, eta),
    }


def labels(rng: np.random.Generator, loss: str, eta: Floats) -> Floats:
    """Draw labels with these linear predictors."""
    if loss == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    if loss == "poisson":
        return rng.poisson(np.exp(0.3 * eta + 0.5)).astype(float)
    if loss == "gamma":
        return rng.gamma(2.0, np.exp(0.3 * eta + 0.5) / 2.0)
    if loss == "tweedie":
        number = rng.poisson(np.exp(0.15 * eta))
        return np.where(number > 0, rng.gamma(2.0 * np.maximum(number, 1), 3.0 * np.exp(0.15 * eta)), 0.0)
    return eta + rng.normal(size=len(eta))


def recipe_of(loss: str, *settings: Any, **others: Any) -> Recipe:
    """Return a recipe; of a Tweedie loss with its power, so that nothing is chosen by data."""
    return replace(Recipe(loss, *settings, **others), power=POWER if loss == "tweedie" else None)


def arrow(columns: Mapping[str, Any]) -> pa.Table:
    """Return the columns as Arrow data; NaN is a missing value."""
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def table_of(columns: Mapping[str, Any], **roles: Any) -> Table:
    """Read columns as a table; whatever has a role in other tests is no feature in this one."""
    unused = {"weight", "offset", "exposure"} & set(columns) - {
        value for value in roles.values() if isinstance(value, str)
    }
    return read(arrow(columns), target="label", drop=[*roles.pop("drop", ()), *sorted(unused)], **roles)


def standardised(values: Floats, weight: Floats | None = None) -> Floats:
    """Return (values - mean) / deviation, both weighted."""
    mean = np.average(values, weights=weight)
    deviation = np.sqrt(np.average((values - mean) ** 2, weights=weight))
    return np.asarray((values - mean) / deviation)


def design(
    columns: Mapping[str, Any], weight: Floats | None = None, reference: str | None = None
) -> tuple[list[str], Floats]:
    """Write out the design: names and a matrix (rows, coefficients), the intercept aside."""
    names, parts = [], []
    for name in ("first", "second"):
        names.append(name)
        parts.append(standardised(columns[name], weight))
    for level in LEVELS:
        if level != reference:
            names.append(f"colour = {level}")
            parts.append(np.array([value == level for value in columns["colour"]], dtype=float))
    return names, np.column_stack(parts)
