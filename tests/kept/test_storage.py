"""Kept totals to bytes and back."""

from __future__ import annotations

import numpy as np
import pytest
from tests.kept.made import Made, kept_of, made

from batchlearn.errors import IntegrityError
from batchlearn.kept.first_rung import first_rung
from batchlearn.kept.storage import dump, load
from batchlearn.kept.totals import assemble, totals_at
from batchlearn.kept.update import Update
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.objective import Objective
from batchlearn.objectives.penalties import Quadratic


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_what_is_loaded_says_the_same_to_the_last_bit(loss: str) -> None:
    rng = np.random.default_rng(5)
    problem = made(rng, loss)
    rows, new = problem.rows(rng, 50), problem.rows(rng, 8)
    kept = kept_of(problem, rows)
    again = load(dump(kept), kept.layout, loss)
    objective = problem.objective(rows.total_weight + new.total_weight)
    one, two = (first_rung(Update.of(totals, new, objective)) for totals in (kept, again))
    assert one.lower == two.lower
    assert one.upper == two.upper
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert dump(again) == dump(kept)
    assert again.rows == 50


def test_a_penalty_with_blocks_comes_back() -> None:
    rng = np.random.default_rng(6)
    problem = Made("logistic", Layout(True, 0, (4, 3)), np.zeros(8), 1.0, False)
    rows = problem.rows(rng, 40)
    block = np.eye(4) + 0.5
    penalty = Quadratic(np.r_[0.0, np.zeros(4), np.ones(3)] / 40.0, ((slice(1, 5), block / 40.0),))
    objective = Objective(LOSSES["logistic"], penalty)
    kept = assemble(objective, rows, np.zeros(8), *totals_at(objective.loss, rows, np.zeros(8)))
    again = load(dump(kept), kept.layout, "logistic")
    assert again.penalty.blocks[0][0] == slice(1, 5)
    np.testing.assert_array_equal(again.penalty.blocks[0][1], block / 40.0)


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
