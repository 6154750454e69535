"""The sentences of a backtest: which policy to take and why, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batchlearn.formatting.codes import Code
from batchlearn.formatting.numbers import count, duration, plain


def _as_good(loss: float, retrains: int, best: str, best_loss: float, best_retrains: int) -> str:
    if loss == best_loss:
        return f"It has the lowest loss, {plain(loss, 4)}, with {count(retrains, 'retrain')}."
    return (
        f"It retrains {count(retrains, 'time')} and loses {plain(loss, 4)} a row; the lowest loss, "
        f"{plain(best_loss, 4)} by {best} with {count(best_retrains, 'retrain')}, is lower by less than a "
        "thousandth for certain."
    )


def time_length(hours: float, stamped: bool) -> str:
    """Write a length of history: 14.6 days, 5.0 hours; a plain number where times are numbers."""
    if not stamped:
        return plain(hours, 4)
    if hours < 2.0:
        return duration(hours * 3600.0)
    return f"{plain(hours / 24.0, 3)} days" if hours > 47.0 else f"{plain(hours, 3)} hours"


def _off_windows(ran: Mapping[str, float], window: float, stamped: bool) -> str:
    said = ", ".join(f"{name} ran every {time_length(real, stamped)}" for name, real in ran.items())
    return (
        f"Policies are asked at the edges of windows, {time_length(window, stamped)} each, so {said}. Windows "
        "(--windows) of which a period has a whole number keep it."
    )


SENTENCES: Mapping[Code, str | Callable[..., str]] = {
    Code.POLICY_CHEAPEST: lambda cost, retrains, policies: (
        f"By the prices it is the cheapest of {policies:,}: {plain(cost, 5)}, with {count(retrains, 'retrain')}."
    ),
    Code.POLICY_AS_GOOD: _as_good,
    Code.NO_POLICY_BEATS_ONCE: "No policy beats training once: none of {policies:,} others is known to lose less, or "
    "it is by less than a hundredth for certain.",
    Code.TRAINING_TAKES_NO_TIME: "The time column holds numbers, so nobody knows what a second is in it: training "
    "takes no time here.",
    Code.ROWS_NOT_SCORED: "{rows:,} rows could not be scored by every model that would have served them, and judge "
    "nothing: {why}",
    Code.WINDOWS_WITHOUT_LABELS: "{windows:,} of {of:,} windows have no row that judges.",
    Code.TRAININGS_REFUSED: "{trainings:,} trainings were refused, and the model before went on serving; the first, at "
    "{at}: {why}",
    Code.CHOSEN_BY_FIRST: "That is of the first {windows:,} of {of:,} windows, which choose; the table of policies has "
    "the figures of all.",
    Code.PERIODS_OFF_WINDOWS: _off_windows,
    Code.PROJECT_DIFFERS: lambda project, differ: (
        f"{project} takes other rows, or trains otherwise, than was replayed here ({', '.join(differ)}); which "
        "policy is right there may differ."
    ),
    Code.CLASSES_CAME_LATE: lambda classes: (
        f"Later rows have classes that the first model did not know ({', '.join(classes[:5])}"
        f"{' and others' if len(classes) > 5 else ''}). A model that has not seen a class gives it no probability, "
        "which costs the most that a row can."
    ),
}
