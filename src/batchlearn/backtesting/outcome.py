"""What came out of a backtest: one record a policy beside the oracle, what waiting costs, and which policy to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.artifacts.strict_json import plain
from batchlearn.backtesting.history import History
from batchlearn.backtesting.oracle import BestPath
from batchlearn.backtesting.plan import Prices
from batchlearn.backtesting.replay import Durations, PolicyRun
from batchlearn.evaluation.intervals import Estimate, Resampling
from batchlearn.evaluation.intervals import paired_difference as paired
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.retraining.verdict import Gate

FORMAT_VERSION = 1
# Shares of the loss. Training once needs nobody who trains again, and what that is worth; and what is no difference
# between policies that all do.
_WORTHWHILE, _NO_DIFFERENCE = 0.01, 0.001


@dataclass(frozen=True)
class PolicyOutcome:
    """One policy: what it lost on the judged rows, with the interval over windows, and what it did."""

    run: PolicyRun
    loss: Estimate
    error: float  # the share of wrong classes, or the mean absolute error
    regret: Estimate  # its loss less the oracle's, on the same rows
    over_never: Estimate  # its loss less that of training once
    stale_hours: float  # in which what served was older than a window
    cost: float | None  # by the prices, where there are any

    @property
    def retrains(self) -> int:
        """How often it trained again."""
        return len(self.run.retrained)

    @property
    def rows_read(self) -> int:
        """Rows that its retrains read."""
        return sum(one.cell.rows_read for one in self.run.retrained)

    @property
    def seconds(self) -> float:
        """Seconds that its retrains took."""
        return sum(one.cell.seconds for one in self.run.retrained)

    @property
    def churn(self) -> float | None:
        """The share of predictions that a model moved when it went live, on average; None without one."""
        moved = [one.churn for one in self.run.models if one.churn is not None]
        return float(np.mean(moved)) if moved else None

    def to_json(self, metric: str, history: History) -> dict[str, Any]:
        """Return the outcome as plain values, with a line for each decision."""
        ledger = []
        for one in self.run.decisions:
            decision = "keep" if not one.decision.retrain else "retrain" if one.refused is None else "refused"
            entry: dict[str, Any] = {
                "as_of": history.shown(one.now),
                "decision": decision,
                "reason": one.decision.reason,
            }
            if one.refused is not None:
                entry["refusal"] = one.refused
            if one.model is not None:
                cell = one.model.cell
                entry |= {"start": cell.start, "rows": cell.rows, "rows_read": cell.rows_read, "seconds": cell.seconds}
                entry |= {"loss_bound": cell.loss_bound, "live": None, "churn": None}
            if one.judged is not None:
                entry["gate"] = one.judged.verdict.to_json()
                entry["alarms"] = list(map(str, one.judged.alarms))
            if one.live is not None:
                (model,) = (each for each in self.run.models if each.live == one.live)
                entry |= {"live": history.shown(one.live), "churn": model.churn}
            ledger.append(entry)
        return {
            "name": self.run.name,
            "loss": self.loss.value,
            "low": self.loss.low,
            "high": self.loss.high,
            "metric": metric,
            "error": self.error,
            "retrains": self.retrains,
            "refused": sum(one.refused is not None for one in self.run.decisions),
            "promotions": len(self.run.models) - 1,
            "rejections": self.run.verdicts.count("reject"),
            "undecided": self.run.verdicts.count("not enough evidence"),
            "alarms": len(self.run.alarms),
            "rows_read": self.rows_read,
            "seconds": self.seconds,
            "stale_hours": self.stale_hours,
            "cost": self.cost,
            "regret_to_oracle": self.regret.to_json(),
            "over_never": self.over_never.to_json(),
            "path_dependent": self.run.path_dependent,
            "churn": self.churn,
            "ledger": ledger,
        }


@dataclass(frozen=True)
class Oracle:
    """The best that any policy over the path-free models could have done, knowing all losses.

    `best` has the lowest cost, by the prices or, without them, by loss alone; the frontier the lowest mean loss for
    each number of retrains that lowers it. `edges` are where the best one trains.
    """

    loss: float
    best: BestPath
    edges: tuple[int, ...]
    frontier: tuple[tuple[int, float], ...]  # retrains, mean loss
    losses: Floats
    models: int

    def to_json(self) -> dict[str, Any]:
        """Return the oracle as plain values."""
        frontier = [{"retrains": retrains, "loss": loss} for retrains, loss in self.frontier]
        return {"loss": self.loss, "retrains": self.best.retrains, "edges": self.edges, "frontier": frontier}


@dataclass(frozen=True)
class Baseline:
    """What a policy has to beat; the last known label has an error alone."""

    error: float | None
    loss: Estimate | None = None
    retrains: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the baseline as plain values."""
        return {"error": self.error, "retrains": self.retrains, **({} if self.loss is None else self.loss.to_json())}


@dataclass(frozen=True)
class Age:
    """The loss of models that are so many windows old, beside that of new ones on the same windows."""

    windows: int
    age: float  # in the middle of that window, in hours, or in units of the times
    loss: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the age as plain values."""
        return {"age": self.age, "windows": self.windows, "loss": self.loss.value, **_ends(self.loss)}


def _ends(one: Estimate) -> dict[str, float | None]:
    return {"low": one.low, "high": one.high}


@dataclass(frozen=True)
class PolicyChoice:
    """The policy to take and why; `later` are its loss less that of others on windows that had no say in the choice."""

    policy: str
    reasons: tuple[Note, ...]
    later: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        return {
            "policy": self.policy,
            "reason": " ".join(map(str, self.reasons)),
            "noted": [note.to_json() for note in self.reasons],
            "later": {name: one.to_json() for name, one in self.later.items()},
        }


@dataclass(frozen=True)
class Backtest:
    """What `backtest` returns. As text it is the recommendation.

    Attributes:
        table: The name of the table.
        target: The column that is predicted.
        metric: The proper score by which policies are compared.
        error_metric: What errors are: the error rate, or the mean absolute error.
        history: The rows in the order of time, and the windows.
        judged: Which rows judge, (rows,): seen after the first model was live, and scored for every policy.
        policies: One outcome for each policy.
        baselines: Training once, training at each window, and the last known label.
        oracle: The best that could have been done.
        freshness: Loss by the age of the model.
        recommendation: The policy to take, and why.
        prices: The user's, if any.
        gate: What models had to pass before they went live; None where all did.
        durations: Rows and seconds of each training from scratch, in order of rows.
        fits: How many models this run trained.
        seconds: Seconds of the whole backtest.
        scratch_seconds: Seconds of the trainings from scratch with the structure kept, cached ones among them.
        notes: What is worth saying.

    Example:
        >>> import numpy as np
        >>> import batchlearn as bl
        >>> day = np.arange(300.0)
        >>> table = bl.read({"day": day, "x": np.sin(day), "y": 2.0 * np.sin(day)}, target="y", time="day")
        >>> plan = bl.BacktestPlan(windows=6)
        >>> found = bl.backtest(table, [bl.Never(), bl.EveryRows(50)], bl.Recipe(alpha=0.01), plan)
        >>> [one.retrains for one in found.policies]
        [0, 2]
        >>> found.outcome("never").run.path_dependent
        False
        >>> found.by_window(found.outcome("never").run.losses).shape
        (6,)
    """

    table: str
    target: str
    metric: str
    error_metric: str
    history: History
    judged: NDArray[np.bool_]
    policies: tuple[PolicyOutcome, ...]
    baselines: Mapping[str, Baseline]
    oracle: Oracle
    freshness: tuple[Age, ...]
    recommendation: PolicyChoice
    prices: Prices | None
    durations: Durations
    fits: int
    seconds: float
    scratch_seconds: float
    notes: tuple[Note, ...] = ()
    gate: Gate | None = None

    def __str__(self) -> str:
        return f"{self.recommendation.policy}: {' '.join(map(str, self.recommendation.reasons))}"

    def outcome(self, name: str) -> PolicyOutcome:
        """Look a policy up.

        Args:
            name: What it calls itself, such as "every 7d".

        Returns:
            What it lost and did.
        """
        return next(one for one in self.policies if one.run.name == name)

    @cached_property
    def window(self) -> NDArray[np.intp]:
        """The window of each row, (rows,), -1 before the first."""
        return np.searchsorted(self.history.edges, self.history.seen, side="left") - 1

    def by_window(self, losses: Floats) -> Floats:
        """Return the mean of rows' losses in each window.

        Args:
            losses: The loss of each row of the history, (rows,).

        Returns:
            The weighted means over the rows that judge, (windows,), NaN where there are none.
        """
        return window_means(self.history, self.window, np.where(self.judged, losses, np.nan))

    def to_json(self) -> dict[str, Any]:
        """Return what `backtest --json` prints, the path of the report aside, as plain values."""
        history, stamped = self.history, self.history.times.stamped
        rows = np.bincount(self.window[self.judged], minlength=history.windows)
        written = [history.shown(float(edge)) for edge in history.edges]
        windows = [
            {"start": written[at], "end": written[at + 1], "rows": int(rows[at])} for at in range(history.windows)
        ]
        found: dict[str, Any] = plain(
            {
                "format_version": FORMAT_VERSION,
                "table": self.table,
                "target": self.target,
                "windows": windows,
                "policies": [one.to_json(self.metric, history) for one in self.policies],
                "oracle": self.oracle.to_json(),
                "baselines": {name: one.to_json() for name, one in self.baselines.items()},
                "freshness": [one.to_json() for one in self.freshness],
                "age_unit": "hours" if stamped else "units of the time column",
                "recommendation": self.recommendation.to_json(),
                "prices": None if self.prices is None else vars(self.prices),
                "gate": None if self.gate is None else vars(self.gate),
                "durations": [
                    {"rows": rows, "seconds": seconds}
                    for rows, seconds in zip(self.durations.rows, self.durations.seconds, strict=True)
                ],
                "fits": self.fits,
                "seconds": self.seconds,
                "scratch_seconds": self.scratch_seconds,
                "notes": list(map(str, self.notes)),
                "noted": [note.to_json() for note in self.notes],
            }
        )
        return found


def window_means(history: History, window: NDArray[np.intp], losses: Floats) -> Floats:
    """Return the weighted mean of rows' losses in each window, (windows,), NaN where there is none."""
    there = ~np.isnan(losses) & (window >= 0)
    weight = np.bincount(window[there], history.weight[there], history.windows)
    total = np.bincount(window[there], (history.weight * np.nan_to_num(losses))[there], history.windows)
    means: Floats = np.divide(total, weight, out=np.full(history.windows, np.nan), where=weight > 0.0)
    return means


def choose(
    runs: Sequence[PolicyRun],
    costs: Sequence[float] | None,
    retrains: Sequence[int],
    weight: Floats,
    rows: NDArray[np.bool_],
    plan: Resampling,
) -> tuple[PolicyRun, tuple[Note, ...]]:
    """Return the policy to take by the rows that may choose, and why; costs and retrains are those of their windows.

    By the prices it is the cheapest. Without them retrains cost nothing, and it is the one of the lowest loss, or one
    that retrains less often and is not known to lose more, but known to lose no more than a thousandth more: that it
    does no harm has to be known. If none is known to be better than training once, by what may be a hundredth, it is
    that, where it is among them.
    """
    means = [float(np.average(run.losses[rows], weights=weight[rows])) for run in runs]
    if costs is not None:
        best = int(np.argmin(costs))
        values = {"cost": costs[best], "retrains": retrains[best], "policies": len(runs)}
        return runs[best], (Note(Code.POLICY_CHEAPEST, values), *_no_better(runs, weight, rows, plan))
    best = int(np.argmin(means))
    said = _no_better(runs, weight, rows, plan)
    never = next((run for run in runs if run.name == "never"), None)
    if said and never is not None:
        return never, said
    near = []
    for run, mean, times in zip(runs, means, retrains, strict=True):
        found = paired(run.losses[rows], runs[best].losses[rows], weight[rows], plan)
        harm = found.high if found.high is not None else mean - means[best]
        told = found.low is not None and found.low > 0.0
        if run is runs[best] or (not told and harm <= _NO_DIFFERENCE * abs(means[best])):
            near.append((times, mean, run))
    times, mean, chosen = min(near, key=lambda one: one[:2])
    least = {"best": runs[best].name, "best_loss": means[best], "best_retrains": retrains[best]}
    return chosen, (Note(Code.POLICY_AS_GOOD, {"loss": mean, "retrains": times, **least}),)


def _no_better(
    runs: Sequence[PolicyRun], weight: Floats, rows: NDArray[np.bool_], plan: Resampling
) -> tuple[Note, ...]:
    """Say that no policy beats training once, where none is known to, or by less than a hundredth for certain."""
    never = next((run for run in runs if run.name == "never"), None)
    if never is None:
        return ()
    for run in runs:
        found = paired(run.losses[rows], never.losses[rows], weight[rows], plan)
        level = float(np.average(never.losses[rows], weights=weight[rows]))
        if found.high is not None and found.high < 0.0 and (found.low or 0.0) < -_WORTHWHILE * abs(level):
            return ()
    return (Note(Code.NO_POLICY_BEATS_ONCE, {"policies": len(runs) - 1}),)
