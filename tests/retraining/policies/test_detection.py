from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom, ks_2samp, kstwobign
from tests.retraining.policies.arrivals import Arrivals, losses_of, table_of

from batchlearn.errors import UsageError
from batchlearn.formatting.notes import Code
from batchlearn.retraining.policies import Losses, Samples
from batchlearn.retraining.policies.detection import Decay, Drift, change_odds, drift_scores, loss_blocks

TESTS = ("psi", "ks", "classifier")
SERIES = 200
ALLOWED = int(binom.ppf(0.99, SERIES, 0.05))


def test_the_odds_are_those_of_every_bet_from_every_begin() -> None:
    series = np.random.default_rng(1).normal(size=25)
    series[15:] += 2.0
    bets = [(share, stake) for share in (0.15, 0.3, 0.5) for stake in (0.5, 0.8)]
    largest = 1.0
    for end in range(11, 26):
        worth = 0.0
        for begin in range(10, end):
            for share, stake in bets:
                product = 1.0
                for place in range(begin, end):
                    rank = np.mean(series[: place + 1] >= series[place])
                    product *= 1.0 - stake + stake * (rank <= share) / share
                worth += product / len(bets) / ((begin - 9) * (begin - 8))
        largest = max(largest, worth + 1.0 / (end - 9))
    assert change_odds(series[:, None], 10)[0] == pytest.approx(largest, rel=1e-12)
    assert largest > 5.0
    # Of several columns it is the mean of the odds of each, at its largest.
    still = np.zeros(25)
    both, most = change_odds(np.column_stack([still, series]), 10)
    assert 0.5 * largest <= both <= 0.5 * (largest + 1.0)
    assert most == 1


def test_the_odds_of_what_is_exchangeable_rise_as_seldom_as_they_say() -> None:
    rng = np.random.default_rng(2)
    odds = np.array([change_odds(rng.permutation(np.arange(60.0) ** 3)[:, None], 10)[0] for _ in range(1_000)])
    for level in (2.0, 5.0, 20.0):
        assert np.sum(odds >= level) <= binom.ppf(0.999, 1_000, 1.0 / level), level
    assert change_odds(np.ones((60, 1)), 10)[0] < 2.0  # what is equal is no rise
    assert change_odds(np.arange(60.0)[:, None], 10)[0] > 1e6


def test_decay_fires_where_losses_rose_and_hardly_ever_elsewhere() -> None:
    false = found = 0
    for seed in range(SERIES):
        loss = np.random.default_rng(seed).gamma(0.7, size=1_600)
        false += Decay().decide(Arrivals((losses_of(loss),)).situation()).retrain
        loss[800:] += 0.7 * loss.std()
        found += Decay().decide(Arrivals((losses_of(loss),)).situation()).retrain
    assert false <= ALLOWED
    assert found >= 0.8 * SERIES


@pytest.mark.parametrize("test", TESTS)
def test_drift_fires_where_rows_moved_and_hardly_ever_elsewhere(test: str) -> None:
    false = found = 0
    for seed in range(SERIES // 4):
        rng = np.random.default_rng(seed)
        reference, same, moved = table_of(rng, 2_000), table_of(rng, 1_000), table_of(rng, 1_000, 1.0)
        for late in (same, moved):
            rows = Samples(reference, pa.concat_tables([same, late]))
            decision = Drift(test).decide(Arrivals(rows=rows).situation())
            if late is same:
                false += decision.retrain
            else:
                found += decision.retrain
    assert false <= binom.ppf(0.99, SERIES // 4, 0.05)
    assert found >= 0.8 * SERIES // 4


def test_the_column_that_moved_is_named() -> None:
    rng = np.random.default_rng(0)
    rows = Samples(table_of(rng, 2_000), table_of(rng, 1_000, 1.5))
    (reason,) = Drift("ks").decide(Arrivals(rows=rows).situation()).reasons
    assert (reason.code, reason.values["column"]) == (Code.DRIFTED, "a")


@pytest.mark.parametrize("test", ["psi", "ks"])
def test_a_column_that_always_grows_hides_no_other(test: str) -> None:
    """A counter of rows is in no bin of the past from the first block on; what moves beside it is seen all the same."""
    rng = np.random.default_rng(1)
    reference, recent = table_of(rng, 2_000), pa.concat_tables([table_of(rng, 1_000), table_of(rng, 1_000, 1.5)])
    counted = [
        each.append_column("number", pa.array(np.arange(float(each.num_rows)) + begun))
        for each, begun in ((reference, 0.0), (recent, 2_000.0))
    ]
    (reason,) = Drift(test).decide(Arrivals(rows=Samples(*counted)).situation()).reasons
    assert reason.code is Code.DRIFTED


def test_a_decision_that_was_made_is_not_taken_back_by_more_rows() -> None:
    loss = np.random.default_rng(3).gamma(0.7, size=4_000)
    loss[600:900] += 2.0
    looks = [Decay().decide(Arrivals((losses_of(loss[:end]),)).situation()) for end in range(100, 4_001, 100)]
    due = [one.retrain for one in looks]
    assert due == sorted(due)
    assert due[-1]
    assert not due[5]


def test_blocks_stay_as_they_are_while_rows_come() -> None:
    rng = np.random.default_rng(4)
    day = np.sort(rng.integers(0, 40, 900))
    seen = day * 86_400e6 + rng.integers(0, 86_400, 900) * 1e6
    order = np.argsort(seen)
    whole = Losses(-1.0, 500, seen[order], seen[order], rng.gamma(1.0, size=900))
    means = loss_blocks(whole, 50, -1.0, True)
    for rows in (1, 60, 333, 899):
        part = whole._replace(seen=whole.seen[:rows], arrived=whole.arrived[:rows], loss=whole.loss[:rows])
        blocks = loss_blocks(part, 50, -1.0, True)
        assert np.array_equal(blocks, means[: len(blocks)])
    counts = np.bincount(day, minlength=40)
    assert 900 / (50 + counts.max()) - 1 <= len(means) <= 900 / 50  # of 50 rows and whole days
    # Rows that the newest version has learned from are none of them.
    since = loss_blocks(whole, 50, 20 * 86_400e6, True)
    assert len(since) < len(means)


def test_too_little_is_said_to_be_too_little() -> None:
    empty = Arrivals((losses_of(np.empty(0)),), Samples(table_of(np.random.default_rng(0), 30), pa.table({})))
    for policy in (Decay(), Drift("psi"), Drift("classifier")):
        (reason,) = policy.decide(empty.situation()).reasons
        assert reason.code is Code.TOO_FEW_BLOCKS
    nothing = Arrivals(rows=Samples(pa.table({}), pa.table({})))
    assert not Drift("ks").decide(nothing.situation()).retrain


def test_without_evidence_it_is_refused() -> None:
    with pytest.raises(UsageError) as refusal:
        Decay().decide(Arrivals().situation()._replace(evidence=None))
    assert refusal.value.code == "policy-evidence"


def test_scores_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(5)
    base, blocks = table_of(rng, 500), table_of(rng, 210, 0.2)
    found = drift_scores("ks", base, blocks, 70)
    for b in range(3):
        for k, name in enumerate(("a", "b")):
            one, other = (each.column(name).drop_null().to_numpy() for each in (base, blocks.slice(70 * b, 70)))
            apart = ks_2samp(one, other).statistic * math.sqrt(len(one) * len(other) / (len(one) + len(other)))
            assert found[b, k] == pytest.approx(-math.log(kstwobign.sf(apart)), rel=1e-9)
    edges = np.quantile(base.column("a").to_numpy(), np.arange(1, 10) / 10)

    def shares(values: np.ndarray) -> np.ndarray:
        cells = np.bincount(np.searchsorted(edges, values), minlength=11) + 0.5  # the eleventh is of missing values
        return np.asarray(cells / cells.sum())

    expected, now = (shares(each.column("a").to_numpy()) for each in (base, blocks.slice(0, 70)))
    index = np.sum((now - expected) * np.log(now / expected))
    assert drift_scores("psi", base, blocks, 70)[0, 0] == pytest.approx(index, rel=1e-12)


@pytest.mark.parametrize("test", TESTS)
def test_odd_columns_are_scored_too(test: str) -> None:
    rows = 200
    odd = pa.table(
        {
            "gone": pa.array([None] * rows, pa.float64()),
            "one": np.ones(rows),
            "no level": pa.array([None] * rows, pa.string()).dictionary_encode(),
            "flag": pa.array([True, False] * (rows // 2)),
        }
    )
    assert np.all(np.isfinite(drift_scores(test, odd, odd, 50)))
