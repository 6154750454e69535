from __future__ import annotations

import pytest
from tests.comparison.made import outcome_of, run_of

from batchlearn.comparison.outcome import Outcome
from batchlearn.comparison.recommend import recommend

GOOD = 0.01


def quick(name: str, passes: float, seconds: float, rows: int = 10) -> Outcome:
    return outcome_of(run_of(name, (0.1, 0.01, 0.9), (passes, seconds, 0.505)), rows=rows)


def test_the_quickest_to_good_enough_is_taken() -> None:
    found = recommend([quick("full batch", 5.0, 40.0), quick("mini-batch 128", 2.0, 3.0)], GOOD, True)
    assert found.contender == "mini-batch 128"
    assert "2 passes and 3.00 s" in found.reason
    assert "full batch with 40.00 s" in found.reason


def test_quick_means_seconds_and_disks_ask_for_passes() -> None:
    found = recommend([quick("mini-batch 512", 4.0, 2.0), quick("online", 1.0, 9.0)], GOOD, True)
    assert found.contender == "mini-batch 512"
    assert any("online needs 1 pass, mini-batch 512 4" in change for change in found.changes)


def test_a_proof_is_worth_a_little_time() -> None:
    found = recommend([quick("full batch", 5.0, 8.0), quick("mini-batch 128", 2.0, 3.0)], GOOD, True)
    assert found.contender == "full batch"
    assert "certificate" in found.reason
    assert "mini-batch 128, the quickest there, took 3.00 s" in found.reason
    assert any("mini-batch 128 needs 2 passes, full batch 5" in change for change in found.changes)


def test_without_a_certificate_none_is_promised() -> None:
    found = recommend([quick("full batch", 5.0, 8.0)], GOOD, False)
    assert "certificate" not in found.reason
    assert "best known" in found.reason


def test_where_nobody_comes_near_the_nearest_is_named_and_a_larger_budget_asked_for() -> None:
    far = outcome_of(run_of("mini-batch 32", (1.0, 1.0, 0.7)))
    farther = outcome_of(run_of("online", (1.0, 1.0, 0.8)))
    found = recommend([farther, far], GOOD, True)
    assert found.contender == "mini-batch 32"
    assert found.reason.startswith("No contender came within 0.01")
    assert "--passes" in found.changes[0]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        # Found by use: the run in the middle is near enough, and one is not.
        (
            (0.0065, 0.0065, 0.0072),
            "within 0.0067 of the optimum with every seed on this budget; this one came nearest, to 0.0072 with its "
            "worst one, 0.0065 with that in the middle.",
        ),
        # To two digits both would be 0.0067.
        ((0.00674,), "within 0.0067 of the optimum on this budget; this one came nearest, to 0.0068."),
        ((0.25,) * 3, "with every seed on this budget; this one came nearest, to 0.25 with its worst one."),
    ],
)
def test_what_came_nearest_is_farther_than_what_nobody_reached(ends: tuple[float, ...], said: str) -> None:
    runs = [run_of("online", (1.0, 1.0, 0.5 + end), seed=seed) for seed, end in enumerate(ends)]
    found = recommend([outcome_of(*runs)], 0.00672, True)
    assert said in found.reason


def test_what_is_good_enough_is_not_said_to_be_less_than_what_was_reached() -> None:
    found = recommend([outcome_of(run_of("online", (1.0, 1.0, 0.50671)))], 0.00672, True)
    assert "within 0.0068 of the optimum" in found.reason


def test_a_contender_that_diverged_is_not_taken() -> None:
    wild = outcome_of(run_of("online", (1.0, 0.1, 0.5)), run_of("online", (1.0, 0.1, 2.0), seed=1))
    assert recommend([wild, quick("mini-batch 32", 1.0, 9.0)], GOOD, True).contender == "mini-batch 32"
    assert recommend([wild], GOOD, True).contender == "online"  # there is no other


def test_what_would_change_it_says_so_with_figures() -> None:
    full = quick("full batch", 2.0, 0.5, rows=5_000_000)
    changes = " ".join(recommend([full, quick("online", 4.0, 0.4, rows=2_000)], GOOD, True).changes)
    assert "it needs the fewest passes too" in changes
    assert "5 MB here" in changes
    assert "2 kB at a time" in changes
    assert "one at a time" in changes
