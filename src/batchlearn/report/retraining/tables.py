"""The tables of a backtest: the policies, and the decisions of each with their reasons."""

from __future__ import annotations

from batchlearn.backtesting.outcome import Backtest, PolicyOutcome
from batchlearn.backtesting.replay import ReplayedDecision
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import NOTHING, count, duration, percent, plain
from batchlearn.report.document import Block, Sentence, TextTable
from batchlearn.report.values import LONGEST_SENTENCE, interval, short, shown, with_interval
from batchlearn.retraining.verdict import GateDecision

_MOST_DECISIONS = 60
_NOT_LIVE: tuple[GateDecision, ...] = ("reject", "not enough evidence")


def policies(result: Backtest) -> TextTable:
    """Return what each policy lost and spent, the least loss first."""
    name = metric(result.metric).name
    gate = ("went live", "sent back", "undecided", "alarms")
    cost = ("rows read", "time", "moved by a retrain", "cost")
    header = ("policy", name, "regret to the oracle", "retrains", *gate, *cost)
    ordered = sorted(result.policies, key=lambda one: (one.cost if one.cost is not None else one.loss.value) or 0.0)
    table = TextTable(header, tuple(map(_policy, ordered)), figures_only=True)
    left_out = (*(gate if result.gate is None else ()), *(cost[-1:] if result.prices is None else ()))
    return table.without(tuple(map(header.index, left_out)))


def _policy(one: PolicyOutcome) -> tuple[str, ...]:
    return (
        f"{short(one.run.name)}{' (depends on its path)' if one.run.path_dependent else ''}",
        with_interval(one.loss),
        with_interval(one.regret),
        f"{one.retrains:,}",
        f"{len(one.run.models) - 1:,}",
        *(f"{one.run.verdicts.count(verdict):,}" for verdict in _NOT_LIVE),
        f"{len(one.run.alarms):,}",
        f"{one.rows_read:,}",
        duration(one.seconds),
        NOTHING if one.churn is None else percent(one.churn),
        NOTHING if one.cost is None else plain(one.cost, 4),
    )


def brief(result: Backtest) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the policies as a terminal has room for them."""
    ordered = sorted(result.policies, key=lambda one: (one.cost if one.cost is not None else one.loss.value) or 0.0)
    live = ["live"] if result.gate is not None else []
    header = ["", "loss", "95 % interval", "retrains", *live, "s", *(["cost"] if result.prices is not None else [])]
    rows = [
        [
            f"{one.run.name}{' *' if one.run.path_dependent else ''}",
            shown(one.loss),
            interval(one.loss) or "none",
            str(one.retrains),
            *([str(len(one.run.models) - 1)] if live else []),
            f"{one.seconds:.1f}",
            *([plain(one.cost, 4)] if result.prices is not None else []),
        ]
        for one in ordered
    ]
    return header, rows


def _decided(one: ReplayedDecision) -> str:
    """Say what came of a decision: whether it trained, and whether a model went live by it."""
    if one.refused is not None:
        return "refused"
    did = "keep" if one.model is None else "retrain"
    return did if one.judged is None else f"{did}, {'live' if one.live is not None else 'not live'}"


def _why(one: ReplayedDecision) -> str:
    why = short(one.refused or one.decision.reason, LONGEST_SENTENCE)
    return why if one.judged is None else f"{why} {short(one.judged.verdict.sentence, LONGEST_SENTENCE)}"


def decisions(result: Backtest, one: PolicyOutcome) -> tuple[Block, ...]:
    """Return the decisions of a policy with their reasons, as many as are read, and how many are left out."""
    history = result.history
    made = one.run.decisions[:_MOST_DECISIONS]
    rows = tuple(
        (
            str(history.shown(decision.now)),
            _decided(decision),
            NOTHING if decision.model is None or decision.model.churn is None else percent(decision.model.churn),
            _why(decision),
        )
        for decision in made
    )
    table, left = TextTable(("as of", "decision", "moved", "why"), rows, left=2), len(one.run.decisions) - len(made)
    said = f"{count(left, 'later decision')} left out here; `batchlearn backtest --json` has all."
    return (table, Sentence("line", said)) if left else (table,)
