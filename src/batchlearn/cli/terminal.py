"""Text for people: a page that fits the terminal, and progress on work that takes its time.

Everything of our own is ASCII, so it shows in any locale; what comes from data is escaped where it could steer a
terminal, and by the stream where its encoding lacks the character.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Outcome = TypeVar("Outcome")

NARROW = 78
_VERY_NARROW = 40
_SHOWN_AFTER = 1.0
_REFRESHES = 4.0
# Marks that change the order in which text is shown: a level's name could hide another behind them.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def clean(text: str) -> str:
    """Escape control and reordering characters."""
    return "".join(
        sign if (sign.isprintable() or sign == "\n") and sign not in _REORDERING else repr(sign)[1:-1] for sign in text
    )


class Page:
    """A page of headings, facts and tables, as wide as the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def narrow(self) -> bool:
        """Whether wide tables do not fit."""
        return self._console.width < NARROW

    def title(self, text: str) -> None:
        """Write the one line that says what happened."""
        self._console.print(Text(clean(text), style="bold"))

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._console.print()
        self._console.print(Text(clean(text), style="bold"))

    def line(self, text: str, style: str = "", indent: int = 2) -> None:
        """Write a paragraph, its further lines indented like its first."""
        self._console.print(Padding(Text(clean(text), style=style, overflow="fold"), (0, 0, 0, indent), expand=False))

    def bullet(self, text: str, style: str = "") -> None:
        """Write one point of a list."""
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("-", Text(clean(text), style=style))
        self._console.print(Padding(grid, (0, 0, 0, 2), expand=False))

    def command(self, text: str) -> None:
        """Write a command to type on one line, however narrow the terminal, so that it can be copied."""
        self._console.print(Text("  " + clean(text), style="cyan"), soft_wrap=True)

    def facts(self, facts: Sequence[tuple[str, str | Text]]) -> None:
        """Write labels with their sentences beside them; below them where the terminal is very narrow."""
        if self._console.width < _VERY_NARROW:
            for label, value in facts:
                self._console.print(Text(label, style="bold"))
                self._console.print(Padding(_text(value), (0, 0, 0, 2), expand=False))
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in facts:
            grid.add_row(label, _text(value))
        self._console.print(Padding(grid, (0, 0, 0, 2), expand=False))

    def fits(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        """Whether a table of these cells fits without breaking words."""
        widest = [max(cell_len(clean(cell)) for cell in column) for column in zip(header, *rows, strict=True)]
        return sum(widest) + 2 * len(widest) <= self._console.width

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
        """Write a table; the first `left` columns hold words, the others figures."""
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
        for number, name in enumerate(header):
            words = number < left
            table.add_column(clean(name), justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in rows:
            table.add_row(*(Text(clean(cell)) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _text(value: str | Text) -> Text:
    text = Text(clean(value)) if isinstance(value, str) else value
    text.overflow = "fold"
    return text


def printed(show: Callable[[Page], None]) -> str:
    """Return what a page looks like on standard output, with colours only where a terminal shows them."""
    console = Console(highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        show(Page(console))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


class Report(Protocol):
    """Where work stands, as the watched generators yield it."""

    @property
    def stage(self) -> str:
        """What is being done."""
        ...

    @property
    def rows(self) -> int:
        """Rows read since the last report."""
        ...

    @property
    def passes(self) -> int:
        """Readings of the rows in this stage so far."""
        ...

    @property
    def bound(self) -> float | None:
        """How far the loss is from the optimum, at most."""
        ...


class Reading(NamedTuple):
    """A report of work that has rows and no passes."""

    stage: str
    rows: int = 0
    passes: int = 0
    bound: float | None = None


class Speedometer:
    """The line of text that stands for work under way."""

    def __init__(self) -> None:
        self._began = self._stage_began = time.perf_counter()
        self._stage = ""
        self._rows = 0
        self._said = ""

    @property
    def seconds(self) -> float:
        """How long the whole work has taken so far."""
        return time.perf_counter() - self._began

    def update(self, report: Report) -> None:
        """Take in a report; a new stage counts from its own beginning."""
        if report.stage != self._stage:
            self._stage, self._rows, self._stage_began = report.stage, 0, time.perf_counter()
        self._rows += report.rows
        passes = f", {report.passes} {'pass' if report.passes == 1 else 'passes'}" if report.passes else ""
        bound = f", loss <= optimum + {report.bound:.1e}" if report.bound is not None else ""
        self._said = f"{passes}{bound}"

    def __rich__(self) -> Text:
        taken = time.perf_counter() - self._stage_began
        speed = f", {_short(self._rows / taken)} rows/s" if self._rows and taken > 0.05 else ""
        text = f"{self.seconds:4.0f} s  {self._stage}{self._said}{speed}"
        return Text(clean(text), style="dim", no_wrap=True, overflow="crop")


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def watch(work: Generator[Report, None, Outcome]) -> Outcome:
    """Run the work to its end; after a second, show where it stands if standard error is a terminal."""
    with progress() as report:
        while True:
            try:
                report(next(work))
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome


@contextmanager
def progress() -> Iterator[Callable[[Report], None]]:
    """Give a function to report to; the line it keeps up to date is gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _report: None
        return
    meter = Speedometer()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    live = Live(meter, console=console, refresh_per_second=_REFRESHES, transient=True)

    def report(news: Report) -> None:
        meter.update(news)
        if not live.is_started and meter.seconds > _SHOWN_AFTER:
            live.start()

    try:
        yield report
    finally:
        live.stop()
