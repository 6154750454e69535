"""The target: what labels mean, decided by the column's kind, its values and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.target import TASK_OF_LOSS, Target, Task, infer_target
from batchlearn.errors import BatchlearnError, DataError, UsageError
from batchlearn.tables.columns import Column, Kind


@pytest.mark.parametrize(
    ("kind", "found", "loss", "inferred", "classes"),
    [
        (Kind.CATEGORY, ["yes", "no"], None, "logistic", ("no", "yes")),
        (Kind.CATEGORY, ["yes", "no"], "logistic", "logistic", ("no", "yes")),
        (Kind.BOOLEAN, [True, False], None, "logistic", (False, True)),
        (Kind.BOOLEAN, [True, False], "squared", "squared", ()),
        (Kind.BOOLEAN, [True], "poisson", "poisson", ()),
        (Kind.NUMBER, [1.0, 0.0], None, "logistic", (0.0, 1.0)),
        (Kind.NUMBER, [2.0, -1.0], "logistic", "logistic", (-1.0, 2.0)),
        (Kind.NUMBER, [1.0, 0.0], "squared", "squared", ()),
        (Kind.NUMBER, [1.0, 2.0, 3.0], None, "squared", ()),
        (Kind.NUMBER, [1.0, 2.0, 3.0], "poisson", "poisson", ()),
        (Kind.NUMBER, [4.0], "squared", "squared", ()),
        (Kind.CATEGORY, ["b", "a", "c"], None, "softmax", ("a", "b", "c")),
        (Kind.NUMBER, [2.0, 0.0, 1.0], "softmax", "softmax", (0.0, 1.0, 2.0)),
        (Kind.CATEGORY, ["b", "a"], "softmax", "logistic", ("a", "b")),
    ],
)
def test_the_task_follows_from_the_labels_unless_a_loss_is_given(
    kind: Kind, found: list[Any], loss: str | None, inferred: str, classes: tuple[Any, ...]
) -> None:
    assert infer_target(Column("y", kind, ""), found, loss) == Target("y", inferred, classes)


@pytest.mark.parametrize(
    ("kind", "found", "loss", "code", "error"),
    [
        (Kind.NUMBER, [], None, "no-labels", DataError),
        (Kind.CATEGORY, ["yes"], None, "one-class", DataError),
        (Kind.NUMBER, [1.0], None, "one-class", DataError),
        (Kind.NUMBER, [1.0], "logistic", "one-class", DataError),
        (Kind.BOOLEAN, [True], None, "one-class", DataError),
        (Kind.CATEGORY, [str(k) for k in range(201)], None, "many-classes", DataError),
        (Kind.NUMBER, [0.0, 1.0, 2.0], "logistic", "loss-for-two", UsageError),
        (Kind.CATEGORY, ["a", "b"], "squared", "loss-for-classes", UsageError),
        (Kind.CATEGORY, ["a", "b"], "poisson", "loss-for-classes", UsageError),
        (Kind.TIMESTAMP, [1, 2], None, "target-kind", DataError),
    ],
)
def test_labels_that_fit_nothing_are_refused(
    kind: Kind, found: list[Any], loss: str | None, code: str, error: type[BatchlearnError]
) -> None:
    with pytest.raises(error) as refused:
        infer_target(Column("y", kind, ""), found, loss)
    assert refused.value.code == code


def test_every_loss_has_one_task() -> None:
    assert set(TASK_OF_LOSS.values()) == set(Task)
    assert all(Target("y", loss).task is task for loss, task in TASK_OF_LOSS.items())


def test_classes_are_zero_and_one_in_order_and_others_are_marked() -> None:
    target = Target("y", "logistic", ("no", "yes"))
    label, unseen = target.encode(pa.array(["yes", "no", None, "maybe"]).dictionary_encode())
    assert label.tolist()[:2] == [1.0, 0.0]
    assert np.isnan(label[2:]).all()
    assert unseen.tolist() == [False, False, False, True]


@pytest.mark.parametrize("classes", [(0.0, 1.0), (False, True)])
def test_flags_stored_as_numbers_or_booleans_are_the_same_classes(classes: tuple[Any, ...]) -> None:
    target = Target("y", "logistic", classes)
    for stored in (pa.array([1.0, 0.0, None]), pa.array([True, False, None])):
        label, unseen = target.encode(stored)
        assert label.tolist()[:2] == [1.0, 0.0]
        assert not unseen.any()


def test_numbers_stay_themselves() -> None:
    label, unseen = Target("y", "squared").encode(pa.array([1.5, None, -2.0]))
    assert np.isnan(label[1])
    assert label[[0, 2]].tolist() == [1.5, -2.0]
    assert not unseen.any()


def test_values_of_a_label_column_keep_their_type_and_their_gaps() -> None:
    target = Target("y", "logistic", ("a", "b"))
    assert target.values(pa.array(["a", None, "b", "a"]).dictionary_encode()).tolist() == ["a", None, "b", "a"]
    assert target.values(pa.array([True, None])).tolist() == [True, None]
    assert target.values(pa.array([1.0, None])).tolist() == [1.0, None]
