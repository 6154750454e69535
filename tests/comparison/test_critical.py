from __future__ import annotations

import math

import pytest
from tests.comparison.made import benchmark

from batchlearn.comparison.critical import MeasuredBatchSizes, judge_batch_sizes, noise_along, sampling_loss


@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson"])
def test_the_noise_is_taken_at_the_start_on_the_way_and_at_the_optimum(loss: str) -> None:
    posed = benchmark(loss)
    start, way, optimum = noise_along(posed)
    assert [start.where, way.where, optimum.where] == ["start", "on the way", "optimum"]
    assert start.excess_loss == pytest.approx(posed.optimum.null_value - posed.optimum.value)
    assert optimum.excess_loss == 0.0
    assert start.excess_loss > way.excess_loss > 0.0
    assert start.critical_batch < way.critical_batch < optimum.critical_batch
    assert optimum.preconditioned is not None
    assert optimum.preconditioned.trace > 0.0


def test_on_a_quadratic_the_critical_batch_follows_from_the_excess_loss() -> None:
    start, way, _ = noise_along(benchmark("squared"))
    assert way.excess_loss == pytest.approx(0.01 * start.excess_loss, rel=1e-9)
    for at in (start, way):
        assert at.preconditioned is not None
        # There G' H^-1 G is twice the excess loss.
        predicted = at.preconditioned.trace / (2.0 * at.excess_loss)
        assert at.preconditioned.critical_batch == pytest.approx(predicted, rel=1e-9)


def test_at_an_excess_of_the_sampling_loss_every_row_is_worth_reading() -> None:
    posed = benchmark("squared")
    noise = noise_along(posed)
    yardstick = sampling_loss(noise)
    assert yardstick is not None
    assert noise[-1].preconditioned is not None
    assert noise[-1].preconditioned.trace / (2.0 * yardstick) == pytest.approx(len(posed.rows))
    # 6 coefficients and an intercept, noise of variance one: about d / (2 n).
    assert yardstick == pytest.approx(len(posed.start) / (2 * len(posed.rows)), rel=0.35)


def test_the_largest_batch_that_lost_nothing_is_the_largest_near_the_lowest() -> None:
    found = judge_batch_sizes({32: [1.0, 1.2, 0.9], 512: [1.05], 128: [0.96, 1.04], 2048: [1.2]}, 2.0, None, None)
    assert [size for size, *_ in found.sizes] == [32, 128, 512, 2048]
    assert found.sizes[0] == (32, 1.0, 0.9, 1.2)
    assert found.largest == 512


def test_what_is_negligible_is_no_loss() -> None:
    excess = {32: [1e-6], 128: [1e-4], 512: [1e-2]}
    assert judge_batch_sizes(excess, 1.0, None, None).largest == 32
    assert judge_batch_sizes(excess, 1.0, 0.02, None).largest == 128
    assert judge_batch_sizes(excess, 1.0, None, 1e-1).largest == 512


def test_small_batches_that_are_worse_do_not_bind_the_larger_ones() -> None:
    assert judge_batch_sizes({32: [5.0], 128: [1.0], 512: [1.0]}, 1.0, None, None).largest == 512


def test_nothing_is_measured_where_every_run_overflowed() -> None:
    assert judge_batch_sizes({32: [math.inf], 128: []}, 1.0, None, None).largest is None
    assert MeasuredBatchSizes(1.0, (), 0.0).largest is None
