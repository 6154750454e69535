"""The recipe: everything needed to train once, except the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.target import TASK_OF_LOSS
from batchlearn.errors import UsageError, quoted
from batchlearn.training.regimes import Regime, parse_regime
from batchlearn.training.stopping import LossWithin, PredictionsWithin, Stopping

_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Recipe:
    """How to train once. Checked here, once; nothing later checks again.

    loss: "logistic", "squared" or "poisson"; None follows from the target. alpha: F = mean loss + alpha/2 ||w||^2 over
    standardised columns and levels; None is a total penalty of 1, alpha = 1 / total weight. tolerance: None stops
    where no linear predictor is off by more than 1 % of its standard error, a number asks for a bound on the loss of so
    many times the null model's loss. holdout: the share of the latest rows (of random ones without a time column)
    that the evaluation keeps apart; 0 for no evaluation. batch_size: rows an update sees: "full" for all of them, 1 for
    online, or a number such as 256; the objective is the same.
    """

    loss: str | None = None
    alpha: float | None = None
    tolerance: float | None = None
    holdout: float = 0.2
    seed: int = 0
    rules: EncodingRules = field(default_factory=EncodingRules)
    batch_size: str | int = "full"

    def __post_init__(self) -> None:
        if self.loss is not None and self.loss not in TASK_OF_LOSS:
            raise UsageError(
                f"The loss is {quoted(self.loss)}; it needs to be one of {', '.join(TASK_OF_LOSS)}.",
                code="loss-unknown",
            )
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha >= 0.0):
            raise UsageError(
                f"The penalty alpha is {self.alpha!r}; it needs to be a number of 0 or more.", code="alpha-negative"
            )
        if not (math.isfinite(self.holdout) and 0.0 <= self.holdout < 1.0):
            raise UsageError(
                f"The held-out share is {self.holdout!r}; it needs to be at least 0 and below 1, such as 0.2.",
                code="holdout-range",
            )
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(
                f"The seed is {self.seed}; it needs to be a whole number from 0 to 2**64 - 1.", code="seed-range"
            )
        parse_regime(self.batch_size)
        if self.tolerance is not None:
            LossWithin(self.tolerance)

    @property
    def regime(self) -> Regime:
        """How rows are presented to one update."""
        return parse_regime(self.batch_size)

    @property
    def stopping(self) -> Stopping:
        """What ends a fit."""
        return PredictionsWithin() if self.tolerance is None else LossWithin(self.tolerance)

    def alpha_for(self, total_weight: float) -> float:
        """Return the penalty for rows of this total weight."""
        return 1.0 / total_weight if self.alpha is None else self.alpha

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        return {
            "loss": self.loss,
            "alpha": self.alpha,
            "tolerance": self.tolerance,
            "holdout": self.holdout,
            "seed": self.seed,
            "minimum_rows": self.rules.minimum_rows,
            "level_cap": self.rules.level_cap,
            "buckets": self.rules.buckets,
            "batch_size": str(self.regime),
        }
