from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from sybil import Example, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from batchlearn.cli import main

# The same examples in every run: a red test must be red again when it is looked at.
settings.register_profile("batchlearn", derandomize=True, deadline=None)
settings.load_profile("batchlearn")

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def flights(rows: int, first_day: str, seed: int) -> pa.Table:
    """Make flights whose delay depends on the hour, the carrier and chance, in order of departure."""
    rng = np.random.default_rng(seed)
    minute = np.sort(rng.integers(0, 14 * 24 * 60, rows))
    carrier = rng.integers(0, 4, rows)
    hour = minute // 60 % 24
    delay = 8.0 * rng.normal(size=rows) + hour - 2.0 * carrier
    return pa.table(
        {
            "departed": np.datetime64(first_day, "us") + minute.astype("timedelta64[m]"),
            "carrier": pa.array(np.array(["AA", "DL", "UA", "WN"])[carrier]),
            "distance": rng.uniform(100.0, 2500.0, rows).round(),
            "cancelled": rng.random(rows) < 0.02,
            "delay": delay,
            "delayed": delay > 15.0,
        }
    )


def into_a_folder(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = tempfile.TemporaryDirectory()
    namespace["_came_from"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def into_a_folder_with_flights(namespace: dict[str, Any]) -> None:
    into_a_folder(namespace)
    pq.write_table(flights(4_000, "2008-01-01", seed=1), "flights.parquet")
    pq.write_table(flights(1_000, "2008-01-15", seed=2), "later.parquet")


def back_again(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_came_from"])
    namespace["_folder"].cleanup()


def typed(source: str) -> list[tuple[str, str]]:
    """Return each command of a console block with what the page shows below it."""
    parts = re.split(r"^\$ ", source.replace("\\\n", " "), flags=re.MULTILINE)
    if parts[0].strip():
        raise AssertionError(f"a console block starts with a command, not with {parts[0]!r}")
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts[1:])]


def command_line(command: str) -> tuple[int, str]:
    words, output = shlex.split(command), io.StringIO()
    if words[0] != "batchlearn":
        raise AssertionError(f"pages show batchlearn and echo $?, not {command!r}")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        patch.setenv("COLUMNS", "90")
        code = main(words[1:])
    return code, output.getvalue()


def same(shown: str, printed: str) -> bool:
    """Say whether two words are the same but for the last digits of their numbers, which are those of a machine."""
    if shown == printed or NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return shown == printed
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    values = ((float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs)
    return all(abs(a - b) <= 0.1 * abs(b) for a, b in values)


def shows(shown: list[str], printed: list[str]) -> bool:
    """Say whether a page shows the words that were printed; three dots stand for any words."""
    place = word = 0
    dots, resumed = -1, 0
    while word < len(printed):
        if place < len(shown) and shown[place] == "...":
            dots, resumed, place = place, word, place + 1
        elif place < len(shown) and same(shown[place], printed[word]):
            place, word = place + 1, word + 1
        elif dots >= 0:
            resumed += 1
            place, word = dots + 1, resumed
        else:
            return False
    return all(rest == "..." for rest in shown[place:])


def run_console(example: Example) -> None:
    """Run the commands of a console block; one that fails must be followed by `echo $?`."""
    code, failed = 0, ""
    for command, shown in typed(str(example.parsed)):
        if command.strip() == "echo $?":
            printed, failed = str(code), ""
        else:
            assert not failed, failed
            code, printed = command_line(command)
            failed = f"{command} ended with {code}:\n{printed}" if code else ""
        seen = not shown.strip() or shows(shown.split(), printed.split())
        assert seen, f"{command} printed\n{printed}\nthe page shows\n{shown}"
    assert not failed, failed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The blocks of a page build on one another; tests are shuffled, blocks are not.
    blocks = [item for item in items if isinstance(item, SybilItem)]
    blocks.sort(key=lambda item: (str(item.path), item.example.line))
    items[:] = [*(item for item in items if not isinstance(item, SybilItem)), *blocks]


readme = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md"],
    setup=into_a_folder_with_flights,
    teardown=back_again,
)
pages = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), CodeBlockParser("console", run_console)],
    patterns=["docs/*.md"],
    setup=into_a_folder,
    teardown=back_again,
)
pytest_collect_file = (readme + pages).pytest()
