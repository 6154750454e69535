"""A column that the champion reads and that is gone, or of another kind, is an alarm; one that it does not, a note."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv
from tests.retraining.made import SETTINGS_TEXT, add_days, day, into_database, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.cli import main
from batchlearn.errors import DataError
from batchlearn.formatting.notes import Code
from batchlearn.registry.check import check
from batchlearn.registry.ledger import ALARM, events
from batchlearn.registry.promotions import champion
from batchlearn.registry.version import version_numbers
from batchlearn.retraining.shell.turn import CycleResult

DUE = day(33)


def rewritten(root: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace the rows of a project by thirty days whose table is changed."""
    pq.write_table(change(orders(0, 30)), root / "data" / "000.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a champion of ten days."""
    make_project(tmp_path)
    add_days(tmp_path, 0, 10)
    assert turn(tmp_path, day(13)).promoted
    return tmp_path


def alarms(root: Path) -> list[dict[str, Any]]:
    return [event.content for event in events(FolderStore(root)) if event.content["kind"] == ALARM]


def halted(found: CycleResult, root: Path) -> str:
    """Return what a turn says that an alarm ended."""
    assert (found.decision, found.version, found.promoted, found.exit_code) == ("keep", None, False, 12)
    (alarm,) = [note for note in found.alarms if note.code is Code.COLUMNS_UNFIT]
    assert found.reasons[0] == alarm
    assert version_numbers(FolderStore(root)) == [1]
    stands = champion(FolderStore(root))
    assert stands is not None
    assert stands.version == 1
    return str(alarm)


@pytest.mark.parametrize("start", ["scratch", "warm", "update"])
@pytest.mark.parametrize("name", ["size", "bought", "seen", "known"])
def test_a_used_column_that_is_gone_keeps_the_champion(name: str, start: str, root: Path) -> None:
    make_project(root, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"'})
    rewritten(root, lambda table: table.drop([name]))
    if name in ("bought", "seen", "known"):
        _, found = run(root)
        assert found["exit"] == 12
        assert f"'{name}'" in found["alarms"][0]
    else:
        assert "'size', which the model reads" in halted(turn(root, DUE), root)
    assert len(alarms(root)) == 1
    assert check(FolderStore(root)) == []


def run(root: Path, *flags: str) -> tuple[str, dict[str, Any]]:
    """Run `retrain` as a command of its own and return its JSON with the exit code."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["retrain", "--project", str(root), "--now", DUE, "--json", *flags])
    return out.getvalue(), {**json.loads(out.getvalue()), "exit": code}


def told_by_status(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["status", "--project", str(root), "--json"]) == 0
    found: list[str] = json.loads(capsys.readouterr().out)["alarms"]
    return found


def test_the_record_is_written_once_and_again_after_the_source_was_mended(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(root, lambda table: table.drop(["size"]))
    for _ in range(3):
        halted(turn(root, DUE), root)
    (alarm,) = alarms(root)
    assert alarm["alarms_noted"][-1]["code"] == "columns_unfit"
    assert "'size'" in alarm["alarms"][-1]
    rewritten(root, lambda table: table)
    assert told_by_status(root, capsys) == alarm["alarms"]
    assert turn(root, DUE).version == 2
    assert told_by_status(root, capsys) == [], "the turn after ended otherwise"
    add_days(root, 30, 50)
    rewritten(root, lambda table: table.drop(["size"]))
    assert turn(root, day(53)).exit_code == 12, "one file of two lacks it"
    assert len(alarms(root)) == 2


def test_a_dry_run_says_it_and_writes_nothing(root: Path) -> None:
    rewritten(root, lambda table: table.drop(["size"]))
    assert turn(root, DUE, dry_run=True).exit_code == 12
    assert alarms(root) == []


def test_a_used_column_of_another_kind_keeps_the_champion(root: Path) -> None:
    def dated(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index("size"), "size", table["seen"])

    rewritten(root, dated)
    said = halted(turn(root, DUE), root)
    assert "holds timestamp values; the model was trained on number values" in said
    assert "--anyway" in said
    assert turn(root, DUE, anyway=True).version == 2, "a person says that it is meant"


def test_columns_that_are_not_read_come_and_go_with_a_note(root: Path) -> None:
    def changed(table: pa.Table) -> pa.Table:
        weekday = pa.array(np.arange(len(table)) % 7)
        return table.drop(["user"]).append_column("weekday", weekday)

    rewritten(root, changed)
    second = turn(root, DUE)
    assert second.version == 2
    (note,) = [note for note in second.notes if note.code is Code.COLUMNS_CHANGED]
    assert note.values == {"came": ["weekday"], "gone": ["user"], "kinds": {}}
    assert "new are 'weekday'" in str(note)


def test_a_column_that_is_not_read_may_change_its_kind(root: Path) -> None:
    def texts(table: pa.Table) -> pa.Table:
        user = pa.array([f"u{one}" for one in table["user"].to_pylist()])
        return table.set_column(table.schema.get_field_index("user"), "user", user)

    rewritten(root, texts)
    (note,) = [note for note in turn(root, DUE).notes if note.code is Code.COLUMNS_CHANGED]
    assert note.values["kinds"] == {"user": ["number", "category"]}


def test_before_the_first_version_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    make_project(tmp_path, SETTINGS_TEXT, {'drop = ["user"]': 'drop = ["usr"]'})
    add_days(tmp_path, 0, 10)
    with pytest.raises(DataError, match="'usr'"):
        turn(tmp_path, day(13))


def test_what_the_command_says_of_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(root, lambda table: table.drop(["size"]))
    assert main(["retrain", "--project", str(root), "--now", DUE]) == 12
    said = capsys.readouterr().out
    assert said.startswith("An alarm: nothing is trained, the champion stays")
    _, found = run(root)
    assert (found["decision"], found["alarms_noted"][-1]["code"]) == ("keep", "columns_unfit")
    assert main(["history", "--project", str(root)]) == 0
    told = capsys.readouterr().out
    assert "Turns that an alarm ended" in told
    assert day(33) in told.split("Turns that an alarm ended")[1]


def test_a_database_that_lost_a_column_that_the_query_marks_by_is_an_alarm_too(tmp_path: Path) -> None:
    source = 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"'
    root = make_project(tmp_path, SETTINGS_TEXT, {'files = "data/*.parquet"': source})
    into_database(root / "shop.sqlite", orders(0, 10))
    assert turn(root, day(13)).promoted
    (root / "shop.sqlite").unlink()
    into_database(root / "shop.sqlite", orders(0, 30))
    with sqlite3.connect(root / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders DROP COLUMN known")
    connection.close()
    _, found = run(root)
    assert (found["exit"], found["decision"], len(alarms(root))) == (12, "keep", 1)
    _, found = run(root, "--dry-run")
    assert (found["exit"], len(alarms(root))) == (12, 1)


def test_a_used_column_that_is_all_text_in_a_new_file_keeps_the_champion(tmp_path: Path) -> None:
    """A text file has no types: the kind of its columns is that of the live model."""
    make_project(tmp_path, SETTINGS_TEXT, {"*.parquet": "*.csv"})
    for number in range(10):
        write_csv(orders(number, number + 1), tmp_path / "data" / f"{number:03d}.csv")
    assert turn(tmp_path, day(13)).promoted
    rows = orders(10, 11)
    place = rows.schema.get_field_index("size")
    rows = rows.set_column(place, "size", pa.array(["unknown"] * len(rows)))
    write_csv(rows, tmp_path / "data" / "010.csv")
    found = turn(tmp_path, day(14), dry_run=True)
    (alarm,) = found.alarms
    assert "Of column 'size' 60 values cannot be read as a number, such as 'unknown', and no other." in str(alarm)
