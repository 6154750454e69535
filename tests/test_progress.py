"""Work that says how far it has come: what it yields is told on, and its answer comes back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator

import pytest

from batchlearn.errors import DataError
from batchlearn.progress import at_once, finish, told


def count(to: int) -> Generator[int, None, str]:
    yield from range(to)
    return f"counted to {to}"


@pytest.mark.parametrize("to", [0, 3])
def test_work_is_done_to_its_end_and_answers(to: int) -> None:
    assert finish(count(to)) == f"counted to {to}"


def test_what_is_yielded_is_told_in_other_words_one_at_a_time() -> None:
    work = count(3)
    telling = told(work, lambda number: f"{number} of 3")
    assert next(telling) == "0 of 3"
    assert next(work) == 1, "no further than it was asked for"
    assert list(telling) == ["2 of 3"]
    assert finish(told(count(2), str)) == "counted to 2"


def test_works_at_once_wait_for_each_other_and_answer_in_order() -> None:
    together = threading.Barrier(2, timeout=30.0)

    def meet(name: str) -> Generator[str, None, str]:
        together.wait()  # nobody comes past it alone
        yield name
        return name

    assert finish(at_once([meet("a"), meet("b")], 2)) == ["a", "b"]
    assert finish(at_once([count(2), count(1)], 1)) == ["counted to 2", "counted to 1"]


def test_of_works_at_once_the_first_that_is_not_done_is_heard() -> None:
    done = threading.Event()

    def wait() -> Generator[str, None, None]:
        yield "waiting"
        done.wait(30.0)

    def end() -> Generator[str, None, None]:
        yield "unheard"
        done.set()

    assert list(at_once([wait(), end()], 2)) == ["waiting"]


def test_works_at_once_end_where_one_fails_and_where_nobody_listens() -> None:
    def fail() -> Generator[int, None, str]:
        yield 0
        raise DataError("no rows", code="none")

    with pytest.raises(DataError, match="no rows"):
        finish(at_once([count(3), fail()], 2))

    def without_end() -> Generator[int, None, str]:
        yield from itertools.count()
        return ""

    working = at_once([without_end(), without_end()], 2)
    next(working)
    working.close()  # comes back, as both end at their next word
