"""The mean outer product of the rows' gradients, against the gradients written out."""

from __future__ import annotations

import numpy as np
import pytest
from tests.statistics.test_totals import written
from tests.training.trials import dense_rows, random_trial

from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.statistics.dispersion import mean_squared_scores


@pytest.mark.parametrize("family", ["weighted", "sparse", "everything", "grouped"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_squared_scores_are_those_of_the_rows_written_out(loss: str, family: str) -> None:
    rng = np.random.default_rng(0)
    trial = random_trial(rng, family, loss)
    w = 0.3 * rng.normal(size=trial.rows.layout.size)
    X, label, weight, offset = written(trial.rows, loss)
    scores = X * (weight * trial.objective.loss.slope(X @ w + offset, label))[:, None]
    expected = scores.T @ scores / weight.sum()
    found = mean_squared_scores(trial.objective.loss, trial.rows, w)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("classes", [3, 5])
def test_squared_scores_of_several_classes_have_a_block_for_each_two_outputs(classes: int) -> None:
    rng = np.random.default_rng(classes)
    X, label, weight = rng.normal(size=(80, 4)), rng.integers(0, classes, 80).astype(float), rng.uniform(0.1, 3.0, 80)
    rows, loss = dense_rows(X, label, weight), SoftmaxLoss(classes)
    size = rows.layout.size
    design = np.column_stack([np.ones(80), X])[:, -size:]
    w = 0.3 * rng.normal(size=(classes - 1) * size)
    slope = loss.slope(w.reshape(classes - 1, size) @ design.T, label)
    scores = np.concatenate([design * (weight * one)[:, None] for one in slope], axis=1)
    assert mean_squared_scores(loss, rows, w) == pytest.approx(scores.T @ scores / weight.sum(), rel=1e-9, abs=1e-12)
