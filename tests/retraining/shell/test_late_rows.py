"""Rows that land late, grow, get their labels later, are replaced or go: told apart, and learned from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import ROWS, SETTINGS_TEXT, context, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.cli.project.retrain import CycleOptions, cycle_context
from batchlearn.errors import DataError
from batchlearn.formatting.notes import Code
from batchlearn.models.encoded import EncodedModel
from batchlearn.progress import finish
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version
from batchlearn.retraining.cycle.state import KnownRows
from batchlearn.retraining.project import open_project
from batchlearn.retraining.shell.forget import forget_rows
from batchlearn.retraining.shell.records import RegisteredVersions, newest_version
from batchlearn.retraining.shell.turn import CycleResult, run_turn
from batchlearn.training.verification.stored import verify_model

# Labels are there with the row, or are filled in later; nothing says when.
PLAIN = {
    'labelled = "known"\n': "",
    'drop = ["user"]': 'drop = ["user", "known"]',
    "rows = 300": "rows = 1",
    "[policy]": '[gate]\npromote = "auto"\n\n[policy]',
}


def put(root: Path, name: str, table: pa.Table) -> None:
    pq.write_table(table, root / "data" / f"{name}.parquet")


def unlabelled(table: pa.Table, which: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index("bought")
    return table.set_column(place, "bought", pc.if_else(pa.array(which), pa.scalar(None, pa.bool_()), table["bought"]))


def began(root: Path, start: str = "update") -> Path:
    """A project with sixteen days, a file each but the fifth, of which the first version is live."""
    make_project(root, SETTINGS_TEXT, {**PLAIN, "rows = 300": f'rows = 1\nstart = "{start}"'})
    for number in range(16):
        if number != 4:
            put(root, day(number), orders(number, number + 1))
    assert now(root).promoted
    return root


def now(root: Path, **options: Any) -> CycleResult:
    """Turn the cycle by the clock of the data."""
    flags = {key: options.pop(key) for key in ("dry_run", "anyway") if key in options}
    return finish(run_turn(cycle_context(open_project(root), CycleOptions(threads=1, **options)), **flags))


def counts(found: CycleResult) -> dict[str, int]:
    return {name: rows for name, rows in found.rows.items() if rows and name not in ("seen", "known")}


def model_of(root: Path, number: int) -> EncodedModel:
    return load_version(FolderStore(root), read_version(FolderStore(root), number)).model


def updated(root: Path, folder: Path) -> CycleResult:
    """Turn with the start update; it ends in what warm ends in, which reads all rows that are there now."""
    other = shutil.copytree(root, folder / "warm")
    text = (root / "batchlearn.toml").read_text()
    (other / "batchlearn.toml").write_text(text.replace('start = "update"', 'start = "warm"'))
    found, again = now(root, anyway=True), now(other, anyway=True)
    assert found.certificate is not None
    assert again.certificate is not None
    assert found.certificate["status"] == "certified"
    assert again.certificate["rows"] == found.certificate["rows"]
    rows = orders(0, 30).drop_columns(["bought"])
    one, two = model_of(root, found.version or 0), model_of(other, again.version or 0)
    apart = np.abs(one.predict(rows).response - two.predict(rows).response)
    assert apart.max() <= found.certificate["prediction_bound"] + again.certificate["prediction_bound"]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return began(tmp_path / "project")


def test_a_day_that_lands_after_its_midnight_is_new_by_the_clock_of_the_data(root: Path) -> None:
    put(root, day(16), orders(16, 17, slope=-1.5))
    would = now(root, dry_run=True)
    assert counts(would) == {"new": ROWS}
    assert would.bracket is not None
    assert would.alarms == ()
    assert would.decision == "retrain"


def test_a_day_that_lands_late_is_learned_from_and_does_not_judge(root: Path, tmp_path: Path) -> None:
    put(root, day(4), orders(4, 5, slope=-1.5))
    late = updated(root, tmp_path)
    assert counts(late) == {"late": ROWS}
    assert (late.alarms, late.bracket is not None) == ((), True)
    assert late.gate is not None
    assert (late.gate.verdict, late.gate.rows) == ("not enough evidence", 0)


def test_a_file_that_grows_has_new_rows_at_its_end(root: Path, tmp_path: Path) -> None:
    put(root, day(15), pa.concat_tables([orders(15, 16), orders(16, 17)]))
    grown = updated(root, tmp_path)
    assert counts(grown) == {"new": ROWS}
    assert grown.alarms == ()


def test_labels_that_are_filled_in_later_are_a_count_of_their_own(tmp_path: Path) -> None:
    root, waits = tmp_path / "project", np.arange(ROWS) % 3 == 0
    make_project(root, SETTINGS_TEXT, {**PLAIN, "rows = 300": 'rows = 1\nstart = "update"'})
    for number in range(16):
        put(root, day(number), unlabelled(orders(number, number + 1), waits & (number > 13)))
    assert now(root).promoted
    put(root, day(15), orders(15, 16))
    filled = updated(root, tmp_path)
    assert counts(filled) == {"labelled": int(waits.sum())}
    assert filled.alarms == ()
    put(root, day(16), orders(16, 17))
    put(root, day(14), orders(14, 15))
    assert counts(now(root)) == {"new": ROWS, "labelled": int(waits.sum())}


@pytest.mark.parametrize("start", ["update", "fine-tune"])
def test_where_a_file_was_replaced_the_totals_are_found_again(start: str, tmp_path: Path) -> None:
    root = began(tmp_path / "project", start)
    put(root, day(5), orders(5, 6, slope=-1.5, seed=3))
    put(root, day(16), orders(16, 17))
    found = updated(root, tmp_path) if start == "update" else now(root)
    assert counts(found) == {"new": ROWS, "changed": ROWS}
    (alarm,) = found.alarms
    assert alarm.values == {"changed": ROWS, "gone": 0, "files": [f"data/{day(5)}.parquet"]}
    (note,) = (note for note in found.notes if note.code is Code.TOTALS_FOUND_AGAIN)
    assert note.values["rows"] == 15 * ROWS
    assert found.bracket is not None
    assert found.bracket["rung"] == 2


def test_a_file_that_is_gone_is_no_part_of_the_next_model(root: Path, tmp_path: Path) -> None:
    (root / "data" / f"{day(3)}.parquet").unlink()
    put(root, day(16), orders(16, 17))
    assert counts(updated(root, tmp_path)) == {"new": ROWS, "gone": ROWS}


def test_a_shorter_file_has_rows_that_are_gone(root: Path) -> None:
    put(root, day(3), orders(3, 4).slice(0, 50))
    assert counts(now(root, dry_run=True)) == {"changed": 50, "gone": ROWS - 50}


def test_a_file_that_was_written_again_or_touched_is_the_same(root: Path) -> None:
    pq.write_table(orders(3, 4), root / "data" / f"{day(3)}.parquet", compression="zstd", row_group_size=7)
    os.utime(root / "data" / f"{day(2)}.parquet")
    kept = now(root)
    assert (kept.decision, counts(kept), kept.alarms) == ("keep", {}, ())


def test_values_behind_an_unchanged_size_and_time_are_compared_when_asked(root: Path) -> None:
    path = root / "data" / f"{day(3)}.parquet"
    before = path.stat()
    rows = orders(3, 4)
    other = rows.set_column(rows.schema.get_field_index("size"), "size", pc.negate(rows["size"]))
    put(root, day(3), other)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert counts(now(root, dry_run=True)) == {}
    assert counts(now(root, dry_run=True, rehash=True)) == {"changed": ROWS}


def test_no_row_that_judges_was_seen_by_the_twin_or_is_earlier_than_what_it_saw(root: Path) -> None:
    put(root, day(4), orders(4, 5, slope=-1.5))
    put(root, day(16), orders(16, 17, slope=-1.5))
    given = context(root, day(17))
    versions = RegisteredVersions(given, newest_version(given.project.store))
    list_of = versions.rows_of(1)
    assert list_of is not None
    champion = versions.champion()
    known = KnownRows(given.source, given.source.times(), given.now, given.plan, given.source.compare(list_of))
    second = turn(root, day(17))
    cut = next(note.values["after"] for note in second.notes if note.code is Code.JUDGED_BY_LATER_ROWS)
    instant = float(np.datetime64(cut.strip("'"), "us").astype(np.int64))
    parts = known.parts(champion, instant)

    def times(table: bl.Table) -> np.ndarray:
        return np.concatenate([batch.column("seen").to_numpy(zero_copy_only=False) for batch in table.scan(["seen"])])

    judging = times(known.source.table(known.judging(champion), known.times.after(instant)))
    assert second.gate is not None
    assert len(judging) == second.gate.rows
    assert judging.min() > times(parts.everything).max() >= times(parts.added).max()
    assert np.isin(times(known.source.table(known.since(champion))), times(orders_table(4))).any(), "late rows are new"
    assert not np.isin(judging, times(orders_table(4))).any()


def orders_table(number: int) -> bl.Table:
    return bl.read(orders(number, number + 1, slope=-1.5), target="bought", time="seen")


def test_rows_later_than_lateness_says_are_told(tmp_path: Path) -> None:
    root = began(tmp_path / "project")
    text = (root / "batchlearn.toml").read_text()
    (root / "batchlearn.toml").write_text(text.replace('time = "seen"', 'time = "seen"\nlateness = "2d"'))
    put(root, day(4), orders(4, 5))
    found = now(root, dry_run=True)
    (note,) = (note for note in found.notes if note.code is Code.LATER_THAN_LATENESS)
    assert note.values["rows"] == ROWS
    (root / "batchlearn.toml").write_text(text.replace('time = "seen"', 'time = "seen"\nlateness = "15d"'))
    assert Code.LATER_THAN_LATENESS not in {note.code for note in now(root, dry_run=True).notes}


@pytest.mark.parametrize(("clock", "due"), [("data", True), ("wall", False)])
def test_a_period_passes_by_the_clock_that_the_policy_counts_by(clock: str, due: bool, tmp_path: Path) -> None:
    root = tmp_path / "project"
    every = f'when = "every"\nperiod = "3d"\nclock = "{clock}"'
    settings = {key: new for key, new in PLAIN.items() if key != "rows = 300"}
    make_project(root, SETTINGS_TEXT, {**settings, 'when = "rows"\nrows = 300': every})
    put(root, day(0), orders(0, 1))
    assert now(root).promoted
    put(root, day(3), orders(3, 5))
    found = now(root, dry_run=True)
    assert found.decision == ("retrain" if due else "keep")
    assert "of the data" in found.reason
    assert "on the wall" in found.reason


def test_a_row_with_a_time_to_come_does_not_move_the_clock(root: Path) -> None:
    rows = orders(16, 17)
    seen = np.asarray(rows["seen"]).copy()
    seen[-1] = np.datetime64("2199-01-01", "us")
    put(root, day(16), rows.set_column(0, "seen", pa.array(seen)))
    assert counts(now(root, dry_run=True)) == {"new": ROWS - 1}


def test_a_version_is_verified_by_the_rows_of_its_list_whatever_has_landed_since(root: Path) -> None:
    model = root / "versions" / "000001" / "model"
    put(root, day(4), orders(4, 5))
    put(root, day(15), pa.concat_tables([orders(15, 16), orders(12, 13)]))
    for rows in (root / "data", root / "versions" / ".." / "data"):
        found = verify_model(model, rows)
        assert (found.holds, found.rows.used) == (True, 15 * ROWS)
    put(root, day(5), orders(5, 6, slope=-1.5, seed=3))
    with pytest.raises(DataError) as refusal:
        verify_model(model, root / "data")
    assert refusal.value.code == "rows-replaced"
    assert f"'data/{day(5)}.parquet'" in refusal.value.message
    assert "no sign that the model was altered" in refusal.value.message


def test_what_forgotten_rows_a_version_holds_is_told_by_its_list(root: Path) -> None:
    listed = sum(int(np.sum(np.asarray(orders(one, one + 1)["user"]) == 7)) for one in range(16) if one != 4)
    put(root, day(4), orders(4, 5))
    forgotten = finish(forget_rows(context(root, day(16)), "user = 7", "asked"))
    held = next(one for one in forgotten.held if "versions/000001" in one.what and "model" in one.what)
    assert held.rows == listed


def test_a_row_that_meets_the_condition_of_the_source_since_is_another_one(tmp_path: Path) -> None:
    """The condition is on a column that the model does not read; as many rows came to meet it as ceased to."""
    root = make_project(tmp_path / "project", SETTINGS_TEXT, {**PLAIN, "rows = 300": 'rows = 1\nstart = "update"'})
    text = (root / "batchlearn.toml").read_text()
    (root / "batchlearn.toml").write_text(text.replace("drop = [", 'where = "user < 20"\ndrop = ['))
    for number in range(16):
        put(root, day(number), orders(number, number + 1))
    assert now(root).promoted
    rows = orders(5, 6)
    user = np.asarray(rows["user"]).copy()
    met, other = np.flatnonzero(user < 20)[:9], np.flatnonzero(user >= 20)[:9]
    user[met], user[other] = user[other], user[met]
    put(root, day(5), rows.set_column(rows.schema.get_field_index("user"), "user", pa.array(user)))
    put(root, day(16), orders(16, 17))
    found = updated(root, tmp_path)
    assert counts(found)["changed"] == int(np.sum(user < 20))
    assert Code.TOTALS_FOUND_AGAIN in {note.code for note in found.notes}


def test_rows_in_place_of_others_that_nothing_was_learned_from_are_new(tmp_path: Path) -> None:
    root, all_of_them = tmp_path / "project", np.ones(ROWS, dtype=bool)
    make_project(root, SETTINGS_TEXT, {**PLAIN, "rows = 300": 'rows = 1\nstart = "update"'})
    for number in range(16):
        put(root, day(number), orders(number, number + 1))
    put(root, day(16), unlabelled(orders(16, 17), all_of_them))
    assert now(root).promoted
    put(root, day(16), orders(16, 17, seed=3))
    found = updated(root, tmp_path)
    assert sum(counts(found).get(name, 0) for name in ("new", "late")) == ROWS
    assert (found.alarms, found.start, "changed" in counts(found)) == ((), "update", False)


@pytest.mark.parametrize("what", ["replaced", "renamed"])
def test_no_row_that_a_waiting_version_was_trained_on_judges_it(what: str, tmp_path: Path) -> None:
    anytime = {**PLAIN, "[policy]": '[gate]\nmode = "anytime"\n\n[policy]'}
    root = make_project(tmp_path / "project", SETTINGS_TEXT, anytime)
    for number in range(16):
        put(root, day(number), orders(number, number + 1))
    assert now(root).promoted
    put(root, day(16), orders(16, 20))
    assert now(root, anyway=True).version == 2
    path = root / "data" / f"{day(16)}.parquet"
    if what == "replaced":
        put(root, day(16), orders(16, 20, seed=3))
    else:
        path.rename(path.with_name("renamed.parquet"))
    text = (root / "batchlearn.toml").read_text()
    (root / "batchlearn.toml").write_text(text.replace("rows = 1", "rows = 9999"))
    put(root, day(20), orders(20, 21))
    found = now(root)
    assert (found.decision, found.version) == ("keep", 2)
    assert found.gate is not None
    assert found.gate.rows == ROWS
    assert [alarm.code for alarm in found.alarms] == [Code.ROWS_REPLACED]
