"""What a part of the rows knows of the classes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.data.ledger import read_ledger, with_classes_of
from batchlearn.errors import UsageError


def table(labels: list[str], **columns: list[float]) -> bl.Table:
    return bl.read(pa.table({"x": list(range(len(labels))), "y": labels, **columns}), target="y")


def test_classes_that_a_part_lacks_are_unseen_there() -> None:
    ledger = read_ledger(table(["a", "b", "c", "d", "c", "a"]))
    part = np.array([True, False, True, True, False, False])
    known = with_classes_of(ledger, part)
    assert known.target.classes == ("a", "c", "d")
    assert known.target.loss == "softmax"
    assert known.label.tolist()[:1] + known.label.tolist()[2:] == [0.0, 1.0, 2.0, 1.0, 0.0]
    assert known.unseen.tolist() == [False, True, False, False, False, False]
    assert known.used.tolist() == [True, False, True, True, True, True]


def test_a_part_of_two_classes_is_learned_as_two() -> None:
    ledger = read_ledger(table(["a", "b", "c", "a"]))
    known = with_classes_of(ledger, np.array([True, False, True, False]))
    assert (known.target.loss, known.target.classes) == ("logistic", ("a", "c"))
    assert known.label[[0, 2, 3]].tolist() == [0.0, 1.0, 0.0]


def test_a_part_with_every_class_keeps_the_ledger() -> None:
    ledger = read_ledger(table(["a", "b", "c"]))
    assert with_classes_of(ledger, ledger.used) is ledger


def test_offsets_are_for_one_predictor() -> None:
    rows = bl.read(pa.table({"x": [1.0, 2.0, 3.0], "o": [1.0, 1.0, 2.0], "y": ["a", "b", "c"]}), target="y", offset="o")
    with pytest.raises(UsageError, match="3 classes") as refused:
        read_ledger(rows)
    assert refused.value.code == "offset-classes"
