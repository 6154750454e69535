"""Work that says how far it has come while it is done: generators that yield, and return an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

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
