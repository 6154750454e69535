"""What should not be raises an alarm; a person is asked about it, and nothing goes live past it, where that is set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import ROWS, SETTINGS_TEXT, add_days, context, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.cli.project.promote import LedgerOptions
from batchlearn.cli.project.promote import promote as promote_version
from batchlearn.errors import RegistryError
from batchlearn.formatting.notes import Code, Note, recorded
from batchlearn.registry.ledger import CYCLE, events, reviews, waiting
from batchlearn.registry.promotions import champion
from batchlearn.retraining.child import Rehearsal
from batchlearn.retraining.cycle.candidate import compare, contest, uncertified
from batchlearn.retraining.gate import Gate
from batchlearn.retraining.shell.turn import CycleResult, run_turn
from batchlearn.training.certificate import Certificate, Proved

AUTO = '[gate]\npromote = "auto"\n\n'
ASKED = AUTO + '[review]\nof = ["alarm"]\n\n'


def renamed(root: Path, settings: str) -> CycleResult:
    """Let a champion meet rows without one of its columns, and return the turn that is asked for after that."""
    make_project(root, SETTINGS_TEXT, {"[policy]": settings + "[policy]"})
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    pq.write_table(orders(0, 30).rename_columns({"size": "amount"}), root / "data" / "000.parquet")
    return turn(root, day(33), anyway=True)


def test_a_champion_that_cannot_score_raises_an_alarm_which_holds_the_version_back(tmp_path: Path) -> None:
    second = renamed(tmp_path, ASKED)
    replaced, alarm = map(str, second.alarms)
    assert replaced.startswith("Of the rows of the last training 600 stand with other values now and 0 are gone")
    assert alarm.startswith("The champion cannot score the later rows:")
    assert "size" in alarm
    assert (second.promoted, second.asked) == (False, "promotion"), "it passed the gate, and waits all the same"
    store = FolderStore(tmp_path)
    (asking,) = waiting(events(store), champion(store))
    assert asking.content["alarms"] == [replaced, alarm]


def test_an_alarm_is_told_and_holds_nothing_back_where_nobody_is_to_be_asked(tmp_path: Path) -> None:
    second = renamed(tmp_path, AUTO)
    assert len(second.alarms) == 2
    assert (second.promoted, second.asked) == (True, None)


@pytest.mark.parametrize(("settings", "asked"), [(ASKED, "alarm"), (AUTO, None)], ids=["asked", "not asked"])
def test_a_version_that_fails_its_rehearsal_never_goes_live(settings: str, asked: str | None, tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": settings + "[policy]"})
    add_days(tmp_path, 0, 10)
    assert turn(tmp_path, day(13)).promoted
    add_days(tmp_path, 10, 30, slope=-1.5)
    failed = Rehearsal(False, recorded("Its sample rows scored other bits."))
    failing = replace(context(tmp_path, day(33)), rehearse=lambda *_: failed)
    turns = run_turn(failing)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            second = end.value
            break
    assert second.alarms[0].code is Code.WORSE_THAN_CONSTANT, "the world turned over"
    assert second.alarms[1:] == (recorded("Its sample rows scored other bits."),)
    assert (second.promoted, second.asked, second.exit_code) == (False, asked, 6)
    store = FolderStore(tmp_path)
    counts = reviews(events(store), day(33))
    assert counts.asked == len(counts.open) == (asked is not None)
    assert [event.content["review"] for event in events(store) if event.content["kind"] == CYCLE] == [None, asked]
    # Nor by a person's word, however strong.
    with pytest.raises(RegistryError) as refusal:
        promote_version(2, force=True, ledger=LedgerOptions(why="at once", project=str(tmp_path)))
    assert refusal.value.code == "version-not-rehearsed"


def test_a_fit_without_the_certificate_of_its_start_is_an_alarm() -> None:
    fit = bl.train(bl.read(orders(0, 5), target="bought", time="seen", drop=["known", "user"]), bl.Recipe(alpha=0.01))
    none = Certificate(Proved.NOT_CERTIFIED, recorded("too few steps"), None, None, None, None, None, 300, None)
    assert uncertified(fit) == ()
    assert uncertified(replace(fit, certificate=none)) == (Note(Code.NO_CERTIFICATE, {"reason": "too few steps"}),)
    assert uncertified(replace(fit, certificate=none, solver="fine-tune")) == ()


def test_rows_of_the_past_that_come_or_go_raise_an_alarm_whatever_was_kept(tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": AUTO + "[policy]"})
    add_days(tmp_path, 0, 5)
    add_days(tmp_path, 5, 10)
    assert turn(tmp_path, day(13)).alarms == ()
    add_days(tmp_path, 10, 30)
    (tmp_path / "data" / "000.parquet").unlink()
    second = turn(tmp_path, day(33))
    assert (second.rows["changed"], second.rows["gone"]) == (0, 5 * ROWS)
    (alarm,) = map(str, second.alarms)
    assert alarm == (
        "Of the rows of the last training 0 stand with other values now and 300 are gone: 'data/000.parquet'."
    )


def test_what_goes_live_is_of_the_kind_that_was_judged(tmp_path: Path) -> None:
    """One label of 2 among the judging rows turns two classes into numbers."""
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": AUTO + "[policy]"})

    def add(first: int, last: int, slope: float, wrong: bool) -> None:
        table = orders(first, last, slope)
        label = np.asarray(table["bought"]).astype(int)
        label[-1] += 2 * wrong
        place = table.schema.get_field_index("bought")
        pq.write_table(table.set_column(place, "bought", pa.array(label)), tmp_path / "data" / f"{first:03d}.parquet")

    add(0, 10, 1.5, wrong=False)
    assert turn(tmp_path, day(13)).promoted
    add(10, 30, -1.5, wrong=True)
    second = turn(tmp_path, day(33))
    assert second.gate is not None
    assert (second.promoted, second.gate.verdict) == (False, "not enough evidence")
    assert any("the champion is a model of 2 classes" in str(alarm) for alarm in second.alarms)
    add(10, 30, -1.5, wrong=False)
    assert turn(tmp_path, day(34), anyway=True).promoted


def test_a_class_that_only_the_judging_rows_have_was_not_judged(tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": AUTO + "[policy]"})

    def add(first: int, last: int, slope: float) -> None:
        table = orders(first, last, slope)
        label = np.where(np.asarray(table["bought"]), "yes", "no").astype(object)
        label[::7] = "later"
        if first:
            label[-120:] = np.where(np.arange(120) % 3, label[-120:], "new")
        place = table.schema.get_field_index("bought")
        path = tmp_path / "data" / f"{first:03d}.parquet"
        pq.write_table(table.set_column(place, "bought", pa.array(label.tolist())), path)

    add(0, 10, 1.5)
    assert turn(tmp_path, day(13)).promoted
    add(10, 30, -1.5)
    second = turn(tmp_path, day(33))
    assert second.gate is not None
    assert (second.promoted, second.gate.verdict) == (False, "not enough evidence")
    assert any(
        "With the labels of the judging rows it is a model of 4 classes" in str(alarm) for alarm in second.alarms
    )


def test_no_look_judges_a_model_of_another_kind() -> None:
    rows = orders(0, 5)
    number = rows.set_column(rows.schema.get_field_index("bought"), "bought", rows["size"])
    recipe = bl.Recipe(alpha=0.01, holdout=0.0)
    classes, numbers = (
        bl.train(bl.read(one, target="bought", time="seen", drop=["known", "user"]), recipe).model
        for one in (rows, number)
    )
    later = bl.read(number, target="bought", time="seen", drop=["known", "user"])
    found = compare(Gate("anytime"), contest(classes, numbers, later))
    assert found.verdict == "not enough evidence"
    assert "a model with the loss squared, and the champion is a model of 2 classes" in found.sentence
