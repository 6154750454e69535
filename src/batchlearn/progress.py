"""Work that says how far it has come while it is done: generators that yield, and return an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

Said = TypeVar("Said")
Heard = TypeVar("Heard")
Answer = TypeVar("Answer")


def finish(work: Generator[object, None, Answer]) -> Answer:
    """Do all of the work; return its answer."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def told(work: Generator[Said, None, Answer], tell: Callable[[Said], Heard]) -> Generator[Heard, None, Answer]:
    """Do the work, telling in other words what it yields; return its answer."""
    while True:
        try:
            said = next(work)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        yield tell(said)


class Progress(NamedTuple):
    """Where a training stands, for whoever watches."""

    stage: str
    rows: int = 0  # read since the last progress
    passes: int = 0  # over the rows of this stage so far
    bound: float | None = None


def run_stage(stage: str, work: Generator[int, None, Answer]) -> Generator[Progress, None, Answer]:
    """Run work that yields rows read as a stage of progress; return its answer."""
    return told(work, lambda rows: Progress(stage, rows=rows))
