"""Each turn that goes into the ledger has its page: whole or not at all, and never written over."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.report.reading import Reading
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, orders

from batchlearn.errors import ResourceError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose world turns over after ten days."""
    make_project(tmp_path, SETTINGS_TEXT, {"[policy]": '[gate]\npromote = "auto"\n\n[policy]'})
    add_days(tmp_path, 0, 10)
    return tmp_path


def turned(run: Run, root: Path, number: int, *flags: str) -> dict[str, object]:
    code, out, _ = run("retrain", "--project", str(root), "--now", day(number), "--json", *flags)
    said = json.loads(out)
    assert isinstance(said, dict)
    return {**said, "exit": code}


def pages(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "reports").iterdir()) if (root / "reports").exists() else []


def test_a_turn_that_is_recorded_has_a_page_and_others_have_none(root: Path, run: Run) -> None:
    assert turned(run, root, 13, "--dry-run")["report"] is None
    first = turned(run, root, 13)
    assert first["report"] == str(root / "reports" / "000001.html")
    assert turned(run, root, 14)["report"] is None, "nothing was due"
    add_days(root, 10, 30, slope=-1.5)
    assert turned(run, root, 33, "--dry-run")["report"] is None
    second = turned(run, root, 33)
    assert pages(root) == ["000001.html", "000002.html"]
    text = Reading(Path(str(second["report"])).read_text(encoding="utf-8")).text
    assert "Version 2 is live" in text
    assert "Predicting bought" in text
    assert day(33) in text
    # The pages are no rows of the source, whatever its pattern matches.
    (root / "batchlearn.toml").write_text((root / "batchlearn.toml").read_text().replace("data/*.parquet", "**/0*"))
    assert turned(run, root, 33)["decision"] == "keep"


def test_the_constant_of_the_judge_knows_nothing_of_the_judging_rows(root: Path, run: Run) -> None:
    turned(run, root, 13)
    add_days(root, 10, 30, slope=-1.5)
    second = turned(run, root, 33)
    gate, alarms = second["gate"], second["alarms_noted"]
    assert isinstance(gate, dict)
    assert isinstance(alarms, list)
    (cut,) = [note["values"]["after"] for note in second["noted"] if note["code"] == "judged_by_later_rows"]  # type: ignore[attr-defined]
    rows = pq.read_table(root / "data")
    seen, label = np.asarray(rows["seen"]), np.asarray(rows["bought"]).astype(float)
    late = seen > np.datetime64(cut.strip("'"))
    share = label[~late].mean()
    loss = -np.mean(label[late] * math.log(share) + (1.0 - label[late]) * math.log1p(-share))
    assert gate["losses"]["rows"] == gate["rows"] == late.sum()
    assert gate["losses"]["constant"] == pytest.approx(loss, rel=1e-12)
    assert gate["losses"]["challenger"] - gate["losses"]["champion"] == pytest.approx(gate["difference"], rel=1e-9)
    # In a world that turned over the champion is worse than the constant, and that is an alarm.
    (alarm,) = [note for note in alarms if note["code"] == "worse_than_constant"]
    assert alarm["values"]["who"] == "champion"
    assert alarm["values"]["constant"] == pytest.approx(loss, rel=1e-12)
    assert alarm["values"]["low"] > 0.0
    record = json.loads((root / "versions" / "000002" / "version.json").read_text())
    assert record["gate"]["losses"] == gate["losses"]


def test_a_page_that_cannot_be_written_is_left_whole_or_not_at_all(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    code, out, _ = run("retrain", "--project", str(root), "--now", day(13), "--json")
    assert code == ResourceError.exit_code
    assert json.loads(out)["error"]["code"] == "report-not-written"
    assert pages(root) == []
    monkeypatch.undo()
    assert turned(run, root, 14)["version"] is None, "the version is registered all the same"
    assert pages(root) == ["000001.html"], "the next turn writes what that one could not"


def test_killed_while_it_writes_a_page_a_turn_leaves_none_of_that_name(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    assert run("retrain", "--project", str(root), "--now", day(13))[0] == 130
    monkeypatch.undo()
    assert not (root / "reports" / "000001.html").exists()
    add_days(root, 10, 30, slope=-1.5)
    assert turned(run, root, 33)["version"] == 2
    assert pages(root) == ["000001.html", "000002.html"]


def test_the_page_that_a_killed_turn_lacks_is_written_as_it_would_have_been_but_for_seconds(
    root: Path, run: Run
) -> None:
    turned(run, root, 13)
    add_days(root, 10, 30, slope=-1.5)
    turned(run, root, 33)
    page = root / "reports" / "000002.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    turned(run, root, 33, "--dry-run")
    assert not page.exists()
    assert turned(run, root, 34)["decision"] == "keep"
    seconds = r"<div><dt>it took</dt><dd>[0-9.]+ s</dd></div>\n?"
    assert re.search(seconds, before)
    assert page.read_text(encoding="utf-8") == re.sub(seconds, "", before)


def test_a_turn_that_was_killed_before_its_record_has_its_page_from_the_next_one(root: Path, run: Run) -> None:
    turned(run, root, 13)
    add_days(root, 10, 30, slope=-1.5)
    turned(run, root, 33)
    for folder, name in (("events", "000002.json"), ("promotions", "000002.json")):
        (root / folder / name).unlink()
    (root / "reports" / "000002.html").unlink()
    ended = turned(run, root, 34)
    assert (ended["version"], ended["promoted"]) == (2, True)
    text = Reading((root / "reports" / "000002.html").read_text(encoding="utf-8")).text
    assert "An earlier run was ended when version 2 was registered." in text
    assert "Loss on the judging rows" in text


def test_an_alarm_that_stands_has_one_page(root: Path, run: Run) -> None:
    turned(run, root, 13)
    pq.write_table(orders(0, 30).drop(["size"]), root / "data" / "000.parquet")
    first = turned(run, root, 33)
    assert (first["exit"], first["report"]) == (12, str(root / "reports" / "000002.html"))
    written = (root / "reports" / "000002.html").stat().st_mtime_ns
    again = turned(run, root, 34)
    assert (again["exit"], again["report"]) == (12, first["report"])
    assert (root / "reports" / "000002.html").stat().st_mtime_ns == written
    assert pages(root) == ["000001.html", "000002.html"]


def test_the_terminal_names_the_page(root: Path, run: Run) -> None:
    _, out, _ = run("retrain", "--project", str(root), "--now", day(13))
    assert "Page:" in out
    assert "000001.html" in out
