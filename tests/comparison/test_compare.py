from __future__ import annotations

import json
import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.comparison.made import ROWS, table
from tests.report.reading import Reading

import batchlearn as bl
from batchlearn.comparison import compare as module
from batchlearn.comparison.compare import ComparisonPlan, compare
from batchlearn.comparison.contenders import Budget, Contender, RunEnd, mini_batch
from batchlearn.comparison.judging import Memory, measure_memory
from batchlearn.comparison.outcome import BEST_KNOWN, CERTIFIED, Comparison
from batchlearn.comparison.problem import Benchmark
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.notes import Code, Note, recorded
from batchlearn.progress import Progress
from batchlearn.report.page import page
from batchlearn.training.certificate import Proved
from batchlearn.training.recipe import Recipe
from batchlearn.training.regimes import FullBatch, Online

SHORT = ComparisonPlan(budget=Budget(3.0, 20.0), seeds=2)


@pytest.fixture(scope="module", params=["logistic", "squared", "poisson"])
def compared(request: pytest.FixtureRequest) -> Comparison:
    return compare(table(request.param), SHORT, Recipe(loss=request.param), threads=1)


def numbers(value: Any) -> list[float]:
    """Return every number of a record."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in numbers(item)]
    if isinstance(value, list):
        return [found for item in value for found in numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_the_record_has_what_was_promised(compared: Comparison) -> None:
    found = compared.to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["format_version"] == 1
    assert {"objective", "certificate"} <= found["optimum"].keys()
    assert found["optimum"]["called"] == CERTIFIED
    promised = {"name", "regime", "solver", "passes", "rows_read", "seconds", "excess_loss", "excess_low"}
    promised |= {"excess_high", "held_out", "spread_over_seeds"}
    names = ["full batch", "mini-batch 32", "mini-batch 128", "mini-batch 512", "online"]
    assert [one["name"] for one in found["contenders"]] == names
    for one in found["contenders"]:
        assert promised <= one.keys()
        assert not one["diverged"]
        assert one["excess_low"] <= one["excess_loss"] <= one["excess_high"]
        assert one["held_out"]["rows"] == ROWS // 5
        assert one["held_out"]["difference"].keys() == {"value", "low", "high"}
    assert {"predicted", "measured"} <= found["critical_batch"].keys()
    assert found["recommendation"]["contender"] in names
    assert found["recommendation"]["reason"]
    assert all(math.isfinite(number) for number in numbers(found))


def test_it_prints_its_recommendation_and_has_a_page(compared: Comparison) -> None:
    recommended = compared.recommendation
    assert str(compared) == f"{recommended.contender}: {recommended.reason}"
    assert recommended.reason in Reading(page(compared)).text


def test_every_contender_starts_from_the_same_point_and_gains(compared: Comparison) -> None:
    start = compared.benchmark.optimum.null_value - compared.best
    for outcome in compared.outcomes:
        assert all(run.points[0].value - compared.best == pytest.approx(start) for run in outcome.runs)
        assert outcome.excess(outcome.typical) < 0.5 * start
        assert len(outcome.runs) == (1 if outcome.contender.name == "full batch" else 2)
        assert (outcome.stored is None) == (outcome.contender.name == "full batch")


def test_the_objective_is_that_of_training(compared: Comparison) -> None:
    loss = compared.benchmark.objective.loss.name
    fit = bl.train(table(loss), Recipe(loss=loss), threads=1)
    # The evaluation of `train` is of the same model of the same earlier rows.
    assert fit.evaluation is not None
    metric = next(iter(fit.evaluation.metrics))
    full = compared.outcomes[0].held_out
    assert full is not None
    assert full.metric == metric
    assert full.score.value == pytest.approx(fit.evaluation.metrics[metric].value, rel=1e-3)


def test_only_full_batch_goes_on_where_more_is_not_worth_it(compared: Comparison) -> None:
    full, *others = compared.outcomes
    assert full.typical.ended is not RunEnd.GOOD_ENOUGH
    early = [run for one in others for run in one.runs if run.ended is RunEnd.GOOD_ENOUGH]
    assert early
    assert all(run.last.value - compared.benchmark.optimum.value <= compared.good_enough for run in early)


def test_of_one_solver_the_memory_of_the_largest_batch_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def watched(benchmark: Benchmark, contender: Contender) -> Generator[Progress, None, Memory]:
        asked.append(contender.name)
        return (yield from measure_memory(benchmark, contender))

    monkeypatch.setattr(module, "measure_memory", watched)
    found = compare(table(), replace(SHORT, seeds=1), threads=1)
    assert asked == ["full batch", "online", "mini-batch 512"]
    full, *batches, online = (one.memory for one in found.outcomes)
    assert len({full, online, *batches}) == 3


def test_a_sample_is_stated() -> None:
    plan = replace(SHORT, rows=300, contenders=(Contender("full batch", FullBatch()),))
    found = compare(table(), plan, threads=1)
    assert len(found.benchmark.rows) == 240
    assert Note(Code.SAMPLED, {"rows": 300, "of": 600, "seed": 0}) in found.notes
    assert not any(note.code is Code.SAMPLED for note in compare(table(), replace(plan, rows=600), threads=1).notes)


def test_only_those_take_part_that_were_asked_for() -> None:
    plan = replace(SHORT, contenders=(Contender("mine", Online()), mini_batch(64)))
    found = compare(table(), plan, threads=1).to_json()
    assert [one["name"] for one in found["contenders"]] == ["mine", "mini-batch 64"]
    assert [one["batch_size"] for one in found["critical_batch"]["measurement"]["sizes"]] == [64]


def test_an_optimum_without_a_certificate_is_called_best_known(compared: Comparison) -> None:
    optimum = compared.benchmark.optimum
    refused = replace(
        optimum.certification.certificate,
        status=Proved.NOT_CERTIFIED,
        reason=recorded("of a reason"),
        loss_bound=None,
        radius=None,
    )
    certification = replace(optimum.certification, certificate=refused, factor=None)
    benchmark = replace(compared.benchmark, optimum=replace(optimum, certification=certification))
    outcomes = tuple(replace(one, loss_bound=benchmark.loss_bound) for one in compared.outcomes)
    found = replace(compared, benchmark=benchmark, outcomes=outcomes).to_json()
    assert found["optimum"]["called"] == BEST_KNOWN
    assert found["optimum"]["certificate"]["reason"] == "of a reason"
    assert all(one["excess_high"] is None for one in found["contenders"])


def test_two_comparisons_agree_but_for_the_clock() -> None:
    plan = replace(SHORT, contenders=(mini_batch(32), Contender("online", Online())))
    first, second = (compare(table(), plan, threads=threads) for threads in (1, 2))
    for a, b in zip(first.outcomes, second.outcomes, strict=True):
        assert [run.last.value for run in a.runs] == [run.last.value for run in b.runs]
        assert np.array_equal(a.typical.parameters, b.typical.parameters)
    assert first.noise == second.noise


def test_batches_larger_than_any_contenders_get_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGER_BATCHES", (8, 32))
    found = compare(table(), replace(SHORT, contenders=(mini_batch(8),), seeds=3), threads=2).measured
    assert found is not None
    assert [size for size, *_ in found.sizes] == [8, 32]
    (_, _, low, high), (_, only, lowest, highest) = found.sizes
    assert low < high
    assert lowest == only == highest


def test_what_is_not_needed_is_left_out_where_it_took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(SHORT, contenders=(mini_batch(8),), seeds=1)
    in_time = compare(table(), plan, threads=1)
    assert in_time.rates is not None
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    late = compare(table(), plan, threads=1)
    assert late.rates is None
    assert late.measured is not None
    assert [size for size, *_ in late.measured.sizes] == [8]
    assert any(note.code is Code.COMPARISON_OUT_OF_TIME for note in late.notes)
    assert not any(note.code is Code.COMPARISON_OUT_OF_TIME for note in in_time.notes)


@pytest.mark.parametrize(
    ("setting", "code"),
    [({"seeds": 0}, "seeds-range"), ({"seeds": 101}, "seeds-range"), ({"rows": 1}, "rows-range")],
)
def test_a_plan_is_checked(setting: dict[str, int], code: str) -> None:
    with pytest.raises(UsageError) as refusal:
        ComparisonPlan(**setting)  # type: ignore[arg-type]
    assert refusal.value.code == code


def test_names_are_told_apart() -> None:
    with pytest.raises(UsageError) as refusal:
        ComparisonPlan((mini_batch(8), mini_batch(8)))
    assert refusal.value.code == "contender-names"


def test_a_table_needs_a_target_and_rows() -> None:
    with pytest.raises(UsageError) as refusal:
        compare(bl.read({"x": [1.0, 2.0], "y": [0.0, 1.0]}))
    assert refusal.value.code == "no-target"
    with pytest.raises(DataError) as few:
        compare(bl.read({"x": [1.0, 2.0, 4.0], "y": [0.0, 1.0, 0.0]}, target="y"))
    assert few.value.code == "too-few-rows"
