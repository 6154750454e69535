"""What a command gives back: an object for programs, a way to show it to people, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchlearn.cli.terminal import Page


@dataclass(frozen=True)
class Answer:
    """How a command ended. `record` holds plain finite values only; `show` writes the same on a page."""

    record: dict[str, Any]
    show: Callable[[Page], None]
    exit_code: int = 0


def warn(message: str) -> None:
    """Tell a person something on standard error, whatever goes to standard output."""
    if sys.stderr is not None:
        sys.stderr.write(f"warning: {message}\n")
