from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from tests.comparison.made import benchmark

from batchlearn.comparison.contenders import Contender, mini_batch
from batchlearn.comparison.judging import held_out_scores, measure_memory
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels import native
from batchlearn.kernels.design import predictors
from batchlearn.models.links import INVERSE_LINKS
from batchlearn.progress import finish
from batchlearn.training.recipe import Recipe
from batchlearn.training.regimes import FullBatch, Online

ORACLES = {"logistic": log_loss, "squared": mean_squared_error, "poisson": mean_poisson_deviance}


@pytest.mark.parametrize("loss", sorted(ORACLES))
def test_the_score_is_the_proper_score_of_the_task(loss: str) -> None:
    posed = benchmark(loss)
    vector = 0.5 * (posed.start + posed.optimum.parameters)
    found = held_out_scores(posed, {"half way": vector, "optimum": posed.optimum.parameters}, 0)
    assert posed.later is not None
    chunk = posed.later.together()
    response, label = INVERSE_LINKS[loss](predictors(chunk.layout, chunk.block, vector)), chunk.label
    half = found["half way"]
    assert half.rows == len(label) == 120
    assert half.score.value == pytest.approx(ORACLES[loss](label, response), rel=1e-9)
    optimum = found["optimum"]
    assert optimum.difference.value == 0.0
    assert half.difference.value == pytest.approx((half.score.value or 0.0) - (optimum.score.value or 0.0))
    assert half.difference.low is not None
    assert half.difference.high is not None
    # The same rows and blocks: the difference is known better than either score.
    assert half.score.low is not None
    assert half.score.high is not None
    assert half.difference.high - half.difference.low < half.score.high - half.score.low


def test_predictions_that_overflow_have_no_score() -> None:
    posed = benchmark("poisson")
    found = held_out_scores(posed, {"far": np.full(len(posed.start), 1e6)}, 0)["far"]
    assert found.score.value is None
    assert found.difference.value is None


def test_without_held_out_rows_there_are_no_scores() -> None:
    assert held_out_scores(benchmark(recipe=Recipe(holdout=0.0)), {"x": np.zeros(7)}, 0) == {}


def test_full_batch_holds_all_rows_and_online_a_chunk() -> None:
    posed = benchmark(rows=4000)
    rows = posed.rows
    assert isinstance(rows, MemoryRows)
    (stored,) = rows.chunks
    dense, codes, label = stored.dense, stored.codes, stored.label
    parts = [(0, 1000), (1000, 2000), (2000, 3200)]
    chunks = tuple(replace(stored, dense=dense[:, a:b], codes=codes[:, a:b], label=label[a:b]) for a, b in parts)
    posed = replace(posed, rows=replace(rows, chunks=chunks))
    full, one = (finish(measure_memory(posed, Contender("x", regime))) for regime in (FullBatch(), Online()))
    assert full.rows == round(posed.row_bytes * 3200)
    assert one.rows == round(posed.row_bytes * 1000)
    with native.numpy_serves():
        by_twins = finish(measure_memory(posed, Contender("x", FullBatch())))
    assert by_twins.working > 1000 * 8 * len(dense)  # a chunk in double precision
    # Compiled kernels make none.
    assert full.working < by_twins.working or not native.built()
    assert one.working > 0


def test_memory_leaves_no_trace_running() -> None:
    assert finish(measure_memory(benchmark(), mini_batch(32))).working > 0
    assert not tracemalloc.is_tracing()


def test_a_trace_of_someone_else_is_left_alone() -> None:
    tracemalloc.start()
    try:
        assert finish(measure_memory(benchmark(), mini_batch(32))).working == 0
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
