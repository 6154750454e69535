"""From policies that were replayed to what came of them: losses with intervals, the oracle, ages, the choice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from batchlearn.backtesting.cells import ModelKey
from batchlearn.backtesting.history import History
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.oracle import best_paths, frontier
from batchlearn.backtesting.outcome import (
    Age,
    Backtest,
    Baseline,
    Oracle,
    PolicyChoice,
    PolicyOutcome,
    choose,
    window_means,
)
from batchlearn.backtesting.plan import BacktestPlan, Prices
from batchlearn.backtesting.replay import Durations, PolicyRun, ReplayContext, ServingModel, live_time, served
from batchlearn.data.target import Task
from batchlearn.errors import DataError
from batchlearn.evaluation.intervals import Estimate, paired_difference, resampling
from batchlearn.evaluation.metrics import first_score, target_metrics
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.retraining.policies import Action, Every, Policy
from batchlearn.retraining.policies.combined import With

LAST_VALUE = "last value"
# A calendar that runs within this share of its period keeps it.
_ONE_RHYTHM = 0.1


def judged_backtest(
    matrix: LossMatrix,
    runs: Sequence[PolicyRun],
    baselines: tuple[PolicyRun, PolicyRun],
    context: ReplayContext,
    plan: BacktestPlan,
    began: float,
) -> Backtest:
    """Compare the policies on the rows that were seen after the first model was live, and that all could score."""
    history, once, weight = matrix.history, baselines[0], matrix.history.weight
    every = (*runs, *baselines)
    live = max(run.models[0].live for run in every)
    after = history.seen > live
    scored = np.all([~np.isnan(run.losses) for run in every], axis=0)
    judged = after & scored
    window = np.searchsorted(history.edges, history.seen, side="left") - 1
    if not judged.any():
        raise DataError(
            "No row that was seen after the first model went live could be scored by the models of all policies, so "
            "nothing compares them. Leave out the policies or columns that the notes of `batchlearn evaluate` name.",
            code="nothing-judged",
        )
    blocks = resampling(int(judged.sum()), plan.seed, clusters=window[judged])  # whole windows
    oracle = _oracle(matrix, judged, context, plan.prices)

    def compared(losses: Floats, with_losses: Floats | None = None) -> Estimate:
        other = np.zeros(len(losses)) if with_losses is None else with_losses
        return paired_difference(losses[judged], other[judged], weight[judged], blocks)

    outcomes = []
    for run in runs:
        hours = _stale_hours(history, run, float(history.edges[-1]))
        _, cost = _spent(history, run, judged, plan.prices)
        error = float(np.average(run.errors[judged], weights=weight[judged]))
        estimates = compared(run.losses), error, compared(run.losses, oracle.losses), compared(run.losses, once.losses)
        outcomes.append(PolicyOutcome(run, *estimates, hours, cost))
    found = {
        run.name: Baseline(
            float(np.average(run.errors[judged], weights=weight[judged])), compared(run.losses), len(run.retrained)
        )
        for run in baselines
    }
    target = matrix.target
    assert target is not None
    classes = target.task is Task.CLASSES
    return Backtest(
        table=history.table.name,
        target=target.column,
        metric=first_score(target_metrics(target)).name,
        error_metric="error rate" if classes else "mean absolute error",
        history=history,
        judged=judged,
        policies=tuple(outcomes),
        baselines={**found, LAST_VALUE: Baseline(_last_value(matrix, judged, classes))},
        oracle=oracle,
        freshness=_freshness(matrix, judged, window, plan.seed),
        recommendation=_recommended(history, runs, baselines, judged, window, plan),
        prices=plan.prices,
        durations=plan.durations or measured_durations(matrix),
        fits=matrix.fits,
        seconds=time.perf_counter() - began,
        scratch_seconds=matrix.scratch_seconds,
        notes=tuple(_notes(matrix, runs, after, judged, window)),
        gate=plan.gate,
    )


def _recommended(
    history: History,
    runs: Sequence[PolicyRun],
    baselines: Sequence[PolicyRun],
    judged: NDArray[np.bool_],
    window: NDArray[np.intp],
    plan: BacktestPlan,
) -> PolicyChoice:
    """Choose by the windows before those held out, and judge the choice by these."""
    kept = history.windows - round(plan.holdout * history.windows)
    choosing, later = judged & (window < kept), judged & (window >= kept)
    if not choosing.any():
        choosing = judged
    spent = [_spent(history, run, choosing, plan.prices) for run in runs]
    costs = [cost for _, cost in spent if cost is not None] or None
    blocks = resampling(int(choosing.sum()), plan.seed, clusters=window[choosing])
    chosen, reasons = choose(runs, costs, [times for times, _ in spent], history.weight, choosing, blocks)
    if choosing is not judged and later.any():
        reasons = (*reasons, Note(Code.CHOSEN_BY_FIRST, {"windows": kept, "of": history.windows}))
    found = {}
    if later.any():
        blocks = resampling(int(later.sum()), plan.seed, clusters=window[later])
        for one in baselines:
            found[one.name] = paired_difference(chosen.losses[later], one.losses[later], history.weight[later], blocks)
    return PolicyChoice(chosen.name, reasons, found)


def _stale_hours(history: History, run: PolicyRun, end: float) -> float:
    """Return for how long, up to a time, what served was older than a window."""
    lives = [*((one.live, one.now) for one in run.models if one.live < end), (end, 0.0)]
    length = float(np.median(np.diff(history.edges)))
    stale = [max(until - max(live, trained + length), 0.0) for (live, trained), (until, _) in pairwise(lives)]
    return history.hours(sum(stale))


def _spent(
    history: History, run: PolicyRun, rows: NDArray[np.bool_], prices: Prices | None
) -> tuple[int, float | None]:
    """Return the retrains up to the end of the last window of some rows, and with prices what all came to by then."""
    window = np.searchsorted(history.edges, float(np.max(history.seen[rows])))
    end = float(history.edges[min(int(window), history.windows)])
    retrains = sum(one.now < end for one in run.retrained)
    if prices is None:
        return retrains, None
    lost = float(history.weight[rows] @ run.losses[rows])
    return retrains, prices.retrain * retrains + prices.hour * _stale_hours(history, run, end) + prices.loss * lost


def measured_durations(matrix: LossMatrix) -> Durations:
    """Return the seconds of trainings from scratch by their rows, which never fall."""
    found = sorted(
        (cell.rows, cell.seconds)
        for key, cell in matrix.cells.items()
        if cell.refused is None and key.action == Action()
    )
    seconds = np.maximum.accumulate([seconds for _, seconds in found])
    return Durations(tuple(rows for rows, _ in found), tuple(map(float, seconds)))


def _oracle(matrix: LossMatrix, judged: NDArray[np.bool_], context: ReplayContext, prices: Prices | None) -> Oracle:
    """Find the cheapest ways through all path-free models that there are."""
    history, prices = matrix.history, prices or Prices()
    models = sorted(
        ((key, cell) for key, cell in matrix.cells.items() if cell.refused is None and key.before is None),
        key=lambda one: (one[0].edge, one[0].action != Action()),
    )
    models = [one for at, one in enumerate(models) if at == 0 or one[0].edge > 0]
    decided = np.array([history.edges[key.edge] for key, _ in models])
    live = np.array([live_time(cell, history, context) for _, cell in models])
    starts = np.searchsorted(history.seen, live, side="right")
    ends = np.array([*starts, len(history.seen)])
    lost = np.full((len(models), len(ends)), np.inf)
    for at, (_, cell) in enumerate(models):
        rows = history.weight[cell.first :] * np.where(judged[cell.first :], cell.losses, 0.0)
        lacking = np.concatenate([[0.0], np.cumsum(np.isnan(rows))])
        total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(rows))])
        begins, until = starts[at] - cell.first, np.maximum(ends, starts[at]) - cell.first
        whole = lacking[until] == lacking[begins]
        lost[at] = np.where(whole, total[until] - total[begins], np.inf)
    paths = best_paths(decided, live, lost[:, :-1], lost[:, -1])
    length = float(np.median(np.diff(history.edges)))
    until = np.array([*live, history.edges[-1]])
    stale = np.maximum(until[None, :] - np.maximum(live, decided + length)[:, None], 0.0)
    hours = history.hours(1.0) * stale
    priced = prices.loss * lost + prices.hour * hours
    ways = best_paths(decided, live, priced[:, :-1], priced[:, -1])
    best = min(ways, key=lambda way: way.cost + prices.retrain * way.retrains)
    weight = float(history.weight[judged].sum())
    steps = [ServingModel(*models[node], float(decided[node]), float(live[node])) for node in best.nodes]
    losses, _ = served(history, steps)
    return Oracle(
        loss=float(np.average(losses[judged], weights=history.weight[judged])),
        best=best,
        edges=tuple(models[node][0].edge for node in best.nodes[1:]),
        frontier=tuple((way.retrains, way.cost / weight) for way in frontier(paths)),
        losses=losses,
        models=len(models),
    )


def _freshness(matrix: LossMatrix, judged: NDArray[np.bool_], window: NDArray[np.intp], seed: int) -> tuple[Age, ...]:
    """Return the mean loss by the age of a model in windows: that of new ones, and by how much older ones are above.

    Both on the same windows, so that ages differ by age and not by which windows had models so old.
    """
    history = matrix.history
    means = np.full((history.windows, history.windows), np.nan)  # of the model of an edge in a window
    for edge in range(history.windows):
        cell = matrix.cells[ModelKey(Action(), edge)]
        if cell.refused is None:
            losses = np.full(len(history.seen), np.nan)
            losses[cell.first :] = cell.losses
            means[edge] = window_means(history, window, np.where(judged, losses, np.nan))
    fresh = np.diagonal(means)
    if not np.isfinite(fresh).any():
        return ()
    level = float(np.nanmean(fresh))
    length = float(np.median(np.diff(history.edges)))
    found = []
    for age in range(max(history.windows // 2, 1)):
        excess = np.diagonal(means, age) - fresh[age:]
        excess = excess[np.isfinite(excess)]
        if len(excess):
            blocks = resampling(len(excess), seed)
            above = paired_difference(excess, np.zeros(len(excess)), np.ones(len(excess)), blocks)
            ends = (None if end is None else level + end for end in (above.low, above.high))
            estimate = Estimate(level + (above.value or 0.0), *ends)
            found.append(Age(age, history.hours((age + 0.5) * length), estimate))
    return tuple(found)


def _last_value(matrix: LossMatrix, judged: NDArray[np.bool_], classes: bool) -> float | None:
    """Return the error of predicting each row by the label that was known last when it was seen."""
    history, target = matrix.history, matrix.target
    assert target is not None
    columns = [batch.column(0) for batch in history.table.scan([target.column])]
    label = np.concatenate([np.empty(0), *(target.encode(column)[0] for column in columns)])[history.place]
    order = np.argsort(history.known, kind="stable")
    last = np.searchsorted(history.known[order], history.seen, side="left") - 1
    there = judged & (last >= 0)
    if not there.any():
        return None
    before = label[order[np.maximum(last, 0)]]
    wrong = before != label if classes else np.abs(before - label)
    return float(np.average(wrong[there], weights=history.weight[there]))


def _notes(
    matrix: LossMatrix,
    runs: Sequence[PolicyRun],
    after: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    window: NDArray[np.intp],
) -> Iterator[Note]:
    """Say what is missing: rows that nothing judges, windows without labels, trainings that were refused."""
    history = matrix.history
    if not history.times.stamped:
        yield Note(Code.TRAINING_TAKES_NO_TIME)
    ran = [(run.name, *spans) for run in runs if (spans := _rhythm(run.policy, history)) is not None]
    odd = {name: history.hours(real) for name, period, real in ran if abs(real - period) > _ONE_RHYTHM * period}
    if odd:
        values = {"ran": odd, "window": history.window_hours, "stamped": history.times.stamped}
        yield Note(Code.PERIODS_OFF_WINDOWS, values)
    if int(after.sum()) > int(judged.sum()):
        why = next((cell.unable for cell in matrix.cells.values() if cell.unable), "")
        yield Note(Code.ROWS_NOT_SCORED, {"rows": int(after.sum()) - int(judged.sum()), "why": why})
    empty = int(np.sum(np.bincount(window[judged], minlength=history.windows) == 0))
    if empty:
        yield Note(Code.WINDOWS_WITHOUT_LABELS, {"windows": empty, "of": history.windows})
    refused = {(one.edge, one.refused) for run in runs for one in run.decisions if one.refused is not None}
    if refused:
        edge, why = min(refused)
        values = {"trainings": len(refused), "at": history.times.literal(float(history.edges[edge])), "why": why}
        yield Note(Code.TRAININGS_REFUSED, values)
    target = matrix.target
    late = {one for cell in matrix.cells.values() for one in cell.classes} - set(
        () if target is None else target.classes
    )
    if late:
        yield Note(Code.CLASSES_CAME_LATE, {"classes": sorted(map(str, late))})


def _rhythm(policy: Policy, history: History) -> tuple[float, float] | None:
    """Return the period of a calendar and the one that it has where it is asked at edges alone, on the scale of times.

    None of another policy, and of a calendar whose period is over at no edge.
    """
    calendar = policy.policy if isinstance(policy, With) else policy
    if not isinstance(calendar, Every):
        return None
    stamped, begun, gaps = history.times.stamped, float(history.edges[0]), list[float]()
    for edge in map(float, history.edges[1:-1]):
        if calendar.period.passed(begun, edge, stamped) >= 1.0:
            gaps.append(edge - begun)
            begun = edge
    return (calendar.period.on(stamped), float(np.median(gaps))) if gaps else None
