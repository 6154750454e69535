"""The gate: what it says where nothing can be tested, what it says otherwise, and how often it is wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.retraining.gate.losses import INSTANTS, ROWS, losses

from batchlearn.errors import DataError, IntegrityError, UsageError
from batchlearn.evaluation.metrics import Array
from batchlearn.formatting.notes import recorded
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_without_champion

ONES_AND_TWOS = INSTANTS % 2 + 1


@pytest.mark.parametrize(
    ("change", "verdict", "exit_code"),
    [(-0.02, "promote", 0), (0.02, "reject", 10), (-0.002, "not enough evidence", 11)],
)
def test_the_verdict_follows_from_the_interval(change: float, verdict: str, exit_code: int) -> None:
    champion, challenger = losses(change)
    found = judge(Gate(), champion, challenger)
    assert (found.verdict, found.exit_code) == (verdict, exit_code)
    assert found.difference == pytest.approx(change * champion.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < change * champion.mean() < found.high
    # The standard error of the mean of 4,000 differences is 0.1 / sqrt(4000) = 0.0016; Student's t at 8 blocks is 2.36.
    assert found.high - found.low == pytest.approx(2 * 2.36 * 0.1 / np.sqrt(ROWS), rel=0.6)


def test_the_sentence_names_rows_losses_and_interval() -> None:
    champion, challenger = losses(-0.02)
    found = judge(Gate(), champion, challenger)
    assert found.sentence.startswith("Promote: On 4,000 later rows the challenger's loss is 0.4")
    assert ": 2 % lower (95 % interval: " in found.sentence
    assert found.sentence.endswith(" % lower).")
    unsure = judge(Gate(alpha=0.1), *losses(-0.002)).sentence
    assert "(90 % interval: " in unsure
    assert " lower to " in unsure
    assert unsure.endswith(" rows would show it.")


def test_no_loss_falls_by_more_than_all_of_it() -> None:
    rng = np.random.default_rng(3)
    champion, challenger = np.repeat(rng.gamma(0.5, 4.0, 8), ROWS // 8), np.full(ROWS, 0.3)
    found = judge(Gate(), champion, challenger)
    assert found.low is not None
    assert found.low < -champion.mean()
    assert "interval: 100 % lower to " in found.sentence
    shifted = judge(Gate(), champion - 0.5, challenger - 0.5)  # where losses are negative a change has no such end
    assert "interval: 100 % lower" not in shifted.sentence


def test_the_rows_that_it_says_are_needed_are_about_enough() -> None:
    champion, challenger = losses(-0.002)
    said = judge(Gate(), champion, challenger).sentence.split()
    needed = int(said[said.index("about") + 1].replace(",", ""))
    times = -(-needed // ROWS)
    verdicts = []
    for share in (0.5, 2.0):
        copies = max(int(times * share), 1)
        parts = [losses(-0.002, seed=seed) for seed in range(copies)]
        verdicts.append(judge(Gate(), concatenated(parts, 0), concatenated(parts, 1)).verdict)
    assert verdicts == ["not enough evidence", "promote"]


def concatenated(parts: list[tuple[Array, Array]], side: int) -> Array:
    return np.concatenate([part[side] for part in parts])


def test_json_has_the_figures() -> None:
    found = judge(Gate(promote="auto"), *losses(-0.02)).to_json()
    assert json.loads(json.dumps(found)) == found
    assert list(found)[:7] == ["verdict", "mode", "difference", "low", "high", "alpha", "rows"]
    assert (found["mode"], found["alpha"], found["rows"], found["asks"]) == ("superiority", 0.05, ROWS, False)
    assert judge(Gate(), *losses(-0.02)).asks
    assert not judge(Gate(), *losses(0.02)).asks


@pytest.mark.parametrize("gate", [Gate(), Gate("non-inferiority", margin=0.01), Gate("anytime")])
def test_a_verdict_on_record_is_read_back(gate: Gate) -> None:
    found = judge(gate, *losses(-0.002))
    record = json.loads(json.dumps({**found.to_json(), "state": found.state}))
    assert Verdict.from_json(record) == found
    # Records of before there were codes have the sentence alone, which is shown as it stands.
    older = Verdict.from_json({key: record[key] for key in record if key != "noted"})
    assert older.reasons == (recorded(found.sentence),)
    assert older.sentence == found.sentence
    assert {**older.to_json(), "noted": None} == {**found.to_json(), "noted": None}


# --- answers without a test -----------------------------------------------------------------------------------------


def test_the_first_model_is_promoted() -> None:
    found = judge(Gate(), None, np.ones(10))
    assert (found.verdict, found.rows, found.difference, found.asks) == ("promote", 10, None, True)
    assert found.sentence == "Promote: There is no champion yet."


def test_without_labels_there_is_no_evidence() -> None:
    found = judge(Gate(), np.empty(0), np.empty(0))
    assert (found.verdict, found.rows) == ("not enough evidence", 0)
    assert found == judge(Gate(), np.ones(3), np.zeros(3), weight=np.zeros(3))
    assert "label" in found.sentence


@pytest.mark.parametrize("mode", ["superiority", "anytime"])
def test_the_same_model_gains_nothing(mode: Any) -> None:
    champion, _ = losses(0.0, rows=30)
    gate, state = Gate(mode), None
    for _ in range(15):
        found = judge(gate, champion, champion * (1.0 - 1e-12), state=state)
        state = found.state
    assert (found.verdict, found.difference, found.low, found.high) == ("reject", 0.0, 0.0, 0.0)
    assert "nothing to gain" in found.sentence


def test_the_same_model_is_not_inferior() -> None:
    champion, _ = losses(0.0)
    assert judge(Gate("non-inferiority", margin=0.01), champion, champion).verdict == "promote"


@pytest.mark.parametrize(("rarer", "said"), [(0, "of one class"), (19, "Only 19 of"), (20, None)])
def test_rows_of_one_class_judge_nothing(rarer: int, said: str | None) -> None:
    label = np.array(["no"] * (ROWS - rarer) + ["yes"] * rarer)
    champion, challenger = losses(-0.02)
    found = judge(Gate(), champion, challenger, label=label)
    assert found.verdict == ("promote" if said is None else "not enough evidence")
    assert said is None or said in found.sentence


def test_few_rows_are_not_enough() -> None:
    champion, challenger = losses(-0.5, rows=99)
    found = judge(Gate(), champion, challenger)
    assert found.verdict == "not enough evidence"
    assert (found.low, found.high) == (None, None)
    assert "4 blocks of time" in found.sentence
    assert judge(Gate(), *losses(-0.5, rows=100)).verdict == "promote"


def test_few_times_are_not_enough_however_many_rows() -> None:
    champion, challenger = losses(-0.02)
    for times, verdict in ((1, "not enough evidence"), (4, "not enough evidence"), (5, "promote")):
        assert judge(Gate(), champion, challenger, time=INSTANTS * times // ROWS).verdict == verdict


def test_a_challenger_that_fails_on_a_row_is_rejected() -> None:
    champion, challenger = losses(-0.02)
    challenger[7] = np.inf
    assert judge(Gate(), champion, challenger).verdict == "reject"
    assert judge(Gate(), None, challenger).verdict == "reject"
    weight = np.ones(ROWS)
    weight[7] = 0.0
    assert judge(Gate(), champion, challenger, weight).verdict == "promote"


def test_a_champion_that_cannot_score_gives_way_to_what_beats_a_constant() -> None:
    champion, challenger = losses(-0.02)
    found = judge_without_champion(Gate(), "column 'age' is gone", champion, challenger)
    assert (found.verdict, found.mode) == ("promote", "superiority")
    assert "the constant prediction's 0." in found.sentence
    assert "(column 'age' is gone)" in found.sentence
    assert judge_without_champion(Gate(), "it is gone", challenger, champion).verdict == "reject"


# --- settings and input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"mode": "equivalence"}, "gate-setting"),
        ({"promote": "yes"}, "gate-setting"),
        ({"alpha": 0.0}, "gate-alpha"),
        ({"alpha": float("nan")}, "gate-alpha"),
        ({"mode": "non-inferiority"}, "gate-margin"),
        ({"margin": 0.01}, "gate-margin"),
        ({"mode": "non-inferiority", "margin": -0.1}, "gate-margin"),
        ({"mode": "non-inferiority", "margin": 1.0}, "gate-margin"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        Gate(**settings)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        {"challenger_losses": np.ones(ROWS - 1)},
        {"champion_losses": np.ones((ROWS, 2))},
        {"champion_losses": np.full(ROWS, np.inf)},
        {"weight": np.full(ROWS, -1.0)},
        {"weight": np.ones(3)},
        {"time": np.full(ROWS, np.nan)},
        {"label": np.ones((ROWS, 2))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rows_that_do_not_pair_are_refused(change: dict[str, Any]) -> None:
    champion, challenger = losses(-0.02)
    with pytest.raises(DataError) as refused:
        judge(Gate(), **{"champion_losses": champion, "challenger_losses": challenger, **change})
    assert refused.value.code == "gate-rows"


def test_a_weight_of_two_is_a_row_twice() -> None:
    champion, challenger = losses(-0.02)
    time = INSTANTS
    often = np.repeat(np.arange(ROWS), ONES_AND_TWOS.astype(int))
    once = judge(Gate(), champion, challenger, ONES_AND_TWOS, time)
    again = judge(Gate(), champion[often], challenger[often], time=time[often])
    assert (once.difference, once.low, once.high) == pytest.approx((again.difference, again.low, again.high), rel=1e-9)


def test_time_orders_the_rows() -> None:
    champion, challenger = losses(-0.02)
    challenger += np.sin(np.arange(ROWS) / ROWS * 6.0) * 0.02  # neighbours are alike, so their order matters
    time = INSTANTS
    order = np.random.default_rng(1).permutation(ROWS)
    in_order = judge(Gate(), champion, challenger, time=time)
    shuffled = judge(Gate(), champion[order], challenger[order], time=time[order])
    assert (shuffled.low, shuffled.high) == pytest.approx((in_order.low, in_order.high), rel=1e-9)
    blind = judge(Gate(), champion[order], challenger[order])
    assert width(blind) < 0.5 * width(in_order)


def width(verdict: Verdict) -> float:
    assert verdict.high is not None
    assert verdict.low is not None
    return verdict.high - verdict.low


# --- looks ----------------------------------------------------------------------------------------------------------


def look_daily(change: float, days: int, rows: int = 400) -> list[Verdict]:
    state, found = None, []
    for day in range(days):
        champion, challenger = losses(change, rows, seed=day)
        time = day + np.linspace(0.0, 0.9, rows)
        found.append(judge(Gate("anytime"), champion, challenger, time=time, state=json.loads(json.dumps(state))))
        state = found[-1].state
    return found


def test_looks_add_up_and_end_in_a_promotion() -> None:
    found = look_daily(-0.03, 20)
    # The first fifteen looks are tested together, and what they say stands until there are thirty.
    assert [verdict.rows for verdict in found] == [400 * min(day + 1, 15) for day in range(20)]
    assert {verdict.verdict for verdict in found[:14]} == {"not enough evidence"}
    assert found[13].low is None
    assert {verdict.verdict for verdict in found[14:]} == {"promote"}
    assert found[-1].mode == "anytime"
    assert look_daily(0.03, 20)[-1].verdict == "reject"


def test_small_looks_wait_for_the_next() -> None:
    state, champion = None, np.linspace(0.1, 1.0, 7)
    for _ in range(9):
        found = judge(Gate("anytime"), champion, champion * 0.9, state=state)
        state = found.state
    assert state is not None
    assert [look["rows"] for look in state["looks"]] == [21, 21, 21]
    assert found.rows == 63
    assert "3 of the looks" in found.sentence


def test_a_look_without_new_rows_changes_nothing() -> None:
    found = look_daily(-0.03, 20)[-1]
    again = judge(Gate("anytime"), np.empty(0), np.empty(0), state=found.state)
    assert again == found
    assert judge(Gate("anytime"), np.empty(0), np.empty(0)).verdict == "not enough evidence"


def test_rows_that_a_look_has_seen_are_refused() -> None:
    champion, challenger = losses(-0.02)
    first = judge(Gate("anytime"), champion, challenger, time=INSTANTS)
    with pytest.raises(DataError) as refused:
        judge(Gate("anytime"), champion, challenger, time=INSTANTS + ROWS - 1, state=first.state)
    assert refused.value.code == "gate-rows-again"
    judge(Gate("anytime"), champion, challenger, time=INSTANTS + ROWS, state=first.state)


def test_classes_are_counted_over_looks() -> None:
    state = None
    for day in range(6):
        champion, challenger = losses(-0.05, 100, seed=day)
        label = np.where(np.arange(100) < 4 * (day > 0), 1, 0)
        found = judge(Gate("anytime"), champion, challenger, label=label, state=state)
        state = found.state
        assert ("class" in found.sentence) == (day < 5)
    assert state is not None
    assert state["classes"] == {"0": 580, "1": 20}


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"looks": [], "classes": None},
        {"looks": [{"rows": 1}], "classes": None, "until": None},
        {"looks": "many", "classes": None, "until": None},
        {"looks": [{"rows": 5, "weight": -1.0, "champion": 0.0, "challenger": 0.0}], "classes": None, "until": None},
        {"looks": [], "classes": None, "until": float("inf")},
        {"looks": [], "classes": 3, "until": None},
    ],
)
def test_a_damaged_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError) as refused:
        judge(Gate("anytime"), *losses(-0.02), state=state)
    assert refused.value.code == "gate-state"


def test_looks_of_an_earlier_release_do_not_count() -> None:
    """They were at rows whose labels were known early; what follows begins anew, after their last row, and says so."""
    look = {"rows": 400, "weight": 400.0, "champion": 0.5, "challenger": 0.4}
    state = {"looks": [look] * 14, "classes": None, "until": 5.0, "against": "champion"}
    found = judge(Gate("anytime"), *losses(-0.02), time=INSTANTS + 6.0, state=state)
    assert found.sentence.endswith("14 looks of an earlier release, whose test did not keep its rate, do not count.")
    assert found.state is not None
    assert len(found.state["looks"]) == 1
    with pytest.raises(DataError) as refused:
        judge(Gate("anytime"), *losses(-0.02), time=INSTANTS, state=state)
    assert refused.value.code == "gate-rows-again"
    with pytest.raises(IntegrityError):
        judge(Gate("anytime"), *losses(-0.02), state={**state, "format_version": 3})
