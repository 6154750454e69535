"""Pairs ranked by one pass: an interaction comes first, noise and episodes gain nothing, and no pair comes twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.training.made import arrow
from tests.training.trials import amounts

from batchlearn.data.bins import BinTerm
from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, PairTerm, SingleTerm
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.split import with_lots
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.progress import finish
from batchlearn.selection import interactions
from batchlearn.selection.coarsening import coarsened
from batchlearn.selection.interactions import PairCandidate, _interaction, _recode, best_pairs
from batchlearn.selection.penalty_selection import select_penalties
from batchlearn.selection.terms import encoding_terms
from batchlearn.tables.table import read


def encoded(columns: dict[str, Any], pairs: tuple[PairTerm, ...] = ()) -> tuple[Encoding, MemoryRows]:
    table = read(arrow(columns), target="label")
    ledger = with_lots(table, read_ledger(table))
    (profiles,) = finish(profile_parts(table, ledger, [ledger.used]))
    encoding = fit_encoding(table.features, profiles, EncodingRules(additive=True), None, pairs)
    return encoding, finish(build_rows(table, ledger, encoding, ledger.used, 1))


def ranked(
    loss: str, columns: dict[str, Any], pairs: tuple[PairTerm, ...] = (), count: int = 8, stretches: Any = None
) -> list[PairCandidate]:
    encoding, rows = encoded(columns, pairs)
    terms = tuple(encoding_terms(encoding).values())
    _, parameters = select_penalties(LOSSES[loss], rows, terms)
    when = np.arange(len(rows)) * 5 // len(rows) if stretches is None else stretches
    return best_pairs(LOSSES[loss], rows, (encoding, parameters), when, count)


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
        CalendarTerm("when", "hour", tuple(range(24)), missing=missing),
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
    assert found[0].gain > 5.0 * max([candidate.gain for candidate in found[1:]], default=0.0)
    assert found[0].gain > 50.0


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_on_additive_data_the_gains_are_those_of_noise(loss: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.uniform(-2.0, 2.0, size=(2500, 4))
    label = labelled(rng, loss, X[:, 0] + np.sin(2.0 * X[:, 1]))
    found = ranked(loss, {**{f"x{k}": X[:, k] for k in range(4)}, "label": label})
    assert max([candidate.gain for candidate in found], default=0.0) < 5.0


def test_what_names_an_episode_gains_nothing() -> None:
    # Spells of ten days lift all their rows, other ones each year: month and day name them, but for their year alone.
    rng = np.random.default_rng(5)
    year, day_of_year = np.arange(7200) // 1440, np.arange(7200) % 1440 // 4
    month, day = day_of_year // 30, day_of_year % 30
    spell = 3.0 * rng.normal(size=(5, 36))[year, day_of_year // 10]
    x = rng.uniform(-1.0, 1.0, size=(7200, 2))
    label = spell + 2.0 * x[:, 0] * x[:, 1] + rng.normal(size=7200)
    columns = {"month": month.astype(float), "day": day.astype(float), "a": x[:, 0], "b": x[:, 1], "label": label}
    found = ranked("squared", columns)
    assert found[0].term.columns == ("a", "b")
    assert ("month", "day") not in {candidate.term.columns for candidate in found}
    # Where stretches are random, each knows the spells of all others: then the pair explains most of all.
    apart = ranked("squared", columns, stretches=rng.integers(0, 5, 7200))
    assert apart[0].term.columns == ("month", "day")


def test_of_two_columns_that_say_the_same_one_is_paired() -> None:
    rng = np.random.default_rng(6)
    a, b, c = rng.uniform(-2.0, 2.0, size=(3, 3000))
    label = 2.0 * a * b + a * c + rng.normal(size=3000)
    columns = {"a": a, "a twin": a, "b": b, "c": c, "label": label}
    first, second = ranked("squared", columns, count=2)
    assert set(first.term.columns) < {"a", "a twin", "b"}
    assert set(second.term.columns) < {"a", "a twin", "c"}
    assert len(ranked("squared", columns, count=1)) == 1


@pytest.mark.parametrize("step", [1, -1])
def test_of_two_pairs_that_say_the_same_the_name_decides_and_not_the_last_digits(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, calls = np.random.default_rng(8), count(0, step)
    codes = rng.integers(0, 4, size=(3000, 2))
    label = rng.normal(size=(4, 4))[codes[:, 0], codes[:, 1]] + 0.1 * rng.normal(size=3000)
    a, b = ([f"l{one}" for one in own] for own in codes.T)
    # Each pair that is looked at gains a little more, or less, than the one before.
    monkeypatch.setattr(interactions, "_interaction", lambda *given: _interaction(*given) * (1.0 + 1e-13 * next(calls)))
    (best,) = ranked("squared", {"b": b, "c": a, "d": a, "label": label}, count=1)
    assert best.term.column == "b x c"


def test_shifts_of_whole_rows_and_columns_are_no_interaction() -> None:
    rng = np.random.default_rng(7)
    hessian = rng.uniform(1.0, 2.0, size=(3, 5, 4))
    shifts = rng.normal(size=(3, 5, 1)) + rng.normal(size=(3, 1, 4))
    assert np.abs(_interaction(hessian * shifts, hessian)).max() < 0.02 * np.abs(shifts).max()
    together = np.zeros((3, 5, 4))
    together[0, 0, 0] = 10.0
    assert _interaction(together, hessian)[0, 0, 0] > 4.0
    assert not _interaction(together, hessian)[1:].any()


def test_one_stretch_alone_has_nothing_to_be_judged_by() -> None:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(1500, 2))
    columns = {"a": X[:, 0], "b": X[:, 1], "label": X[:, 0] * X[:, 1]}
    assert ranked("squared", columns, stretches=np.zeros(1500, dtype=np.intp)) == []


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


def test_without_any_curvature_left_no_pair_lowers_anything() -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.choice(["a", "b", "c"], 300) for name in ("x", "y")}
    encoding, rows = encoded(columns | {"label": (columns["x"] == "a").astype(float)})
    # So far out that in double precision every probability is 0 or 1.
    parameters = np.zeros(len(encoding.names))
    parameters[0] = 800.0
    assert best_pairs(LOSSES["logistic"], rows, (encoding, parameters), np.arange(len(rows)) * 5 // len(rows), 8) == []
