"""Replay: a policy is told only what has arrived, and training takes time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from tests.backtesting.made import DAY, RECIPE, history_of, replayed, stream

from batchlearn.backtesting.cells import ModelKey
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.replay import Durations, PolicyRun, ReplayContext, ReplayedDecision, replay
from batchlearn.errors import UsageError
from batchlearn.formatting.notes import recorded
from batchlearn.progress import finish
from batchlearn.retraining.policies import Action, Decision, Every, EveryRows, Never, Policy, Situation
from batchlearn.retraining.policies.text import parse_policy

TRAIN, KEEP = (Decision(retrain, (recorded("said so"),)) for retrain in (True, False))


@dataclass(frozen=True)
class Scripted:
    """Trains at some edges, by the number of times that it was asked."""

    at: tuple[int, ...]
    asked: list[Situation] = field(default_factory=list)

    def decide(self, situation: Situation) -> Decision:
        self.asked.append(situation)
        return TRAIN if len(self.asked) - 1 in self.at else KEEP


@dataclass(frozen=True)
class Peeking:
    """Knows beforehand in which days more buy, from rows of all days."""

    rising: frozenset[int]

    @classmethod
    def at(cls, rows: pa.Table) -> Peeking:
        seen, label = rows.column("seen").cast(pa.int64()).to_numpy(), np.asarray(rows.column("bought"))
        days = [int(day) for day in np.unique(seen // DAY)]
        ahead = {day: label[(seen // DAY > day) & (seen // DAY <= day + 6)] for day in days}
        return cls(frozenset(day for day, later in ahead.items() if len(later) and later.mean() > 0.5))

    def decide(self, situation: Situation) -> Decision:
        return Decision(int(situation.now // DAY) in self.rising, (recorded("More will buy."),))


def changed_after(rows: pa.Table, now: float, late: bool) -> pa.Table:
    """Turn the labels that were not known by then, and the sizes of the rows that were not seen."""
    seen, known = (rows.column(name).cast(pa.int64()).to_numpy() for name in ("seen", "known"))
    label, size = np.asarray(rows.column("bought")), rows.column("size").to_numpy()
    label = np.where((known if late else seen) > now, ~label, label)
    rows = rows.set_column(2, "size", pa.array(np.where(seen > now, -3.0 * size, size)))
    return rows.set_column(4, "bought", pa.array(label))


def decisions(run: PolicyRun, until: float) -> list[tuple[float, bool, tuple[object, ...]]]:
    """Return what was decided up to a time, and why, to the last bit."""

    def said(one: ReplayedDecision) -> tuple[float, bool, tuple[object, ...]]:
        return one.now, one.decision.retrain, tuple(note.to_json() for note in one.decision.reasons)

    return [said(one) for one in run.decisions if one.now <= until]


POLICIES = (
    *("never", "every 6d", "rows 300", "doubling 1.3", "decay 0.05", "drift psi 0.05", "drift ks 0.05"),
    *("gain 3", "gain price 5", "forecast 20", "any(every 12d, decay 0.05)", "all(rows 100, drift psi 0.2)"),
    *("every 6d with window=9d", "rows 300 with start=warm", "rows 300 with start=update", "rows 300 with rows=new"),
)


def looks_ahead(make: Callable[[pa.Table], Policy], late: bool) -> bool:
    """Whether changing what came after a time changes a decision up to it, at any of three times."""
    rows = stream(40, turns=(20,), delay=3 if late else 0, rows=30)
    context = ReplayContext(Durations((1, 10_000), (1.0, 60.0)))
    run, matrix = replayed(make(rows), rows, late=late, context=context)
    for edge in (2, 5, 8):
        now = float(matrix.history.edges[edge])
        other = changed_after(rows, now, late)
        again, _ = replayed(make(other), other, late=late, context=context)
        if decisions(run, now) != decisions(again, now):
            return True
    return False


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("text", POLICIES)
def test_rows_after_now_change_no_decision_up_to_now(text: str, late: bool) -> None:
    assert not looks_ahead(lambda _rows: parse_policy(text), late)


def test_a_policy_that_peeks_is_caught() -> None:
    assert looks_ahead(Peeking.at, late=False)


def test_evidence_holds_nothing_that_has_not_arrived() -> None:
    rows = stream(40, delay=3)
    policy = Scripted((3, 6))
    run, _ = replayed(policy, rows, late=True)
    assert len(run.models) == 3
    for situation in policy.asked[1:]:
        assert situation.evidence is not None
        for one in situation.evidence.losses(5):
            assert one.arrived.max(initial=0.0) <= situation.now
            assert one.seen.max(initial=0.0) <= situation.now - 3 * DAY
            assert one.seen.min(initial=np.inf) > one.trained
        samples = situation.evidence.samples()
        seen = rows.column("seen").cast(pa.int64()).to_numpy()
        assert situation.trained is not None
        assert samples.recent.num_rows == int(np.sum((seen > situation.trained) & (seen <= situation.now)))
    latest = policy.asked[-1].evidence
    assert latest is not None
    assert [one.trained for one in latest.losses(5)] == [model.now for model in run.models]


def test_rows_are_served_by_the_model_that_is_live_and_a_training_takes_time() -> None:
    rows = stream(40)
    half = 4.5 * 86_400
    context = ReplayContext(Durations((1, 10**6), (half, half)), delay=DAY)
    policy = Scripted((2,))
    run, matrix = replayed(policy, rows, context=context)
    history, edges = matrix.history, matrix.history.edges
    # The first training is live in the middle of the second window: the edge in between asks nobody.
    first, second = run.models
    assert [one.now for one in run.decisions] == [edges[0], edges[2], *edges[3:4], *edges[5:-1]]
    assert (first.live, second.live) == (edges[0] + 5.5 * DAY, edges[3] + 5.5 * DAY)
    for at, seen in enumerate(history.seen):
        serving = None if seen <= first.live else first if seen <= second.live else second
        found = run.losses[at]
        assert np.isnan(found) if serving is None else found == serving.cell.losses[at - serving.cell.first]


def test_durations_are_between_those_known_and_beyond_them_in_proportion() -> None:
    durations = Durations((100, 300), (1.0, 2.0))
    assert [durations.of(rows) for rows in (50, 100, 200, 300, 600)] == [1.0, 1.0, 1.5, 2.0, 4.0]


def test_a_model_is_trained_and_scored_once_for_all_policies() -> None:
    matrix = LossMatrix(history_of(stream(40)), RECIPE, 1)
    for policy in (EveryRows(1), Every("6d"), Never()):
        finish(replay(str(policy), policy, matrix, ReplayContext()))
    # Those of all edges, and the one that chooses the structure.
    assert matrix.fits == matrix.history.windows + 1
    assert set(matrix.cells) == {ModelKey(Action(), edge) for edge in range(matrix.history.windows)}


def test_models_that_depend_on_their_path_are_of_it() -> None:
    text = "every 6d with start=fine-tune"
    run, matrix = replayed(parse_policy(text), stream(40))
    assert run.path_dependent
    assert not replayed(parse_policy("every 6d with start=warm"), stream(40))[0].path_dependent
    keys = [one.key for one in run.models]
    assert [key.before for key in keys] == [None, *keys[:-1]]
    assert {key.edge for key in matrix.cells} == {one.key.edge for one in run.models}


@dataclass(frozen=True)
class Broken:
    answer: object = None

    def decide(self, situation: Situation) -> Decision:
        if self.answer is None and situation.trained is not None:
            raise ZeroDivisionError("no rows today")
        return KEEP if situation.trained is None else self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(("policy", "code"), [(Broken(), "policy-raised"), (Broken("yes"), "policy-answer")])
def test_a_policy_that_breaks_is_named(policy: Policy, code: str) -> None:
    with pytest.raises(UsageError, match="Broken") as refused:
        replayed(policy, stream(40))
    assert refused.value.code == code


def test_churn_is_the_share_of_the_next_windows_classes_that_moved() -> None:
    run, matrix = replayed(Scripted((6,)), stream(60, turns=(20,)))
    old, new = run.models
    history = matrix.history
    start, stop = np.searchsorted(history.seen, [new.live, new.live + 3 * DAY], side="right")
    before, after = (one.cell.decided[start - one.cell.first : stop - one.cell.first] for one in (old, new))
    assert new.churn == np.mean((before > 0.5) != (after > 0.5))
    assert new.churn is not None
    assert new.churn > 0.1


def test_a_training_that_is_refused_leaves_the_model_before() -> None:
    rows = stream(40)
    size = rows.column("size").to_numpy().copy()
    size[900:] = np.inf
    run, _ = replayed(EveryRows(1), rows.set_column(2, "size", pa.array(size)))
    refused = [one.refused for one in run.decisions if one.refused is not None]
    assert refused
    assert len(run.models) + len(refused) == len(run.decisions)
    assert run.models[-1].now < next(one.now for one in run.decisions if one.refused is not None)
