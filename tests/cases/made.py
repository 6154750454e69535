"""What the tests of whole files share: a command and what it printed, and the remedies in that, as they are typed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from batchlearn import cli

_FLAG = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![\w-])")
_SHELL_WORD = re.compile(r"""[ =]((?:'[^']*'|"[^"]*"|[^\s'"])+)""")
_ALONE = frozenset(["--no-header", "--force", "--strict", "--sparse", "--bounds"])
"""Flags without a value."""
_REPEATABLE = frozenset(["--categories", "--drop", "--null", "--text"])
_PROSE = frozenset(
    [
        *("a", "and", "as", "asks", "came", "for", "is", "keeps", "makes", "needs", "one", "or", "out", "refuses"),
        *("that", "to", "where"),
    ]
)
"""What goes on with the sentence after a flag that is named without a value."""
_TAKEN_AWAY = re.compile(r"(?:leave|without|leave out)\s+(--[a-z-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a command came to: its exit code, the one JSON object that it printed, and what went to standard error."""

    code: int
    record: Mapping[str, Any]
    errors: str

    @property
    def error(self) -> str:
        """The code of its error."""
        return str(self.record["error"]["code"])

    @property
    def message(self) -> str:
        """The sentence of its error."""
        return str(self.record["error"]["message"])

    @property
    def columns(self) -> dict[str, tuple[str | None, bool]]:
        """What each column is read as, and whether it is used."""
        return {each["name"]: (each["read_as"], each["used"]) for each in self.record["columns"]}

    def column(self, name: str) -> Mapping[str, Any]:
        """Return what is said of one column."""
        found: Mapping[str, Any] = next(each for each in self.record["columns"] if each["name"] == name)
        return found

    def metric(self, name: str) -> float:
        """Return a figure of the evaluation on the held-out rows."""
        return float(self.record["evaluation"]["metrics"][name]["value"])

    @property
    def said(self) -> str:
        """Everything that is said of the rows and the columns."""
        reasons = [each["reason"] for each in self.record.get("columns", ()) if each["reason"]]
        return "\n".join([*reasons, *self.record.get("notes", ())])


Command = Callable[..., Answer]


def answer_to(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> Answer:
    """Run a command in this process with --json."""
    capsys.readouterr()
    code = cli.main([*arguments, "--json"])
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert isinstance(record, dict)
    assert code == record.get("error", {}).get("exit_code", 0), printed.out
    assert code != 1, printed.out
    return Answer(code, record, printed.err)


@dataclass(frozen=True)
class Remedy:
    """A flag that a message names."""

    flag: str
    words: tuple[str, ...]
    """What is typed, as a shell takes it; () where the flag is to be left out."""
    complete: bool
    """Whether all of it is printed; else the value is left to the reader, as in "leave such rows out with --where"."""

    def with_value(self, value: str) -> Remedy:
        """Return the flag with a value where the message prints none."""
        return self if self.complete else Remedy(self.flag, (self.flag, value), True)

    def applied(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line with the flag added, in place of what stood for it, or without it."""
        kept = list[str]()
        value_follows = False
        for word in arguments:
            if self.flag in _REPEATABLE and self.words:
                kept.append(word)
            elif word == self.flag:
                value_follows = self.flag not in _ALONE
            elif value_follows:
                value_follows = False
            elif not word.startswith(f"{self.flag}="):
                kept.append(word)
        return [*kept, *self.words]


def remedies(message: str) -> list[Remedy]:
    """Return the flags that a message names, in its order."""
    found = []
    taken_away = {place.start(1) for place in _TAKEN_AWAY.finditer(message)}
    for place in _FLAG.finditer(message):
        flag, rest = place.group(), message[place.end() :]
        if place.start() in taken_away:
            found.append(Remedy(flag, (), True))
            continue
        word = _SHELL_WORD.match(rest)
        # A bracket or a sign at the end is the sentence's own; yet `--decimal=,` has a comma as its value.
        typed = re.sub(r"\)[.,;:]?$", "", word.group(1)) if word else ""
        typed = typed[:-1] if len(typed) > 1 and typed[-1] in ".,;:" else typed
        if flag in _ALONE or not typed or typed in _PROSE:
            found.append(Remedy(flag, (flag,), flag in _ALONE))
        else:
            found.append(Remedy(flag, tuple(shlex.split(f"{flag}{rest[0]}{typed}")), True))
    return found
