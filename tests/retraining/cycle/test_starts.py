"""A start that is refused gives way to the next dearer one, for the twin that is judged and the version alike."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, add_days, begun_project, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.formatting.notes import Code
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import KEPT, read_version
from batchlearn.retraining.cycle.continued import STARTS, dearer_start
from batchlearn.retraining.shell.turn import CycleResult

DUE = day(33)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begun_project(tmp_path_factory.mktemp("begun") / "project")


def project(begun: Path, root: Path, start: str, changes: dict[str, str] | None = None) -> Path:
    shutil.copytree(begun, root)
    return make_project(root, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"', **(changes or {})})


def add_violet(root: Path, first: int, last: int, which: slice) -> None:
    """Put the orders of some days into a file, some of them of a colour that the champion never saw."""
    rows = orders(first, last)
    colour = np.array(rows["colour"].to_pylist(), dtype=object)
    colour[which] = "violet"
    place = rows.schema.get_field_index("colour")
    pq.write_table(rows.set_column(place, "colour", pa.array(colour.tolist())), root / "data" / f"{first:03d}.parquet")


def fell_back(found: CycleResult) -> list[tuple[str, str, str, str]]:
    """Return of each start that was refused: it, what was taken for it, whose refusal it was, and its code."""
    told = [note.values for note in found.notes if note.code is Code.START_FELL_BACK]
    return [(one["asked"], one["start"], one["of"], one["code"]) for one in told]


def same_as_from_scratch(root: Path, found: CycleResult, folder: Path) -> None:
    """Compare with a project whose policy asks for scratch: model and verdict are the same to the bit."""
    shutil.copytree(root, folder)
    shutil.rmtree(folder / "versions" / "000002")
    for event in sorted((folder / "events").iterdir())[1:]:
        event.unlink()
    for promotion in sorted((folder / "promotions").iterdir())[1:]:
        promotion.unlink()
    make_project(folder)
    other = turn(folder, DUE)
    one, two = (load_version(FolderStore(at), read_version(FolderStore(at), 2)).model for at in (root, folder))
    assert np.array_equal(one.parameters, two.parameters)
    assert found.gate is not None
    assert other.gate is not None
    assert (found.gate.difference, found.gate.rows) == (other.gate.difference, other.gate.rows)


@pytest.mark.parametrize("start", ["warm", "update", "fine-tune"])
def test_a_level_that_the_encoding_lacks_is_learned_from_scratch(start: str, begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path / "one", start)
    add_violet(root, 20, 30, slice(0, 100))
    second = turn(root, DUE)
    assert fell_back(second) == [(start, "scratch", "twin", "encoding-outgrown")]
    assert (second.start, second.start_asked, second.version) == ("scratch", start, 2)
    assert second.exit_code == (0 if second.gate is None else second.gate.exit_code)
    assert second.gate is not None
    assert second.gate.rows > 0, "its twin was judged"
    described = read_version(FolderStore(root), 2).description
    assert (described["start"], described["start_asked"]) == ("scratch", start)
    assert "'violet' of 'colour' has" in " ".join(map(str, second.notes))
    same_as_from_scratch(root, second, tmp_path / "other")


def test_a_level_that_only_the_judging_rows_have_sends_the_twin_back_too(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path / "one", "update")
    add_violet(root, 20, 30, slice(-50, None))
    second = turn(root, DUE)
    assert fell_back(second) == [("update", "scratch", "version", "encoding-outgrown")]
    same_as_from_scratch(root, second, tmp_path / "other")


@pytest.mark.parametrize("start", ["update", "fine-tune"])
def test_a_past_that_changed_is_trained_on_warm(start: str, begun: Path, tmp_path: Path) -> None:
    """Another condition leaves out rows that the kept totals are of."""
    root = project(begun, tmp_path / "one", start)
    text = (root / "batchlearn.toml").read_text()
    (root / "batchlearn.toml").write_text(text.replace('target = "bought"', 'target = "bought"\nwhere = "user <> 7"'))
    second = turn(root, DUE)
    assert [(one[1], one[3]) for one in fell_back(second)] == [("warm", "past-changed")]
    assert second.certificate is not None
    assert second.certificate["status"] == "certified"
    assert second.certificate["rows"] == np.sum(np.asarray(orders(0, 20)["user"]) != 7) + np.sum(
        np.asarray(orders(20, 30)["user"]) != 7
    )
    assert second.start == "warm"


def test_a_past_that_left_the_window_is_trained_on_warm(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": 'rows = 300\nstart = "update"\nwindow = "8d"'})
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    add_days(root, 20, 30)
    second = turn(root, DUE)
    assert [(one[0], one[1], one[3]) for one in fell_back(second)] == [("update", "warm", "past-gone")]
    assert second.start == "warm"


def test_another_recipe_and_totals_that_were_not_kept_are_no_end_either(begun: Path, tmp_path: Path) -> None:
    other = project(begun, tmp_path / "recipe", "update", {"alpha = 0.01": "alpha = 0.02"})
    second = turn(other, DUE)
    assert (fell_back(second)[0][3], second.start) == ("start-recipe", "scratch")
    # Three classes keep no totals.
    root = make_project(tmp_path / "three", SETTINGS_TEXT, {"rows = 300": 'rows = 300\nstart = "update"'})
    for first, last in ((0, 20), (20, 30)):
        rows = orders(first, last)
        label = np.where(np.asarray(rows["bought"]), "yes", "no").astype(object)
        label[::7] = "later"
        place = rows.schema.get_field_index("bought")
        made = rows.set_column(place, "bought", pa.array(label.tolist()))
        pq.write_table(made, root / "data" / f"{first:03d}.parquet")
        found = turn(root, day(last + 3))
    assert not read_version(FolderStore(root), 1).sizes.keys() & {KEPT}
    assert (fell_back(found)[0][3], found.start) == ("champion-kept-nothing", "warm")


def test_where_no_row_came_an_update_asked_for_is_a_warm_training(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path / "one", "fine-tune")
    assert turn(root, DUE).start == "fine-tune"
    again = turn(project(begun, tmp_path / "two", "fine-tune"), day(23), anyway=True)
    assert [(one[0], one[1], one[3]) for one in fell_back(again)] == [
        ("fine-tune", "update", "no-rows"),
        ("update", "warm", "no-rows"),
    ]
    assert again.start == "warm"


def test_the_first_version_is_from_scratch_whatever_is_asked_for(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": 'rows = 300\nstart = "update"'})
    add_days(root, 0, 20)
    first = turn(root, day(23))
    assert (first.start, first.start_asked, fell_back(first)) == ("scratch", "update", [])


def test_no_start_falls_back_to_a_cheaper_one() -> None:
    codes = ("encoding-outgrown", "start-recipe", "past-changed", "past-gone", "champion-kept-nothing", "no-update")
    for start in STARTS:
        for code in (*codes, "no-rows", "label-negative", "tolerance-not-met"):
            dearer = dearer_start(start, code)
            assert dearer is None or STARTS.index(dearer) > STARTS.index(start), (start, code)
    assert [dearer_start("warm", code) for code in codes] == ["scratch", "scratch", None, None, None, None]
    assert dearer_start("update", "label-negative") is None
