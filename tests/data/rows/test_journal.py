"""What rows answered comes back as it was, to the last bit, and only to the training that asked before."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_type_hints

import numpy as np
import pytest
from tests.data.rows.journals import NONE, Counter, entered, left, rows_of

import batchlearn as bl
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.rows.journal import Journal
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.progress import finish


class Answer(NamedTuple):
    matrix: Floats  # (2, 3) in the order of columns
    numbers: Any
    plain: float
    rows: int
    single: Any
    wide: Any


@dataclass(frozen=True)
class EveryKind:
    """Whatever totals may be made of, with values that JSON has no name for."""

    combine: ClassVar[tuple[Any, ...]] = (np.add,) * 6

    def __call__(self, chunk: Chunk, parameters: Floats) -> Answer:  # noqa: ARG002 - the same of any rows
        matrix = np.asfortranarray(np.arange(6.0).reshape(2, 3) / 7.0)
        numbers = np.array([np.nan, np.inf, -0.0, 5e-324])
        return Answer(matrix, numbers, -np.inf, 3, np.float64(0.1), np.array([1.0], dtype=np.longdouble) / 3)


def test_every_kind_of_answer_comes_back_to_the_bit(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    first = rows_of(journal).total(EveryKind(), NONE)
    left(journal)
    again = entered(tmp_path)
    second = rows_of(again).total(EveryKind(), NONE)
    left(again)
    assert (again.answered, again.computed) == (1, 0)
    assert type(second) is Answer
    for name, was, now in zip(Answer._fields, first, second, strict=True):
        assert type(was) is type(now), name
        assert np.asarray(was).tobytes() == np.asarray(now).tobytes(), name
    assert second.matrix.flags.f_contiguous
    assert not second.matrix.flags.c_contiguous
    second.matrix[0, 0] = 1.0  # what was read may be written to, as what was computed may


def test_what_is_done_to_an_answer_later_is_not_kept(tmp_path: Path) -> None:
    journal = entered(tmp_path, seconds=60.0)
    rows = rows_of(journal)
    rows.total(EveryKind(), NONE).matrix[:] = 0.0
    left(journal)
    again = entered(tmp_path)
    assert rows_of(again).total(EveryKind(), NONE).matrix[1, 2] == 5.0 / 7.0
    left(again)


def test_no_row_is_read_for_what_is_known(tmp_path: Path) -> None:
    points = [np.array([float(k)]) for k in range(3)]
    for known in (0, 3):
        statistic, journal = Counter(), entered(tmp_path)
        found = [rows_of(journal, 20).total(statistic, point)[0] for point in points]
        left(journal)
        assert found == [0.0, 60.0, 120.0]
        assert statistic.times == 2 * (3 - known), "once for each chunk"
        assert (journal.answered, journal.computed) == (known, 3 - known)


def test_rows_that_come_of_rows_keep_the_journal_and_stretches_do_not() -> None:
    journal: Any = object()
    rows = rows_of(journal)
    for derived in (rows.thin(2), rows.sample([1], 5), rows.intercept_only(), rows.levels_only(), rows.deduplicate()):
        assert isinstance(derived, MemoryRows)
        assert derived.journal is journal
    stretch = next(rows.stretches(np.arange(5), 5))
    assert isinstance(stretch, MemoryRows)
    assert stretch.journal is None


class Place(NamedTuple):
    sums: Floats
    steps: int
    still: Floats


def walked(rows: Rows, asked: Callable[[int], bool], stop: int | None = None) -> list[tuple[bytes, int, int]]:
    """Walk in stretches of seven, asking for a total where `asked` says so; return what was seen."""
    order = np.random.default_rng(3).permutation(60)

    def step(stretch: Rows, place: Place) -> Place:
        chunk = stretch.together()
        return place._replace(sums=place.sums * 0.9 + chunk.label.sum(), steps=place.steps + 1)

    seen = []
    for place, shown in rows.walk(order, 7, step, Place(np.zeros(2), 0, np.ones(3))):
        if asked(shown):
            rows.total(Counter(), place.sums[:1])
        seen.append((place.sums.tobytes(), place.steps, shown))
        if shown == stop:
            break
    return seen


@pytest.mark.parametrize("seconds", [0.0, 60.0])
@pytest.mark.parametrize("stop", [None, 7, 21, 35])
def test_a_walk_goes_on_where_it_stopped(seconds: float, stop: int | None, tmp_path: Path) -> None:
    def asked(shown: int) -> bool:
        return shown in (21, 56)

    whole = walked(rows_of(None), asked)
    journal = entered(tmp_path, seconds=seconds)
    assert walked(rows_of(journal), asked, stop) == [one for one in whole if stop is None or one[2] <= stop]
    left(journal)
    again = entered(tmp_path, seconds=seconds)
    seen = walked(rows_of(again), asked)
    left(again)
    assert again.answered == journal.computed
    # Steps that are known are passed over; none is taken twice, none is another.
    assert set(seen) <= set(whole)
    assert seen[-1] == whole[-1]
    assert [one for one in seen if asked(one[2])] == [one for one in whole if asked(one[2])]
    assert seen[0] == whole[0], "what a pass begins with is looked at after its first stretch"


def staged(journal: Journal, answer: Any = (1.5, "a"), times: int = 3) -> Any:
    """Ask one question, three more in a stage, and one after it; return what came of the stage."""

    def work() -> Generator[int, None, Any]:
        for k in range(times):
            yield k
            rows_of(journal).total(Counter(), np.array([float(k)]))
        return answer

    rows_of(journal).total(Counter(), np.array([-1.0]))
    found = finish(journal.stage("choice", tuple[float, str], work()))
    rows_of(journal).total(Counter(), np.array([9.0]))
    return found


def numbers(folder: Path) -> list[tuple[int, str]]:
    return [(int(path.name[:9]), path.suffix) for path in sorted((folder / "journal").glob("0*"))]


def test_what_came_of_a_stage_stands_for_its_answers(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    assert staged(journal) == (1.5, "a")
    left(journal)
    assert numbers(tmp_path) == [(0, ".safetensors"), (4, ".json"), (4, ".safetensors")]
    again = entered(tmp_path)
    assert staged(again, answer="it is not worked for again") == (1.5, "a")
    left(again)
    assert (again.answered, again.computed, again.damaged) == (5, 0, None)


def test_what_is_left_of_a_stage_that_was_kept_is_removed(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    staged(journal)
    left(journal)
    (kept,) = (tmp_path / "journal").glob("0*.json")
    left_over = kept.with_name(f"{2:09d}.{'0' * 32}.safetensors")
    left_over.write_bytes(b"its writer was killed before it could remove it")
    again = entered(tmp_path)
    assert staged(again) == (1.5, "a")
    left(again)
    assert not left_over.exists()
    assert (again.answered, again.computed, again.damaged) == (5, 0, None)


def test_a_stage_that_is_no_json_keeps_its_answers(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    assert np.isnan(staged(journal, answer=(np.nan, "a"))[0])
    left(journal)
    assert numbers(tmp_path) == [(k, ".safetensors") for k in range(5)]
    again = entered(tmp_path)
    assert np.isnan(staged(again, answer=(np.nan, "a"))[0])
    left(again)
    assert (again.answered, again.computed) == (5, 0)


def test_a_damaged_stage_is_done_again(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    staged(journal)
    left(journal)
    (kept,) = (tmp_path / "journal").glob("0*.json")
    kept.write_bytes(kept.read_bytes().replace(b"1.5", b"2.5"))
    again = entered(tmp_path)
    assert staged(again) == (1.5, "a")
    left(again)
    assert (again.answered, again.computed, again.damaged) == (1, 4, kept.name)
    assert numbers(tmp_path) == [(0, ".safetensors"), (4, ".json"), (4, ".safetensors")]


def statistics() -> Iterator[type]:
    """Yield every statistic of the package: whatever is called with a chunk and combines totals."""
    for module in pkgutil.walk_packages(bl.__path__, "batchlearn."):
        if module.name.endswith(("__main__", ".compiled")):
            continue
        for _, kind in inspect.getmembers(import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and hasattr(kind, "combine") and not getattr(kind, "_is_protocol", False):
                yield kind


def test_every_statistic_says_what_its_totals_are() -> None:
    kinds = list(statistics())
    assert len(kinds) > 20
    for kind in kinds:
        said: Any = get_type_hints(kind.__call__)["return"]
        assert getattr(said, "__origin__", said) is tuple or hasattr(said, "_make"), kind
        if hasattr(said, "_make") and isinstance(kind.combine, tuple):  # type: ignore[attr-defined]
            assert len(said._fields) == len(kind.combine), kind  # type: ignore[attr-defined]
