"""Streams whose world is known: what comes each day, and when it turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from batchlearn.backtesting.history import Arrivals, History, read_history
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.replay import PolicyRun, ReplayContext, replay
from batchlearn.progress import finish
from batchlearn.retraining.policies import Policy
from batchlearn.tables.table import Table, read
from batchlearn.training.recipe import Recipe

ROWS = 40  # a day
RECIPE = Recipe(alpha=0.01, holdout=0.0)
DAY = 86_400e6


def stream(
    days: int = 60, turns: Sequence[int] = (), seed: int = 0, rows: int = ROWS, delay: int = 0, noise: float = 1.0
) -> pa.Table:
    """Make rows of some days; what a size means turns on the days named, and labels come `delay` days later."""
    rng = np.random.default_rng([seed, days])
    second = np.sort(rng.integers(1, 86_400, (days, rows)), axis=1) + 86_400 * np.arange(days)[:, None]
    seen = np.datetime64("2026-01-01", "us") + second.ravel() * 10**6
    day = np.repeat(np.arange(days), rows)
    sign = np.prod([np.where(day >= turn, -1.0, 1.0) for turn in turns], axis=0) if turns else np.ones(len(day))
    size = rng.normal(size=len(day))
    colour = rng.choice(["red", "green", "blue"], size=len(day))
    bought = 1.5 * sign * size + (colour == "red") + noise * rng.logistic(size=len(day)) > 0.5
    return pa.table(
        {
            "seen": seen,
            "known": seen + np.timedelta64(delay, "D"),
            "size": size,
            "colour": colour.tolist(),
            "bought": bought,
        }
    )


def opened(rows: pa.Table, **given: Any) -> Table:
    """Open a stream with its roles."""
    return read(rows, **{"target": "bought", "time": "seen", "drop": ["known"], **given})


def history_of(rows: pa.Table, windows: int | str = "3d", late: bool = False) -> History:
    """Cut a stream into windows; with `late` labels are known when the stream says so."""
    return read_history(opened(rows), Arrivals("known" if late else None), windows, 0.2)


def replayed(
    policy: Policy, rows: pa.Table, windows: int | str = "3d", late: bool = False, context: ReplayContext | None = None
) -> tuple[PolicyRun, LossMatrix]:
    """Replay a policy over a stream."""
    matrix = LossMatrix(history_of(rows, windows, late), RECIPE, 1)
    return finish(replay(str(policy), policy, matrix, context or ReplayContext())), matrix
