"""The cycle is a function: in memory it finds, decides and trains to the bit what it does around a disk."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.retraining.cycle.memory import History
from tests.retraining.made import SETTINGS_TEXT, add_days, context, day, make_project, orders

from batchlearn.artifacts.store import FolderStore
from batchlearn.formatting.notes import Code
from batchlearn.progress import Progress
from batchlearn.retraining.cycle.events import (
    Bracketed,
    ChoiceJudged,
    Event,
    Noted,
    PolicyDecided,
    Promoted,
    RowsCounted,
    Settled,
    Trained,
)
from batchlearn.retraining.cycle.run import run_cycle
from batchlearn.retraining.cycle.state import CycleClock, CycleState, Override, Plan
from batchlearn.retraining.gate import Gate
from batchlearn.retraining.policies import EveryRows, Span
from batchlearn.retraining.project import SourceSettings, parse_settings
from batchlearn.retraining.shell.records import newest_version, state_of
from batchlearn.retraining.shell.turn import EventWriter
from batchlearn.retraining.sources.label_times import parse_instant
from batchlearn.retraining.sources.project_source import ProjectSource
from batchlearn.training.recipe import Recipe

DAYS = (13, 14, 33, 36, 40)
AUTO = {"[policy]": '[gate]\npromote = "auto"\n\n[policy]'}
LOOKS = {"[policy]": '[gate]\nmode = "anytime"\npromote = "auto"\n\n[policy]', "rows = 300": "rows = 1000"}
PLAN = Plan(Recipe(alpha=0.01, holdout=0.0), EveryRows(300), None, "scratch", Gate(promote="auto"), 0.2, threads=1)


def source(rows: pa.Table, settings: SourceSettings | None = None) -> ProjectSource:
    return ProjectSource(rows, settings or parse_settings(SETTINGS_TEXT).source)


def history(last: int = 50) -> pa.Table:
    """Orders of a world that turned over after ten days."""
    return pa.concat_tables([orders(0, 10), orders(10, last, slope=-1.5)])


def clock(number: int) -> CycleClock:
    return CycleClock(parse_instant(day(number), stamped=True), f"{day(number)}T00:00:00Z")


def written_turn(root: Path, number: int, anyway: bool = False) -> list[Event]:
    """Turn the cycle once around a disk; return the events that were written down."""
    given = context(root, day(number))
    store, found = given.project.store, list[Event]()
    written = EventWriter(given, newest_version(store))
    for event in run_cycle(state_of(store), given.source, written.versions, given.clock, given.plan, anyway=anyway):
        if not isinstance(event, Progress):
            written.write(event)
            found.append(event)
    return found


def compared(event: Event) -> tuple[type[Event], Any]:
    """Return what has to be the same of an event: all but how long something took, arrays as bytes."""
    if isinstance(event, Bracketed):
        said = event.bracket.to_json()
        return type(event), {key: said[key] for key in said if key not in ("seconds", "retrain_seconds")}
    if isinstance(event, Noted) and event.note.code is Code.BRACKET:
        return type(event), event.note.code  # its sentence has the seconds
    if not isinstance(event, Trained):
        return type(event), event
    fit = event.fit
    stated = fit.certificate.to_json(), event.evaluation, event.verdict, event.judged_against, event.alarms
    kept = None if event.kept is None else (event.kept.parameters.tobytes(), event.kept.totals.hessian.tobytes())
    notes = [note for note in event.notes if note.code is not Code.LEFT_TO_PEOPLE]
    return type(event), (fit.model.parameters.tobytes(), *stated, kept, notes, str(event.table.condition))


@pytest.mark.parametrize(
    "changes",
    [
        AUTO,
        {**AUTO, "rows = 300": 'rows = 300\nwindow = "20d"\nstart = "warm"'},
        {**AUTO, "rows = 300": 'rows = 300\nwindow = "28d"\nstart = "update"'},
        {**AUTO, "rows = 300": 'rows = 300\nstart = "fine-tune"'},
        LOOKS,
        {
            **AUTO,
            'when = "rows"\nrows = 300': 'when = "any(decay 0.05, all(rows 99, forecast 9, gain 2), drift ks 0.05)"',
        },
        {**AUTO, 'when = "rows"\nrows = 300': 'when = "rows 300 with start=warm rows=new"'},
        {"[policy]": '[review]\nof = ["promotion", "rejection", "alarm"]\nbudget = 1\n\n[policy]'},
    ],
    ids=["scratch", "warm", "update", "fine-tune", "anytime", "watched", "new", "asked"],
)
def test_in_memory_the_cycle_does_what_it_does_around_a_disk(changes: Mapping[str, str], tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, changes)
    add_days(tmp_path, 0, 10)
    add_days(tmp_path, 10, 50, slope=-1.5)
    plan = context(tmp_path, day(0)).plan
    rows, memory = source(history(), parse_settings((tmp_path / "batchlearn.toml").read_text()).source), History()
    for number in DAYS:
        found = memory.turn(rows, clock(number), plan)
        assert list(map(compared, found)) == list(map(compared, written_turn(tmp_path, number))), number
        assert memory.state == state_of(FolderStore(tmp_path)), number
    assert len(memory.trained) > 1
    assert sum(isinstance(event, Trained) for event in found) <= 1


def test_without_any_file_two_worlds_have_two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = builtins.open

    def refused(path: str, *more: Any, **named: Any) -> Any:
        # Which libraries compute is asked of the system, to hold them at one thread.
        assert path == "/proc/self/maps", "the cycle asked for a file or a process"
        return opened(path, *more, **named)

    rows = source(history())
    for place, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "mkdir"), (os, "listdir")):
        monkeypatch.setattr(place, name, refused)
    monkeypatch.setattr(subprocess, "run", refused)
    memory = History()
    first, idle, second = (memory.turn(rows, clock(number), PLAN) for number in (13, 14, 33))
    kinds = [[type(event) for event in events if not isinstance(event, Noted)] for events in (first, idle, second)]
    assert kinds[0] == [RowsCounted, PolicyDecided, Trained, Settled, Promoted]
    assert kinds[1] == [RowsCounted, PolicyDecided]
    assert kinds[2] == [RowsCounted, PolicyDecided, Bracketed, Trained, Settled, Promoted]
    assert memory.state.live is not None
    assert (memory.state.live.number, memory.state.live.generation) == (2, 2)
    assert memory.trained[1][1].verdict.verdict == "promote"


def test_what_comes_later_changes_no_event() -> None:
    """No look-ahead: of rows seen or labelled after now nothing is told, whatever they are."""
    whole, known = History(), History()
    for number in (13, 33):
        later = history()
        until = np.datetime64(day(number), "us")
        at = later.filter(np.asarray(later["known"]) <= until)
        seen = later.filter(np.asarray(later["seen"]) <= until)
        label = np.where(np.asarray(seen["known"]) <= until, np.asarray(seen["bought"]), False)
        hidden = seen.set_column(seen.schema.get_field_index("bought"), "bought", pa.array(label))
        assert len(at) < len(seen) < len(later)
        told, same = (one.turn(source(of), clock(number), PLAN) for one, of in ((whole, later), (known, hidden)))
        assert list(map(compared, told)) == list(map(compared, same))


def test_a_choice_is_looked_at_where_versions_are_values() -> None:
    """A person keeps the first version although the world is that of the second: later rows say that it was wrong."""
    memory, rows = History(), source(history(60))
    memory.turn(rows, clock(13), PLAN)
    memory.turn(rows, clock(33), PLAN)
    choice = Override(event=3, chosen=1, instead_of=2, as_of=clock(33).now)
    memory.state = replace(memory.state, overrides=(choice,))
    found: list[Event] = []
    for number in (36, 40, 44, 48, 52):
        found += memory.turn(rows, clock(number), PLAN, anyway=True)
    outcomes = [event.outcome for event in found if isinstance(event, ChoiceJudged)]
    assert outcomes[-1] == "wrong"
    assert outcomes[:-1] == [None] * (len(outcomes) - 1)
    assert memory.state.overrides == ()


def test_a_state_without_versions_is_the_start() -> None:
    empty = CycleState()
    assert (empty.newest, empty.live, empty.overrides, empty.asked) == (None, None, (), ())
    turns = History().turn(source(history()), clock(2), replace(PLAN, window=Span.parse("5d")))
    decided = turns[1]
    assert isinstance(decided, PolicyDecided)
    assert [note.code for note in decided.decision.reasons] == [Code.NOTHING_TO_LEARN]
