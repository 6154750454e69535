"""Docstrings of public names: every argument is said, every example runs, and the page of the names shows them."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import batchlearn
from batchlearn import errors, exports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
NAMES = [name for name in batchlearn.__all__ if name != "__version__"]


def is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("batchlearn")


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public methods that a class of ours, or one of our classes above it, defines."""
    for name in sorted(dir(kind)):
        value = inspect.getattr_static(kind, name)
        if not name.startswith("_") and inspect.isfunction(value) and is_ours(value):
            yield f"{kind.__name__}.{name}", value


def properties(kind: type) -> Iterator[tuple[str, str]]:
    for name in sorted(dir(kind)):
        value = inspect.getattr_static(kind, name)
        if not name.startswith("_") and isinstance(value, property | cached_property):
            yield f"{kind.__name__}.{name}", inspect.getdoc(value) or ""


PUBLIC = {name: getattr(batchlearn, name) for name in NAMES} | {
    name: getattr(exports, name) for name in exports.__all__
}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if not inspect.isclass(value)}
METHODS = {name: method for kind in CLASSES.values() for name, method in methods(kind)}


def section(doc: str, title: str) -> str:
    """Return the indented lines below a title, their indent taken away; nothing where there is no such section."""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", doc + "\n", flags=re.MULTILINE)
    return inspect.cleandoc(found[1]) if found else ""


def entries(doc: str, *titles: str) -> dict[str, str]:
    """Return what is said of each name in the sections of these titles."""
    text = "\n".join(section(doc, title) for title in titles)
    return dict(re.findall(r"^(\w+): (\S.*)$", text, flags=re.MULTILINE))


def parameters(value: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(value).parameters if name != "self"]


def unmentioned(value: Callable[..., Any]) -> set[str]:
    """Return the parameters of a signature that no section of its docstring has."""
    return set(parameters(value)) - entries(inspect.getdoc(value) or "", "Args", "Attributes").keys()


def constructed(kind: type) -> bool:
    """Whether a class has a constructor of its own: one that inherits it says nothing of its arguments again."""
    return "__init__" in vars(kind)


def examples(name: str, value: Any) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(value, name, globs={})
    return [one for one in found if one.examples]


@pytest.mark.parametrize("name", FUNCTIONS | METHODS)
def test_every_argument_of_a_function_is_said_and_no_other(name: str) -> None:
    value = (FUNCTIONS | METHODS)[name]
    assert unmentioned(value) == set()
    assert list(entries(inspect.getdoc(value) or "", "Args")) == parameters(value)


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_of_a_class_is_said(name: str) -> None:
    kind = CLASSES[name]
    if constructed(kind):
        assert unmentioned(kind) == set()
    assert set(entries(inspect.getdoc(kind) or "", "Args")) <= set(parameters(kind))


def test_an_argument_that_is_not_said_is_noticed() -> None:
    def scaled(rows: int, by: float) -> float:
        """Return a product.

        Args:
            rows: How many.

        Returns:
            by: times them.
        """
        return rows * by

    assert unmentioned(scaled) == {"by"}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_of_a_public_name_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = examples(name, PUBLIC[name])
    assert name in {one.name for one in found}, "there is no example"
    runner = doctest.DocTestRunner(verbose=False)
    for one in found:
        runner.run(one)
    assert runner.summarize(verbose=False).failed == 0
    assert list(tmp_path.iterdir()) == [], "an example leaves files behind"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_returns(name: str) -> None:
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    assert section(doc, "Returns") or doc.startswith("Return ")


@pytest.mark.parametrize("name", PUBLIC | METHODS)
def test_what_is_raised_is_an_error_of_ours(name: str) -> None:
    doc = inspect.getdoc((PUBLIC | METHODS)[name]) or ""
    raised = entries(doc, "Raises")
    assert bool(raised) == bool(section(doc, "Raises"))
    assert set(raised) <= set(vars(errors))


@pytest.mark.parametrize("name", CLASSES | FUNCTIONS | METHODS)
def test_no_text_is_taken_for_a_type(name: str) -> None:
    # What stands before a colon there is read as the type of what is returned or of the property.
    value = (PUBLIC | METHODS)[name]
    doc = inspect.getdoc(value) or ""
    shown = [section(doc, "Returns"), section(doc, "Yields")]
    shown += [text for _, text in properties(value)] if inspect.isclass(value) else []
    assert [text for text in shown if re.match(r"[^`]*: ", text.partition("\n")[0])] == []


def test_the_page_shows_every_public_name_once() -> None:
    shown = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(shown) == sorted(PUBLIC)
