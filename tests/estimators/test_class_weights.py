"""Class weights of the estimators: those of scikit-learn, uncorrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

import batchlearn as bl
from batchlearn import LinearClassifier


@pytest.mark.parametrize("rule", ["balanced", {"no": 1.0, "yes": 7.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_mean_what_they_mean_in_scikit_learn(rule: Any, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = np.where(rng.random(300) < 1.0 / (1.0 + np.exp(2.0 - x[:, 0])), "yes", "no")
    weight = rng.uniform(0.5, 2.0, 300) if weighted else None
    ours = LinearClassifier(alpha=0.01, class_weight=rule).fit(x, y, weight)
    each = compute_sample_weight(rule if isinstance(rule, dict) else None, y) * (1.0 if weight is None else weight)
    if rule == "balanced":
        totals = {label: each[y == label].sum() for label in ("no", "yes")}
        each = each * np.array([each.sum() / 2.0 / totals[label] for label in y])
    peer = LogisticRegression(C=1.0 / (0.01 * each.sum()), tol=1e-10, max_iter=10_000).fit(x, y, sample_weight=each)
    assert ours.coef_ == pytest.approx(peer.coef_, abs=1e-6)
    assert ours.intercept_ == pytest.approx(peer.intercept_, abs=1e-6)
    assert ours.predict_proba(x).mean(axis=0)[1] > np.mean(y == "yes") * 1.3
    if not weighted:
        assert bl.verify(ours, x, y).loss_bound == pytest.approx(ours.certificate_.loss_bound, rel=0.5, abs=1e-15)
