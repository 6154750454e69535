"""Was the person right? Looked at with every training, and said wrongly no more often for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retraining.gate.trials import called_within
from tests.retraining.made import ROWS, SETTINGS_TEXT, add_days, context, day, make_project, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import DataError
from batchlearn.registry.ledger import OUTCOME, OVERRIDE_INTERIM, OVERRULED, REVIEW, events, record_event, reviews
from batchlearn.registry.version import read_version
from batchlearn.retraining.cycle.override_outcomes import judge_choices
from batchlearn.retraining.gate import Gate, judge_interim
from batchlearn.retraining.shell.records import state_of
from batchlearn.retraining.shell.turn import EventWriter

TRIALS, TRAININGS = 80, 12
AUTO = {"[policy]": '[gate]\npromote = "auto"\n\n[policy]'}


def overruled(root: Path, slope: float, first: int = 10) -> FolderStore:
    """Make a project with two versions, of which a person keeps the first: the world is that of the second."""
    make_project(root, SETTINGS_TEXT, AUTO)
    add_days(root, 0, first)
    assert turn(root, day(first + 3)).promoted
    if first < 30:
        add_days(root, first, 30, slope)
    turn(root, day(33), anyway=True)
    store = FolderStore(root)
    as_of = read_version(store, 2).description["data"]["as_of_instant"]
    said = {"about": 2, "answer": OVERRULED, "chosen": 1, "instead_of": 2, "by": "ann", "why": "", "as_of": as_of}
    record_event(store, REVIEW, "2026-02-03T00:00:00Z", said)
    return store


def look(root: Path, number: int) -> list[str]:
    """Look at what was overruled, as a training does, and write that down; return the outcomes."""
    given = context(root, day(number))
    store = given.project.store
    written = EventWriter(given, None)
    overrides = state_of(store).overrides
    found = list(judge_choices(overrides, given.source, given.source.times(), written.versions, given.now))
    for event in found:
        written.write(event)
    return [event.outcome for event in found if event.outcome is not None]


def said_of(store: FolderStore, kind: str) -> list[dict[str, Any]]:
    return [event.content for event in events(store) if event.content["kind"] == kind]


def test_four_trainings_may_be_enough_where_the_choice_was_clearly_wrong(tmp_path: Path) -> None:
    store = overruled(tmp_path, slope=-1.5)
    add_days(tmp_path, 30, 40, slope=-1.5)
    assert [look(tmp_path, number) for number in (36, 38, 40, 43)] == [[], [], [], ["wrong"]]
    (outcome,) = said_of(store, OUTCOME)
    assert "version 1, which the person chose" in outcome["why"]
    assert "95 % interval, however often one looks: +" in outcome["why"]
    assert reviews(events(store), "2026-02-18T00:00:00Z").wrong == 1
    # What is settled is not looked at again.
    add_days(tmp_path, 40, 50, slope=-1.5)
    assert look(tmp_path, 53) == []
    assert len(said_of(store, OUTCOME)) == 1


def test_each_row_is_looked_at_once_and_nothing_is_written_without_new_ones(tmp_path: Path) -> None:
    store = overruled(tmp_path, slope=1.5, first=29)  # nearly the same rows: neither version is better by much
    for first in range(30, 60, 10):
        add_days(tmp_path, first, first + 10)
    for number, looks in ((43, 1), (43, 1), (53, 2), (63, 3)):
        assert look(tmp_path, number) == []
        assert len(said_of(store, OVERRIDE_INTERIM)) == looks
    found = said_of(store, OVERRIDE_INTERIM)
    # Since the second version was trained: labels that were known from day 33 to day 63.
    assert [sum(one["rows"] for one in look["state"]["looks"]) for look in found] == [10 * ROWS, 20 * ROWS, 30 * ROWS]
    assert [one["looked"] for one in found] == [context(tmp_path, day(number)).now for number in (43, 53, 63)]


def test_two_versions_that_lose_the_same_make_nobody_wrong(tmp_path: Path) -> None:
    store = overruled(tmp_path, slope=1.5, first=30)  # the second version is trained on the very rows of the first
    for first in range(30, 90, 10):
        add_days(tmp_path, first, first + 10)
        assert look(tmp_path, first + 13) == []
    last = said_of(store, OVERRIDE_INTERIM)[-1]
    assert "minus that of version 2: +0 (95 % interval, however often one looks: +0 to +0)." in last["why"]


def test_a_choice_that_cannot_be_scored_stays_open(tmp_path: Path) -> None:
    store = overruled(tmp_path, slope=-1.5)
    add_days(tmp_path, 30, 40, slope=-1.5)
    (store.root / "versions" / "000001" / "model" / "weights.safetensors").write_bytes(b"")
    assert look(tmp_path, 43) == []
    assert said_of(store, OUTCOME) == said_of(store, OVERRIDE_INTERIM) == []


def test_looking_with_every_training_keeps_the_rate() -> None:
    """Of 80 pairs of equal choices 4 may be told apart wrongly, and 8 is what chance allows that."""
    rng = np.random.default_rng(7)
    found = [called_within(TRAININGS, 200, rng) for _ in range(TRIALS)]
    assert sum(said != "not enough evidence" for said, _ in found) <= 8
    assert sum(naive for _, naive in found) > 8, "a test for one look, asked with every training, does not"


def test_new_rows_are_judged_in_looks_and_each_once() -> None:
    rng = np.random.default_rng(8)
    ours = rng.exponential(0.45, 400)
    theirs = ours + 0.2 * rng.normal(size=400) - 0.3
    time, weight = np.arange(400.0), rng.uniform(0.5, 2.0, 400)
    # In any order of the rows, because time orders them.
    mixed = rng.permutation(400)
    found = judge_interim(Gate("anytime"), ours[mixed], theirs[mixed], weight[mixed], time[mixed])
    assert found == judge_interim(Gate("anytime"), ours, theirs, weight, time)
    assert found.state is not None
    assert len(found.state["looks"]) == 4
    with pytest.raises(DataError) as refusal:
        judge_interim(Gate("anytime"), ours, theirs, weight, time, state=found.state)
    assert refusal.value.code == "gate-rows-again"
    nothing = np.empty(0)
    assert judge_interim(Gate("anytime"), nothing, nothing).verdict == "not enough evidence"
