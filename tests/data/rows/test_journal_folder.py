"""Whose a checkpoint is, and what is wrong with a folder: refused, or computed again, and said."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.data.rows.journals import NONE, Constant, Counter, answers, entered, left, rows_of

import batchlearn as bl
from batchlearn.artifacts.disk import LocalDisk
from batchlearn.data.rows.journal import Journal
from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError, ResourceError, UsageError
from batchlearn.kernels import native

# --- whose it is ----------------------------------------------------------------------------------------------------

ROWS: dict[str, Any] = {"size": [1.0, 2.0, 4.0, 3.0], "day": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 2.0, 4.0]}
RECIPE = bl.Recipe(alpha=0.1, holdout=0.0)


def parameters(folder: Path | None, recipe: bl.Recipe = RECIPE, rows: dict[str, Any] = ROWS, **roles: Any) -> str:
    fit = bl.train(bl.read(rows, target="y", **roles), recipe, checkpoint=folder)
    return repr(fit.coefficients)


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
        stored, folder = np.asarray(matrix, order=order), tmp_path / order
        for _ in range(2):
            journal = entered(folder)
            (found,) = rows_of(journal).total(Constant(stored), NONE)
            left(journal)
            assert np.signbit(found[3, 4])
            assert found.flags.f_contiguous == (order == "F")
        assert (found == matrix).all()
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
