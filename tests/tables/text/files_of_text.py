"""Text files of a few lines, and what reading them gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchlearn.errors import DataError
from batchlearn.tables.table import Table, read

Write = Callable[..., Path]


def scanned(table: Table) -> dict[str, list[Any]]:
    """Return all values of all columns."""
    found: dict[str, list[Any]] = {column.name: [] for column in table.columns}
    for batch in table.scan(list(found)):
        for name in found:
            found[name] += batch.column(name).to_pylist()
    return found


def values(path: Path, **options: Any) -> dict[str, list[Any]]:
    return scanned(read(path, **options))


def refusal(path: Path, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        values(path, **options)
    return caught.value


def column_of(texts: list[str], name: str = "x", delimiter: str = ",") -> str:
    """Return a file with a column of texts and one of numbers."""
    quoted = ('"' + text.replace('"', '""') + '"' if delimiter in text else text for text in texts)
    rows = (f"{text}{delimiter}{number % 7}.5" for number, text in enumerate(quoted))
    return "\n".join([f"{name}{delimiter}y", *rows]) + "\n"


def remarks(table: Table) -> list[tuple[str, bool, str, str | None]]:
    """Return column, use, code and change of each remark."""
    return [(each.column, each.used, each.note.code.value, each.change) for each in table.remarks]
