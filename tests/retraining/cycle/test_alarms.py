"""What should not be raises an alarm; a person is asked about it, and nothing goes live past it, where that is set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from tests.retraining.made import SETTINGS_TEXT, add_days, around, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.registry.ledger import TURN, events, reviews, waiting
from batchlearn.registry.promotions import champion
from batchlearn.registry.store import FolderStore
from batchlearn.retraining.child import Rehearsal
from batchlearn.retraining.cycle.candidate import uncertified
from batchlearn.retraining.cycle.finish import Turn
from batchlearn.retraining.cycle.turn import turning
from batchlearn.training.certificate import Certificate

AUTO = '[gate]\npromote = "auto"\n\n'
ASKED = AUTO + '[review]\nof = ["alarm"]\n\n'


def renamed(root: Path, settings: str) -> Turn:
    """Let a champion meet rows without one of its columns, and return the turn after that."""
    make_project(root, SETTINGS_TEXT, {"[policy]": settings + "[policy]"})
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    pq.write_table(orders(0, 30).rename_columns({"size": "amount"}), root / "data" / "000.parquet")
    return turn(root, day(33))


def test_a_champion_that_cannot_score_raises_an_alarm_which_holds_the_version_back(tmp_path: Path) -> None:
    second = renamed(tmp_path, ASKED)
    (alarm,) = second.alarms
    assert alarm.startswith("The champion cannot score the later rows:")
    assert "size" in alarm
    assert (second.promoted, second.asked) == (False, "promotion"), "it passed the gate, and waits all the same"
    store = FolderStore(tmp_path)
    (asking,) = waiting(events(store), champion(store))
    assert asking.content["alarms"] == [alarm]


def test_an_alarm_is_told_and_holds_nothing_back_where_nobody_is_to_be_asked(tmp_path: Path) -> None:
    second = renamed(tmp_path, AUTO)
    assert len(second.alarms) == 1
    assert (second.promoted, second.asked) == (True, None)


def test_a_version_that_fails_its_rehearsal_raises_an_alarm_and_asks_once(tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": ASKED + "[policy]"})
    add_days(tmp_path, 0, 10)
    assert turn(tmp_path, day(13)).promoted
    add_days(tmp_path, 10, 30, slope=-1.5)
    failed = Rehearsal(False, "Its sample rows scored other bits.")
    failing = replace(around(tmp_path, day(33)), rehearse=lambda *_: failed)
    turns = turning(failing)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            second = end.value
            break
    assert second.alarms == ("Its sample rows scored other bits.",)
    assert (second.promoted, second.asked, second.exit_code) == (False, "alarm", 6)
    store = FolderStore(tmp_path)
    counts = reviews(events(store), day(33))
    assert (counts.asked, len(counts.open)) == (1, 1)
    assert [event.content["review"] for event in events(store) if event.content["kind"] == TURN] == [None, "alarm"]


def test_a_fit_without_the_certificate_of_its_start_is_an_alarm() -> None:
    fit = bl.train(bl.read(orders(0, 5), target="bought", time="seen", drop=["known", "user"]), bl.Recipe(alpha=0.01))
    none = Certificate("not certified", "too few steps", None, None, None, None, None, 300, None)
    assert uncertified(fit) == ()
    assert uncertified(replace(fit, certificate=none)) == ("The version has no certificate: too few steps.",)
    assert uncertified(replace(fit, certificate=none, solver="fine-tune")) == ()
