"""`registry prune` and what the registry command refuses, end to end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.made import Run, answer, refusal
from tests.retraining.made import SETTINGS_TEXT, add_days, day, into_database, orders

from batchlearn.artifacts.lock import one_at_a_time

QUERY = 'database = "shop.sqlite"\nquery = "SELECT * FROM orders"'
NOTHING_NEW = {"new": 0, "late": 0, "labelled": 0, "changed": 0, "gone": 0}
MADE = Path(__file__).resolve().parents[2] / "registry" / "fixtures" / "registry-3"


@pytest.fixture
def lived(here: Path) -> Path:
    """A project whose first version of two is live again after a rollback."""
    shutil.copytree(MADE, here, dirs_exist_ok=True)
    (here / "data").mkdir()
    add_days(here, 0, 10)
    add_days(here, 10, 20, slope=-1.5)
    return here


def test_pruning_says_what_goes_and_the_ledger_knows_it(lived: Path, run: Run) -> None:
    assert run("promote", "2", "--force", "--why", "again")[0] == 0
    totals = lived / "versions" / "000001" / "kept.safetensors"
    size = totals.stat().st_size
    would = answer(run, "registry", "prune", "--keep", "1", "--dry-run")
    assert (would["dry_run"], would["keep"], would["kept"], would["bytes"]) == (True, 1, [2], size)
    assert totals.is_file()
    code, out, _ = run("registry", "prune", "--keep", "1", "--by", "ann")
    assert code == 0
    assert out.startswith(f"Removed 1 file, {size:,} bytes\n  - version 1: kept.safetensors, {size:,} bytes\n")
    assert not totals.exists()
    assert answer(run, "registry", "check")["sound"] is True
    assert answer(run, "registry", "prune", "--keep", "1")["files"] == []
    told = answer(run, "history")["pruned"]
    assert isinstance(told, list)
    assert [(one["by"], one["keep"], [file["version"] for file in one["files"]]) for one in told] == [("ann", 1, [1])]
    assert "ann: the kept totals of version 1" in run("history")[1]
    assert answer(run, "rollback")["version"] == 1
    assert run("predict", "versions/000001/model", "data/000.parquet", "-o", "scored.parquet")[0] == 0


def test_a_turn_removes_what_a_killed_pruning_left(lived: Path, run: Run) -> None:
    assert run("promote", "2", "--force", "--why", "again")[0] == 0
    totals = lived / "versions" / "000001" / "kept.safetensors"
    data = totals.read_bytes()
    assert run("registry", "prune", "--keep", "1")[0] == 0
    totals.write_bytes(data)
    assert "batchlearn registry prune --keep 1" in run("registry", "check", "--repair")[1]
    assert run("retrain", "--now", day(23), "--dry-run")[0] == 0
    assert totals.exists()
    assert run("retrain", "--now", day(23), "--memory", "1GB")[0] == 0
    assert not totals.exists()


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        (("prune",), "keep-too-few"),
        (("prune", "--keep", "0"), "keep-too-few"),
        (("prune", "--keep", "3", "--repair"), "option-unknown"),
        (("check", "--keep", "3"), "option-unknown"),
        (("check", "--dry-run"), "option-unknown"),
        (("prone",), "option-type"),
    ],
)
def test_what_the_registry_command_does_not_take_is_refused(
    typed: tuple[str, ...], slug: str, lived: Path, run: Run
) -> None:
    assert refusal(run, "registry", *typed)[:2] == (2, slug)
    assert (lived / "versions" / "000001" / "kept.safetensors").is_file()


def test_what_a_killed_turn_left_of_a_version_goes_too(lived: Path, run: Run) -> None:
    half = lived / "versions" / ".batchlearn-tmp-0123"
    (half / "model").mkdir(parents=True)
    (half / "model" / "model.json").write_bytes(b"{")
    assert answer(run, "registry", "prune", "--keep", "3", "--dry-run")["half_written"] == [half.name]
    assert half.exists()
    assert f"Removed versions/{half.name}" in run("registry", "prune", "--keep", "3")[1]
    assert not half.exists()
    assert answer(run, "registry", "check")["findings"] == []


def test_parts_of_a_query_that_were_fetched_again_go_unless_a_version_that_stays_was_trained_on_them(
    here: Path, run: Run
) -> None:
    shop = here / "shop.sqlite"
    into_database(shop, orders(0, 10))
    (here / "batchlearn.toml").write_text(SETTINGS_TEXT.replace('files = "data/*.parquet"', QUERY))
    assert answer(run, "retrain", "--now", day(13))["version"] == 1
    parts = [part_names(here)]
    for version, end in ((2, 20), (3, 30)):
        into_database(shop, orders(4, 5, seed=end))
        into_database(shop, orders(end - 10, end))
        assert run("retrain", "--now", day(end + 3))[0] in (0, 10, 11)
        assert answer(run, "promote", str(version), "--force", "--why", "newer")["version"] == version
        parts.append(part_names(here))
    again = [f"2026-01-05.{generation:06d}.parquet" for generation in (1, 2, 3)]
    assert [[name for name in names if name.startswith("2026-01-05")] for names in parts] == [
        again[:1],
        again[:2],
        again,
    ]
    would = answer(run, "registry", "prune", "--keep", "2", "--dry-run")["files"]
    assert isinstance(would, list)
    assert [one["file"].split("/")[-1] for one in would] == ["kept.safetensors", again[0]]
    assert [one["version"] for one in would] == [1, None]
    assert run("registry", "prune", "--keep", "2", "--by", "ann")[0] == 0
    assert part_names(here) == [name for name in parts[-1] if name != again[0]]
    assert answer(run, "registry", "check")["sound"] is True
    assert "ann: the kept totals of version 1 and 1 part of a query" in run("history")[1]
    assert answer(run, "retrain", "--now", day(33))["rows"] == {**NOTHING_NEW, "seen": 1920, "known": 1920}


def part_names(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "snapshots").rglob("*.parquet"))


def test_nothing_is_pruned_while_another_command_trains(lived: Path, run: Run) -> None:
    with one_at_a_time(lived):
        assert refusal(run, "registry", "prune", "--keep", "1")[:2] == (4, "project-locked")
