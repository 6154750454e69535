"""The tables of a backtest: the policies, and the decisions of each with their reasons."""

from __future__ import annotations

from batchlearn.backtesting.outcome import Backtest, PolicyOutcome
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import NOTHING, count, duration, percent, plain
from batchlearn.report.document import Block, Sentence, TextTable
from batchlearn.report.values import LONGEST_SENTENCE, interval, short, shown, with_interval

_MOST_DECISIONS = 60


def policies(result: Backtest) -> TextTable:
    """Return what each policy lost and spent, the least loss first."""
    name = metric(result.metric).name
    header = ("policy", name, "regret to the oracle", "retrains", "rows read", "time", "moved by a retrain", "cost")
    costs = len(header) - 1
    ordered = sorted(result.policies, key=lambda one: (one.cost if one.cost is not None else one.loss.value) or 0.0)
    table = TextTable(header, tuple(map(_policy, ordered)), figures_only=True)
    return table if result.prices is not None else table.without((costs,))


def _policy(one: PolicyOutcome) -> tuple[str, ...]:
    return (
        f"{short(one.run.name)}{' (depends on its path)' if one.run.path_dependent else ''}",
        with_interval(one.loss),
        with_interval(one.regret),
        f"{one.retrains:,}",
        f"{one.rows_read:,}",
        duration(one.seconds),
        NOTHING if one.churn is None else percent(one.churn),
        NOTHING if one.cost is None else plain(one.cost, 4),
    )


def brief(result: Backtest) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the policies as a terminal has room for them."""
    ordered = sorted(result.policies, key=lambda one: (one.cost if one.cost is not None else one.loss.value) or 0.0)
    header = ["", "loss", "95 % interval", "retrains", "s", *(["cost"] if result.prices is not None else [])]
    rows = [
        [
            f"{one.run.name}{' *' if one.run.path_dependent else ''}",
            shown(one.loss),
            interval(one.loss) or "none",
            str(one.retrains),
            f"{one.seconds:.1f}",
            *([plain(one.cost, 4)] if result.prices is not None else []),
        ]
        for one in ordered
    ]
    return header, rows


def decisions(result: Backtest, one: PolicyOutcome) -> tuple[Block, ...]:
    """Return the decisions of a policy with their reasons, as many as are read, and how many are left out."""
    history = result.history
    made = one.run.decisions[:_MOST_DECISIONS]
    rows = tuple(
        (
            str(history.shown(decision.now)),
            "retrain" if decision.model is not None else "refused" if decision.refused is not None else "keep",
            NOTHING if decision.model is None or decision.model.churn is None else percent(decision.model.churn),
            short(decision.refused or decision.decision.reason, LONGEST_SENTENCE),
        )
        for decision in made
    )
    table, left = TextTable(("as of", "decision", "moved", "why"), rows, left=2), len(one.run.decisions) - len(made)
    said = f"{count(left, 'later decision')} left out here; `batchlearn backtest --json` has all."
    return (table, Sentence("line", said)) if left else (table,)
