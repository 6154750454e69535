"""The page of a turn: what it says of each way in which a turn ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.report.reading import Reading

from batchlearn.formatting.notes import Code, Note
from batchlearn.report.retraining.turn import headline, next_commands, turn_page
from batchlearn.retraining.shell.turn import CycleResult
from batchlearn.retraining.verdict import JudgedLosses, Verdict

CERTIFICATE: dict[str, Any] = {"loss_bound": 3.2e-9, "rows": 1800, "reason": None}
COMPARED = {
    **{"rows": 240, "champion": 0.7, "difference": -0.15, "low": -0.2, "high": -0.1, "alpha": 0.05},
    **{"margin": None, "rows_needed": None, "against": "champion", "negative": False},
}
WORSE = Note(
    Code.WORSE_THAN_CONSTANT,
    {
        **{"who": "champion", "rows": 240, "constant": 0.6, "difference": 0.1},
        **{"low": 0.05, "high": 0.15, "alpha": 0.05},
    },
)
NEEDED = Note(
    Code.EVIDENCE_NEEDED,
    {**{"rows": 240, "needed": 4713, "share": 0.45, "now": 0.2, "more_rows": 1800}, **{"time": 12.4, "in_days": True}},
)


def verdict(decision: Any = "promote", losses: JudgedLosses | None = None) -> Verdict:
    figures = JudgedLosses(240, 0.7, 0.55, 0.6) if losses is None else losses
    reasons = (Note(Code.LOSSES_COMPARED, COMPARED),)
    return Verdict(decision, reasons, "superiority", 0.05, 240, -0.15, -0.2, -0.1, True, None, figures)


def judged_turn(decision: Any = "promote", **changes: Any) -> CycleResult:
    turn = CycleResult(
        "retrain",
        (Note(Code.ENOUGH_NEW_LABELS, {"rows": 1200, "needed": 300}),),
        seconds=2.5,
        start="warm",
        start_asked="update",
        version=2,
        certificate=CERTIFICATE,
        gate=verdict(decision),
        asked="promotion" if decision == "promote" else None,
        alarms=(WORSE,),
        rows={"seen": 1800, "known": 1500, "new": 1200, "late": 60, "changed": 3, "seen_last": None},
        notes=(
            Note(Code.JUDGED_BY_LATER_ROWS, {"after": "'2026-01-26'"}),
            NEEDED,
            Note(Code.NO_BRACKET, {"why": "None."}),
        ),
        event=2,
        at="2026-02-03T00:00:00Z",
    )
    return replace(turn, **changes)


def halted() -> CycleResult:
    alarm = Note(Code.COLUMNS_UNFIT, {"version": 1, "refusal": "'data' has no column 'size'."})
    return CycleResult("keep", (alarm,), alarms=(alarm,), halted=True, event=3)


def read(turn: CycleResult, target: str = "bought") -> Reading:
    page = Reading(turn_page(turn, target, turn.at or "", "ann"))
    assert not {name for name, _ in page.elements} & {"script", "img", "iframe", "object"}
    assert page.values("src") == []
    return page


def test_the_page_has_champion_challenger_and_constant_beside_each_other() -> None:
    text = read(judged_turn()).text
    assert "champion the version that is live" in text
    for figure in ("0.700", "0.550 (21", "0.600 (14"):
        assert figure in text, figure
    assert "Not enough" not in text
    assert "Is the champion better than a constant? No: 0.700 against 0.600" in text
    assert str(WORSE) in text
    assert str(NEEDED) in text


def test_only_rows_that_were_counted_are_shown() -> None:
    text = read(judged_turn()).text
    assert "late 60" in text
    assert "changed 3" in text
    assert "landed since, and dated after what had landed by then" in text
    for absent in ("gone", "seen_last", "and labelled since"):
        assert absent not in text


def test_what_was_done_stands_beside_what_was_asked_for() -> None:
    text = read(judged_turn()).text
    assert "warm, from the champion's coefficients" in text
    assert 'start = "update"' in text
    same = read(judged_turn(start_asked="warm")).text
    assert "asked for" not in same


@pytest.mark.parametrize(
    ("turn", "said", "command"),
    [
        (judged_turn(), "passed the gate and waits for a person", "batchlearn promote 2"),
        (judged_turn(promoted=True, asked=None), "Version 2 is live", "batchlearn rollback --why WHY"),
        (judged_turn("reject"), "Version 2 was rejected", "batchlearn promote 2 --force --why WHY"),
        (judged_turn("not enough evidence"), "is not live: not enough evidence", "--force --why WHY"),
        (judged_turn(rehearsed=False), "waits for a person", "batchlearn retrain --anyway"),
        (halted(), "An alarm: nothing is trained, the champion stays", "batchlearn retrain --anyway"),
    ],
    ids=["asked", "live", "rejected", "open", "not rehearsed", "halted"],
)
def test_each_end_has_its_line_and_the_command_to_type(turn: CycleResult, said: str, command: str) -> None:
    page = read(turn)
    assert said in headline(turn)
    assert said in page.text
    assert any(command in typed for _, typed in next_commands(turn))
    assert command in page.text


def test_a_first_version_has_nothing_to_be_compared_with() -> None:
    first = Verdict("promote", (Note(Code.NO_CHAMPION),), "superiority", 0.05, 0)
    text = read(judged_turn(gate=first, promoted=True, asked=None, alarms=())).text
    assert "Nothing was compared" in text
    assert "Loss on the judging rows" not in text
    assert "What should not be" not in text


def test_a_champion_that_cannot_score_has_no_loss() -> None:
    text = read(judged_turn(gate=verdict(losses=JudgedLosses(240, None, 0.55, 0.6)), alarms=())).text
    assert "Not told" in text
    assert "champion the version that is live" not in text


def test_names_are_shown_as_they_are_and_never_as_elements() -> None:
    page = read(judged_turn(notes=(Note(Code.RECORDED, {"text": "<script>alert(1)</script>\u202ex"}),)), "<b>y</b>")
    assert "<b>y</b>" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
