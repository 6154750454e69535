"""The parameters of an estimator, checked when it is fitted: by the recipe that they are part of."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

from batchlearn.data.rows.threads import thread_count
from batchlearn.errors import UsageError, quoted
from batchlearn.objectives.losses import Loss, named_loss
from batchlearn.objectives.stopping import Stopping
from batchlearn.training.recipe import Recipe
from batchlearn.training.regimes import Regime


class EstimatorSettings(NamedTuple):
    """The parameters of an estimator, checked."""

    alpha: float
    loss: Loss
    intercept: bool
    stopping: Stopping
    standardize: bool
    threads: int
    regime: Regime


def checked(estimator: Any, losses: tuple[str, ...]) -> EstimatorSettings:
    """Check the parameters of an estimator, which knows these losses: UsageError."""
    if estimator.loss not in losses:
        raise UsageError(
            f"The loss is {quoted(estimator.loss)}; {type(estimator).__name__} needs one of {', '.join(losses)}. "
            "Set loss to one of them.",
            code="loss-unknown",
        )
    # A recipe without one of these has it chosen by the data.
    needed = {"alpha": "alpha-negative", "tol": "tolerance-not-positive"}
    if estimator.loss == "tweedie":
        needed["power"] = "power-range"
    if estimator.loss == "huber":
        needed["threshold"] = "threshold-range"
    for name, code in needed.items():
        if getattr(estimator, name) is None:
            raise UsageError(
                f"{name} is None; {type(estimator).__name__} needs a number. batchlearn.train chooses one by the data.",
                code=code,
            )
    # Numbers of NumPy become Python's: the bits do not depend on how wide a parameter is.
    values = {name: getattr(estimator, name) for name in needed}
    numbers = {name: float(value) if isinstance(value, Real) else value for name, value in values.items()}
    recipe = Recipe(
        loss=estimator.loss,
        alpha=numbers["alpha"],
        tolerance=numbers["tol"],
        power=numbers.get("power"),
        threshold=numbers.get("threshold"),
        class_weight=getattr(estimator, "class_weight", None),
        batch_size=estimator.batch_size,
    )
    return EstimatorSettings(
        numbers["alpha"],
        named_loss(estimator.loss, recipe.power, recipe.threshold),
        bool(estimator.fit_intercept),
        recipe.stopping,
        bool(estimator.standardize),
        1 if estimator.threads is None else thread_count(estimator.threads),
        recipe.regime,
    )
