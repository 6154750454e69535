"""Work that says how far it has come while it is done: generators that yield, and return an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event
from typing import Any, NamedTuple, TypeVar

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


def at_once(works: Sequence[Generator[Said, None, Any]], threads: int) -> Generator[Said, None, list[Any]]:
    """Do works that do not wait for each other, so many at once; return their answers in order.

    What is yielded is what the first of those still at work says. Where one fails the others are done before its error
    is raised; all end at their next word where nobody listens.
    """
    if threads == 1 or len(works) < 2:
        answers = []
        for work in works:
            answers.append((yield from work))
        return answers
    heard: SimpleQueue[tuple[int, Said | None]] = SimpleQueue()
    left_alone = Event()

    def do(number: int) -> Any:
        try:
            while not left_alone.is_set():
                heard.put((number, next(works[number])))
        except StopIteration as end:
            return end.value
        finally:
            heard.put((number, None))

    with ThreadPoolExecutor(threads) as pool:
        # In a copy of our context: NumPy's error state is part of it, and threads start with their own.
        tasks = [pool.submit(copy_context().run, do, number) for number in range(len(works))]
        working = set(range(len(works)))
        try:
            while working:
                number, said = heard.get()
                if said is None:
                    working.remove(number)
                elif number == min(working):
                    yield said
        finally:
            left_alone.set()
    return [task.result() for task in tasks]


class Progress(NamedTuple):
    """Where a training stands, for whoever watches."""

    stage: str
    rows: int = 0  # read since the last progress
    passes: int = 0  # over the rows of this stage so far
    bound: float | None = None


def run_stage(stage: str, work: Generator[int, None, Answer]) -> Generator[Progress, None, Answer]:
    """Run work that yields rows read as a stage of progress; return its answer."""
    return told(work, lambda rows: Progress(stage, rows=rows))
