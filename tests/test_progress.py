"""Work that says how far it has come: what it yields is told on, and its answer comes back."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from batchlearn.progress import finish, told


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
