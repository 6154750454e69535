"""What would be evidence enough: with so many rows the gate decides in about half of the cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, turn

from batchlearn.formatting.notes import Code, Note
from batchlearn.retraining.cycle.evidence import LARGEST_SHARE, JudgingCut, evidence_needed, rows_needed
from batchlearn.retraining.gate import Gate, Verdict, judge

DAYS = 86_400e6


def judged(rng: np.random.Generator, rows: int, apart: float, gate: Gate) -> Verdict:
    champion = rng.exponential(0.5, rows)
    return judge(gate, champion, champion + apart + 0.3 * rng.normal(size=rows))


@pytest.mark.parametrize("apart", [-0.02, 0.02], ids=["better", "worse"])
@pytest.mark.parametrize("gate", [Gate(), Gate("non-inferiority", margin=0.01)], ids=["superiority", "margin"])
def test_with_the_rows_that_are_named_half_of_the_gates_decide(apart: float, gate: Gate) -> None:
    rng = np.random.default_rng(0)
    named = [needed for _ in range(400) if (needed := rows_needed(judged(rng, 200, apart, gate))) is not None]
    assert len(named) > 200
    # The true rows at which an interval of eight blocks ends at no difference: (t / (difference / deviation)) squared.
    tested = apart - (gate.margin or 0.0) * 0.5
    true = (2.365 * 0.3 / tested) ** 2
    assert 0.5 * true < np.median(named) < 2.0 * true
    decided = [judged(rng, round(true), apart, gate).verdict != "not enough evidence" for _ in range(200)]
    assert 0.35 < np.mean(decided) < 0.65


def test_a_decision_and_a_difference_of_nothing_need_no_rows() -> None:
    rng = np.random.default_rng(1)
    assert rows_needed(judged(rng, 4000, -0.2, Gate())) is None
    losses = rng.exponential(0.5, 400)
    centred = rng.normal(size=400)
    assert rows_needed(judge(Gate(), losses, losses + centred - centred.mean())) is None


def test_few_rows_and_few_of_a_class_say_what_is_needed_at_least() -> None:
    rng = np.random.default_rng(2)
    losses = rng.exponential(0.5, 60)
    assert rows_needed(judge(Gate(), losses, losses - 0.1)) == 100
    label = np.zeros(1000)
    label[:8] = 1.0
    many = rng.exponential(0.5, 1000)
    assert rows_needed(judge(Gate(), many, many - 0.1, label=label)) == 2500


def test_rows_are_told_as_a_share_and_as_time() -> None:
    verdict = Verdict("not enough evidence", (Note(Code.FEW_BLOCKS, {"rows": 50}),), "superiority", 0.05, 50)
    cut = JudgingCut(0.0, 250, 0.0, 10.0 * DAYS)
    note = evidence_needed(verdict, cut, 0.2, stamped=True)
    assert note is not None
    assert note.values == {
        **{"rows": 50, "needed": 100, "share": 0.4, "now": 0.2},
        **{"more_rows": 250, "time": 10.0, "in_days": True},
    }
    assert "share = 0.4 in [gate] on the rows there are, or about 250 more labelled rows" in str(note)
    assert "in about 10 days" in str(note)
    few = evidence_needed(verdict, JudgingCut(0.0, 150, 3.0, 3.0), 0.2, stamped=False)
    assert few is not None
    assert (few.values["share"], few.values["time"]) == (None, None)
    assert LARGEST_SHARE < 100 / 150


def test_where_rows_of_one_time_stay_together_no_share_is_named() -> None:
    # Four whole months: the nearest cut leaves 10 of 3,300 rows to judge where 660 were asked for.
    verdict = Verdict("not enough evidence", (Note(Code.FEW_BLOCKS, {"rows": 10}),), "superiority", 0.05, 10)
    note = evidence_needed(verdict, JudgingCut(0.0, 3300, 0.0, 90.0 * DAYS), 0.2, stamped=True)
    assert note is not None
    assert note.values["needed"] == 100
    assert (note.values["share"], note.values["more_rows"], note.values["time"]) == (None, None, None)
    assert "rows of one time stay together" in str(note)


def test_a_turn_says_what_would_be_enough(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT)
    add_days(root, 0, 20)
    assert turn(root, day(13)).promoted
    second = turn(root, day(23))
    assert second.gate is not None
    told = [note.values for note in second.notes if note.code is Code.EVIDENCE_NEEDED]
    needed = rows_needed(second.gate)
    if second.gate.verdict == "not enough evidence" and needed is not None:
        assert [one["needed"] for one in told] == [needed]
        assert second.gate.rows < needed
    else:
        assert told == []
