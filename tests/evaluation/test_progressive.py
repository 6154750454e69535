"""The baselines of a progressive evaluation know what was known at the time, and are scored by the proper score."""

from __future__ import annotations

import numpy as np
import pytest

from batchlearn.evaluation.metrics import MetricTask, row_losses
from batchlearn.evaluation.progressive import judge_progressive, last_value_so_far, running_mean


def written_out(task: MetricTask, label: np.ndarray, weight: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the running mean and the last-value baseline, row by row from the labels known."""
    means, lasts = np.empty(len(label)), np.empty(len(label))
    classes = task == "classes"
    for t in range(len(label)):
        known = np.arange(max(t - delay, 0))
        total, count = weight[known] @ label[known], weight[known].sum()
        mean = (total + 0.5) / (count + 1.0) if classes else (total / count if count > 0 else 0.0)
        means[t] = mean if task != "count" or mean > 0.0 else 1.0
        last = t - 1 - delay
        pairs = np.array([s for s in known if s - 1 - delay >= 0], dtype=int)
        if last < 0:
            lasts[t] = means[t]
        elif classes:
            same = pairs[label[pairs - 1 - delay] == label[last]]
            lasts[t] = (weight[same] @ label[same] + 1.0) / (weight[same].sum() + 2.0)
        elif weight[pairs].sum() == 0.0:
            lasts[t] = means[t]
        else:
            before, own, w = label[pairs - 1 - delay], label[pairs], weight[pairs] / weight[pairs].sum()
            spread = w @ before**2 - (w @ before) ** 2
            slope = np.clip((w @ (before * own) - (w @ before) * (w @ own)) / spread, 0, 1) if spread > 1e-12 else 0.0
            lasts[t] = w @ own + slope * (label[last] - w @ before)
        if task == "count":
            lasts[t] = max(lasts[t], 0.01 * means[t])
    return means, lasts


@pytest.mark.parametrize("task", ["classes", "number", "count"])
@pytest.mark.parametrize("delay", [0, 3])
def test_baselines_are_what_labels_known_at_the_time_say(task: MetricTask, delay: int) -> None:
    rng = np.random.default_rng(2)
    label = {
        "classes": (rng.random(60) < 0.4).astype(float),
        "number": np.cumsum(rng.normal(size=60)),
        "count": rng.poisson(2.0, 60).astype(float),
    }[task]
    weight = rng.integers(1, 4, 60).astype(float)
    means, lasts = written_out(task, label, weight, delay)
    np.testing.assert_allclose(running_mean(task, label, weight, delay), means, rtol=1e-12)
    # A slope from two pairs has hardly any spread to divide by.
    start = delay * 2 + 4
    np.testing.assert_allclose(last_value_so_far(task, label, weight, delay)[start:], lasts[start:], rtol=1e-7)


def test_the_score_is_the_weighted_mean_of_the_proper_score() -> None:
    rng = np.random.default_rng(3)
    label, response, weight = (rng.random(95) < 0.5).astype(float), rng.uniform(0.1, 0.9, 95), rng.random(95)
    score = judge_progressive("classes", label, response, weight, delay=2)
    losses = row_losses("classes", label, response)
    assert score.loss == pytest.approx(np.average(losses, weights=weight))
    assert score.metric == "log_loss"
    assert len(score.parts) == 10
    assert score.parts[0] == pytest.approx(np.average(losses[:9], weights=weight[:9]))
    assert score.delay == 2


def test_labels_that_stick_are_what_the_last_value_is_good_at() -> None:
    label = np.repeat([0.0, 1.0, 0.0, 1.0], 100)
    score = judge_progressive("classes", label, np.full(400, 0.5))
    assert score.last_value < 0.1 < score.running_mean
    later = judge_progressive("classes", label, np.full(400, 0.5), delay=60)
    assert later.last_value > 3.0 * score.last_value


def test_a_delay_longer_than_the_table_leaves_nothing_known() -> None:
    score = judge_progressive("number", np.ones(5), np.zeros(5), delay=9)
    assert score.last_value == score.running_mean == 1.0
