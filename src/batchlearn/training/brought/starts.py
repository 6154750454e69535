"""Going on from an estimator that was fitted before, by what its own `fit` has for that; and fitting one again.

Boosting libraries take a model to add trees to (`init_model`, `xgb_model`), estimators of scikit-learn go on from where
they are (`warm_start`), and those that learn in parts are shown the new rows alone (`partial_fit`). None of these need
end where a training from scratch would, and the gate judges what comes of them like anything else.
"""

from __future__ import annotations

import inspect
import math
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.build import build_rows
from batchlearn.data.ledger import read_ledger, walk
from batchlearn.data.split import SplitKind
from batchlearn.errors import IntegrityError, UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.brought import BroughtModel
from batchlearn.models.brought.formats import Allowed, SklearnResponder, library_of, refuse_other_code
from batchlearn.models.encoded import AS_FOUND
from batchlearn.models.files import StoredModel
from batchlearn.objectives.class_weights import counted_by_class, weighted
from batchlearn.progress import finish
from batchlearn.selection.structure import Structure
from batchlearn.tables.conditions import for_any_time
from batchlearn.tables.table import Table
from batchlearn.training.brought import EstimatorBench, kept_estimator, mean_losses
from batchlearn.training.brought.estimator import NamedEstimator, early_stop, name_estimator
from batchlearn.training.certificate import not_certified
from batchlearn.training.fit import Fit, model_of
from batchlearn.training.optimise import Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import column_uses
from batchlearn.training.verification.stored import training_table

# Losses that differ by less are those of one fit, added up in another order.
_SAME_LOSS = 1e-9


class _Continued(NamedTuple):
    estimator: Any
    how: str
    given: tuple[str, Any] | None


def go_on(start: str, model: BroughtModel, recipe: Recipe, table: Table, threads: int) -> Fit:
    """Return the fit of a table's labelled rows that goes on from a fitted model: warm, or fine-tune on new rows alone.

    Encoding and classes are the model's. UsageError, of code "no-warm-start", where the estimator has no such start;
    IntegrityError where it is not what the model was made with.
    """
    began = time.perf_counter()
    named = name_estimator(recipe.model or "", recipe.set, Path(recipe.folder))
    found = _continued(start, named, model, recipe.seed)
    table = model.as_read(table.like(model.readings))
    model.check(table)
    ledger = read_ledger(table, model.target, weight_constant=model.weight_constant)
    counted, weights = counted_by_class(recipe.class_weight, ledger, ledger.used)
    learner = replace(model.learner, class_weights=() if weights is None else tuple(map(float, weights)))
    batches = tuple(walk(table, [*model.columns]))
    bench = EstimatorBench(named, recipe, table, SplitKind.RANDOM, batches)
    fitted = bench.fitted(found.estimator, counted, model.encoding, learner, found.given, found.how)
    learner, kept, responder = kept_estimator(fitted, learner, recipe, len(model.target.classes))
    make = partial(BroughtModel, learner=learner, kept=kept, fitted=responder)
    continued = model_of(make, table, ledger, model.encoding, recipe.costs)
    rows = finish(build_rows(table, ledger, model.encoding, ledger.used, threads))
    # Of what was shown new rows alone nobody knows the loss in all of them, nor which they were.
    whole, certificate = start == "warm", not_certified(rows, Note(Code.LEARNER_UNPROVED, {"path": learner.path}))
    losses = mean_losses(bench, continued, ledger) if whole else (math.nan, math.nan)
    condition, where = table.condition, for_any_time(table.condition)
    return Fit(
        model=continued,
        certificate=replace(certificate, fingerprint=rows.fingerprint if whole else None),
        status=Status.BROUGHT,
        structure=Structure(recipe.rules),
        recipe=recipe,
        alpha=0.0,
        rows=ledger.counts,
        objective=losses[0],
        null_objective=losses[1],
        solver=learner.path if whole else "fine-tune",
        trace=(),
        passes=0,
        seconds=time.perf_counter() - began,
        evaluation=None,
        notes=(Note(Code.LEARNER_CONTINUED, {"path": learner.path, "how": found.how}),),
        condition=None if condition is None else str(condition),
        where=None if where is None else str(where),
        fading=table.fading,
        class_weights=learner.class_weights or None,
        columns=column_uses(table, model.encoding),
        lines_passed_over=table.lines_passed_over,
    )


def _continued(start: str, named: NamedEstimator, model: BroughtModel, seed: int) -> _Continued:
    """Return what is fitted on, and how; UsageError where there is nothing to go on from."""
    fresh = named.fresh(seed)
    stop = early_stop(fresh)
    if stop is not None and model.learner.rounds is not None:
        fresh.set_params(**{stop.rounds: model.learner.rounds, **stop.off})
    restored = model.estimator
    fitted: Any = deepcopy(getattr(restored, "estimator", None))
    booster = fitted if library_of(fitted) == "catboost" else getattr(restored, "booster", None)
    for name in ("init_model", "xgb_model") if start == "warm" and booster is not None else ():
        if name in inspect.signature(fresh.fit).parameters:
            return _Continued(fresh, name, (name, booster))
    if start == "fine-tune" and hasattr(fitted, "partial_fit"):
        return _Continued(fitted, "partial_fit", None)
    known = fitted.get_params() if hasattr(fitted, "get_params") else {}
    if start == "warm" and "warm_start" in known:
        more: dict[str, Any] = {"warm_start": True}
        # What counts trees is told how many there are to be in all.
        if hasattr(fitted, "estimators_") and "n_estimators" in known:
            more["n_estimators"] = len(fitted.estimators_) + fresh.get_params()["n_estimators"]
        elif hasattr(fitted, "_predictors"):
            more["max_iter"] = fitted.n_iter_ + fresh.get_params()["max_iter"]
        return _Continued(fitted.set_params(**more), "warm_start", None)
    has = {"warm": "init_model, xgb_model or warm_start", "fine-tune": "partial_fit"}.get(start, "kept totals")
    raise UsageError(
        f'{named.path} has nothing that a {start} could go on by ({has}). Train from scratch: start = "scratch" in '
        "[policy].",
        code="no-warm-start",
    )


def rebuild(stored: StoredModel, path: str, data: object, threads: int) -> BroughtModel:
    """Fit the estimator of a model that no file holds again, to the rows that it was trained on.

    `path` is what names the estimator now, as it was named then: what stands in the model is not imported. UsageError
    where it names another; IntegrityError where code, packages or rows are not those of the training, or what comes out
    does not score the rows as it did.
    """
    model, record = stored.model, stored.record
    if not isinstance(model, BroughtModel) or model.learner.path != path:
        raise UsageError(
            f"{quoted(path)} is to be fitted again, and the model was made of {quoted(model.learned_by or 'ours')}. "
            "Name what it was trained with: --learner PATH, beside --rebuild ROWS.",
            code="learner-path",
        )
    learner = model.learner
    named = name_estimator(path, learner.settings, Path())
    refuse_other_code(learner, Allowed(learner.types, named.file))
    table = model.as_read(training_table(model, record["condition"], data, AS_FOUND))
    ledger = read_ledger(table, model.target, weight_constant=model.weight_constant)
    counted = weighted(ledger, np.asarray(learner.class_weights)) if learner.class_weights else ledger
    recipe = Recipe(seed=int(record["seed"]))
    bench = EstimatorBench(named, recipe, table, SplitKind.RANDOM, tuple(walk(table, [*model.columns])))
    estimator, stop = named.fresh(recipe.seed), early_stop(named.fresh(recipe.seed))
    if stop is not None and learner.rounds is not None:
        estimator.set_params(**{stop.rounds: learner.rounds, **stop.off})
    fitted = bench.fitted(estimator, counted, model.encoding, learner)
    rebuilt = replace(model, fitted=SklearnResponder(fitted, path, len(model.target.classes)))
    rows = finish(build_rows(table, ledger, model.encoding, ledger.used, threads))
    loss, then = mean_losses(bench, rebuilt, ledger)[0], float(record["objective"])
    if rows.fingerprint != record["certificate"]["fingerprint"] or abs(loss - then) > _SAME_LOSS * max(abs(then), 1.0):
        raise IntegrityError(
            f"What was fitted again is not the model: its rows are others, or it scores them by {loss:.12g} and not by "
            f"{then:.12g}. Give the rows of the training, or train a model anew.",
            code="learner-not-rebuilt",
        )
    return rebuilt
