"""What a backtest is to do: how history is cut and played again, at which prices, and which policies by default."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from batchlearn.backtesting.history import Arrivals, History
from batchlearn.backtesting.replay import Durations
from batchlearn.errors import UsageError, quoted
from batchlearn.retraining.policies import Action, Doubling, Every, EveryRows, Never, Policy
from batchlearn.retraining.policies.combined import With
from batchlearn.retraining.policies.detection import Decay, Drift
from batchlearn.retraining.policies.span import Span
from batchlearn.retraining.policies.worth import Forecast, WhenGainExceeds
from batchlearn.retraining.verdict import Gate

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s"))
_SECOND = 1e6
_GROWN = 1.5


@dataclass(frozen=True)
class Prices:
    """What things cost, in one unit, the user's.

    Args:
        retrain: A retrain.
        hour: An hour in which what serves is older than a window.
        loss: A loss of one in one row.

    Raises:
        UsageError: One is negative or no number.

    Example:
        >>> import batchlearn as bl
        >>> bl.Prices(retrain=500.0, loss=0.5).retrain_in_loss
        1000.0
    """

    retrain: float = 0.0
    hour: float = 0.0
    loss: float = 1.0

    def __post_init__(self) -> None:
        for unit, price in vars(self).items():
            if not (math.isfinite(price) and price >= 0.0):
                raise UsageError(
                    f"The price of a {unit} is {price:g}; it needs to be a finite number of 0 or more.",
                    code="cost-negative",
                )

    @classmethod
    def parse(cls, text: str) -> Prices:
        """Read prices as `--cost` has them.

        Args:
            text: Prices by their units, "retrain=500,hour=2,loss=0.01"; what is left out costs nothing, but a unit of
                loss, which costs one.

        Returns:
            The prices.

        Raises:
            UsageError: A unit is not known or comes twice, or a price is negative or no number.
        """
        given: dict[str, float] = {}
        for part in text.split(","):
            unit, sign, number = (one.strip() for one in part.partition("="))
            try:
                price = float(number)
            except ValueError:
                sign = ""
            if not sign or unit in given or unit not in ("retrain", "hour", "loss"):
                raise UsageError(
                    f"--cost came with {quoted(part.strip())}; it takes prices of a retrain, of an hour of staleness "
                    "and of a unit of loss, each once: retrain=500,hour=2,loss=0.01.",
                    code="cost-unit",
                )
            given[unit] = price
        return cls(**given)

    @property
    def retrain_in_loss(self) -> float | None:
        """The price of a retrain in sums of loss over rows; None where either costs nothing."""
        return self.retrain / self.loss if self.retrain and self.loss else None


@dataclass(frozen=True)
class BacktestPlan:
    """How history is played again. Checked here, once, as far as it can be without the rows.

    Args:
        windows: How many of equal length follow the first training, or how long each is: "7d".
        start: The share of the rows, by when they were known, that the first model is trained on.
        arrivals: Which columns say when rows were labelled and landed, and how long they rest.
        delay: How long a deployment takes, "1h"; training takes what it took, or what `durations` says.
        durations: Rows and seconds of trainings; measured here unless given.
        prices: Of a retrain, of an hour of staleness and of a unit of loss.
        holdout: The share of the windows, the last ones, that have no say in the choice and judge it.
        gate: What a model has to pass before it goes live, as production's; all go live unless given.
        share: Of the new rows, the latest, that judge, as `share` in `[gate]`.
        cache: A folder in which models' losses are kept, so that a run that was killed goes on.
        seed: Of the bootstrap.

    Raises:
        UsageError: A share is out of its range.

    Example:
        >>> import batchlearn as bl
        >>> plan = bl.BacktestPlan(windows="7d", arrivals=bl.Arrivals(wait="2d"), prices=bl.Prices(retrain=50.0))
        >>> plan.prices.retrain_in_loss
        50.0
    """

    windows: int | str | float = 40
    start: float = 0.2
    arrivals: Arrivals = field(default_factory=Arrivals)
    delay: str | float | None = None
    durations: Durations | None = None
    prices: Prices | None = None
    holdout: float = 0.0
    cache: str | None = None
    seed: int = 0
    gate: Gate | None = None
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 < self.start < 1.0:
            raise UsageError(
                f"The share of rows of the first training is {self.start!r}; it needs to be above 0 and below 1, such "
                "as 0.2.",
                code="start-range",
            )
        if not 0.0 <= self.holdout < 1.0:
            raise UsageError(
                f"The share of windows that have no say is {self.holdout!r}; it needs to be at least 0 and below 1.",
                code="holdout-range",
            )
        if not 0.0 < self.share < 1.0:
            raise UsageError(
                f"The share of new rows that judge is {self.share!r}; it needs to be above 0 and below 1, such as 0.2.",
                code="gate-setting",
            )


def default_policies(history: History, prices: Prices | None, brought: bool = False) -> tuple[Policy, ...]:
    """Return policies of each kind, with periods that fit the windows, and rows that fit what can be learned in one.

    Those that would be due at no edge are left out: they would be training once under another name.
    An estimator that was `brought` has no bracket, and may know no weights.
    """
    length = float(np.median(np.diff(history.edges)))

    def span(windows: float) -> Span:
        if not history.times.stamped:
            return Span(float(f"{windows * length * 0.99:.3g}"))
        size, unit = next((one for one in _UNITS if windows * length >= 2.0 * one[0] * _SECOND), (1.0, "s"))
        return Span(float(max(windows * length // (size * _SECOND), 1.0)), unit)

    # A policy decides at the edges between windows: the last of those that come after k windows is at windows - 1.
    decided = history.windows - 1
    often = Every(span(min(4, decided)))
    known, later = (history.known_by(float(history.edges[at])) for at in (0, decided))
    rows = (later - known) * min(2, decided) // decided  # that become known in two windows
    found: list[Policy] = [
        Never(),
        *(Every(span(windows)) for windows in (1, 2, 4, 8) if windows <= decided),
        *([EveryRows(rows)] if rows else []),
        *([Doubling(_GROWN)] if later >= _GROWN * known else []),
        Decay(0.05),
        Drift("psi", 0.05),
        With(often, Action(window=span(min(8, decided)))),
        With(often, Action(start="warm")),
        With(often, Action(new_only=True)),
    ]
    if brought:
        return (*found, Drift("ks", 0.05), Decay(0.2))
    fading = Action(half_life=span(min(8, decided)))
    found += [WhenGainExceeds(3.0), With(often, fading), With(often, Action(start="online"))]
    if prices is not None and prices.retrain_in_loss is not None:
        found += [Forecast(), WhenGainExceeds(None)]
    return tuple(found)
