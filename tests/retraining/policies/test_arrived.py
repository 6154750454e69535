"""What production hands a policy: losses, rows and bracket of what has arrived, and nothing of what has not."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.retraining.cycle.memory import History
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, orders, turn

from batchlearn.errors import UsageError
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.cycle.arrived import ArrivedEvidence
from batchlearn.retraining.cycle.events import Bracketed, Trained
from batchlearn.retraining.cycle.state import CycleClock, KnownRows, Plan
from batchlearn.retraining.gate import Gate
from batchlearn.retraining.policies import Decision, EveryRows, Never, Policy, Situation
from batchlearn.retraining.policies.text import parse_policy
from batchlearn.retraining.project import open_project, parse_settings
from batchlearn.retraining.sources.label_times import parse_instant
from batchlearn.retraining.sources.project_source import ProjectSource
from batchlearn.training.recipe import Recipe

PLAN = Plan(Recipe(alpha=0.01, holdout=0.0), EveryRows(300), None, "scratch", Gate(promote="auto"), 0.2, threads=1)
FIRST, TURNED, NOW = 23, 30, 40


def source(rows: pa.Table) -> ProjectSource:
    return ProjectSource(rows, parse_settings(SETTINGS_TEXT).source)


def clock(number: int) -> CycleClock:
    return CycleClock(parse_instant(day(number), stamped=True), f"{day(number)}T00:00:00Z")


def world(slope: float = 1.5, last: int = 60) -> pa.Table:
    return pa.concat_tables([orders(0, TURNED), orders(TURNED, last, slope)])


def changed_after(rows: pa.Table, number: int) -> pa.Table:
    """Turn values around that are seen after a day, and labels that are known after it."""
    now = pa.scalar(np.datetime64(day(number), "us"))
    unseen, unlabelled = (pc.greater(rows[name], now) for name in ("seen", "known"))
    size = pc.if_else(unseen, pc.add(pc.negate(rows["size"]), 9.0), rows["size"])
    bought = pc.if_else(unlabelled, pc.invert(rows["bought"]), rows["bought"])
    return rows.set_column(3, "size", size).set_column(5, "bought", bought)


def evidence(rows: pa.Table, number: int, begun: tuple[int, ...] = (FIRST,)) -> tuple[History, ArrivedEvidence]:
    """Train on some days and return what a policy may look at later."""
    history, read = History(), source(rows)
    for each in begun:
        assert any(isinstance(event, Trained) for event in history.turn(read, clock(each), PLAN, anyway=True))
    known = KnownRows(read, read.times(), clock(number).now, PLAN)
    return history, ArrivedEvidence(known, history, history.state)


@pytest.mark.parametrize("versions", [1, 2, 5])
def test_losses_are_of_rows_seen_since_and_labelled_by_now(versions: int) -> None:
    rows, begun = world(), (FIRST, 28, 33)
    history, seen = evidence(rows, NOW, begun)
    found = seen.losses(versions)
    live = history.state.live
    assert live is not None
    numbers = list(range(1, live.number + 1))[-versions:]
    assert [one.trained for one in found] == [clock(begun[number - 1]).now for number in numbers]
    for number, one in zip(numbers, found, strict=True):
        after = np.datetime64(day(begun[number - 1]), "us")
        mask = pc.and_(pc.greater(rows["seen"], after), pc.less_equal(rows["known"], np.datetime64(day(NOW), "us")))
        table = rows.filter(mask)
        response = history.model(number).predict(table).response
        bought = np.asarray(table["bought"].to_pylist())
        loss = -np.log(np.where(bought, response, 1.0 - response))
        assert len(one.loss) == table.num_rows > 0
        assert np.allclose(one.loss, loss, rtol=1e-12)
        assert np.array_equal(one.seen, table["seen"].to_numpy().astype(np.int64))
        assert np.array_equal(one.arrived, table["known"].to_numpy().astype(np.int64))
    for older, newer in itertools.pairwise(found):
        assert np.array_equal(older.seen[older.seen > newer.trained], newer.seen)


def test_where_no_label_has_come_there_are_no_losses() -> None:
    _, seen = evidence(world(), FIRST + 1)
    (only,) = seen.losses()
    assert len(only.loss) == 0
    assert only.learned > 0


def test_rows_are_those_learned_from_and_those_seen_since_with_a_label_or_without() -> None:
    rows = world()
    _, seen = evidence(rows, NOW)
    reference, recent = seen.samples()
    assert sorted(reference.column_names) == sorted(recent.column_names) == ["colour", "size"]
    first, now = (np.datetime64(day(number), "us") for number in (FIRST, NOW))
    since = rows.filter(pc.and_(pc.greater(rows["seen"], first), pc.less_equal(rows["seen"], now)))
    assert recent["size"].to_pylist() == since["size"].to_pylist()
    assert reference["size"].to_pylist() == rows.filter(pc.less_equal(rows["known"], first))["size"].to_pylist()
    assert pc.cast(recent["colour"], pa.string()).to_pylist() == since["colour"].to_pylist()


class Looking:
    """Looks at everything, and trains never again."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, ...]] = []

    def decide(self, situation: Situation) -> Decision:
        if situation.evidence is None:
            return Never().decide(situation)
        losses, samples = situation.evidence.losses(3), situation.evidence.samples()
        found = situation.evidence.bracket()
        gain = (found.lower, found.upper, found.gain_over_null) if found is not None else None
        rows = [str(one.to_pydict()).encode() for one in samples]
        arrays = [array.tobytes() for one in losses for array in (one.seen, one.arrived, one.loss)]
        self.seen.append((*arrays, *rows, str((gain, situation._replace(evidence=None))).encode()))
        return Never().decide(situation)


def test_rows_and_labels_after_now_change_nothing_of_what_a_policy_sees() -> None:
    rows = world()
    seen = list[list[tuple[bytes, ...]]]()
    for table in (rows, changed_after(rows, NOW)):
        looking = Looking()
        history, plan = History(), replace(PLAN, policy=looking, price=3.0)
        for number in (FIRST, 29, NOW):
            history.turn(source(table), clock(number), plan)
        seen.append(looking.seen)
    assert len(seen[0]) == 2
    assert seen[0] == seen[1]
    assert changed_after(rows, NOW)["bought"].to_pylist() != rows["bought"].to_pylist()


@pytest.mark.parametrize("text", ["decay 0.05", "all(rows 100, gain 3)", "forecast 0.5"])
def test_a_world_that_turned_is_learned_again_and_one_that_did_not_is_not(text: str) -> None:
    trained = dict[float, list[int]]()
    for slope in (1.5, -1.5):
        history, plan = History(), replace(PLAN, policy=parse_policy(text))
        days = range(FIRST, 55, 2)
        events = [history.turn(source(world(slope)), clock(number), plan) for number in days]
        trained[slope] = [
            n for n, found in zip(days, events, strict=True) if any(isinstance(e, Trained) for e in found)
        ]
    assert trained[1.5][0] == trained[-1.5][0] == FIRST
    if text.startswith("forecast"):  # a trial is cheap here, and a world that stays gives it up
        assert len(trained[-1.5]) > len(trained[1.5])
    else:
        assert len(trained[1.5]) == 1
        assert trained[-1.5][1] > TURNED


def test_the_bracket_that_a_policy_saw_is_the_one_that_is_reported() -> None:
    asked = list[Bracket | None]()

    class Asking:
        def decide(self, situation: Situation) -> Decision:
            if situation.evidence is not None:
                asked.append(situation.evidence.bracket())
            return EveryRows(300).decide(situation)

    policy: Policy = Asking()
    history, plan = History(), replace(PLAN, policy=policy)
    history.turn(source(world()), clock(FIRST), plan)
    events = history.turn(source(world()), clock(NOW), plan)
    assert [event.bracket for event in events if isinstance(event, Bracketed)] == asked
    assert asked[0] is not None


def test_what_a_policy_says_of_the_retrain_goes_before_the_plan() -> None:
    history, plan = History(), replace(PLAN, policy=parse_policy("rows 300 with start=warm window=12d"))
    first, second = (history.turn(source(world()), clock(number), plan) for number in (FIRST, NOW))
    starts = [event.start for found in (first, second) for event in found if isinstance(event, Trained)]
    assert starts == ["scratch", "warm"]
    assert history.trained[1][1].fit.rows.used == 60 * 9  # twelve days, of which three have no label yet
    new = plan.doing(parse_policy("never with rows=new").decide(Situation(9.0, 4.0, 0, False)).action, 4.0)
    assert (new.window, new.since) == (None, 4.0)
    assert plan.doing(None, 4.0) is plan


def test_a_project_says_its_policy_as_text(tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {'when = "rows"\nrows = 300': 'when = "own.py:Mine"\nprice = 12'})
    (tmp_path / "own.py").write_text(
        "from batchlearn.formatting.notes import recorded\n"
        "from batchlearn.retraining.policies import Decision\n\n\n"
        "class Mine:\n"
        "    def decide(self, situation):\n"
        "        return Decision(situation.price == 12.0, (recorded('Mine, and the price is right.'),))\n"
    )
    add_days(tmp_path, 0, 20)
    result = turn(tmp_path, day(FIRST))
    assert result.promoted
    assert result.reason == "Mine, and the price is right."


@pytest.mark.parametrize(
    "when",
    ["../own.py:Mine", "/tmp/own.py:Mine", "any(never, a/../../own.py:Mine)", "decay 7", "rows 5 with start=cold"],
)
def test_a_project_runs_no_code_from_elsewhere_and_refuses_what_is_no_policy(when: str, tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {'when = "rows"\nrows = 300': f'when = "{when}"'})
    with pytest.raises(UsageError) as refusal:
        open_project(tmp_path)
    assert refusal.value.code == "project-settings"
    assert "policy.when" in refusal.value.message


@pytest.mark.parametrize("structure", ["keep", "choose"])
def test_the_structure_is_kept_where_the_project_says_so(structure: str, tmp_path: Path) -> None:
    policy = f'when = "every 3d"\nstructure = "{structure}"\n\n[gate]\npromote = "auto"\n'
    make_project(tmp_path, SETTINGS_TEXT, {"alpha = 0.01": "seed = 0", 'when = "rows"\nrows = 300\n': policy})
    add_days(tmp_path, 0, TURNED)
    add_days(tmp_path, TURNED, 45, slope=-1.5)
    assert turn(tmp_path, day(FIRST)).promoted
    assert turn(tmp_path, day(44)).decision == "retrain"
    files = (tmp_path / "versions" / f"{number:06d}" / "model" / "model.json" for number in (1, 2))
    first, second = (json.loads(file.read_text())["record"]["structure"] for file in files)
    assert first["alternatives"]
    same = {key: first[key] == second[key] for key in ("encoding", "bins", "pairs", "strengths")}
    assert all(same.values()) is (structure == "keep")
    assert bool(second["alternatives"]) is (structure == "choose")
