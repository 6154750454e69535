"""Training an estimator that the user brought along: fed the same rows, judged on the same later ones, refitted on all.

Where it stops early, or gives no probabilities, what that needs is found on some of the rows that a fit learns from,
which judge nothing: the number of rounds, and the curve from its scores to probabilities (Platt 1999, with the targets
of Lin, Lin and Weng 2007). The estimator is then fitted to all of those rows, the earlier ones or all there are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from batchlearn.data.build import Mask, PreparedRows, build_rows
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import fit_encoding
from batchlearn.data.ledger import Ledger, walk
from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.split import Split, SplitKind, hold_out
from batchlearn.data.target import Target, Task
from batchlearn.errors import DataError, IntegrityError, UsageError
from batchlearn.evaluation.baselines import offset_constant
from batchlearn.evaluation.metrics import first_score, losses_under, target_metrics
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.brought import BroughtModel, Form, LearnerRecord, estimator_rows
from batchlearn.models.brought.formats import (
    SklearnResponder,
    foreign_code,
    kept_bytes,
    library_of,
    types_to_trust,
)
from batchlearn.models.brought.trees import check_catboost
from batchlearn.models.links import logistic
from batchlearn.objectives.class_weights import correction_note, counted_by_class
from batchlearn.progress import Progress, run_stage
from batchlearn.selection.structure import Structure
from batchlearn.tables.conditions import for_any_time
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import MemoryBudget
from batchlearn.training.brought.estimator import (
    NamedEstimator,
    early_stop,
    fit_keywords,
    given_estimator,
    name_estimator,
    refuse_other_task,
)
from batchlearn.training.certificate import not_certified
from batchlearn.training.evaluate import LaterResponses, evaluate_responses, evaluate_split
from batchlearn.training.fit import Fit, model_of
from batchlearn.training.optimise import Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import Clock, JudgedFit, column_uses, summarise
from batchlearn.training.summary.leaks import leak_notes
from batchlearn.training.summary.notes import case_notes, target_notes
from batchlearn.training.summary.spikes import spike_remarks
from batchlearn.training.train import known_to, prepare

# Of the rows that a fit learns from: those on which an early stop, or the curve of probabilities, is found.
_TUNING_SHARE = 0.2
_MOST_STEPS, _SMALL_STEP = 100, 1e-10


@dataclass(frozen=True)
class EstimatorBench:
    """The rows of a training, in memory as they were read, and the estimator that is fitted to parts of them."""

    named: NamedEstimator
    recipe: Recipe
    table: Table
    kind: SplitKind
    batches: tuple[tuple[slice, pa.RecordBatch], ...]

    def rows(self, part: Mask) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part."""
        for entries, batch in self.batches:
            if part[entries].any():
                yield batch.filter(pa.array(part[entries]))

    def fit(self, ledger: Ledger, encoding: Encoding, form: Form) -> BroughtModel:
        """Return a model of the used rows of a ledger."""
        named, recipe = self.named, self.recipe
        counted, weights = counted_by_class(recipe.class_weight, ledger, ledger.used)
        estimator = named.fresh(recipe.seed)
        learner = LearnerRecord(
            named.path,
            dict(named.settings),
            form,
            named.packages,
            library_of(estimator),
            file_sha256=named.file_sha256,
            class_weights=() if weights is None else tuple(map(float, weights)),
            base=offset_constant(ledger, ledger.used) or 0.0,
        )
        learner = self._tuned(counted, encoding, learner)
        if learner.rounds is not None and (stop := early_stop(estimator)) is not None:
            estimator.set_params(**{stop.rounds: learner.rounds, **stop.off})
        fitted = self.fitted(estimator, counted, encoding, learner)
        learner, kept, responder = kept_estimator(fitted, learner, recipe, len(ledger.target.classes))
        make = partial(BroughtModel, learner=learner, kept=kept, fitted=responder)
        return model_of(make, self.table, ledger, encoding, recipe.costs)

    def fitted(
        self,
        estimator: Any,
        ledger: Ledger,
        encoding: Encoding,
        learner: LearnerRecord,
        given: tuple[str, Any] | None = None,
        how: str = "fit",
    ) -> Any:
        """Return the estimator fitted to the used rows of a ledger, with what is given to its `fit` by name besides."""
        path = self.named.path
        keywords: dict[str, Any] = {**fit_keywords(estimator, learner, ledger, self.table.roles)}
        keywords.update([] if given is None else [given])
        rows = self._fed(ledger, encoding, learner)
        with foreign_code(f"{path} failed to fit", "learner-failed", "Set something else, or use another one."):
            fit = estimator.partial_fit if how == "partial_fit" else estimator.fit
            found = fit(rows, _labels(ledger), **keywords)
            return estimator if found is None else found

    def _fed(self, ledger: Ledger, encoding: Encoding, learner: LearnerRecord) -> Any:
        return estimator_rows(encoding, learner, self.table.roles.time, self.rows(ledger.used))

    def _tuned(self, ledger: Ledger, encoding: Encoding, learner: LearnerRecord) -> LearnerRecord:
        """Return the learner with what is found on rows that judge nothing, where it needs something."""
        estimator = self.named.fresh(self.recipe.seed)
        stop, classes = early_stop(estimator), len(ledger.target.classes)
        scores = bool(classes) and learner.kept_by == "skops" and not hasattr(estimator, "predict_proba")
        if scores and classes > 2:
            raise UsageError(
                f"{learner.path} gives no probabilities, which {classes} classes need. Wrap it in scikit-learn's "
                "CalibratedClassifierCV, or use an estimator with predict_proba.",
                code="learner-no-probabilities",
            )
        if not scores and (stop is None or not stop.shown):
            fitted = None if stop is None else self.fitted(estimator, ledger, encoding, learner)
            return learner if stop is None else replace(learner, rounds=stop.ended(fitted))
        parts = hold_out(ledger, _TUNING_SHARE, self.recipe.seed, self.kind)
        if parts.late is None:
            raise DataError(
                f"{learner.path} needs rows of their own for its early stop or its probabilities, and too few rows can "
                "be told apart. Set a number of rounds, or use an estimator with predict_proba.",
                code="learner-tuning-rows",
            )
        before, after = replace(ledger, used=parts.early), replace(ledger, used=parts.late)
        if stop is not None:
            rows = self._fed(after, encoding, learner) if stop.shown else None
            shown = ("eval_set", [(rows, _labels(after))]) if stop.shown else None
            fitted = self.fitted(estimator, before, encoding, learner, shown)
            learner = replace(learner, rounds=stop.ended(fitted))
        if scores:
            if learner.rounds is None:
                fitted = self.fitted(estimator, before, encoding, learner)
            said = SklearnResponder(fitted, learner.path, classes).respond(self._fed(after, encoding, learner), None)
            weight = np.ones(int(after.used.sum())) if after.weight is None else after.weight[after.used]
            learner = replace(learner, calibration=platt_curve(said, after.label[after.used], weight, learner.path))
        return learner

    def respond(self, model: BroughtModel, part: Mask) -> Floats:
        """Return what a model responds to the rows of a part."""
        return np.concatenate([model.predict_batch(batch).response for batch in self.rows(part)])


def _labels(ledger: Ledger) -> Any:
    """Return labels as estimators take them: classes as whole numbers, in the order of the target's."""
    label = ledger.label[ledger.used]
    return label.astype(np.intp) if ledger.target.task is Task.CLASSES else label


def kept_estimator(
    fitted: Any, learner: LearnerRecord, recipe: Recipe, classes: int
) -> tuple[LearnerRecord, bytes, SklearnResponder | None]:
    """Return how a fitted estimator is kept, its bytes, and what predicts here: of boosting what its bytes say."""
    library = library_of(fitted)
    if library == "catboost":
        try:
            with foreign_code(learner.path, "learner-not-kept", ""):
                kept = kept_bytes(fitted, library)
            check_catboost(kept, classes)
            return replace(learner, kept_by=library), kept, None
        except (DataError, IntegrityError):
            # Of categories, texts or trees of another shape: as any object is kept, or not at all.
            library, learner = "skops", replace(learner, kept_by="skops")
    if library != "skops":
        return learner, kept_bytes(fitted, library), None
    responder = SklearnResponder(fitted, learner.path, classes)
    unkept = replace(learner, kept_by=None)
    try:
        with foreign_code(learner.path, "learner-not-kept", ""):
            kept = kept_bytes(fitted, library)
            types = types_to_trust(kept)
    except (DataError, ModuleNotFoundError):
        return unkept, b"", responder
    if set(types) - set(recipe.trust):
        return replace(unkept, types=types), b"", responder
    return replace(learner, types=types), kept, responder


def platt_curve(said: Any, label: Floats, weight: Floats, path: str) -> tuple[float, float]:
    """Return slope and intercept of the log odds of class 1 given a score, by Newton steps on Platt's objective."""
    score = np.asarray(said, dtype=np.float64)
    if score.shape != label.shape or not np.all(np.isfinite(score)):
        raise DataError(
            f"What {path} decides by came in the shape {score.shape} or is not finite; one number a row is needed. "
            "Mend the estimator, or use another one.",
            code="learner-response",
        )
    unit = float(np.std(score)) or 1.0
    ones = float(weight[label == 1.0].sum())
    # Labels a little inside 0 and 1, so that classes that are told apart without fail have a finite slope.
    goal = np.where(label == 1.0, (ones + 1.0) / (ones + 2.0), 1.0 / (float(weight.sum()) - ones + 2.0))
    design, found = np.column_stack([score / unit, np.ones_like(score)]), np.zeros(2)
    for _ in range(_MOST_STEPS):
        share = logistic(design @ found)
        gradient = design.T @ (weight * (share - goal))
        hessian = (design.T * (weight * share * (1.0 - share))) @ design + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        found = found - step * min(1.0, 2.0 / float(np.abs(step).max() or 1.0))
        if float(np.abs(step).max()) < _SMALL_STEP:
            break
    return float(found[0] / unit), float(found[1])


class _TrainedEstimator(NamedTuple):
    """The model of all rows, what was found of the one that was judged, and the mean losses in all rows."""

    model: BroughtModel
    evaluation: Evaluation | None
    notes: tuple[Note, ...]
    loss: float
    null_loss: float


def iter_train_brought(
    table: Table,
    recipe: Recipe,
    estimator: object | None,
    threads: int,
    before: Target | None,
    budget: MemoryBudget,
) -> Generator[Progress, None, Fit]:
    """Yield progress while an estimator is trained and judged; return the fit. Arguments as those of `iter_train`."""
    clock = Clock()
    if estimator is None:
        named = name_estimator(recipe.model or "", recipe.set, Path(recipe.folder))
    else:
        named = given_estimator(estimator)
    with one_blas_thread():
        prepared = yield from prepare(table, recipe, before, budget)
        table = prepared.table
        refuse_other_task(named.fresh(recipe.seed), named.path, prepared.ledger.target)
        encoding = fit_encoding(table.features, prepared.all, recipe.rules, table.roles.time)
        if not encoding.kinds:
            raise DataError(
                f"No column of {table.name} is left to learn from: {named.path} needs one. Name more columns, or see "
                "which were left out with `batchlearn train` without --model.",
                code="learner-without-columns",
            )
        early = fit_encoding(table.features, prepared.early, recipe.rules, table.roles.time)
        used, roles = prepared.ledger.used, (table.roles.offset, table.roles.exposure)
        names = list(dict.fromkeys([*encoding.kinds, *early.kinds, *(name for name in roles if name)]))
        building = build_rows(table, prepared.ledger, encoding, used, threads)
        rows = yield from run_stage("encoding all rows", building)
        batches = tuple(walk(table, names))
        yield Progress("reading rows", rows=int(used.sum()))
        clock.stop("reading")
        bench = EstimatorBench(named, recipe, table, prepared.kind, batches)
        trained = yield from _train(bench, prepared, early, encoding, threads)
        clock.stop("fitting")
    return _assemble(bench, prepared, trained, rows, clock, before)


def _train(
    bench: EstimatorBench, prepared: PreparedRows, early: Encoding, encoding: Encoding, threads: int
) -> Generator[Progress, None, _TrainedEstimator]:
    """Fit the earlier rows and all rows, in the first form that the estimator takes, and judge the former."""
    refused, ledger, split = dict[Form, DataError](), prepared.ledger, prepared.split
    known, recipe = known_to(ledger, bench.recipe, split.early)
    for form in _forms(encoding):
        try:
            yield Progress(f"fitting {bench.named.path} to all rows")
            model = bench.fit(ledger, encoding, form)
            loss, null_loss = mean_losses(bench, model, ledger)
            break
        except DataError as problem:
            refused[form] = problem
    else:
        raise _none_taken(refused)

    def judge(parts: Split) -> Generator[Progress, None, tuple[Evaluation, JudgedFit | None]]:
        assert parts.late is not None
        yield Progress(f"fitting {bench.named.path} to the earlier rows")
        judged = replace(bench, recipe=recipe).fit(replace(known, used=parts.early), early, model.learner.form)
        building = build_rows(bench.table, known, early, parts.late, threads, fingerprinted=False)
        rows = yield from run_stage("encoding the later rows", building)
        later = LaterResponses(early, rows, bench.respond(judged, parts.late))
        return evaluate_responses(known, parts, later, recipe.seed, recipe.costs), None

    evaluation, _, notes = yield from evaluate_split(bench.table, known, split, judge)
    fed = {"path": model.learner.path, "form": model.learner.form, "pandas": _pandas_is_installed()}
    why = {"refusal": next(iter(refused.values())).message if refused else None}
    return _TrainedEstimator(model, evaluation, (Note(Code.LEARNER_FED, fed | why), *notes), loss, null_loss)


def _forms(encoding: Encoding) -> list[Form]:
    """Return in which forms an estimator may be fed, the plainest first; a frame needs pandas."""
    texts: list[Form] = ["texts"] if encoding.texts and len(encoding.kinds) == 1 else []
    frame: list[Form] = ["frame"] if _pandas_is_installed() else []
    return [*frame, *texts, "matrix"]


def _pandas_is_installed() -> bool:
    return find_spec("pandas") is not None


def _none_taken(refused: dict[Form, DataError]) -> DataError:
    first, *others = refused.values()
    more = "" if not others else f" Fed the matrix of our encoding: {others[-1].message}"
    return DataError(first.message + more, code=first.code)


def mean_losses(bench: EstimatorBench, model: BroughtModel, ledger: Ledger) -> tuple[float, float]:
    """Return the mean loss of a model in all used rows, by its proper score, and that of a constant."""
    used, target = ledger.used, ledger.target
    label, weight = ledger.label[used], None if ledger.weight is None else ledger.weight[used]
    offset = None if ledger.offset is None else ledger.offset[used]
    score = first_score(target_metrics(target))
    responses = bench.respond(model, used), model.constant(len(label), offset)
    own, null = (float(np.average(losses_under(score, label, each), weights=weight)) for each in responses)
    return own, null


def _assemble(
    bench: EstimatorBench,
    prepared: PreparedRows,
    trained: _TrainedEstimator,
    rows: Rows,
    clock: Clock,
    before: Target | None,
) -> Fit:
    table, recipe, ledger, learner = bench.table, bench.recipe, prepared.ledger, trained.model.learner
    encoding, condition = trained.model.encoding, table.condition
    uses = column_uses(table, encoding, prepared.all, ledger.unreadable, spike_remarks(table, prepared.all, ledger))
    codes = (Code.LEFT_OUT, Code.UNREADABLE_VALUES)
    weights = np.asarray(learner.class_weights) if learner.class_weights else None
    said = [
        *(remark.note for use in uses for remark in use.remarks if remark.note.code in codes),
        *target_notes(ledger, recipe, table.roles, before),
        *case_notes(encoding, prepared.all),
        *([] if weights is None else [correction_note(ledger.target.classes, weights)]),
    ]
    if prepared.repeated:
        share = prepared.repeated / ledger.counts.used
        said.append(Note(Code.REPEATED_ROWS, {"rows": prepared.repeated, "share": share}))
    if learner.rounds is not None:
        said.append(Note(Code.LEARNER_ROUNDS, {"path": learner.path, "rounds": learner.rounds}))
    if learner.calibration is not None:
        said.append(Note(Code.LEARNER_CALIBRATED, {"path": learner.path}))
    if learner.kept_by is None:
        missing = None if find_spec("skops") is not None else "skops"
        unkept = {"path": learner.path, "types": list(learner.types), "missing": missing}
        said.append(Note(Code.LEARNER_NOT_KEPT, unkept))
    reason = Note(Code.LEARNER_UNPROVED, {"path": learner.path})
    where = for_any_time(condition)
    fit = Fit(
        model=trained.model,
        certificate=replace(not_certified(rows, reason), fingerprint=rows.fingerprint),
        status=Status.BROUGHT,
        structure=Structure(recipe.rules),
        recipe=recipe,
        alpha=0.0,
        rows=ledger.counts,
        objective=trained.loss,
        null_objective=trained.null_loss,
        solver=learner.path,
        trace=(),
        passes=0,
        seconds=sum(clock.seconds.values()),
        evaluation=trained.evaluation,
        notes=(*said, *trained.notes),
        condition=None if condition is None else str(condition),
        where=None if where is None else str(where),
        fading=table.fading,
        class_weights=learner.class_weights or None,
        summary=replace(summarise(table, prepared, encoding, rows, None), seconds=clock.seconds),
        columns=uses,
        lines_passed_over=table.lines_passed_over,
    )
    return replace(fit, notes=(*leak_notes(fit), *fit.notes))
