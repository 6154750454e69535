"""The commands of a project, end to end: from an empty folder to a second version, and back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, answer, one_object, process, refusal
from tests.retraining.made import add_days, day, into_database, orders

from batchlearn.artifacts.store import FolderStore
from batchlearn.retraining.project import open_project

INIT = ("init", "--source", "data/*.parquet", "--target", "bought", "--time", "seen", "--labelled", "known")
TURN_KEYS = {"decision", "reason", "bracket", "start", "version", "certificate", "gate", "promoted", "seconds"}
GATE_KEYS = {"verdict", "mode", "difference", "low", "high", "alpha", "rows", "losses"}
BRACKET_KEYS = {"lower", "upper", "upper_is_proved", "rung", "prediction_shift", "rows", "rows_read"}


@pytest.fixture
def shop(here: Path) -> Path:
    (here / "data").mkdir()
    add_days(here, 0, 10)
    return here


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("lived")}


@pytest.fixture
def lived(shop: Path, run: Run, made_once: dict[str, Path]) -> Path:
    """A project with a live version and one that waits for a person; trained once for all tests."""
    kept = made_once["folder"] / "project"
    if not kept.exists():
        assert run(*INIT, "--drop", "user", "--after-rows", "300")[0] == 0
        settings = (shop / "batchlearn.toml").read_text().replace("# alpha = 0.001", "alpha = 0.01  #")
        (shop / "batchlearn.toml").write_text(settings)
        assert run("retrain", "--now", day(13))[0] == 0
        add_days(shop, 10, 30, slope=-1.5)
        assert run("retrain", "--now", day(33))[0] == 0
        shutil.copytree(shop, kept)
    shutil.copytree(kept, shop, dirs_exist_ok=True)
    return shop


def test_from_an_empty_folder_to_a_promoted_second_version_in_four_commands(shop: Path, run: Run) -> None:
    assert run(*INIT, "--drop", "user", "--after-rows", "300")[0] == 0
    first = answer(run, "retrain", "--now", day(13))
    assert (first["decision"], first["version"], first["promoted"]) == ("retrain", 1, True)
    add_days(shop, 10, 30, slope=-1.5)
    second = answer(run, "retrain", "--now", day(33))
    assert (second["version"], second["promoted"], second["asked"]) == (2, False, "promotion")
    assert answer(run, "promote")["version"] == 2
    status = answer(run, "status")
    assert isinstance(status["champion"], dict)
    assert (status["champion"]["version"], status["waiting"]) == (2, [])
    assert run("predict", "versions/000002/model", "data/010.parquet", "-o", "scored.parquet")[0] == 0
    assert pq.read_table("scored.parquet").num_rows == 1200
    assert run("verify", "versions/000002/model", "data")[0] == 0


def test_retrain_keeps_the_contract_of_its_json(lived: Path, run: Run) -> None:
    kept = answer(run, "retrain", "--now", day(33))
    assert kept.keys() >= TURN_KEYS
    assert (kept["decision"], kept["version"], kept["gate"], kept["promoted"]) == ("keep", None, None, False)
    would = answer(run, "retrain", "--now", day(33), "--dry-run")
    assert isinstance(would["bracket"], dict)
    assert would["bracket"].keys() >= BRACKET_KEYS
    add_days(lived, 30, 40, slope=-1.5)
    again = answer(run, "retrain", "--now", day(43))
    assert isinstance(again["gate"], dict)
    assert again["gate"].keys() >= GATE_KEYS
    assert isinstance(again["bracket"], dict)
    assert again["bracket"].keys() >= BRACKET_KEYS


def test_a_version_is_judged_without_advice_to_leave_out_what_came_after_it(lived: Path, run: Run) -> None:
    assert answer(run, "evaluate", "versions/000001/model", "data")["notes"] == []
    # What a person wrote later rows can meet.
    settings = (lived / "batchlearn.toml").read_text()
    (lived / "batchlearn.toml").write_text(settings.replace("# where =", "where = 'size < 9' #"))
    assert run("retrain", "--now", day(33), "--anyway")[0] in (0, 10, 11)
    said = "The model was trained on rows where (size < 9); --where keeps such rows only."
    notes = answer(run, "evaluate", "versions/000003/model", "data")["notes"]
    assert isinstance(notes, list)
    assert notes[0].startswith("The model was trained on these very")
    assert notes[1:] == [said]


def test_a_keep_says_why(lived: Path, run: Run) -> None:
    code, out, _ = run("retrain", "--now", day(33))
    assert code == 0
    assert "0 of 300 rows" in out
    assert lived.is_dir()


def test_the_gate_is_told_by_the_exit_code(shop: Path, run: Run) -> None:
    assert run(*INIT, "--after-rows", "300", "--promote", "auto")[0] == 0
    add_days(shop, 10, 20)
    assert run("retrain", "--now", day(13))[0] == 0
    code, out, _ = run("retrain", "--now", day(23), "--json")
    gate = one_object(out)["gate"]
    assert code == {"reject": 10, "not enough evidence": 11}[gate["verdict"]]
    code, slug, message = refusal(run, "promote", "2")
    assert (code, slug) == (2, "gate-not-passed")
    assert "--force" in message
    assert refusal(run, "promote", "2", "--force")[1] == "gate-not-passed"
    forced = answer(run, "promote", "2", "--force", "--why", "the regulator asks", "--by", "bob")
    assert (forced["version"], forced["forced"], forced["by"]) == (2, True, "bob")
    assert "1 overruled (1 not known yet)" in run("status")[1]
    # Who takes it back agrees with the gate, and overrules nobody.
    assert answer(run, "rollback", "--by", "ann", "--why", "the regulator is content.")["version"] == 1
    reviews = answer(run, "status")["reviews"]
    assert isinstance(reviews, dict)
    assert reviews["overrides"] == 1
    decisions = answer(run, "history")["decisions"]
    assert isinstance(decisions, list)
    kept = ("by", "why", "answer", "chosen", "instead_of", "outcome", "because")
    assert [tuple(one[key] for key in kept) for one in decisions] == [
        ("bob", "the regulator asks", "overruled", 2, 1, None, None),
        ("ann", "the regulator is content.", "agreed", 1, 2, None, None),
    ]
    page = " ".join(run("history")[1].split())
    assert "bob: version 2 instead of version 1 (the regulator asks). The gate was overruled; whether rightly" in page
    assert "ann: version 1 instead of version 2 (the regulator is content). The gate was not overruled." in page


def test_a_person_may_decline(lived: Path, run: Run) -> None:
    assert answer(run, "promote", "--decline", "--why", "not in the season")["answer"] == "overruled"
    status = answer(run, "status")
    assert isinstance(status["champion"], dict)
    assert (status["champion"]["version"], status["waiting"]) == (1, [])
    assert refusal(run, "promote")[1] == "nothing-waits"
    # Said twice it would count twice.
    assert refusal(run, "promote", "2", "--decline")[:2] == (2, "already-declined")
    # Who thinks again agrees with the gate, whatever it takes to say so.
    assert run("promote", "2")[0] == 0
    assert run("rollback")[0] == 0
    assert run("promote", "2", "--force", "--why", "it was right")[0] == 0
    decisions = answer(run, "history")["decisions"]
    assert isinstance(decisions, list)
    assert [one["answer"] for one in decisions] == ["overruled", "agreed", "overruled", "agreed"]
    assert lived.is_dir()


def test_rollback_and_history(lived: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("promote")[0] == 0
    assert answer(run, "rollback", "--why", "complaints")["version"] == 1
    history = answer(run, "history")
    assert isinstance(history["tenures"], list)
    assert [one["version"] for one in history["tenures"]] == [1, 2, 1]
    assert history["tenures"][-1]["why"] == "complaints"
    assert refusal(run, "rollback")[:2] == (2, "no-earlier-champion")
    assert refusal(run, "rollback", "--to", "1")[:2] == (2, "never-live"), "it is live"
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("history", "status"):
        code, out, _ = run(command)
        assert code == 0
        assert "complaints" in out
        assert history["tenures"][-1]["since"] in out, "no time is broken"
    assert lived.is_dir()


def test_p14_none_of_these_needs_data_or_a_second(lived: Path, run: Run) -> None:
    assert run("promote")[0] == 0
    shutil.rmtree(lived / "data")
    for command in (["rollback"], ["promote", "2", "--force", "--why", "back"], ["history"], ["status"]):
        began = time.process_time()
        assert run(*command)[0] == 0
        assert time.process_time() - began < 1.0, command


def test_a_rollback_from_a_damaged_version_is_done_and_said(lived: Path, run: Run) -> None:
    assert run("promote")[0] == 0
    (lived / "versions" / "000002" / "manifest.json").unlink()
    code, out, _ = run("rollback")
    assert code == 0
    assert "Version 1 is live (generation 3)" in out
    assert "batchlearn promote 2 --force --why REASON" in out
    assert refusal(run, "registry", "check")[1] == "registry-not-sound"
    code, slug, message = refusal(run, "retrain", "--now", day(60), "--anyway")
    assert (code, slug) == (6, "registry-damaged")
    assert "The next training goes on from version 2, and it is damaged" in message
    shutil.rmtree(lived / "versions" / "000002")
    assert answer(run, "retrain", "--now", day(60), "--anyway")["version"] == 3


def test_promotions_that_are_lost_are_not_taken_for_a_beginning(lived: Path, run: Run) -> None:
    shutil.rmtree(lived / "promotions")
    assert refusal(run, "registry", "check")[1] == "registry-not-sound"
    code, slug, message = refusal(run, "retrain", "--now", day(60), "--anyway")
    assert (code, slug) == (6, "registry-damaged")
    assert "it ends with generation 0, and events speak of generation 1" in message


def test_the_live_version_is_neither_promoted_again_nor_declined(lived: Path, run: Run) -> None:
    for more in ((), ("--decline",), ("--force", "--why", "again")):
        assert refusal(run, "promote", "1", *more)[:2] == (2, "already-live")
    assert run("promote")[0] == 0
    assert "add --force and --why REASON; both go" in refusal(run, "promote", "1")[2]
    assert "add --why REASON, which goes" in refusal(run, "promote", "1", "--force")[2]
    assert lived.is_dir()


def test_a_version_that_holds_forgotten_rows_says_so_when_it_goes_live(lived: Path, run: Run) -> None:
    assert run("forget", "--where", "user = 7", "--now", day(33))[0] == 0
    assert answer(run, "status")["waiting"] == []
    code, out, _ = run("promote", "2", "--force", "--why", "needed")
    assert code == 0
    assert "the rows where user = 7 were forgotten" in out
    assert answer(run, "promote", "3", "--force", "--why", "better")["forgotten_since"] == []
    assert lived.is_dir()


def test_a_project_is_made_in_a_folder_that_is_not_there_yet(shop: Path, run: Run) -> None:
    assert run(*INIT, "--folder", "new/project")[0] == 0
    assert 'files = "../../data/*.parquet"' in (shop / "new" / "project" / "batchlearn.toml").read_text()


def test_a_promotion_that_is_lost_is_missed_by_what_a_person_decided(lived: Path, run: Run) -> None:
    assert run("promote")[0] == 0
    (lived / "promotions" / "000002.json").unlink()
    assert refusal(run, "registry", "check")[1] == "registry-not-sound"
    assert refusal(run, "retrain", "--now", day(60))[1] == "registry-damaged"


def test_nothing_is_decided_on_a_history_that_is_lost(lived: Path, run: Run) -> None:
    shutil.rmtree(lived / "promotions")
    forced = ("promote", "2", "--force", "--why", "x")
    for command in (("promote",), forced, ("promote", "2", "--decline"), ("rollback",), ("status",), ("history",)):
        assert refusal(run, *command)[:2] == (6, "registry-damaged"), command
    assert not (lived / "promotions").exists()


def test_a_version_that_was_removed_after_forgetting_is_no_damage(lived: Path, run: Run) -> None:
    assert run("promote")[0] == 0
    assert run("forget", "--where", "user = 7", "--now", day(33))[0] == 0
    shutil.rmtree(lived / "versions" / "000001")
    found = answer(run, "registry", "check")
    assert found["sound"] is True
    assert isinstance(found["findings"], list)
    (removed,) = [one["what"] for one in found["findings"] if one["state"] == "removed-version"]
    assert removed.startswith("version 1 is not there")
    shutil.rmtree(lived / "versions" / "000003")
    assert refusal(run, "registry", "check")[1] == "registry-not-sound"


def test_a_project_without_a_version_has_no_history(shop: Path, run: Run) -> None:
    assert run(*INIT)[0] == 0
    assert answer(run, "history")["tenures"] == []
    assert run("history")[0] == run("status")[0] == 0
    assert shop.is_dir()


def test_where_times_are_numbers_a_period_is_one_too(here: Path, run: Run) -> None:
    pq.write_table(pa.table({"t": np.arange(50.0), "y": np.arange(50.0) % 7}), here / "rows.parquet")
    init = ("init", "--source", "rows.parquet", "--target", "y", "--time", "t")
    assert refusal(run, *init, "--every", "7d")[1] == "span-unit"
    assert run(*init)[0] == 0
    assert 'when = "rows"' in (here / "batchlearn.toml").read_text()
    assert refusal(run, *init[:2], "http://example.org/x.parquet", *init[3:])[1] == "address-not-path"


def test_bytes_that_are_no_text_are_refused(lived: Path, run: Run) -> None:
    before = sorted(lived.rglob("*"))
    bad = os.fsdecode(b"caf\xe9")
    for command in (("promote", "2", "--why", bad), ("promote", "--by", bad), ("rollback", "--why", bad)):
        assert run(*command)[0] == 2
    assert sorted(lived.rglob("*")) == before


def test_a_user_without_a_name_is_told_by_number(lived: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert answer(run, "promote")["by"] == f"user {os.getuid()}"
    assert lived.is_dir()


def test_one_who_expects_another_generation_changes_nothing(lived: Path, run: Run) -> None:
    code, slug, _ = refusal(run, "promote", "2", "--expected", "5")
    assert (code, slug) == (4, "promotion-conflict")
    assert answer(run, "promote", "2", "--expected", "1")["generation"] == 2
    assert lived.is_dir()


def test_an_altered_champion_is_told_by_status_of_the_registry(lived: Path, run: Run) -> None:
    code, out, _ = run("registry", "check")
    assert code == 0
    assert "sound" in out
    weights = lived / "versions" / "000001" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    code, slug, _ = refusal(run, "registry", "check", "--repair")
    assert (code, slug) == (6, "registry-not-sound")
    assert weights.is_file()
    before = sorted(lived.rglob("*"))
    assert refusal(run, "retrain", "--now", day(60), "--anyway")[:2] == (6, "version-altered")
    assert [path for path in sorted(lived.rglob("*")) if path not in before] == []


def test_forget_lists_what_still_holds_the_rows(lived: Path, run: Run) -> None:
    found = answer(run, "forget", "--where", "user = 7", "--why", "asked by the customer", "--now", day(33))
    assert found["promoted"] is True
    assert isinstance(found["still_held_by"], list)
    assert len(found["still_held_by"]) >= 3
    code, out, _ = run("forget", "--where", "user = 8", "--now", day(33))
    assert code == 0
    assert "verified refit" in out
    out = run("history")[1]
    turns = [line.split() for line in out.split("Turns of the cycle")[1].splitlines() if "Z" in line]
    # Nobody was the rival of the first version, nor of one that goes live because rows had to go.
    assert [" ".join(turn[2:-1]) for turn in turns] == ["no contest", "promote", "no contest", "no contest"]
    assert answer(run, "history")["forgotten"] == ["user = 7", "user = 8"]
    assert FolderStore(lived).names("versions") == ["000001", "000002", "000003", "000004"]


def test_a_database_is_a_source(here: Path, run: Run) -> None:
    into_database(here / "shop.sqlite", orders(0, 10))
    source = ("--source", "shop.sqlite", "--query", "SELECT * FROM orders", "--after-rows", "100")
    init = ("init", *source, "--target", "bought", "--time", "seen", "--labelled", "known", "--drop", "user")
    assert refusal(run, *init[:-2], "--drop", "user", "--weight", "x", "--target", "paid")[0] == 2
    assert run(*init)[0] == 0
    first = answer(run, "retrain", "--now", day(8))
    assert first["rows"] == {"seen": 480, "known": 300, "new": 300, "late": 0, "labelled": 0, "changed": 0, "gone": 0}
    with sqlite3.connect(here / "shop.sqlite") as connection:
        connection.execute("DROP TABLE orders")
    connection.close()
    assert refusal(run, "retrain")[:2] == (2, "query-failed")
    assert run("status")[0] == 0


def test_init_refuses_what_the_source_does_not_have(shop: Path, run: Run) -> None:
    assert refusal(run, *INIT[:-1], "knwon")[:2] == (3, "column-missing")
    assert refusal(run, *INIT, "--every", "weekly")[:2] == (2, "span-not-valid")
    assert refusal(run, *INIT, "--promote", "always")[:2] == (2, "project-settings")
    assert not (shop / "batchlearn.toml").exists()
    assert run(*INIT)[0] == 0
    assert refusal(run, *INIT)[:2] == (2, "project-exists")


def test_init_takes_what_a_recipe_says_of_the_loss(shop: Path, run: Run) -> None:
    assert refusal(run, *INIT, "--loss", "cubic")[1] == "project-settings"
    assert run(*INIT, "--loss", "squared", "--alpha", "0.01")[0] == 0
    recipe = open_project(shop).settings.recipe
    assert (recipe.loss, recipe.alpha) == ("squared", 0.01)


def test_what_init_writes_is_explained_and_read_back(shop: Path, run: Run) -> None:
    assert run(*INIT, "--drop", "user", "--wait", "2d", "--every", "7d", "--where", "size < 9")[0] == 0
    lines = (shop / "batchlearn.toml").read_text().splitlines()
    entries = [line for line in lines if "=" in line and not line.startswith(("#", "["))]
    assert all(" # " in line for line in entries)
    assert {line.partition(" ")[0] for line in entries} >= {
        "files",
        "target",
        "time",
        "labelled",
        "wait",
        "drop",
        "period",
    }


@pytest.mark.parametrize("command", ["retrain", "promote", "rollback", "history", "status", "forget"])
def test_outside_of_a_project_every_command_says_how_to_make_one(command: str, here: Path, run: Run) -> None:
    more = ["--where", "x = 1"] if command == "forget" else []
    assert refusal(run, command, *more)[:2] == (2, "no-project")
    assert here.is_dir()


def test_commands_run_as_processes(lived: Path) -> None:
    done = process(["status", "--json"], lived)
    assert (done.returncode, done.stderr) == (0, "")
    assert one_object(done.stdout)["versions"] == 2
