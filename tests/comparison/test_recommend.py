from __future__ import annotations

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
