from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.registry.disks import Killed, RecordingDisk
from tests.retraining.made import SETTINGS_TEXT, add_days, context, day, into_database, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.disk import LOCAL_DISK, Disk
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import CertificateError, DataError, IntegrityError, RegistryError
from batchlearn.formatting.notes import recorded
from batchlearn.progress import finish
from batchlearn.registry.ledger import FORGET, events, record_event
from batchlearn.registry.loading import load_champion
from batchlearn.registry.promotions import promotions
from batchlearn.retraining.child import Rehearsal
from batchlearn.retraining.shell.forget import Forgotten, forget_rows
from batchlearn.retraining.shell.records import unfinished
from batchlearn.retraining.sources.project_source import open_source

WHERE = "user = 7"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("begun") / "project")
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    return root


@pytest.fixture
def root(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "project")


def forget(root: Path, where: str = WHERE, disk: Disk = LOCAL_DISK) -> Forgotten:
    given = context(root, day(20), disk)
    past = [event.content["where"] for event in events(given.project.store) if event.content["kind"] == FORGET]
    given = replace(given, source=open_source(given.project, past))
    return finish(forget_rows(given, where, "asked for"))


def test_the_model_is_that_of_the_other_rows_to_the_last_bit(root: Path) -> None:
    rows = pq.read_table(root / "data")
    others = rows.filter(np.asarray(rows["user"]) != 7)
    found = forget(root)
    assert found.rows == len(rows) - len(others) > 0
    assert found.certificate["status"] == "certified"
    assert found.certificate["rows"] == len(others)
    again = bl.train(
        bl.read(others, target="bought", time="seen", drop=["known", "user"]), bl.Recipe(alpha=0.01, holdout=0.0)
    )
    live = load_champion(FolderStore(root))
    assert live.version.number == found.version == 2
    assert np.array_equal(live.stored.model.parameters, again.model.parameters)
    assert live.promotion.reason.forced
    gate = live.version.description["gate"]
    assert gate["sentence"].startswith(
        "Promote: Rows were removed, which is no contest: this version takes the place of"
    )
    assert "version 1 without a proof" in gate["sentence"]
    assert (gate["verdict"], gate["difference"], gate["rows"], gate["asks"]) == ("promote", None, 0, False)


def test_later_trainings_are_without_the_rows_too(root: Path) -> None:
    forget(root)
    add_days(root, 10, 20)
    given = context(root, day(23))
    past = [event.content["where"] for event in events(given.project.store) if event.content["kind"] == FORGET]
    assert past == [WHERE]
    kept = open_source(given.project, past).table()
    users = {user for batch in kept.scan(["user"]) for user in batch.column("user").to_pylist()}
    assert 7.0 not in users
    assert len(users) == 39


def test_what_still_holds_the_rows_is_listed(root: Path) -> None:
    held = {one.what: one.rows for one in forget(root).held}
    assert held["the source itself"] == held["model, encoding and kept totals of versions/000001, by what they learned"]
    sample = pq.read_table(root / "versions" / "000001" / "sample.parquet")
    assert held["sample rows of versions/000001, as they are"] == int((np.asarray(sample["user"]) == 7).sum()) > 0
    assert not any("000002" in what for what in held)


def test_where_the_rows_are_gone_already_nobody_can_say_how_many_there_were(root: Path) -> None:
    path = root / "data" / "000.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.filter(np.asarray(rows["user"]) != 7), path)
    found = forget(root)
    assert found.rows == 0
    held = {one.what: one.rows for one in found.held}
    assert held["model, encoding and kept totals of versions/000001, by what they learned"] is None
    assert "the source itself" not in held


def test_the_parts_of_a_query_hold_rows_too(tmp_path: Path) -> None:
    query = {'files = "data/*.parquet"': 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"'}
    root = make_project(tmp_path, SETTINGS_TEXT, query)
    into_database(root / "shop.sqlite", orders(0, 10))
    assert turn(root, day(13)).promoted
    parts = [one for one in forget(root).held if one.what.startswith("snapshots/")]
    assert [one.rows for one in parts] == [int((np.asarray(orders(0, 10)["user"]) == 7).sum())]


def test_a_condition_that_names_no_column_is_refused_and_nothing_is_recorded(root: Path) -> None:
    with pytest.raises(DataError) as refusal:
        forget(root, "usr = 7")
    assert refusal.value.code == "column-missing"
    assert [event.content["kind"] for event in events(FolderStore(root))] == ["turn"]


@pytest.mark.parametrize(("where", "code"), [("user >= 0", "no-rows"), ("bought = true", "one-class")])
def test_what_leaves_nothing_to_train_on_is_refused_and_nothing_is_recorded(where: str, code: str, root: Path) -> None:
    with pytest.raises(DataError, match="no model can be trained, and nothing was recorded: ") as refusal:
        forget(root, where)
    assert refusal.value.code == code
    assert [event.content["kind"] for event in events(FolderStore(root))] == ["turn"]


def test_a_condition_that_no_row_meets_is_refused_and_nothing_is_recorded(root: Path) -> None:
    with pytest.raises(
        DataError, match="No row of the source meets 'user = 4000', and version 1, which is live"
    ) as refusal:
        forget(root, "user = 4000")
    assert refusal.value.code == "no-rows"
    assert [event.content["kind"] for event in events(FolderStore(root))] == ["turn"]
    forget(root)
    with pytest.raises(
        DataError, match="They were forgotten before, and version 2, which is live, was trained on none"
    ):
        forget(root)
    assert sum(event.content["kind"] == FORGET for event in events(FolderStore(root))) == 1


def test_a_refit_that_proves_too_little_or_fails_its_rehearsal_does_not_go_live(root: Path, tmp_path: Path) -> None:
    strict = shutil.copytree(root, tmp_path / "strict")
    make_project(strict, SETTINGS_TEXT, {"[recipe]": "[recipe]\ntolerance = 1e-40"})
    with pytest.raises(CertificateError) as unmet:
        forget(strict)
    assert unmet.value.code == "tolerance-not-met"
    given = replace(context(root, day(20)), rehearse=lambda *_: Rehearsal(False, recorded("It scored other bits.")))
    with pytest.raises(IntegrityError, match="It scored other bits") as failed:
        list(forget_rows(given, WHERE, "asked for"))
    assert failed.value.code == "version-not-rehearsed"
    for folder in (strict, root):
        assert [one.version for one in promotions(FolderStore(folder))] == [1]
        assert [event.content["kind"] for event in events(FolderStore(folder))] == ["turn", FORGET]


def test_the_refit_is_of_the_rows_that_the_champion_knew(root: Path) -> None:
    add_days(root, 10, 20)
    assert forget(root).certificate["rows"] < 600, "what came since waits for the next training"


def test_killed_before_its_turn_was_written_down_it_goes_live_unasked(root: Path) -> None:
    whole = RecordingDisk(shutil.copytree(root, root.parent / "whole"))
    forget(whole.root, disk=whole)
    there = next(number for number, op in enumerate(whole.ops) if op.name == "rename")
    with pytest.raises(Killed):
        forget(root, disk=RecordingDisk(root, last=there + 1))
    assert unfinished(FolderStore(root)) is not None
    finished = turn(root, day(20))
    assert (finished.version, finished.promoted, finished.asked) == (2, True, None)


def test_what_was_killed_is_said_by_every_turn_until_it_is_done(root: Path) -> None:
    store = FolderStore(root)
    record_event(store, FORGET, "2026-01-20T00:00:00Z", {"where": WHERE, "why": "", "by": "ann", "rows": 1})
    kept = turn(root, day(14))
    assert kept.decision == "keep"
    told = "Version 1, which is live, was trained before the rows where user = 7 were"
    assert any(told in note for note in map(str, kept.notes))
    found = forget(root)
    rows = np.asarray(pq.read_table(root / "data")["user"])
    assert found.rows == int((rows == 7).sum())
    assert any(one.what == "the source itself" for one in found.held)
    assert sum(event.content["kind"] == FORGET for event in events(store)) == 1
    assert not any("forgotten" in note for note in map(str, turn(root, day(14)).notes))


def test_what_earlier_fetches_and_killed_commands_left_is_listed(tmp_path: Path) -> None:
    query = {
        'files = "data/*.parquet"': 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"',
        'drop = ["user"]\n': "",
    }
    root = make_project(tmp_path / "project", SETTINGS_TEXT, query)
    into_database(root / "shop.sqlite", orders(0, 10))
    assert turn(root, day(13)).promoted
    parts = next((root / "snapshots").iterdir())
    shutil.copytree(parts, parts.with_name(parts.name[:-1] + "7"))  # a later fetch, which is the one in use
    left = root / "versions" / ".batchlearn-tmp-0a"
    left.mkdir()
    shutil.copy(root / "versions" / "000001" / "sample.parquet", left)
    (root / "versions" / ".batchlearn-tmp-0b").mkdir()
    (root / "versions" / ".batchlearn-tmp-0b" / "sample.parquet").write_bytes(b"PAR1 half")
    held = [one.what for one in forget(root).held]
    assert sum(one.startswith("snapshots/") for one in held) == 2
    assert "versions/.batchlearn-tmp-0a/sample.parquet" in held
    assert any(one.startswith("versions/.batchlearn-tmp-0b/sample.parquet, perhaps:") for one in held)


def test_a_column_that_a_forgotten_condition_names_has_to_stay(root: Path) -> None:
    forget(root)
    path = root / "data" / "000.parquet"
    pq.write_table(pq.read_table(path).drop(["user"]), path)
    make_project(root, SETTINGS_TEXT, {'drop = ["user"]\n': ""})
    with pytest.raises(DataError, match="part of the condition is what was forgotten: user = 7"):
        open_source(context(root, day(20)).project, [WHERE]).times()
    make_project(root, SETTINGS_TEXT, {'target = "bought"': 'target = "baught"'})
    with pytest.raises(DataError, match=r"there is no column 'baught' in .* did you mean 'bought'[^;]*$"):
        open_source(context(root, day(20)).project, [WHERE]).times()


def test_without_a_champion_there_is_nothing_to_train_again(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    add_days(root, 0, 10)
    with pytest.raises(RegistryError) as refusal:
        forget(root)
    assert refusal.value.code == "no-champion"


def test_the_next_turn_finds_nothing_unfinished(root: Path) -> None:
    forget(root)
    assert unfinished(FolderStore(root)) is None
    assert turn(root, day(13)).decision == "keep"


def test_killed_at_any_point_somebody_is_live_and_the_rows_never_come_back(root: Path, tmp_path: Path) -> None:
    whole = RecordingDisk(shutil.copytree(root, tmp_path / "whole"))
    forget(whole.root, disk=whole)
    for last in range(0, len(whole.ops), 9):
        copy = shutil.copytree(root, tmp_path / str(last))
        with pytest.raises(Killed):
            forget(copy, disk=RecordingDisk(copy, last=last))
        assert promotions(FolderStore(copy))[-1].version in (1, 2)
        forget(copy)
        live = load_champion(FolderStore(copy))
        assert "user" in str(live.version.description["data"]["condition"])
