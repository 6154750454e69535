"""The parameters of an estimator, checked when it is fitted."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, NamedTuple

from batchlearn.data.target import power_fits
from batchlearn.errors import UsageError, quoted
from batchlearn.objectives.losses import Loss, named_loss
from batchlearn.training.regimes import Regime, parse_regime
from batchlearn.training.stopping import LossWithin
from batchlearn.training.train import thread_count


class Settings(NamedTuple):
    """The parameters of an estimator, checked."""

    alpha: float
    loss: Loss
    intercept: bool
    stopping: LossWithin
    standardize: bool
    threads: int
    regime: Regime


def checked(estimator: Any, losses: tuple[str, ...]) -> Settings:
    """Check the parameters of an estimator, which knows these losses: UsageError."""
    if estimator.loss not in losses:
        raise UsageError(
            f"The loss is {quoted(estimator.loss)}; {type(estimator).__name__} needs one of {', '.join(losses)}. "
            "Set loss to one of them.",
            code="loss-unknown",
        )
    alpha, tolerance, threads = estimator.alpha, estimator.tol, estimator.threads
    if not (isinstance(alpha, Real) and math.isfinite(alpha) and float(alpha) >= 0.0):
        raise UsageError(
            f"The penalty alpha is {quoted(alpha)}; it needs to be a finite number of 0 or more. Set alpha=0 for none.",
            code="alpha-negative",
        )
    if not isinstance(tolerance, Real):
        raise UsageError(
            f"The tolerance is {quoted(tolerance)}; it needs to be a positive number, such as tol=1e-10.",
            code="tolerance-not-positive",
        )
    if not (threads is None or isinstance(threads, Integral)):
        raise UsageError(
            f"The number of threads is {quoted(threads)}; it needs to be a whole number of 1 or more, or None.",
            code="threads-range",
        )
    return Settings(
        float(alpha),
        named_loss(estimator.loss, _power(estimator)),
        bool(estimator.fit_intercept),
        LossWithin(float(tolerance)),
        bool(estimator.standardize),
        1 if threads is None else thread_count(int(threads)),
        parse_regime(estimator.batch_size),
    )


def _power(estimator: Any) -> float | None:
    if estimator.loss != "tweedie":
        return None
    power = getattr(estimator, "power", None)
    if not (isinstance(power, Real) and power_fits(float(power))):
        raise UsageError(
            f"The power is {quoted(power)}; the Tweedie loss needs one above 1 and below 2. Power 1 is loss='poisson', "
            "power 2 is loss='gamma'.",
            code="power-range",
        )
    return float(power)
