"""docs/errors.md lists every error code of the package, each under the exit code it ends with, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchlearn import errors

ROOT = Path(__file__).resolve().parents[2]
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# What the command line says about faults that are no BatchlearnError of a user's making.
OUTSIDE = {"internal": 1, "interrupted": 130}


def slugs(node: ast.AST) -> set[str]:
    """Return the code that an expression is, or the codes it chooses between; not what it compares with."""
    if isinstance(node, ast.IfExp):
        return slugs(node.body) | slugs(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def with_a_code(module: ast.Module) -> dict[str, tuple[int, type[errors.BatchlearnError] | None]]:
    """Return the functions of a module that take a code: its place, and the error that they return."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            if "code" in names and node.name != "__init__":
                kind = getattr(errors, ast.unparse(node.returns) if node.returns else "", None)
                found[node.name] = (names.index("code"), kind)
    return found


def codes(module: ast.Module) -> Iterator[tuple[str, int | None]]:
    """Yield each code in a module with its exit code, or None where it is chosen elsewhere."""
    functions = with_a_code(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            kind = getattr(errors, name, None)
            if name in functions:
                place, kind = functions[name]
                given = [*node.args[place : place + 1], *(k.value for k in node.keywords if k.arg == "code")]
            else:
                given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            for value in given:
                for code in slugs(value):
                    yield code, OUTSIDE.get(code, None if kind is None else kind.exit_code)


def command_line_codes() -> set[str]:
    """Return the codes for what the parser of the command line refuses: a table and its default."""
    module = ast.parse((ROOT / "src" / "batchlearn" / "cli" / "arguments.py").read_text(encoding="utf-8"))
    tables = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_CODES"
    ]
    chosen = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"
    ]
    assert len(tables) == len(chosen) == 1
    assert isinstance(tables[0], ast.Dict)
    assert isinstance(chosen[0], ast.Call)
    return {code for value in [*tables[0].values, *chosen[0].args] for code in slugs(value)}


@pytest.fixture(scope="module")
def in_the_package() -> set[tuple[str, int | None]]:
    found: set[tuple[str, int | None]] = {(code, errors.UsageError.exit_code) for code in command_line_codes()}
    for path in sorted((ROOT / "src" / "batchlearn").rglob("*.py")):
        found.update(codes(ast.parse(path.read_text(encoding="utf-8"))))
    return found


@pytest.fixture(scope="module")
def in_the_index() -> list[tuple[str, int]]:
    """Read the sections `## Exit code N: ...` and the first cell of each row of their tables."""
    found, section = [], 0
    for line in (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## Exit code (\d+)", line):
            section = int(heading.group(1))
        elif row := re.match(r"\| `([^`]+)` \| .+ \| .+ \|$", line):
            found.append((row.group(1), section))
    return found


def test_every_code_of_the_package_is_in_the_index(
    in_the_package: set[tuple[str, int | None]], in_the_index: list[tuple[str, int]]
) -> None:
    assert sorted({code for code, _ in in_the_package} - {code for code, _ in in_the_index}) == []
    placed = {(code, exit_code) for code, exit_code in in_the_package if exit_code is not None}
    assert sorted(placed - set(in_the_index)) == []


def test_the_index_has_no_code_that_is_not_in_the_package(
    in_the_package: set[tuple[str, int | None]], in_the_index: list[tuple[str, int]]
) -> None:
    elsewhere = {code for code, exit_code in in_the_package if exit_code is None}
    assert [row for row in in_the_index if row not in in_the_package and row[0] not in elsewhere] == []


def test_the_index_has_each_code_once_in_order(in_the_index: list[tuple[str, int]]) -> None:
    for exit_code in {section for _, section in in_the_index}:
        listed = [code for code, section in in_the_index if section == exit_code]
        assert listed == sorted(set(listed))


def test_codes_are_slugs(in_the_package: set[tuple[str, int | None]]) -> None:
    assert len(in_the_package) > 100, "the codes were not found"
    assert [code for code, _ in in_the_package if not SLUG.fullmatch(code)] == []
