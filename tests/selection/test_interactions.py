"""Pairs ranked by one pass: an interaction comes first, noise gains nothing, and no pair comes twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.training.made import arrow
from tests.training.trials import amounts

from batchlearn.data.bins import BinTerm
from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.pairs import PairTerm, SingleTerm, coarsened
from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.selection.interactions import Candidate, _recode, rank_pairs
from batchlearn.selection.strengths import find_strengths
from batchlearn.selection.terms import encoding_terms
from batchlearn.tables.table import read


def drain(work: Any) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def encoded(columns: dict[str, Any], pairs: tuple[PairTerm, ...] = ()) -> tuple[Encoding, Rows]:
    table = read(arrow(columns), target="label")
    ledger = read_ledger(table)
    (profiles,) = drain(profile_parts(table, ledger, [ledger.used]))
    encoding = fit_encoding(table.features, profiles, EncodingRules(additive=True), None, pairs)
    return encoding, drain(build_rows(table, ledger, encoding, ledger.used, 1))


def ranked(loss: str, columns: dict[str, Any], pairs: tuple[PairTerm, ...] = ()) -> list[Candidate]:
    encoding, rows = encoded(columns, pairs)
    terms = tuple(encoding_terms(encoding).values())
    found, parameters = find_strengths(LOSSES[loss], rows, terms)
    return rank_pairs(LOSSES[loss], rows, encoding, parameters, found.dispersion)


def labelled(rng: np.random.Generator, loss: str, eta: Floats) -> Floats:
    if loss == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    if loss in ("gamma", "tweedie"):
        return amounts(rng, loss, np.exp(0.7 * eta))
    return rng.poisson(np.exp(0.5 * eta)).astype(float) if loss == "poisson" else eta + rng.normal(size=len(eta))


# --- coarse codes ---------------------------------------------------------------------------------------------------


def arrays(rng: np.random.Generator, missing: bool) -> dict[str, Any]:
    n = 500
    gone = rng.random(n) < (0.1 if missing else 0.0)
    levels = [None if g else f"l{k}" for g, k in zip(gone, rng.geometric(0.1, n) % 60, strict=True)]
    times = [None if g else datetime(2024, 1, 1) + timedelta(hours=int(h)) for g, h in zip(gone, range(n), strict=True)]
    return {
        "x": pa.array([None if g else float(v) for g, v in zip(gone, rng.normal(size=n), strict=True)], pa.float64()),
        "c": pa.array(levels).dictionary_encode(),
        "when": pa.array(times, pa.timestamp("us")),
    }


def fine_terms(missing: bool) -> list[SingleTerm]:
    edges = tuple(np.linspace(-2.0, 2.0, 30))
    kept = tuple(f"l{k}" for k in range(40))
    return [
        BinTerm("x", edges, -3.0, 3.0, missing),
        LevelTerm("c", tuple(f"l{k}" for k in range(60)), missing=missing),
        LevelTerm("c", kept, rare=True, missing=missing),
        LevelTerm("c", kept, buckets=8, missing=missing),
        CalendarTerm("when", "hour", tuple(range(24)), missing),
    ]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("most", [4, 12])
@pytest.mark.parametrize("which", range(5))
def test_the_codes_of_a_coarse_term_are_the_recoded_codes_of_the_fine_one(which: int, most: int, missing: bool) -> None:
    fine = fine_terms(missing)[which]
    array = arrays(np.random.default_rng(which), missing)[fine.column]
    codes = fine.encode(array)
    coarse = coarsened(fine, np.bincount(codes, minlength=len(fine.names)), most)
    if isinstance(fine, CalendarTerm):
        assert coarse is fine
        return
    assert np.array_equal(_recode(fine, coarse)[codes], coarse.encode(array))
    assert len(np.unique(codes)) > len(np.unique(coarse.encode(array)))


# --- the ranking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_pair_that_acts_together_comes_first(loss: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-2.0, 2.0, size=(2500, 4))
    label = labelled(rng, loss, X[:, 0] + X[:, 1] * X[:, 2])
    found = ranked(loss, {**{f"x{k}": X[:, k] for k in range(4)}, "label": label})
    assert found[0].term.columns == ("x1", "x2")
    assert all(a.gain >= b.gain for a, b in pairwise(found))
    assert found[0].gain > 5.0 * max([candidate.gain for candidate in found[1:]], default=0.0)
    assert found[0].gain > 50.0


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_on_additive_data_the_gains_are_those_of_noise(loss: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.uniform(-2.0, 2.0, size=(2500, 4))
    label = labelled(rng, loss, X[:, 0] + np.sin(2.0 * X[:, 1]))
    found = ranked(loss, {**{f"x{k}": X[:, k] for k in range(4)}, "label": label})
    # Half the sum of 144 squares of noise, less its mean, has a deviation of about 8.5 times the dispersion.
    assert max([candidate.gain for candidate in found], default=0.0) < 30.0


def test_parts_of_one_time_and_categories_make_pairs() -> None:
    rng = np.random.default_rng(2)
    times = [datetime(2024, 1, 1) + timedelta(hours=int(k)) for k in range(2400)]
    hour, weekday = np.arange(2400) % 24, np.arange(2400) // 24 % 7
    colour = rng.integers(0, 3, 2400)
    label = 3.0 * ((hour > 11) & (weekday > 4)) + rng.normal(size=2400)
    found = ranked("squared", {"when": times, "colour": [f"c{k}" for k in colour], "label": label})
    assert found[0].term.column == "hour(when) x weekday(when)"


def test_a_pair_that_is_there_is_not_proposed_again() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 2))
    columns = {"a": X[:, 0], "b": X[:, 1], "label": np.sin(3.0 * X[:, 0] * X[:, 1]) + 0.1 * rng.normal(size=2000)}
    (first,) = ranked("squared", columns)
    assert first.term.column == "a x b"
    assert ranked("squared", columns, (first.term,)) == []


def test_a_pair_whose_name_a_column_has_is_not_proposed() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(1500, 2))
    columns = {"a": X[:, 0], "b": X[:, 1], "a x b": rng.normal(size=1500), "label": X[:, 0] * X[:, 1]}
    assert "a x b" not in {candidate.term.column for candidate in ranked("squared", columns)}
