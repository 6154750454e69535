"""Options of the command line as they are typed, for messages that name what to do."""

from __future__ import annotations

import csv
import io
import shlex


def flag(option: str, *values: str) -> str:
    """Return an option with its values as they are typed in a shell; where it takes names, commas in one are quoted."""
    line = io.StringIO()
    if option in ("--categories", "--drop", "--null"):
        csv.writer(line, lineterminator="").writerow(values)
    typed = shlex.quote(line.getvalue() or values[0])
    return f"{option}={typed}" if typed.lstrip("'").startswith("-") else f"{option} {typed}"
