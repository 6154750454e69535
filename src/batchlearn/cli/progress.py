"""Progress on work that takes its time: one line that says where it stands."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from batchlearn.progress import Progress
from batchlearn.report.values import clean

if TYPE_CHECKING:
    from rich.text import Text

Result = TypeVar("Result")

_SHOWN_AFTER = 1.0
_REFRESHES = 4.0


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

    def update(self, report: Progress) -> None:
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
        from rich.text import Text  # imported here, as below: where nothing is shown nothing is loaded

        return Text(clean(text), style="dim", no_wrap=True, overflow="crop")


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def watch(work: Generator[Progress, None, Result], afterwards: Sequence[str] = ()) -> Result:
    """Run the work to its end; after a second, show where it stands if standard error is a terminal.

    Modules that are needed `afterwards` are imported meanwhile: compiled loops leave Python free.
    """
    with progress() as report, _imported_beside(afterwards):
        while True:
            try:
                report(next(work))
            except StopIteration as end:
                outcome: Result = end.value
                return outcome


@contextmanager
def _imported_beside(names: Sequence[str]) -> Iterator[None]:
    """Import modules in a thread of their own, none more once what goes on here has ended."""
    over = threading.Event()

    def load() -> None:
        for name in names:
            if not over.is_set():
                import_module(name)

    threading.Thread(target=load, name="imports").start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Give a function to report to; the line it keeps up to date is gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _report: None
        return
    from rich.console import Console
    from rich.live import Live

    meter = Speedometer()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    live = Live(meter, console=console, refresh_per_second=_REFRESHES, transient=True)

    def report(news: Progress) -> None:
        meter.update(news)
        if not live.is_started and meter.seconds > _SHOWN_AFTER:
            live.start()

    try:
        yield report
    finally:
        live.stop()
