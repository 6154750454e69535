"""One turn of the cycle, on orders whose labels are known three days late."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.registry.disks import Killed, RecordingDisk
from tests.registry.made import one_more
from tests.retraining.made import ROWS, SETTINGS_TEXT, add_days, context, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import DataError, RegistryError
from batchlearn.models.decision import Costs
from batchlearn.progress import Progress
from batchlearn.registry.decisions import record_promotion
from batchlearn.registry.ledger import OVERRULED, choices, events, reviews
from batchlearn.registry.loading import load_champion, load_version
from batchlearn.registry.promotions import Reason, champion, needed_champion, promote, promotions, rollback
from batchlearn.registry.version import read_version, verify_version, version_numbers
from batchlearn.retraining.cycle import run as cycle_module
from batchlearn.retraining.cycle.candidate import train_candidate
from batchlearn.retraining.cycle.events import Trained
from batchlearn.retraining.cycle.state import Champion, KnownRows
from batchlearn.retraining.shell.records import unfinished
from batchlearn.training.verification.stored import verify_model as verified

AUTO = {"[policy]": '[gate]\npromote = "auto"\n\n[policy]'}
WHY = Reason("tried", "ann", "2026-01-01T00:00:00Z")


def drifting(root: Path, changes: dict[str, str] | None = None) -> Path:
    """A project whose first version is live and whose world has turned over since."""
    make_project(root, SETTINGS_TEXT, changes)
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    add_days(root, 10, 30, slope=-1.5)
    return root


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drifting(tmp_path_factory.mktemp("drifted") / "project", AUTO)


@pytest.fixture
def copied(drifted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drifted, tmp_path / "project")


def live(root: Path) -> int | None:
    stands = champion(FolderStore(root))
    return None if stands is None else stands.version


def test_the_first_version_goes_live_because_it_displaces_nobody(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 10)
    first = turn(root, day(13))
    assert (first.decision, first.version, first.promoted, first.asked, first.exit_code) == (
        "retrain",
        1,
        True,
        None,
        0,
    )
    counts = {"late": 0, "labelled": 0, "changed": 0, "gone": 0}
    assert first.rows == {"seen": 10 * ROWS, "known": 10 * ROWS, "new": 10 * ROWS, **counts}
    assert first.certificate is not None
    assert first.certificate["status"] == "certified"
    assert needed_champion(FolderStore(root)).reason.by == "ann"


def test_where_nothing_is_due_nothing_is_written(copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    for _ in range(3):
        kept = turn(copied, day(14))
        assert (kept.decision, kept.version, kept.exit_code) == ("keep", None, 0)
    assert "0 of 300 rows" in kept.reason
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == before


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(copied: Path) -> None:
    would = turn(copied, day(33), dry_run=True)
    assert (would.decision, would.version, would.promoted) == ("retrain", None, False)
    assert version_numbers(FolderStore(copied)) == [1]
    assert turn(copied, day(33)).version == 2


def test_in_a_world_that_turned_over_the_challenger_goes_live(copied: Path) -> None:
    second = turn(copied, day(33))
    assert second.gate is not None
    assert second.gate.verdict == "promote"
    assert second.promoted
    assert live(copied) == 2
    described = read_version(FolderStore(copied), 2).description
    assert described["data"]["rows"]["used"] == 30 * ROWS
    assert described["judged_against"] == 1
    assert described["evaluation"]["rows"] == second.gate.rows


def test_the_judging_rows_are_later_and_were_seen_by_neither_model(copied: Path) -> None:
    second = turn(copied, day(33))
    assert second.gate is not None
    # A fifth of the 1,200 rows labelled since: rows of one second stay together.
    assert abs(second.gate.rows - 240) <= 2
    note = next(note for note in map(str, second.notes) if note.startswith("Judged by"))
    cut = note.split("'")[1]
    assert day(25) <= cut < day(27)


def test_the_version_is_the_model_of_every_known_row_and_no_other(copied: Path) -> None:
    turn(copied, day(23))
    version = read_version(FolderStore(copied), 2)
    known = pq.read_table(copied / "data")
    known = known.filter(np.asarray(known["known"]) <= np.datetime64(day(23)))
    again = bl.train(
        bl.read(known, target="bought", time="seen", drop=["known", "user"]), bl.Recipe(alpha=0.01, holdout=0.0)
    )
    assert np.array_equal(load_version(FolderStore(copied), version).model.parameters, again.model.parameters)
    verification = verified(str(version.model_path), str(copied / "data"))
    assert verification.holds, "the condition on record reads the very rows of the training, although more have come"


def test_labels_that_are_not_known_yet_change_nothing(copied: Path, tmp_path: Path) -> None:
    """No look-ahead, to the last bit: what is labelled after now may be anything."""
    other = shutil.copytree(copied, tmp_path / "other")
    rows = pq.read_table(other / "data" / "010.parquet")
    late = np.asarray(rows["known"]) > np.datetime64(day(23))
    flipped = np.where(late, ~np.asarray(rows["bought"]), np.asarray(rows["bought"]))
    place = rows.schema.get_field_index("bought")
    pq.write_table(rows.set_column(place, "bought", [flipped]), other / "data" / "010.parquet")
    found, changed = turn(copied, day(23)), turn(other, day(23))
    assert found.gate == changed.gate
    models = [load_version(FolderStore(root), read_version(FolderStore(root), 2)).model for root in (copied, other)]
    assert np.array_equal(models[0].parameters, models[1].parameters)


def test_what_passes_the_gate_waits_for_a_person_unless_told_otherwise(tmp_path: Path) -> None:
    root = drifting(tmp_path)
    second = turn(root, day(33))
    assert second.gate is not None
    assert (second.gate.verdict, second.promoted, second.asked, second.exit_code) == (
        "promote",
        False,
        "promotion",
        0,
    )
    assert live(root) == 1
    assert turn(root, day(33)).decision == "keep", "it is trained once, however often the cycle turns"


def test_a_challenger_that_is_no_better_is_not_promoted(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, AUTO)
    add_days(root, 0, 20)
    assert turn(root, day(13)).promoted
    second = turn(root, day(23))
    assert second.gate is not None
    assert second.gate.verdict in ("reject", "not enough evidence")
    assert second.exit_code in (10, 11)
    assert live(root) == 1
    assert version_numbers(FolderStore(root)) == [1, 2], "it is kept all the same, for who would overrule"


def test_the_policy_may_be_overruled(copied: Path) -> None:
    asked = turn(copied, day(14), anyway=True)
    assert asked.decision == "retrain"
    assert asked.reason.startswith("Asked for")
    assert (asked.version, asked.exit_code) == (2, 11), "no row was labelled since: nothing can be judged"


def test_only_the_rows_of_the_window_are_trained_on(copied: Path) -> None:
    make_project(copied, SETTINGS_TEXT, {**AUTO, "rows = 300": 'rows = 300\nwindow = "10d"'})
    turn(copied, day(33))
    assert read_version(FolderStore(copied), 2).description["data"]["rows"]["used"] == 7 * ROWS


def test_the_month_has_a_budget_of_reviews(tmp_path: Path) -> None:
    root = drifting(tmp_path, {"[policy]": "[review]\nbudget = 0\n\n[policy]"})
    second = turn(root, day(33))
    assert (second.asked, second.promoted) == (None, False)
    assert any("budget of 0 reviews" in note for note in map(str, second.notes))
    assert reviews(events(FolderStore(root)), day(33)).asked == 0


def test_the_share_left_to_people_is_in_the_evaluation(copied: Path) -> None:
    costs = "[review]\nfalse_alarm = 1.0\nmiss = 2.0\nfee = 0.5\n\n[policy]"
    make_project(copied, SETTINGS_TEXT, {"[policy]": costs})
    second = turn(copied, day(33))
    found = read_version(FolderStore(copied), 2).description["evaluation"]["abstention"]
    assert 0.1 < found["left"]["value"] < 0.9
    assert found["cost_with_people"]["value"] < found["cost_alone"]["value"]
    assert any(note.startswith("Left to people") for note in map(str, second.notes))
    # What the version then predicts is as the settings say.
    model = load_version(FolderStore(copied), read_version(FolderStore(copied), 2)).model
    assert model.costs == Costs(1.0, 2.0, 0.5)
    scored = model.to_table(model.predict(str(copied / "data" / "000.parquet")))
    left = scored["left_to_people"].to_numpy(zero_copy_only=False)
    assert left.mean() == pytest.approx(found["left"]["value"], abs=0.1)
    assert scored["prediction"].null_count == left.sum()


def test_a_rejection_can_ask_a_person_too(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"[policy]": '[review]\nof = ["rejection"]\n\n[policy]'})
    add_days(root, 0, 30)
    assert turn(root, day(13)).promoted
    # What has come since is noise, so a model of it is worse.
    add_days(root, 10, 25, slope=-3.0)
    add_days(root, 25, 30)
    second = turn(root, day(33))
    assert second.gate is not None
    assert second.asked == ("rejection" if second.gate.verdict == "reject" else None)
    assert second.gate.verdict == "reject"


def test_a_champion_that_cannot_score_the_new_rows_is_judged_as_such(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, AUTO)
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    (root / "data" / "000.parquet").unlink()
    pq.write_table(orders(0, 30).rename_columns({"size": "amount"}), root / "data" / "000.parquet")
    second = turn(root, day(33), anyway=True)
    assert second.gate is not None
    assert "cannot score these rows" in second.gate.sentence
    assert second.promoted


def trained_once(monkeypatch: pytest.MonkeyPatch, after: Callable[[], object] = lambda: None) -> None:
    """Let training give the same candidate again without its work, and do something when it is done."""
    train, found = train_candidate, list[Trained]()

    def again(known: KnownRows, live: Champion | None) -> Generator[Progress, None, Trained]:
        if not found:
            found.append((yield from train(known, live)))
        after()
        return found[0]

    monkeypatch.setattr(cycle_module, "train_candidate", again)


def test_killed_at_any_point_the_champion_stands_and_the_next_run_goes_on(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_once(monkeypatch)
    whole = RecordingDisk(shutil.copytree(copied, tmp_path / "whole"))
    turn(whole.root, day(33), whole)
    assert len(whole.ops) > 20
    # Until the version is there under its name points are alike; `tests/registry/test_kills.py` takes each.
    there = next(number for number, op in enumerate(whole.ops) if op.name == "rename")
    for last in [*range(0, there, 4), *range(there, len(whole.ops))]:
        root = shutil.copytree(copied, tmp_path / str(last))
        with pytest.raises(Killed):
            turn(root, day(33), RecordingDisk(root, last=last))
        store = FolderStore(root)
        verify_version(store, live(root) or 0, needed_champion(store).identity)
        again = turn(root, day(33))
        assert live(root) == 2
        assert version_numbers(store) == [1, 2], "what was trained is not trained again"
        assert [one.version for one in promotions(store)] == [1, 2]
        assert again.version == 2 or again.decision == "keep"
        assert unfinished(store) is None


def test_a_promotion_that_came_in_between_stands(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(copied)
    trained_once(monkeypatch, lambda: promote(store, one_more(store, 5).number, WHY, champion(store)))
    second = turn(copied, day(33))
    assert (second.version, second.promoted, live(copied)) == (3, False, 2)
    assert any("Another version went live" in note for note in map(str, second.notes))


def test_one_trains_at_a_time(copied: Path) -> None:
    with one_at_a_time(copied), pytest.raises(RegistryError) as refusal, one_at_a_time(copied):
        pass
    assert refusal.value.code == "project-locked"
    assert str(os.getpid()) in refusal.value.message
    with one_at_a_time(copied):
        pass


def test_who_overruled_the_gate_is_told_whether_rightly(tmp_path: Path) -> None:
    root = drifting(tmp_path, AUTO)
    assert turn(root, day(33)).promoted
    store = FolderStore(root)
    record_promotion(store, rollback(store, WHY, needed_champion(store)))
    add_days(root, 30, 45, slope=-1.5)
    for number in (36, 40, 44, 48):
        turn(root, day(number), anyway=True)
    counts = reviews(events(store), "2026-02-18T00:00:00Z")
    assert (counts.overrides, counts.right, counts.wrong) == (1, 0, 1)


def test_a_decision_whose_command_was_killed_is_written_down_by_the_next(tmp_path: Path) -> None:
    root = drifting(tmp_path, AUTO)
    assert turn(root, day(33)).promoted
    store = FolderStore(root)
    assert choices(events(store)) == [], "nobody decided on what went live by itself"
    done = rollback(store, WHY, needed_champion(store))
    turn(root, day(33), dry_run=True)
    assert choices(events(store)) == []
    for _ in range(2):
        turn(root, day(33))
        (one,) = choices(events(store))
        assert (one.answer, one.chosen, one.instead_of, one.by) == (OVERRULED, 1, 2, "ann")
    # The command was not killed after all, only slow: it is one decision.
    record_promotion(store, done)
    assert len(choices(events(store))) == reviews(events(store), "2026-02-03T00:00:00Z").overrides == 1


def test_a_challenger_may_be_looked_at_every_day(tmp_path: Path) -> None:
    root = drifting(
        tmp_path, {"[policy]": '[gate]\nmode = "anytime"\npromote = "auto"\n\n[policy]', "rows = 300": "rows = 1000"}
    )
    second = turn(root, day(30))
    assert (second.version, second.promoted, second.exit_code) == (2, False, 11)
    add_days(root, 30, 50, slope=-1.5)
    for number in range(31, 46):
        looked = turn(root, day(number))
        if looked.promoted:
            break
    assert live(root) == 2
    assert looked.decision == "keep"
    assert looked.gate is not None
    assert looked.gate.verdict == "promote"
    assert load_champion(FolderStore(root)).version.number == 2


def test_the_surroundings_say_the_recipe(copied: Path) -> None:
    assert context(copied, day(14)).plan.recipe == bl.Recipe(alpha=0.01, holdout=0.0)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_window_that_holds_no_row_is_said(dry_run: bool, tmp_path: Path) -> None:
    """Before: a dry run would have trained, and the training found that no row met a condition that nobody gave."""
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": 'rows = 300\nwindow = "5d"'})
    add_days(root, 0, 10)
    with pytest.raises(DataError, match=r"in the last 5 days before 2026-.*the latest was seen at 2026-") as refusal:
        turn(root, day(30), dry_run=dry_run)
    assert refusal.value.code == "window-empty"
    assert turn(root, day(13)).version == 1
