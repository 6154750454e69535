"""The cron line and the systemd units of docs/retraining.md: they parse, and what they run does what the page says."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.made import SOURCE, Run, environment
from tests.retraining.made import add_days

from batchlearn.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8").partition("## Unattended")[2]
MADE = ROOT / "tests" / "registry" / "fixtures" / "registry-3"
(CRON,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
SERVICE, TIMER = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
FIELD = re.compile(r"(?:\*|\d+(?:-\d+)?)(?:/\d+)?(?:,\d+(?:-\d+)?(?:/\d+)?)*\Z")
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
CALENDAR = re.compile(r"(?:[A-Z][a-z]{2} )?\*-\*-\* \d\d:\d\d:\d\d UTC\Z")


def cron_line() -> tuple[list[str], str]:
    """Return the five fields of the one line that is no setting, and what it runs."""
    (line,) = [line for line in CRON.splitlines() if not re.match(r"[A-Z_]+=", line)]
    *fields, command = line.split(None, 5)
    return fields, command


def unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Parse a unit: sections of keys, each of which may come more than once."""

    class Many(dict[str, str]):
        def __setitem__(self, key: str, value: str) -> None:
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Many, strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {name: {key: value.split("\n") for key, value in parser.items(name)} for name in parser.sections()}


def commands() -> list[list[str]]:
    """Return each batchlearn command that the examples run, as it is typed."""
    inside = re.findall(r"\bbatchlearn ([^>;]+)", cron_line()[1])
    typed = [shlex.split(command) for command in [*inside, *unit(SERVICE)["Service"]["ExecStart"]]]
    return [words[1:] if words[0].endswith("/batchlearn") else words for words in typed]


@pytest.fixture
def nightly(here: Path) -> Path:
    """A project with a program `batchlearn` in its folder `bin`."""
    shutil.copytree(MADE, here, dirs_exist_ok=True)
    (here / "data").mkdir()
    add_days(here, 0, 20)
    (here / "bin").mkdir()
    program = here / "bin" / "batchlearn"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m batchlearn "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return here


def test_cron_has_five_fields_within_their_limits() -> None:
    fields, _ = cron_line()
    assert len(fields) == 5
    for field, (low, high) in zip(fields, LIMITS, strict=True):
        assert FIELD.match(field)
        assert all(low <= int(number) <= high for number in re.findall(r"(?<!/)\b\d+", field))


def test_cron_would_take_a_percent_sign_for_the_end_of_the_line() -> None:
    assert "%" not in cron_line()[1]


def test_each_command_is_one_and_its_flags_exist(run: Run) -> None:
    assert sorted({words[0] for words in commands()}) == ["registry", "retrain"]
    assert len(commands()) == 4
    for words in commands():
        assert words[0] in COMMANDS
        known = run(words[0], "--help")[1]
        assert all(flag in known for flag in words if flag.startswith("--")), words


@pytest.mark.parametrize(("answer", "told"), [(0, False), (10, False), (11, False), (12, True), (4, True), (137, True)])
def test_the_cron_line_tells_somebody_where_the_page_says(answer: int, told: bool, nightly: Path) -> None:
    program = nightly / "bin" / "batchlearn"
    program.write_text(f'#!/bin/sh\necho "$@"\n[ "$1" != retrain ] || exit {answer}\n')
    said = run_cron_line(nightly)
    assert (said != "") is told
    if told:
        assert f"retrain ended with {answer}: {nightly}/retrain.log" in said
    assert (nightly / "retrain.log").read_text() == "retrain\nregistry prune --keep 3\n"


def test_the_cron_line_turns_the_cycle_of_a_project(nightly: Path) -> None:
    assert run_cron_line(nightly) == ""
    log = (nightly / "retrain.log").read_text()
    assert re.search(r"^(Version 3 |Kept)", log)
    assert "Nothing to prune" in log


def run_cron_line(project: Path) -> str:
    """Run what cron would, as it would, with the project and the program where they are."""
    command = cron_line()[1].replace("/srv/orders", shlex.quote(str(project)))
    paths = {"PATH": f"{project / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment(paths), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_the_units_have_the_sections_and_keys_of_a_service_and_a_timer(nightly: Path) -> None:
    service, timer = unit(SERVICE), unit(TIMER)
    assert set(service) == {"Unit", "Service"}
    assert set(timer) == {"Unit", "Timer", "Install"}
    assert service["Service"]["Type"] == ["oneshot"], "only such a one has more than one command"
    assert service["Service"]["SuccessExitStatus"] == ["10 11"]
    (when,) = timer["Timer"]["OnCalendar"]
    assert CALENDAR.match(when)
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    subprocess.run([analyze, "calendar", when], capture_output=True, check=True, timeout=60)
    # The program is not installed where the example has it, and there is no such user and folder here.
    there = SERVICE.replace("/usr/local/bin/batchlearn", str(nightly / "bin" / "batchlearn"))
    (nightly / "retrain-orders.service").write_text(there)
    (nightly / "retrain-orders.timer").write_text(TIMER)
    units = [str(nightly / "retrain-orders.service"), str(nightly / "retrain-orders.timer")]
    found = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_table_has_every_exit_code_once() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
    codes = [int(code) for row in rows for code in row.split(",")]
    assert sorted(codes) == [*range(8), 10, 11, 12, 130, 137, 143]
