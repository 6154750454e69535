"""Backtest: which retraining policy would have been right on the rows of a table."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from batchlearn.artifacts.store import FolderStore
from batchlearn.backtesting.cells import ModelKey, claim_cache
from batchlearn.backtesting.history import read_history
from batchlearn.backtesting.judging import judged_backtest
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.outcome import Backtest
from batchlearn.backtesting.peeking import FileWatch, refuse_later_rows
from batchlearn.backtesting.plan import BacktestPlan, default_policies
from batchlearn.backtesting.replay import ReplayContext, first_decision, replay
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.errors import UsageError
from batchlearn.progress import Progress, finish
from batchlearn.retraining.policies import Action, EveryRows, Never, Policy
from batchlearn.retraining.policies.span import Span
from batchlearn.retraining.sources.label_times import fingerprint
from batchlearn.tables.table import Table
from batchlearn.training.recipe import Recipe

NEVER, ALWAYS = "never", "every window"


def backtest(
    table: Table,
    policies: Sequence[Policy] = (),
    model: Recipe | None = None,
    plan: BacktestPlan | None = None,
    *,
    threads: int | None = None,
) -> Backtest:
    """Replay retraining policies over the rows of a table, each told only what had arrived when it decides.

    Args:
        table: Rows with a target and a time, as `read` opens them.
        policies: Policies as production runs them; a dozen of all kinds by default, fewer for few windows.
        model: How each model is trained; `Recipe()` unless given.
        plan: Windows, arrival of labels, prices; `BacktestPlan()` unless given.
        threads: Threads that read rows; as many as there are cores, at most 8, unless given.

    Returns:
        An outcome for each policy beside the oracle, loss by the age of a model, and a recommendation.

    Raises:
        UsageError: The table has no target or time, the plan does not fit it, or a policy raises.
        DataError: The rows are not what they should be, or no window could judge.

    Example:
        >>> import numpy as np
        >>> import batchlearn as bl
        >>> day = np.arange(400.0)
        >>> slope = np.where(day < 200, 1.0, -1.0)
        >>> x = np.sin(day)
        >>> table = bl.read({"day": day, "x": x, "y": slope * x}, target="y", time="day")
        >>> policies, plan = [bl.Never(), bl.EveryRows(50)], bl.BacktestPlan(windows=8)
        >>> found = bl.backtest(table, policies, bl.Recipe(alpha=0.01), plan)
        >>> found.recommendation.policy
        'rows 50'
    """
    return finish(iter_backtest(table, policies, model or Recipe(), plan or BacktestPlan(), threads=threads))


def iter_backtest(
    table: Table, policies: Sequence[Policy], recipe: Recipe, plan: BacktestPlan, *, threads: int | None = None
) -> Generator[Progress, None, Backtest]:
    """Yield progress while policies are replayed; return what came of it."""
    began = time.perf_counter()
    yield Progress("reading times")
    history = read_history(table, plan.arrivals, plan.windows, plan.start)
    stamped, recipe = history.times.stamped, replace(recipe, holdout=0.0)
    entrants = tuple(policies) or default_policies(history, plan.prices, recipe.model is not None)
    names = [_name(policy) for policy in entrants]
    if len(set(names)) < len(names):
        raise UsageError(
            f"Two policies have one name ({', '.join(sorted(names))}); leave one of them out, or give them their own "
            "__str__.",
            code="policy-names",
        )
    store = None
    if plan.cache is not None:
        Path(plan.cache).mkdir(parents=True, exist_ok=True)
        store = FolderStore(Path(plan.cache))
        claim_cache(store, history, fingerprint(history.table), recipe)
    delay = 0.0 if plan.delay is None else Span.parse(plan.delay).on(stamped)
    price = None if plan.prices is None else plan.prices.retrain_in_loss
    with one_blas_thread(), FileWatch(history.table.files) as watch:
        context = ReplayContext(plan.durations, delay, price, watch)
        # A policy that cannot decide at all, or knows what is to come, is refused before an hour of training.
        for name, policy in zip(names, entrants, strict=True):
            refuse_later_rows(name, policy, history)
            first_decision(name, policy, history, context)
        matrix = LossMatrix(history, recipe, threads, store, plan.gate, plan.share)
        yield from matrix.begin()
        # The calendar of every window trains at each edge: its models are the matrix of the oracle and of ages.
        always = yield from replay(ALWAYS, EveryRows(1), matrix, context, gated=False)
        for edge in range(history.windows):
            yield from matrix.cell(ModelKey(Action(), edge))
        once = yield from replay(NEVER, Never(), matrix, context, gated=False)
        runs = []
        for name, policy in zip(names, entrants, strict=True):
            yield Progress(f"replaying {name}")
            runs.append((yield from replay(name, policy, matrix, context)))
    yield Progress("finding the oracle")
    return judged_backtest(matrix, runs, (once, always), context, plan, began)


def _name(policy: Policy) -> str:
    """Return what a policy calls itself; of a class without words of its own, the name of the class."""
    named = type(policy).__str__ is not object.__str__
    return str(policy) if named else type(policy).__name__
