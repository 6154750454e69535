"""Kept totals to bytes and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.updating.made import Made, kept_of, made

from batchlearn.artifacts.tensors import pack, unpack
from batchlearn.errors import IntegrityError
from batchlearn.kernels.design import Layout
from batchlearn.updating.bound_from_totals import bound_from_totals
from batchlearn.updating.storage import dump, load
from batchlearn.updating.update import Update


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_what_is_loaded_says_the_same_to_the_last_bit(loss: str) -> None:
    rng = np.random.default_rng(5)
    problem = made(rng, loss)
    rows, new = problem.rows(rng, 50), problem.rows(rng, 8)
    kept = kept_of(problem, rows)
    again = load(dump(kept), kept.layout, loss)
    objective = problem.objective(rows.total_weight + new.total_weight)
    one, two = (bound_from_totals(Update.of(totals, new, objective)) for totals in (kept, again))
    assert one.lower == two.lower
    assert one.upper == two.upper
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert dump(again) == dump(kept)
    assert again.rows == 50


def test_the_penalty_that_an_earlier_release_kept_is_passed_over() -> None:
    """It was that of the mean objective over its own rows: no word of what is in total and what per row."""
    rng = np.random.default_rng(6)
    problem = Made("logistic", Layout(True, 0, (4, 3)), np.zeros(8), 1.0, False)
    kept = kept_of(problem, problem.rows(rng, 40))
    data = dump(kept)
    length = 8 + int.from_bytes(data[:8], "little")
    header = {name: entry["shape"] for name, entry in json.loads(data[8:length]).items() if name != "__metadata__"}
    arrays = {name: np.asarray(array) for name, array in unpack(data, header).items()}
    old = {**arrays, "penalty": np.full(8, 0.3), "penalty block 1": np.eye(4)}
    again = load(pack(old), kept.layout, "logistic")
    assert dump(again) == data
    for name, wrong in (("penalty", np.full(7, 0.3)), ("penalty block 1", np.eye(3))):
        with pytest.raises(IntegrityError, match="belong to another model"):
            load(pack({**old, name: wrong}), kept.layout, "logistic")


def test_bytes_that_are_not_as_written_are_refused() -> None:
    rng = np.random.default_rng(7)
    problem = Made("logistic", Layout(True, 1, (3,)), np.zeros(5), 1.0, False)
    kept = kept_of(problem, problem.rows(rng, 40))
    good = dump(kept)
    length = 8 + int.from_bytes(good[:8], "little")
    spoiled = [
        b"", good[:20], good[:-8], good + b"\0" * 8, b"\xff" * 8 + good[8:],
        good[:length] + b"\xff" * 8 + good[length + 8 :], good.replace(b'"scale"', b'"scald"'),
    ]  # fmt: skip
    for data in spoiled:
        with pytest.raises(IntegrityError, match="kept totals are not as they were written"):
            load(data, kept.layout, "logistic")
    with pytest.raises(IntegrityError, match="belong to another model"):
        load(good, Layout(True, 1, (4,)), "logistic")
