"""What rows answered comes back as it was, to the last bit, and only to the training that asked before."""

from __future__ import annotations

import errno
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.data.rows.test_protocol import in_memory

import batchlearn as bl
from batchlearn.artifacts.disk import LocalDisk
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.rows.journal import Journal
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError, ResourceError, UsageError
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats

NONE = np.empty(0)


class Answer(NamedTuple):
    matrix: Floats  # (2, 3) in the order of columns
    numbers: Any
    plain: float
    count: int
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


@dataclass(frozen=True)
class Constant:
    """The same array of each chunk."""

    array: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:  # noqa: ARG002 - the same of any rows
        return (self.array,)


class Counter:
    """Counts how often a statistic is computed."""

    combine = (np.add,)

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float]:
        self.times += 1
        return (float(len(chunk.label)) * parameters[0],)


def rows_of(journal: Journal | None) -> Rows:
    rows = in_memory(20)
    assert isinstance(rows, MemoryRows)
    return replace(rows, journal=journal)


def entered(folder: Path, training: str = "of a test", seconds: float = 0.0) -> Journal:
    journal = Journal(folder, seconds=seconds).__enter__()
    journal.begin({"rows": training})
    return journal


def left(journal: Journal) -> None:
    journal.write()
    journal.__exit__(None, None, None)


def test_every_kind_of_answer_comes_back_to_the_bit(tmp_path: Path) -> None:
    one_chunk = in_memory()
    assert isinstance(one_chunk, MemoryRows)
    journal = entered(tmp_path)
    first = replace(one_chunk, journal=journal).total(EveryKind(), NONE)
    left(journal)
    again = entered(tmp_path)
    second = replace(one_chunk, journal=again).total(EveryKind(), NONE)
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
    rows = replace(in_memory(), journal=journal)  # type: ignore[type-var]
    rows.total(EveryKind(), NONE).matrix[:] = 0.0
    left(journal)
    again = entered(tmp_path)
    assert replace(in_memory(), journal=again).total(EveryKind(), NONE).matrix[1, 2] == 5.0 / 7.0  # type: ignore[type-var]
    left(again)


def test_no_row_is_read_for_what_is_known(tmp_path: Path) -> None:
    points = [np.array([float(k)]) for k in range(3)]
    for known in (0, 3):
        statistic, journal = Counter(), entered(tmp_path)
        found = [rows_of(journal).total(statistic, point)[0] for point in points]
        left(journal)
        assert found == [0.0, 60.0, 120.0]
        assert statistic.times == 2 * (3 - known)
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


# --- whose it is ----------------------------------------------------------------------------------------------------

ROWS: dict[str, Any] = {"size": [1.0, 2.0, 4.0, 3.0], "day": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 2.0, 4.0]}
RECIPE = bl.Recipe(alpha=0.1, holdout=0.0)


def parameters(folder: Path | None, recipe: bl.Recipe = RECIPE, rows: dict[str, Any] = ROWS, **roles: Any) -> bytes:
    fit = bl.train(bl.read(rows, target="y", **roles), recipe, checkpoint=folder)
    return fit.model.parameters.tobytes()


def test_a_finished_training_gives_its_model_again(tmp_path: Path) -> None:
    assert parameters(tmp_path / "kept") == parameters(None)
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert parameters(tmp_path / "kept") == parameters(None)
    after = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": replace(RECIPE, alpha=0.2)}, "its recipe alpha was '0.1' and is '0.2'"),
        ({"recipe": replace(RECIPE, seed=1)}, "its recipe seed was '0' and is '1'"),
        ({"rows": {**ROWS, "size": [1.0, 2.0, 4.0, 3.5]}}, "its rows was"),
        ({"rows": {**ROWS, "y": [0.0, 1.0, 2.0, 5.0]}}, "its rows was"),
        ({"rows": {name: values[::-1] for name, values in ROWS.items()}}, "its rows was"),
        ({"rows": {"length": ROWS["size"], "day": ROWS["day"], "y": ROWS["y"]}}, "its columns was"),
        ({"time": "day"}, "its role time was 'None' and is 'day'"),
        ({"where": "day < 4"}, "its rows was"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_training_is_refused_with_what_is_another(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    parameters(tmp_path / "kept")
    with pytest.raises(UsageError) as refusal:
        parameters(tmp_path / "kept", **given)
    assert refusal.value.code == "checkpoint-other"
    assert said in refusal.value.message
    assert "remove this one to begin anew" in refusal.value.message
    assert parameters(tmp_path / "kept") == parameters(None), "it is as it was"


def test_other_kernels_are_another_training(tmp_path: Path) -> None:
    with native.numpy_serves():
        parameters(tmp_path / "kept")
    if native.built():
        with pytest.raises(UsageError, match="its kernels was"):
            parameters(tmp_path / "kept")


def test_a_question_that_was_not_asked_before_is_refused(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    rows_of(journal).total(Counter(), np.array([1.0]))
    left(journal)
    again = entered(tmp_path)
    with pytest.raises(IntegrityError, match="Numbers come out otherwise") as refusal:
        rows_of(again).total(Counter(), np.array([np.nextafter(1.0, 2.0)]))
    left(again)
    assert refusal.value.code == "checkpoint-differs"


# --- what is wrong with a folder ------------------------------------------------------------------------------------


def answers(folder: Path) -> list[Path]:
    return sorted((folder / "journal").glob("*.safetensors"))


def spoilt(folder: Path, number: int, how: str) -> None:
    path = answers(folder)[number]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data) if how == "flipped" else b"" if how == "empty" else path.read_bytes()[:-1])


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_damaged_answers_are_computed_again_and_it_is_known(how: str, tmp_path: Path) -> None:
    points = [np.array([float(k)]) for k in range(4)]
    journal = entered(tmp_path)
    found = [rows_of(journal).total(Counter(), point) for point in points]
    left(journal)
    name = answers(tmp_path)[2].name
    spoilt(tmp_path, 2, how)
    again = entered(tmp_path)
    assert [rows_of(again).total(Counter(), point) for point in points] == found
    left(again)
    assert (again.answered, again.computed, again.damaged) == (2, 2, name)
    third = entered(tmp_path)
    assert [rows_of(third).total(Counter(), point) for point in points] == found
    left(third)
    assert (third.answered, third.computed, third.damaged) == (4, 0, None)


def test_a_file_that_is_missing_is_noticed(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    for k in range(3):
        rows_of(journal).total(Counter(), np.array([float(k)]))
    left(journal)
    answers(tmp_path)[1].unlink()
    again = entered(tmp_path)
    for k in range(3):
        assert rows_of(again).total(Counter(), np.array([float(k)])) == (60.0 * k,)
    left(again)
    assert (again.answered, again.computed) == (1, 2)
    assert again.damaged is not None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format_version": "1", "training": {}}', None])
def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(text: str | None, tmp_path: Path) -> None:
    parameters(tmp_path)
    said = tmp_path / "journal" / "training.json"
    said.unlink()
    if text is not None:
        said.write_text(text)
    with pytest.raises(IntegrityError, match="remove this one to begin anew") as refusal:
        parameters(tmp_path)
    assert refusal.value.code == "checkpoint-damaged"


def test_a_newer_checkpoint_is_refused(tmp_path: Path) -> None:
    parameters(tmp_path)
    said = tmp_path / "journal" / "training.json"
    said.write_text(json.dumps({**json.loads(said.read_text()), "format_version": 99, "needs": "batchlearn >= 9.1"}))
    with pytest.raises(RegistryError, match=r"needs batchlearn >= 9\.1") as refusal:
        parameters(tmp_path)
    assert refusal.value.code == "checkpoint-newer"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all I have")
    with pytest.raises(UsageError, match="no checkpoint") as refusal:
        parameters(tmp_path)
    assert refusal.value.code == "checkpoint-folder"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("place", ["file", "absent/kept"])
def test_a_folder_that_cannot_be_made_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError) as refusal:
        parameters(tmp_path / place)
    assert refusal.value.code == "output-not-writable"


def test_an_interval_is_a_number_of_seconds(tmp_path: Path) -> None:
    for seconds in (-1.0, float("nan")):
        with pytest.raises(UsageError) as refusal:
            Journal(tmp_path, seconds=seconds)
        assert refusal.value.code == "checkpoint-interval"


def test_two_trainings_do_not_share_a_checkpoint(tmp_path: Path) -> None:
    journal = entered(tmp_path)
    with pytest.raises(RegistryError, match="at work on this checkpoint"):
        parameters(tmp_path)
    left(journal)


class FullDisk(LocalDisk):
    """Has room for so many files."""

    def __init__(self, files: int) -> None:
        self.files = files

    def create(self, path: Path, data: bytes) -> None:
        if self.files == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files -= 1
        super().create(path, data)


def test_a_full_disk_ends_the_training_which_goes_on_once_there_is_room(tmp_path: Path) -> None:
    points: list[NDArray[np.float64]] = [np.array([float(k)]) for k in range(4)]

    def asked(journal: Journal) -> None:
        with journal:
            journal.begin({"rows": "of a test"})
            for point in points:
                rows_of(journal).total(Counter(), point)

    with pytest.raises(ResourceError) as refusal:
        asked(Journal(tmp_path, seconds=0.0, disk=FullDisk(3)))
    assert (refusal.value.code, refusal.value.exit_code) == ("disk-full", 5)
    again = entered(tmp_path)
    assert [rows_of(again).total(Counter(), point)[0] for point in points] == [0.0, 60.0, 120.0, 180.0]
    left(again)
    assert (again.answered, again.computed) == (2, 2)


def test_the_last_interval_of_a_training_that_is_done_is_not_written(tmp_path: Path) -> None:
    with Journal(tmp_path, seconds=3600.0) as journal:
        journal.begin({"rows": "of a test"})
        rows_of(journal).total(Counter(), np.array([1.0]))
    assert answers(tmp_path) == []
    with Journal(tmp_path, seconds=3600.0) as again:
        again.begin({"rows": "of a test"})
        assert rows_of(again).total(Counter(), np.array([1.0])) == (60.0,)
    assert (again.finished, again.answered, again.damaged) == (True, 0, None)


def test_zeros_of_a_large_answer_take_no_room_and_come_back_with_their_sign(tmp_path: Path) -> None:
    matrix = np.zeros((100, 100))
    matrix[3, 4], matrix[50, :] = -0.0, 2.0
    for order in ("C", "F"):
        stored, folder = np.asarray(matrix, order=order), tmp_path / order  # type: ignore[call-overload]
        for _ in range(2):
            journal = entered(folder)
            (found,) = rows_of(journal).total(Constant(stored), NONE)
            left(journal)
            assert np.signbit(found[3, 4])
            assert found.flags.f_contiguous == (order == "F")
        assert (found == 2.0 * matrix).all()
        assert answers(folder)[0].stat().st_size < 4_000


def test_what_ends_a_training_leaves_its_answers(tmp_path: Path) -> None:
    def ended(journal: Journal, problem: BaseException) -> None:
        with journal:
            journal.begin({"rows": "of a test"})
            rows_of(journal).total(Counter(), np.array([1.0]))
            raise problem

    for problem, known in ((KeyboardInterrupt(), 0), (BatchlearnError("x", code="y"), 1)):
        journal = Journal(tmp_path, seconds=3600.0)
        with pytest.raises(type(problem)):
            ended(journal, problem)
        assert (journal.answered, journal.finished) == (known, False)
