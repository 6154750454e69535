"""From what was typed to the answer of one command: the only module that knows the parsing library's errors."""

from __future__ import annotations

import csv
import datetime
import gc
import getpass
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from batchlearn.errors import UsageError, quoted

if TYPE_CHECKING:
    from batchlearn.report.document import Document

_CODES: Mapping[type[CycloptsError], str] = {
    UnknownOptionError: "option-unknown",
    UnknownCommandError: "command-unknown",
    CoercionError: "option-type",
    MissingArgumentError: "option-missing",
    RepeatArgumentError: "option-repeated",
    UnusedCliTokensError: "argument-unexpected",
}

# Read by `main` wherever it is typed, and so no parameter of any command.
_ALWAYS = "And with every command: --json prints one JSON object instead of text."

# Commands whose module is not the one of their name.
_HOMES = {
    "backtest": "project.backtest",
    "export": "predict.export",
    "init": "project.init",
    "retrain": "project.retrain",
    "promote": "project.promote",
    "rollback": "project.promote",
    "history": "project.history",
    "status": "project.history",
    "registry": "project.registry",
    "forget": "project.forget",
}


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. `record` holds plain finite values only; `document` says the same to people."""

    record: dict[str, Any]
    document: Document
    exit_code: int = 0


def warn(message: str) -> None:
    """Tell a person something on standard error, whatever goes to standard output."""
    if sys.stderr is not None:
        sys.stderr.write(f"warning: {message}\n")


def whole_number(_kind: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number; unlike the parser's own conversion, 1.5 is refused instead of rounded."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no whole number.") from None


def who(given: str | None) -> str:
    """Return a name for the ledger: the one given, else that of the user, else the user's number."""
    try:
        return given or getpass.getuser()
    except (KeyError, OSError):  # in a container a user may have no name
        return f"user {os.getuid()}"


def moment(time: datetime.datetime | None = None) -> str:
    """Write a time, now unless given, for the ledger: ISO 8601 in UTC, to the second."""
    return (time or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def names(_kind: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """Split "a,b" at its commas; a name that holds a comma is written in double quotes, as in CSV."""
    parts = csv.reader([str(token.value) for token in tokens], skipinitialspace=True)
    return tuple(dict.fromkeys(name.strip() for line in parts for name in line if name.strip()))


Names = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False, converter=names)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Count = Annotated[int, Parameter(converter=whole_number)]


def parse_and_run(tokens: list[str], commands: Mapping[str, str]) -> Any:
    """Run the command that was typed and return its answer. Raises UsageError for what cannot be understood."""
    app = App(name="batchlearn", result_action="return_value", suppress_keyboard_interrupt=False, help_epilogue=_ALWAYS)
    homes = {name: f"batchlearn.cli.{_HOMES.get(name, name)}" for name in commands}
    for name, what in commands.items():
        app.command(f"{homes[name]}:{name}", name=name, help=what)
    if tokens and tokens[0] in homes:
        import_module(homes[tokens[0]])
    if not gc.isenabled():  # as `main` of a process of its own has it
        gc.freeze()
        gc.enable()
    try:
        # The command runs in here too, but raises none of the parser's errors.
        return app(tokens, print_error=False, exit_on_error=False)
    except CycloptsError as problem:
        code = next((code for kind, code in _CODES.items() if isinstance(problem, kind)), "usage")
        message = re.sub(r'^Command "\w+" parameter ', "", str(problem)).strip()
        if isinstance(problem, UnusedCliTokensError):
            extra = quoted(" ".join(problem.unused_tokens or []))
            message = f'{extra} came after the arguments; see --help. Patterns go in quotes: "data/*.parquet".'
        elif isinstance(problem, MissingArgumentError):
            message = f"{message[:1].upper()}{message[1:]}"
        command = f"{tokens[0]} " if tokens and tokens[0] in commands else ""
        raise UsageError(f"{message} See batchlearn {command}--help.", code=code) from problem
