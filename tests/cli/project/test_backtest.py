"""`batchlearn backtest` from the shell to its page, and into a project."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.backtesting.made import stream
from tests.cli.made import Run, one_object
from tests.report.reading import Reading
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project

from batchlearn.formatting.notes import Code
from batchlearn.retraining.project import open_project

BACKTEST = (
    "backtest",
    "stream.parquet",
    "--target",
    "bought",
    "--time",
    "seen",
    "--labelled",
    "known",
    "--alpha",
    "0.01",
)
SHORT = ("--windows", "6d", "--policies", "never; every 6d; every 12d; every 12d with start=warm; decay 0.05")

OWN = """\
from batchlearn.formatting.notes import recorded
from batchlearn.retraining.policies import Decision


class Mondays:
    def decide(self, situation):
        return Decision({answer}, (recorded("It is Monday."),))
"""


@pytest.fixture
def rows(here: Path) -> Path:
    """A stream whose world turns, with labels that come two days late."""
    pq.write_table(stream(60, turns=(30,), delay=2), here / "stream.parquet")
    return here


def test_the_command_keeps_the_contract_of_its_json(run: Run, rows: Path) -> None:
    code, out, err = run(*BACKTEST, *SHORT, "--hold-out", "0.25", "--cost", "retrain=2", "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    assert found["format_version"] == 1
    assert [one["name"] for one in found["policies"]][:2] == ["never", "every 6d"]
    assert found["recommendation"]["policy"] != "never"
    assert found["recommendation"]["later"].keys() == {"never", "every window"}
    assert found["prices"] == {"retrain": 2.0, "hour": 0.0, "loss": 1.0}
    assert all(one["cost"] is not None for one in found["policies"])
    assert found["report"] == str(Path("backtests") / "bought-1.html")
    assert found["written"] is None
    assert "known" not in [one["name"] for one in found["columns"] if one["used"]]
    text = Reading((rows / found["report"]).read_text(encoding="utf-8")).text
    for question in ("How often should this be retrained?", "What does waiting cost?", "From scratch or warm?"):
        assert question in text
    assert not list(rows.glob("backtests/.*"))


@pytest.mark.parametrize("columns", ["100", "80", "60"])
def test_people_read_each_policy_and_the_recommendation(
    run: Run, rows: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run(*BACKTEST, *SHORT)
    assert code == 0
    words = " ".join(out.split())
    for name in ("never", "every 6d", "every 12d with start=warm", "decay 0.05"):
        assert name in words
    for part in ("What waiting costs", "Recommended: ", "The oracle", "No price was given"):
        assert part in words
    assert "Report written to backtests/bought-1.html" in words
    assert max(map(len, out.splitlines())) <= int(columns)
    assert out.isascii()
    assert (rows / "backtests" / "bought-1.html").exists()


@pytest.mark.parametrize(
    ("flags", "code", "exit_code"),
    [
        (("--cost", "retrain=-5"), "cost-negative", 2),
        (("--cost", "hours=5"), "cost-unit", 2),
        (("--windows", "1"), "windows-range", 2),
        (("--windows", "90d"), "one-window", 2),
        (("--windows", "soon"), "span-not-valid", 2),
        (("--policies", "sometimes"), "policy-not-valid", 2),
        (("--policies", "own.py:Mondays"), "policy-raised", 2),
        (("--policies", "never; never"), "policy-names", 2),
        (("--landed", "nowhere"), "column-missing", 3),
        (("--first", "1.5"), "start-range", 2),
        (("--where", "size > 1000"), "no-labels", 3),
        (("--write",), "no-project", 2),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    run: Run, rows: Path, flags: tuple[str, ...], code: str, exit_code: int
) -> None:
    (rows / "own.py").write_text(OWN.format(answer="1 / 0"))
    ended, out, _ = run(*BACKTEST, *flags, "--json")
    assert (ended, one_object(out)["error"]["code"]) == (exit_code, code)
    assert not (rows / "backtests").exists()


def test_help_says_where_pages_go_and_what_the_seed_is_of(run: Run) -> None:
    code, out, _ = run("backtest", "--help")
    words = " ".join(out.split())
    assert (code, "comparisons/" in words, "the others follow" in words) == (0, False, False)
    assert "backtests/TARGET-N.html" in words
    assert "Seed of the trainings" in words


def test_a_policy_of_the_users_own_takes_part(run: Run, rows: Path) -> None:
    (rows / "own.py").write_text(OWN.format(answer="situation.new_rows > 200"))
    code, out, _ = run(*BACKTEST, "--windows", "6d", "--policies", "never; own.py:Mondays", "--json")
    assert code == 0
    assert one_object(out)["policies"][1]["retrains"] > 2


def test_the_chosen_policy_is_what_production_runs(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(here / "shop", f'# Ours.\n{SETTINGS_TEXT}window = "9d"  # of before\n\n[gate]\nshare = 0.3\n')
    add_days(root, 0, 20)
    add_days(root, 20, 60, slope=-1.5)
    monkeypatch.chdir(root)
    told = ("--target", "bought", "--time", "seen", "--labelled", "known", "--drop", "user", "--alpha", "0.01")
    code, out, _ = run(
        "backtest", "data", *told, "--policies", "never; rows 250", "--windows", "3d", "--write", "--json"
    )
    found = one_object(out)
    assert (code, found["recommendation"]["policy"]) == (0, "rows 250")
    assert found["written"] == str(root / "batchlearn.toml")
    assert Code.PROJECT_DIFFERS not in [note["code"] for note in found["noted"]]
    text = (root / "batchlearn.toml").read_text(encoding="utf-8")
    assert text.startswith("# Ours.\n[source]")
    assert 'when = "rows 250"' in text
    assert "window" not in text
    assert "share = 0.3" in text
    project = open_project(root)
    assert str(project.policy) == "rows 250"
    assert project.settings.policy.structure == "keep"
    assert not list(root.glob(".batchlearn*"))
    code, out, _ = run("retrain", "--now", day(23), "--json")
    assert one_object(out)["version"] == 1
    code, out, _ = run("retrain", "--now", day(26), "--json")
    assert "of 250 rows" in one_object(out)["reason"]


def test_a_project_of_another_target_gets_no_policy(
    run: Run, here: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(here / "shop", changes={'target = "bought"': 'target = "paid"'})
    monkeypatch.chdir(root)
    told = ("backtest", str(rows / "stream.parquet"), *BACKTEST[2:], *SHORT, "--write", "--json")
    code, out, _ = run(*told)
    error = one_object(out)["error"]
    assert (code, error["code"]) == (2, "project-of-another")
    assert "'paid'" in error["message"]
    assert (root / "batchlearn.toml").read_text() == SETTINGS_TEXT.replace('"bought"', '"paid"')


def test_a_project_of_other_rows_and_recipe_is_noted(
    run: Run, here: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(here / "shop", changes={"alpha = 0.01": "alpha = 0.02"}))
    flags = ("--windows", "6d", "--policies", "never", "--write", "--json")
    code, out, _ = run("backtest", str(rows / "stream.parquet"), *BACKTEST[2:], *flags)
    assert code == 0
    (note,) = (note for note in one_object(out)["noted"] if note["code"] == Code.PROJECT_DIFFERS)
    assert note["values"]["differ"] == ["files", "drop", "alpha"]


def test_a_gate_is_named_and_what_it_said_is_on_the_ledger(
    run: Run, here: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--windows", "6d", "--policies", "every 6d; every 12d", "--json")
    code, out, _ = run(*BACKTEST, *flags)
    free = one_object(out)
    assert (code, free["gate"]) == (0, None)
    assert all(one["promotions"] == one["retrains"] and one["rejections"] == 0 for one in free["policies"])
    code, out, _ = run(*BACKTEST, "--gate", "non-inferiority 0.05", *flags)
    judged = one_object(out)
    assert (code, judged["gate"]["mode"], judged["gate"]["margin"]) == (0, "non-inferiority", 0.05)
    for one in judged["policies"]:
        assert one["promotions"] + one["rejections"] + one["undecided"] == one["retrains"] > one["promotions"] > 0
        trained = [line for line in one["ledger"][1:] if line["decision"] == "retrain"]
        assert sum(line["gate"]["verdict"] == "promote" for line in trained) == one["promotions"]
        assert all((line["live"] is None) == (line["gate"]["verdict"] != "promote") for line in trained)
        assert sum(len(line["alarms"]) for line in trained) == one["alarms"]
    project = make_project(here / "shop", f'{SETTINGS_TEXT}\n[gate]\nmode = "anytime"\nshare = 0.4\n')
    monkeypatch.chdir(project)
    data = str(rows / "stream.parquet")
    code, out, _ = run("backtest", data, *BACKTEST[2:], "--gate", "project", *flags)
    assert (code, one_object(out)["gate"]["mode"]) == (0, "anytime")


@pytest.mark.parametrize("gate", ["sometimes", "superiority 0.1", "non-inferiority", "", "non-inferiority x"])
def test_what_is_no_gate_is_refused(run: Run, rows: Path, gate: str) -> None:
    assert rows.exists()
    code, out, _ = run(*BACKTEST, "--gate", gate, "--json")
    assert (code, one_object(out)["error"]["code"][:5]) == (2, "gate-")
