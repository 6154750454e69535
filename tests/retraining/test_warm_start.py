"""Scratch, warm, fine-tuned and updated: which of them end in the same place, and what each says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.retraining.brackets import trial, truth
from tests.training.made import made as made_columns
from tests.training.made import table_of
from tests.updating.made import Made, design, fitted, joined, kept_of, problem_of

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.split import with_lots
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Penalty
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.progress import finish
from batchlearn.retraining.bracket import Change
from batchlearn.retraining.warm_start import FROM_TOTALS, fine_tune, refuse_new_tables, update, warm
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.updating.encoding_drift import new_levels
from batchlearn.updating.sufficient_statistics import SufficientStatistics, collect_statistics

PROBLEM = Made("logistic", Layout(True, 2, (4, 3)), np.array([0.2, 0.6, -0.4, *0.3 * np.arange(7)]), 1.0, False)


def test_scratch_warm_and_update_agree_within_the_sum_of_their_bounds() -> None:
    rng = np.random.default_rng(1)
    old, new = PROBLEM.rows(rng, 3000), PROBLEM.rows(rng, 150, drift=0.2)
    kept, everything = kept_of(PROBLEM, old), joined(old, new)
    problem = problem_of(PROBLEM.objective(everything.total_weight), everything, 0.01)[0]
    starts = [
        warm(problem, np.zeros_like(kept.parameters)),
        warm(problem, kept.parameters),
        update(kept, Change(new), PROBLEM.penalty),
    ]
    assert [start.certificate.certified for start in starts] == [True] * 3
    assert starts[2].certificate.method == FROM_TOTALS
    assert "To prove it no old row was read." in str(starts[2].note)
    assert "within" in str(starts[1].note)
    assert starts[1].rows_read <= starts[0].rows_read
    # The bound on coefficients is that on the loss, in the metric of the total Hessian.
    X = design(everything)
    mean = 1.0 / (1.0 + np.exp(-X @ starts[2].parameters))
    strengths = problem.objective.penalty.strengths * everything.total_weight
    hessian = X.T @ ((mean * (1.0 - mean))[:, None] * X) + np.diag(strengths)
    loss = starts[2].certificate.loss_bound
    assert loss is not None
    largest = np.sqrt(2.0 * loss * everything.total_weight * np.diag(np.linalg.inv(hessian)).max())
    assert starts[2].certificate.coefficient_bound == pytest.approx(largest, rel=0.05)
    for one in starts:
        for other in starts:
            most = np.abs(one.parameters - other.parameters).max()
            bounds = one.certificate.coefficient_bound, other.certificate.coefficient_bound
            assert bounds[0] is not None
            assert bounds[1] is not None
            assert most <= bounds[0] + bounds[1]
            values = [problem.objective.value(everything, start.parameters) for start in (one, other)]
            losses = one.certificate.loss_bound, other.certificate.loss_bound
            assert losses[0] is not None
            assert losses[1] is not None
            assert abs(values[0] - values[1]) <= max(losses[0], losses[1]) + 1e-15


def test_an_update_that_is_not_certified_says_so_and_still_gains() -> None:
    seed = next(s for s in range(50) if not update(*_of(s)).certificate.certified)
    one = trial(seed, "poisson", "added")
    found = update(*_of(seed))
    assert "must be below 1" in str(found.certificate)
    assert "is an estimate" in str(found.note)
    assert found.bracket is not None
    objective = one.problem.objective(one.after.total_weight)
    gained = objective.value(one.after, one.kept.parameters) - objective.value(one.after, found.parameters)
    assert gained >= found.bracket.lower - 1e-12
    climbed = update(*_of(seed), all_rows=lambda: one.after)
    assert climbed.certificate.certified
    assert climbed.bracket is not None
    assert 2 <= climbed.bracket.rung <= 4
    assert found.bracket.lower <= truth(one).gain


def _of(seed: int) -> tuple[SufficientStatistics, Change, Penalty]:
    one = trial(seed, "poisson", "added")
    return one.kept, one.change, one.problem.penalty


def test_fine_tuning_is_the_anchored_optimum_and_says_how_far_it_is_from_that_of_all_rows() -> None:
    rng = np.random.default_rng(2)
    old, new = PROBLEM.rows(rng, 3000), PROBLEM.rows(rng, 150, drift=0.2)
    kept = kept_of(PROBLEM, old)
    tuned = fine_tune(kept, Change(new), PROBLEM.penalty)
    X = np.column_stack([*new.read(new.chunks[0]).block.dense, *_indicators(new)])
    slopes = LOSSES["logistic"].slope(X @ tuned.parameters, new.chunks[0].label)
    gradient = X.T @ slopes + kept.reference @ (tuned.parameters - kept.parameters)
    there = LOSSES["logistic"].slope(X @ kept.parameters, new.chunks[0].label)
    assert np.abs(gradient).max() < 1e-2 * np.abs(X.T @ there).max()
    assert not tuned.certificate.certified
    assert "Not the optimum of all rows" in str(tuned.note)
    assert "within" in str(tuned.note)
    objective = PROBLEM.objective(3150.0)
    optimum = fitted(objective, joined(old, new))
    gap = objective.value(joined(old, new), tuned.parameters) - objective.value(joined(old, new), optimum)
    stated = float(str(tuned.note).split("within ")[1].split(" ")[0])
    assert 0.0 < gap <= stated * 1.01
    looser = fine_tune(kept, Change(new), PROBLEM.penalty, anchor=0.1)
    moves = [float(np.linalg.norm(one.parameters - kept.parameters)) for one in (tuned, looser)]
    assert moves[1] > moves[0]
    with pytest.raises(UsageError, match="The anchor is 0"):
        fine_tune(kept, Change(new), PROBLEM.penalty, anchor=0.0)


def test_rows_one_by_one_are_least_squares_so_far_and_of_classes_near_all_of_them() -> None:
    rng = np.random.default_rng(3)
    squares = replace(PROBLEM, loss="squared")
    old, new = squares.rows(rng, 600), squares.rows(rng, 90, drift=0.5)
    kept = kept_of(squares, old)
    X, y = np.column_stack([*new.read(new.chunks[0]).block.dense, *_indicators(new)]), new.chunks[0].label
    expected = np.linalg.solve(kept.reference + X.T @ X, kept.reference @ kept.parameters + X.T @ y)
    found = fine_tune(kept, Change(new), squares.penalty, one_by_one=True)
    np.testing.assert_allclose(found.parameters, expected, rtol=1e-9, atol=1e-9)
    assert not found.certificate.certified
    assert found.certificate.reason == Note(Code.LEARNED_ONE_BY_ONE)
    old, new = PROBLEM.rows(rng, 3000), PROBLEM.rows(rng, 150, drift=0.2)
    kept = kept_of(PROBLEM, old)
    forwards, backwards = (
        fine_tune(kept, Change(new, times=times), PROBLEM.penalty, one_by_one=True)
        for times in (np.arange(150.0), -np.arange(150.0))
    )
    assert np.abs(forwards.parameters - backwards.parameters).max() > 1e-6, "they are learned in the order of time"
    objective, everything = PROBLEM.objective(3150.0), joined(old, new)
    least = objective.value(everything, fitted(objective, everything))
    for one in (forwards, backwards):
        gap = objective.value(everything, one.parameters) - least
        stated = float(str(one.note).split("within ")[1].split(" ")[0])
        assert 0.0 < gap <= stated * 1.01
        assert gap < 0.2 * (objective.value(everything, kept.parameters) - least)
        assert one.rows_read < 1000


def _indicators(rows: MemoryRows) -> Iterator[Floats]:
    for codes, levels in zip(rows.chunks[0].codes, rows.layout.groups, strict=True):
        yield from ((codes == level).astype(float) for level in range(levels))


def test_rows_that_need_a_table_or_a_scale_of_their_own_are_refused() -> None:
    rng = np.random.default_rng(3)
    old, new = PROBLEM.rows(rng, 500), PROBLEM.rows(rng, 60)
    codes = np.minimum(old.chunks[0].codes, np.array([[3], [2]], dtype=np.int32))
    known = replace(old, chunks=(replace(old.chunks[0], codes=codes),))
    kept = kept_of(PROBLEM, known)
    with pytest.raises(DataError, match="meets no coefficient"):
        update(kept, Change(new), PROBLEM.penalty)
    wide = replace(known, chunks=(replace(known.chunks[0], dense=20.0 * known.chunks[0].dense),))
    with pytest.raises(DataError, match=r"column 1 deviates 14\.\d times as much"):
        fine_tune(kept, Change(wide), PROBLEM.penalty)
    refuse_new_tables(kept, None)
    assert update(kept, Change(known), PROBLEM.penalty).certificate.rows == 1000


def test_a_table_with_a_new_level_is_named_and_one_without_is_updated() -> None:
    columns = made_columns(600, 0, "logistic")
    table = table_of(columns)
    ledger = with_lots(table, read_ledger(table, loss=None))
    early = ledger.used & (np.arange(600) < 500)
    profiles = finish(profile_parts(table, ledger, [early]))[0]
    encoding = fit_encoding(table.features, profiles, EncodingRules(), None)
    rows, new = (finish(build_rows(table, ledger, encoding, part, 1)) for part in (early, ledger.used & ~early))
    penalty = Penalty(in_total=ridge(rows.layout, 1.0), per_row=ridge(rows.layout, 0.0))
    objective = Objective(LOSSES["logistic"], penalty.over(500.0))
    names = list(encoding.names)
    kept = collect_statistics(
        objective, rows, optimise(Problem(objective, rows, PredictionsWithin(), Units(encoding.units), names))
    )
    found = update(kept, Change(new), penalty, encoding=encoding)
    assert found.certificate.certified
    assert new_levels(encoding, table) == []
    columns["colour"] = ["teal" if k % 30 == 0 else colour for k, colour in enumerate(columns["colour"])]
    (new_level,) = new_levels(encoding, table_of(columns))
    assert new_level == Note(Code.NEW_LEVEL, {"level": "teal", "column": "colour", "rows": 20})
    assert str(new_level) == "level 'teal' of 'colour' has 20 new rows and no coefficient"
    again = finish(build_rows(table_of(columns), ledger, encoding, ledger.used & ~early, 1))
    refuse_new_tables(kept, again, encoding)  # four rows of a new level are fewer than would get a coefficient
