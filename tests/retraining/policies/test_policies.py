from __future__ import annotations

import pytest

from batchlearn.errors import UsageError
from batchlearn.retraining.policies import Action, Doubling, Every, EveryRows, Never, Policy, Situation, Span
from batchlearn.retraining.policies.combined import AllOf, AnyOf, With

DAY = 86_400e6
EMPTY = Situation(now=100 * DAY, trained=None, new_rows=0, stamped=True)
FIRST = EMPTY._replace(new_rows=50)
WEEKLY = Every(Span.parse("7d"))
POLICIES: list[Policy] = [
    *(Never(), WEEKLY, EveryRows(1_000), Doubling()),
    *(AnyOf(WEEKLY, EveryRows(1_000)), AllOf(WEEKLY, EveryRows(1_000)), With(WEEKLY, Action(start="warm"))),
]


def situation(days: float, new_rows: int) -> Situation:
    return Situation(100 * DAY, (100 - days) * DAY, new_rows, True, learned=2_000)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_trains_first_when_there_is_something_to_learn_from(policy: Policy) -> None:
    assert not policy.decide(EMPTY).retrain
    assert policy.decide(FIRST).retrain


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("days", [0.0, 6.9, 7.0, 400.0])
@pytest.mark.parametrize("new_rows", [0, 1, 999, 1_000, 10**9])
def test_every_policy_gives_a_reason_and_the_same_answer_twice(policy: Policy, days: float, new_rows: int) -> None:
    decision = policy.decide(situation(days, new_rows))
    assert decision.reason
    assert policy.decide(situation(days, new_rows)) == decision


@pytest.mark.parametrize(
    ("days", "new_rows", "due"),
    [(6.0, 500, False), (6.01, 500, True), (7.0, 500, True), (30.0, 0, False), (-1.0, 500, False)],
)
def test_a_period_counts_from_the_last_training(days: float, new_rows: int, due: bool) -> None:
    assert Every(Span.parse("1w")).decide(situation(days, new_rows)).retrain is due


@pytest.mark.parametrize(
    ("span", "since", "until", "passed"),
    [
        ("1d", 20.999, 21.001, 1.0),  # by date
        ("1d", 20.001, 20.999, 0.0),
        ("2w", 0.9, 14.1, 1.0),
        ("12h", 0.49, 1.01, 13 / 12),  # 11:45 to 00:14: thirteen hours of the clock have begun
        ("30m", 0.0, 1.0, 48.0),
    ],
)
def test_time_is_counted_by_the_unit_of_the_span(span: str, since: float, until: float, passed: float) -> None:
    assert Span.parse(span).passed(since * DAY, until * DAY, True) == passed
    assert Span.parse("2").passed(since, until, False) == (until - since) / 2.0


@pytest.mark.parametrize(("new_rows", "due"), [(0, False), (999, False), (1_000, True), (5_000, True)])
def test_a_number_of_rows_counts_those_since_the_last_training(new_rows: int, due: bool) -> None:
    assert EveryRows(1_000).decide(situation(0.01, new_rows)).retrain is due


@pytest.mark.parametrize(
    ("policy", "needed"), [(Doubling(), 2_000), (Doubling(1.5), 1_000), (Doubling(1.0001), 1), (Doubling(3.0), 4_000)]
)
def test_doubling_waits_for_a_share_of_what_was_learned_from(policy: Doubling, needed: int) -> None:
    assert not policy.decide(situation(1.0, needed - 1)).retrain
    assert policy.decide(situation(1.0, needed)).retrain
    assert not policy.decide(situation(1.0, 10**9)._replace(learned=None)).retrain


@pytest.mark.parametrize("days", [1.0, 8.0])
@pytest.mark.parametrize("new_rows", [10, 5_000])
def test_several_policies_are_combined_as_their_names_say(days: float, new_rows: int) -> None:
    now = situation(days, new_rows)
    weekly, rows = (one.decide(now) for one in (WEEKLY, EveryRows(1_000)))
    either, both = AnyOf(WEEKLY, EveryRows(1_000)).decide(now), AllOf(WEEKLY, EveryRows(1_000)).decide(now)
    assert either.retrain is (weekly.retrain or rows.retrain)
    assert both.retrain is (weekly.retrain and rows.retrain)
    due = [one for one in (weekly, rows) if one.retrain]
    assert either.reasons == tuple(note for one in due or (weekly, rows) for note in one.reasons)


def test_what_a_retrain_does_comes_from_the_policy_that_is_due() -> None:
    warm, windowed = Action(start="warm"), Action(window=Span.parse("30d"))
    policy = AnyOf(With(EveryRows(10**6), windowed), With(WEEKLY, warm))
    assert policy.decide(situation(8.0, 10)).action == warm
    assert AllOf(WEEKLY, With(EveryRows(1), windowed)).decide(situation(8.0, 10)).action == windowed
    assert WEEKLY.decide(situation(8.0, 10)).action is None


def test_a_policy_that_cannot_count_is_refused_with_the_first_training_wherever_it_stands() -> None:
    with pytest.raises(UsageError) as refusal:
        AnyOf(Never(), Every(Span.parse("7"))).decide(FIRST)
    assert refusal.value.code == "span-unit"
    with pytest.raises(UsageError):
        Doubling(1.0)
    with pytest.raises(UsageError):
        AnyOf()


def test_never_keeps() -> None:
    assert not Never().decide(situation(1e4, 10**9)).retrain


@pytest.mark.parametrize(
    ("text", "stamped", "value"),
    [("2w", True, 14 * DAY), ("1.5 h", True, 1.5 * 3_600e6), ("30m", True, 1_800e6), (250, False, 250.0)],
)
def test_a_span_is_measured_on_the_scale_of_the_times(text: str, stamped: bool, value: float) -> None:
    assert Span.parse(text).on(stamped) == value


@pytest.mark.parametrize("text", ["0d", "-1d", "7 days", "nan", "inf", "", "1e9d", "7D"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Span.parse(text)
    assert refusal.value.code == "span-not-valid"


@pytest.mark.parametrize(("text", "stamped"), [("7", True), ("7d", False)])
def test_a_span_needs_the_unit_that_the_times_have(text: str, stamped: bool) -> None:
    with pytest.raises(UsageError) as refusal:
        Span.parse(text).on(stamped)
    assert refusal.value.code == "span-unit"


def test_waiting_for_no_rows_is_refused() -> None:
    with pytest.raises(UsageError) as refusal:
        EveryRows(0)
    assert refusal.value.code == "policy-rows"


def test_a_period_that_does_not_fit_the_times_is_refused_with_the_first_training() -> None:
    with pytest.raises(UsageError) as refusal:
        Every(Span.parse("7d")).decide(FIRST._replace(stamped=False))
    assert refusal.value.code == "span-unit"
