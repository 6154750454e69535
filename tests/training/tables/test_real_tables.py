"""Real tables, small ones: they train, are certified, and the evaluation is where others have found it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchlearn.tables.table import read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

SETS: dict[str, tuple[dict[str, Any], str | None]] = {
    "noaa_weather": ({"target": "rain", "time": "t"}, None),
    "bike_sharing_hour": ({"target": "cnt", "time": "timestamp", "drop": ["casual", "registered"]}, "poisson"),
    "adult": ({"target": "target"}, None),
}
ROWS = {"noaa_weather": 18_159, "bike_sharing_hour": 17_379, "adult": 48_842}
# The metric, and the range that published linear models and a look at the held-out rows leave for it.
EXPECTED = {
    "noaa_weather": ("accuracy", 0.74, 0.78),
    "bike_sharing_hour": ("d2", 0.70, 0.85),
    "adult": ("auc", 0.900, 0.908),
}


def fit_of(shared_data: Path, name: str, alpha: float | None) -> Fit:
    roles, loss = SETS[name]
    return train(read(shared_data / f"{name}.parquet", **roles), Recipe(loss, alpha), threads=2)


def value(fit: Fit, metric: str) -> float:
    assert fit.evaluation is not None
    found = fit.evaluation.metrics[metric].value
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_real_table_trains_is_certified_and_is_evaluated(shared_data: Path, name: str) -> None:
    fit = fit_of(shared_data, name, 1.0 / ROWS[name])
    assert fit.rows.to_json() == {"read": ROWS[name], "used": ROWS[name], "unlabelled": 0, "rejected": {}}
    certificate = fit.certificate
    assert certificate.certified
    assert certificate.loss_bound is not None
    assert certificate.loss_bound <= 1e-8 * fit.null_objective
    metric, low, high = EXPECTED[name]
    assert low <= value(fit, metric) <= high
    assert fit.evaluation is not None
    assert fit.evaluation.rows == pytest.approx(0.2 * ROWS[name], rel=0.01)
    for baseline in fit.evaluation.baselines.values():
        found = baseline[metric].value
        assert found is None or found < value(fit, metric)
