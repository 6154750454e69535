"""Losses of a champion and a challenger, as the gate takes them."""

from __future__ import annotations

import numpy as np

from batchlearn.evaluation.metrics import Array

ROWS = 4_000
INSTANTS: Array = np.arange(ROWS, dtype=np.float64)


def losses(change: float, rows: int = ROWS, seed: int = 0, noise: float = 0.1) -> tuple[Array, Array]:
    """Return a champion's losses, 0.5 on average, and a challenger's that differ by `change` of them in the mean."""
    rng = np.random.default_rng(seed)
    champion = rng.exponential(0.5, rows)
    apart = noise * rng.normal(size=rows)
    return champion, champion + apart - apart.mean() + change * champion.mean()
