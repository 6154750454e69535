"""How often the gate is wrong where the truth is known, and how often it finds a truly better model.

benchmarks/gate_trials.py does the same by the thousand; here are as many trials as a few seconds allow, seeds fixed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tests.retraining.gate.series import WORLDS as LOOKS
from tests.retraining.gate.series import decided, decided_by_judge, decided_late, late_class
from tests.retraining.gate.trials import (
    RIDGE,
    WORLDS,
    Losses,
    better,
    draw,
    fitted,
    halves,
    judge_once,
    naively_promoted_within,
    one_column_apart,
    promoted_within,
)

from batchlearn.estimators import LinearClassifier
from batchlearn.retraining.gate import Gate

TRIALS = 200
# 5 % of 200 and two standard deviations of a count on top: what 64 is for 1,000 trials.
MOST = 16


@cache
def alike(name: str) -> list[Losses]:
    rng = np.random.default_rng(2)
    return [halves(WORLDS[name], 1_000, 500, rng) for _ in range(TRIALS)]


def test_the_models_of_the_trials_are_those_of_the_package() -> None:
    sample = draw(WORLDS["even classes"], 2_000, 5, np.random.default_rng(0))
    model = LinearClassifier(alpha=RIDGE / 2_000).fit(sample.features[:, 1:], sample.label)
    ours = fitted(sample.features, sample.label)
    assert ours == pytest.approx(np.concatenate((model.intercept_, model.coef_[0])), abs=1e-5)


@pytest.mark.parametrize("name", ["even classes", "heavy tails", "shocks that last"])
def test_equal_models_are_seldom_told_apart(name: str) -> None:
    verdicts = [judge_once(Gate(), losses).verdict for losses in alike(name)]
    assert verdicts.count("promote") <= MOST
    assert verdicts.count("reject") <= MOST
    # At another alpha another number: the rate is that of the test, not of a gate that never opens.
    often = [judge_once(Gate(alpha=0.5), losses).verdict for losses in alike(name)]
    assert 0.15 * TRIALS < often.count("promote") < 0.4 * TRIALS


def test_looking_every_day_keeps_the_rate() -> None:
    rng = np.random.default_rng(5)
    losses = [halves(WORLDS["even classes"], 1_000, 1_500, rng) for _ in range(80)]
    assert sum(promoted_within(Gate("anytime"), one) is not None for one in losses) <= 8
    # The test for one look does not keep it: that is why there is another.
    assert sum(naively_promoted_within(Gate(), one) for one in losses) > 8


def test_a_model_at_the_margin_is_seldom_let_through() -> None:
    rng, margin = np.random.default_rng(3), one_column_apart("even classes")[3]
    gate = Gate("non-inferiority", margin=margin)
    verdicts = [judge_once(gate, better("even classes", 1_000, rng, turned=True)).verdict for _ in range(TRIALS)]
    assert verdicts.count("promote") <= MOST
    wide = Gate("non-inferiority", margin=5 * margin)
    rng = np.random.default_rng(3)
    verdicts = [judge_once(wide, better("even classes", 1_000, rng, turned=True)).verdict for _ in range(50)]
    assert verdicts.count("promote") > 40


@pytest.mark.parametrize("name", ["even classes", "shocks that last"])
def test_one_percent_better_is_found_in_20_000_rows(name: str) -> None:
    gain = one_column_apart(name)[3]
    assert 0.009 < gain < 0.011
    rng = np.random.default_rng(4)
    losses = [better(name, 20_000, rng) for _ in range(30)]
    assert sum(judge_once(Gate(), one).verdict == "promote" for one in losses) >= 24
    assert sum(promoted_within(Gate("anytime"), one) is not None for one in losses) >= 24


@pytest.mark.parametrize(
    "name", ["correlation 0.5", "correlation 0.7", "shocks that last (0.7) and as much noise", "uneven sizes, shocks"]
)
def test_looks_that_resemble_each_other_or_differ_in_size_keep_the_rate(name: str) -> None:
    rng = np.random.default_rng(9)
    found = [decided(LOOKS[name](60, rng))[0] for _ in range(1_000)]
    # 5 % of 1,000 and two standard deviations of a count on top.
    assert sum(said != "not enough evidence" for said in found) <= 64


def test_within_30_looks_a_clearly_better_model_is_found() -> None:
    rng = np.random.default_rng(10)
    found = [decided(LOOKS["independent"](30, rng), -1.0)[0] for _ in range(200)]
    assert found.count("promote") >= 170
    assert found.count("reject") == 0


@pytest.mark.parametrize("name", ["correlation 0.5", "uneven sizes, shocks"])
def test_the_gate_decides_as_its_tests_do(name: str) -> None:
    rng = np.random.default_rng(12)
    every = [LOOKS[name](32, rng) for _ in range(10)]
    for shift in (0.0, -2.0, 2.0):
        assert [decided_by_judge(Gate("anytime"), one, shift) for one in every] == [
            decided(one, shift) for one in every
        ]


def test_labels_of_one_class_that_come_late_do_not_judge_for_the_other() -> None:
    rng = np.random.default_rng(11)
    tables = [late_class(rng) for _ in range(4)]
    assert [decided_late(table, settle=True)[0] for table in tables] == ["not enough evidence"] * 4
    # Once all labels of a time are in, the better model is found.
    assert "promote" in [decided_late(table, settle=True, challenger=0.3)[0] for table in tables]
