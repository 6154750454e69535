"""Tables with everything a model reads, and the models of them, made once for all tests of exports."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

import batchlearn as bl
from batchlearn.models.linear import LinearModel

ROWS = 1_500
LEVELS = ["a", "b b", "it's", '"q"', "", "é"]


def mixed(kind: str, zone: str | None = None) -> pa.Table:
    """Numbers, texts that need quoting, booleans and times, some missing; the target is of the kind asked for."""
    rng = np.random.default_rng(0)
    x, level = rng.normal(size=ROWS), rng.choice(LEVELS, ROWS)
    minutes = rng.integers(-(10**6), 10**6, ROWS)
    time = np.datetime64("1970-01-01T00:00", "us") + minutes.astype("timedelta64[m]")
    hour = time.astype("datetime64[h]").astype(int) % 24
    truth = rng.random(ROWS) < 0.5
    eta = np.sin(2 * x) + (level == "a") * (1.0 + x) + np.sin(hour / 24 * 6.28) + truth
    label: Any = {
        "two": np.where(eta + rng.logistic(size=ROWS) > 1, "it's so", "no"),
        "many": np.array(["u", "v", "w"])[np.argmax(np.outer(eta, [1, 0, -1]) + rng.gumbel(size=(ROWS, 3)), axis=1)],
        "truth": eta > 0.5,
        "number": eta + rng.normal(size=ROWS),
        "count": rng.poisson(np.exp(eta / 2)),
    }[kind]
    return pa.table(
        {
            "x": x,
            'odd "name"': np.where(rng.random(ROWS) < 0.1, np.nan, rng.gamma(2.0, size=ROWS)),
            "level": pa.array([None if rng.random() < 0.05 else str(one) for one in level]),
            "time": pa.array(time, mask=rng.random(ROWS) < 0.05).cast(pa.timestamp("us", zone and "UTC")),
            "truth": pa.array(truth, mask=rng.random(ROWS) < 0.05),
            "amount": rng.uniform(0.5, 2.0, ROWS),
            "label": label,
        }
    )


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "additive": ("two", {}, {}),
    "linear": ("two", {}, {"alpha": 1e-3}),
    "reference levels": ("two", {}, {"alpha": 0.0}),
    "three classes": ("many", {}, {}),
    "booleans": ("truth", {"offset": "amount"}, {}),
    "huber": ("number", {}, {"loss": "huber"}),
    "counts": ("count", {"exposure": "amount"}, {"loss": "poisson"}),
    "zone": ("two", {"zone": "Europe/Berlin"}, {}),
    "fee": ("two", {}, {"alpha": 1e-3, "costs": bl.Costs(1.0, 3.0, 0.3)}),
    "pooled levels": ("number", {}, {"rules": bl.Recipe().rules.__class__(minimum_rows=260), "alpha": 1e-3}),
}


@cache
def model_of(case: str) -> LinearModel:
    kind, roles, recipe = CASES[case]
    table = bl.read(mixed(kind, roles.get("zone")), target="label", **roles)
    return linear_of(table, bl.Recipe(holdout=0.0, **recipe))


def linear_of(table: bl.Table, recipe: bl.Recipe) -> LinearModel:
    model = bl.train(table, recipe).model
    assert isinstance(model, LinearModel)
    return model
