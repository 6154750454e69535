"""Every remedy that a message prints works, word for word, and every message with one is tried."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cases.made import Command, remedies
from tests.cases.provocations import NUMBER, PROVOCATIONS, REMARKS, Provocation

from batchlearn import cli
from batchlearn.formatting.column_sentences import COLUMN_SENTENCES
from batchlearn.tables.table import read

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "batchlearn"
FLAG = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![\w-])")

# Notes on columns that training makes, once it has seen all rows.
OF_ALL_ROWS = {"spike", "time_spike"}
# Notes on columns that no text file provokes.
OF_OTHER_FILES = {
    "leak": "of labels: tests/training",
    "too_good": "of labels: tests/training",
    "unsupported_type": "of typed files: tests/tables",
    "not_in_all_files": "of several files: tests/tables",
    "taken_as_missing": "of predictions: tests/models",
    "unreadable_values": "of predictions: tests/models",
}
# Errors whose message names a flag and that no command below provokes: why, or the test that runs the remedy.
ELSEWHERE = {
    "cache-of-another": "tests/backtesting/test_cells.py",
    "checkpoint-damaged": "tests/data/rows/test_journal_folder.py",
    "checkpoint-learner": "tests/estimators/brought/test_mistakes.py",
    "checkpoint-other": "tests/cli/test_commands.py",
    "column-missing": "names --strict to say what came",
    "comparison-loss": "tests/cli/test_compare.py",
    "cost-unit": "tests/cli/project/test_backtest.py",
    "export-encoding": "tests/exports/test_exports.py",
    "export-name": "tests/exports/test_exports.py",
    "export-too-large": "tests/exports/test_exports.py",
    "forget-not-certified": "needs a version that no bound can be proved of: tests/retraining/shell/test_forget.py",
    "gate-not-passed": "tests/cli/project/test_commands.py",
    "keep-too-few": "needs a project: tests/cli/project/test_registry.py",
    "learner-needs-code": "tests/estimators/brought/test_files.py",
    "learner-needs-trust": "tests/estimators/brought/test_files.py",
    "learner-not-kept": "tests/estimators/brought/test_files.py",
    "learner-offset": "tests/estimators/brought/test_training.py",
    "learner-path": "tests/estimators/brought/test_files.py",
    "learner-recipe": "tests/estimators/brought/test_mistakes.py",
    "learner-setting": "tests/estimators/brought/test_mistakes.py",
    "learner-setting-without-model": "tests/estimators/brought/test_mistakes.py",
    "learner-task": "tests/estimators/brought/test_mistakes.py",
    "learner-without-columns": "tests/estimators/brought/test_mistakes.py",
    "memory": "needs a machine without memory",
    "memory-too-small": "tests/cli/test_mistakes.py",
    "mirror-of-another": "tests/exports/test_mlflow.py",
    "models-to-compare": "tests/cli/test_compare.py",
    "no-kept-totals": "needs a Hessian without a factor: tests/updating/test_storage.py",
    "no-number": "needs a million models",
    "no-project": "the flags of `batchlearn init`: tests/cli/project/test_commands.py",
    "no-target": "of Python alone: the command line asks for --target itself",
    "no-time": "tests/backtesting/test_history.py",
    "nothing-held-out": "tests/comparison/test_models.py",
    "nothing-to-judge": "tests/comparison/test_models.py",
    "option-missing": "tests/cli/predict/test_export.py",
    "option-unknown": "names flags of another action: tests/cli/project/test_registry.py",
    "output-not-a-model": "names --force to say that it does not help",
    "project-of-another": "needs a project: tests/cli/project/test_backtest.py",
    "project-settings": "names --help: tests/cli/project/test_commands.py",
    "version-not-rehearsed": "needs a fault of the machine: tests/retraining/shell/test_forget.py",
    "window-empty": "needs a project: tests/retraining/shell/test_turn.py",
}


def codes_in(node: ast.AST, index: frozenset[str]) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and each.value in index}


def codes_with_flags() -> Iterator[tuple[str, str]]:
    """Yield the code of each error whose message, or what it is made of in the same function, names a flag."""
    index = frozenset(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), re.M))
    for path in sorted(PACKAGE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            named = {
                target.id: ast.unparse(node.value)
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and (codes := codes_in(call, index)):
                    used = [named.get(each.id, "") for each in ast.walk(call) if isinstance(each, ast.Name)]
                    if FLAG.search(" ".join([ast.unparse(call), *used])):
                        yield from ((code, f"{path.relative_to(ROOT)}:{call.lineno}") for code in codes)


def test_every_error_that_names_a_flag_is_provoked() -> None:
    found = dict(codes_with_flags())
    assert len(found) > 30, "the errors were not found"
    tried = {each.code for each in PROVOCATIONS}
    assert {code: place for code, place in found.items() if code not in tried | {*ELSEWHERE}} == {}
    assert sorted({*ELSEWHERE} - {*found}) == []
    assert sorted({*ELSEWHERE} & tried) == []


def test_what_is_tried_elsewhere_is_there() -> None:
    places = [place for reason in ELSEWHERE.values() for place in re.findall(r"tests/\S+\.py", reason)]
    assert [place for place in places if not (ROOT / place).is_file()] == []


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda each: f"{each.code}-{each.command[0]}")
def test_the_remedies_of_an_error_work_as_printed(ask: Command, provocation: Provocation) -> None:
    provocation.make()
    for earlier in provocation.before:
        done = ask(*earlier)
        assert done.code == 0, done.record
    command = provocation.command
    refused = ask(*command)
    assert refused.code != 0, refused.record
    assert refused.error == provocation.code, refused.message
    named = remedies(refused.message)
    assert named, refused.message
    tried = 0
    for remedy in named:
        if not remedy.complete:
            assert remedy.flag in provocation.values, (remedy, refused.message)
            value = provocation.values[remedy.flag]
            if value is None:
                continue
            remedy = remedy.with_value(value)
        elif remedy.words and " ".join(remedy.words) in " ".join(command):
            continue  # what came, said again
        left_out = provocation.without.get(" ".join(remedy.words), ())
        kept = [word for word in command if word not in left_out]
        answer = ask(*remedy.applied(kept))
        if provocation.then is None:
            assert answer.code == 0, (remedy, refused.message, answer.record)
        else:
            assert answer.error == provocation.then, (remedy, answer.record)
        tried += 1
    assert tried or None in provocation.values.values(), refused.message


@pytest.mark.parametrize("code", REMARKS)
def test_the_flag_of_a_note_on_a_column_changes_it(ask: Command, code: str) -> None:
    REMARKS[code]()
    command = ["train", "rows.csv", "--target", "y", "--output", "model", "--force"]
    answer = ask(*command)
    assert answer.code == 0, answer.record
    if code not in OF_ALL_ROWS:
        assert code in {remark.note.code for remark in read("rows.csv", target="y").remarks}
    for column in answer.record["columns"]:
        named = remedies(f"{column['reason'] or ''}\n{column['change'] or ''}")
        for remedy in named:
            if not remedy.complete:  # the sentence names the flag, and the next field has it with its value
                assert any(each.complete and each.flag == remedy.flag for each in named), column
                continue
            changed = ask(*remedy.applied(command))
            assert changed.code == 0, (remedy, changed.record)
            if remedy.flag == "--where":
                assert changed.record["rows"]["used"] < answer.record["rows"]["used"]
            else:
                assert column not in changed.record["columns"], remedy


def test_flags_for_a_target_leave_it_one_of_numbers(ask: Command) -> None:
    Path("rows.csv").write_text("x,y\n" + "".join(f"{x},${3.0 * x + 5.0:.2f}\n" for x in NUMBER) + "0.5,n/a\n")
    command = ["train", "rows.csv", "--target", "y", "--output", "model", "--force"]
    answer = ask(*command)
    assert answer.code == 0, answer.record
    assert answer.record["rows"]["unlabelled"] == 1
    assert "'$" in answer.column("y")["reason"]
    for remedy in remedies(answer.column("y")["change"] or ""):
        changed = ask(*remedy.applied(command))
        assert (changed.code, changed.record["loss"]) == (0, "squared")


def test_every_note_on_a_column_is_provoked() -> None:
    assert sorted({*COLUMN_SENTENCES} - {*REMARKS} - {*OF_OTHER_FILES}) == []
    assert sorted({*REMARKS, *OF_OTHER_FILES} - {*COLUMN_SENTENCES}) == []


def test_every_flag_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Of messages, notes and what pages advise: a flag that no command takes helps nobody."""

    def page(*arguments: str) -> str:
        capsys.readouterr()
        assert cli.main([*arguments, "--help"]) == 0
        return capsys.readouterr().out

    taken = {"--help", "--version", "--json", "--debug"}
    for name in re.findall(r"^  ([a-z]+) ", page(), re.M):
        taken |= set(FLAG.findall(page(name)))
    named = {
        flag: f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for flag in FLAG.findall(node.value)
    }
    assert len(named) > 30, "the flags were not found"
    assert {flag: place for flag, place in named.items() if flag not in taken} == {}
