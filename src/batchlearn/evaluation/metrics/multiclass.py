"""Rows of more than two classes: labels are numbers of classes, responses are probabilities, (n, K).

A label that is NaN is of a class that training never saw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def own_probability(label: Array, response: Array) -> Array:
    """Return the probability of each row's class, (n,); 0 for a class never seen."""
    known = ~np.isnan(label)
    own = response[np.arange(len(label)), np.where(known, label, 0.0).astype(np.intp)]
    return np.where(known, own, 0.0)


def brier_of_classes(label: Array, response: Array) -> Array:
    """Return half the squared distance between the predicted and the true distribution over classes."""
    square = np.sum(response**2, axis=1)
    return np.asarray((1.0 + square) / 2.0 - own_probability(label, response))


def likeliest_is_right(label: Array, response: Array) -> Array:
    """Return 1 where the likeliest class is the true one (the first at a tie), else 0."""
    return np.asarray(np.argmax(response, axis=1) == label, dtype=np.float64)


def confidences(label: Array, response: Array) -> tuple[Array, Array]:
    """Return whether the likeliest class is the true one (NaN where the class was never seen), and its probability."""
    hit = np.where(np.isnan(label), np.nan, likeliest_is_right(label, response))
    return hit, response.max(axis=1)


def class_shares(label: Array, weight: Array | None, classes: int) -> Array:
    """Return each class's share of the weight, (K,)."""
    shares = np.bincount(label.astype(np.intp), weight, classes)
    return np.asarray(shares / shares.sum())


def after_last(last: Array, label: Array, weight: Array, classes: int) -> Array:
    """Return P(class | last class) with add-one smoothing, (K, K): one row for each last class."""
    counts = np.ones((classes, classes))
    np.add.at(counts, (last.astype(np.intp), label.astype(np.intp)), weight)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))
