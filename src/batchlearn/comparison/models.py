"""Comparing models: each is trained on the same earlier rows and judged on the same later ones.

What is compared is the loss of each row under the proper score. The interval of a difference is Student's of the means
of blocks: a few long ones where rows have a time, many where they have none, whole groups where there are groups.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from batchlearn.artifacts.strict_json import plain
from batchlearn.comparison.judging import ResidentMemory
from batchlearn.comparison.model_entry import ModelEntry
from batchlearn.comparison.problem import read_rows
from batchlearn.data.rows.threads import thread_count
from batchlearn.data.sample import take
from batchlearn.data.split import SplitKind, hold_out, split_kind
from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.metrics import Array, first_score, target_metrics
from batchlearn.evaluation.paired import BLOCKS, Difference, blocked_difference, time_blocks
from batchlearn.evaluation.report import Evaluation
from batchlearn.evaluation.scored import ScoredRows, score_each
from batchlearn.formatting.names import how_split
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.brought import BroughtModel
from batchlearn.progress import Progress, finish, run_stage
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import UNLIMITED, MemoryBudget
from batchlearn.training.certificate import Certificate
from batchlearn.training.evaluate import evaluate_scored
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import iter_train

FORMAT_VERSION = 1
LEVEL = 0.95
# Blocks where rows come in random order or in groups: Student's t has no more need of long ones.
_BLOCKS_AT_RANDOM = 100
# What a certificate may cost: this share of the smallest loss.
_AS_GOOD = 0.05


@dataclass(frozen=True)
class ModelOutcome:
    """What came of one model: its loss on the later rows, and what it cost.

    Attributes:
        name: As it was asked for.
        loss: The mean loss with its interval.
        evaluation: All that is known of it on the later rows.
        seconds: Seconds of the training.
        memory: Bytes by which the memory of the process grew meanwhile, as far as was seen.
        bytes: Of its folder; None where it is not kept.
        certificate: What is proved about it.
    """

    name: str
    loss: Estimate
    evaluation: Evaluation
    seconds: float
    memory: int
    bytes: int | None
    certificate: Certificate

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain values; its metric is the first of the evaluation."""
        calibration, certified = self.evaluation.calibration, self.certificate.certified
        return {
            "name": self.name,
            "metric": next(iter(self.evaluation.metrics)),
            "loss": self.loss.value,
            "low": self.loss.low,
            "high": self.loss.high,
            "seconds": self.seconds,
            "memory": self.memory,
            "bytes": self.bytes,
            "calibration": None if calibration is None else calibration.to_json(),
            "certificate": self.certificate.to_json() if certified else None,
            "why_no_certificate": None if certified else str(self.certificate.reason),
        }


@dataclass(frozen=True)
class ModelDifference:
    """The mean loss of `a` minus that of `b` on the same rows: below zero where `a` is better."""

    a: str
    b: str
    difference: Difference

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves zero out."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and not low <= 0.0 <= high

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        found = self.difference
        return {"a": self.a, "b": self.b, "difference": found.value, "low": found.low, "high": found.high}


@dataclass(frozen=True)
class ModelChoice:
    """The model recommended, and why."""

    model: str
    reason: Note


@dataclass(frozen=True)
class ModelComparison:
    """What `compare_models` returns.

    Attributes:
        table: The table's name.
        target: The column that is predicted.
        metric: The proper score.
        rows: Rows that every model was trained on.
        held_out: Rows that every model was judged on.
        split: How they were told apart: the last ones by time, whole groups, or rows drawn at random.
        outcomes: One for each model, in the order asked for.
        differences: One for each pair; all those from one model hold together with 95 %.
        recommendation: The model to take, and why.
        seconds: Seconds of the whole comparison.
        notes: What was sampled and held out.

    Example:
        >>> import batchlearn as bl
        >>> rows = {"x": [float(k % 9) for k in range(99)], "y": [k % 9 + k % 2 for k in range(99)]}
        >>> table = bl.read(rows, target="y")
        >>> compared = bl.compare_models(table, ["additive", "linear"])
        >>> compared.held_out, [(one.a, one.b) for one in compared.differences]
        (20, [('additive', 'linear')])
    """

    table: str
    target: str
    metric: str
    rows: int
    held_out: int
    split: SplitKind
    outcomes: tuple[ModelOutcome, ...]
    differences: tuple[ModelDifference, ...]
    recommendation: ModelChoice
    seconds: float
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `compare --models --json` prints, the path of the report aside, as plain values."""
        chosen = self.recommendation
        whole: dict[str, Any] = plain(
            {
                "format_version": FORMAT_VERSION,
                "question": "models",
                "table": self.table,
                "target": self.target,
                "rows": self.rows,
                "held_out": self.held_out,
                "models": [one.to_json() for one in self.outcomes],
                "differences": [one.to_json() for one in self.differences],
                "recommendation": {
                    "model": chosen.model,
                    "reason": str(chosen.reason),
                    "noted": chosen.reason.to_json(),
                },
                "seconds": self.seconds,
                "notes": list(map(str, self.notes)),
                "noted": [note.to_json() for note in self.notes],
            }
        )
        return whole


def compare_models(
    table: Table,
    models: Sequence[str | ModelEntry],
    recipe: Recipe | None = None,
    *,
    rows: int = 125_000,
    threads: int | None = None,
) -> ModelComparison:
    """Train several models on the earlier rows of a table and judge them on its later ones, row by row.

    Args:
        table: Rows with a target, as `read` opens them.
        models: Two or more: "additive" for what `train` fits, "linear", or import paths such as
            "lightgbm.LGBMClassifier".
        recipe: Loss, held-out share, split and seed; `Recipe()` unless given.
        rows: A larger table is compared on a random sample of so many rows.
        threads: Threads that read rows; as many as there are cores, at most 8, unless given.

    Returns:
        One outcome for each model, the difference of each pair with its interval, and a recommendation.

    Raises:
        UsageError: Fewer than two models were named, one twice, or one is none; or the table has no target.
        DataError: The rows are not what they should be, none can be held out, or an estimator failed.

    Example:
        >>> import batchlearn as bl
        >>> hour = [float(k % 24) for k in range(400)]
        >>> delay = [(h - 12.0) ** 2 + k % 5 for k, h in enumerate(hour)]
        >>> table = bl.read({"hour": hour, "delay": delay}, target="delay")
        >>> bl.compare_models(table, ["additive", "linear"]).recommendation.model
        'additive'
    """
    entries = [ModelEntry(one) if isinstance(one, str) else one for one in models]
    return finish(iter_compare_models(table, entries, recipe or Recipe(), rows, threads))


def iter_compare_models(
    table: Table,
    entries: Sequence[ModelEntry],
    recipe: Recipe,
    most_rows: int,
    threads: int | None,
    budget: MemoryBudget = UNLIMITED,
) -> Generator[Progress, None, ModelComparison]:
    """Yield progress while models are trained and judged; return the comparison."""
    titles = [entry.title for entry in entries]
    if len(set(titles)) < max(len(titles), 2):
        raise UsageError(
            f"The models are {quoted(', '.join(titles))}; two or more different ones are needed, such as "
            "additive,sklearn.ensemble.HistGradientBoostingClassifier.",
            code="models-to-compare",
        )
    for entry in entries:
        entry.check()
    began, workers = time.perf_counter(), thread_count(threads)
    table, ledger, notes = yield from read_rows(table, recipe, most_rows, budget)
    kind = split_kind(ledger, recipe.split)
    split = hold_out(ledger, recipe.holdout, recipe.seed, kind)
    if split.late is None:
        raise UsageError(
            "No rows can be held out, and models are compared on rows that they have not seen. Give a --holdout above "
            "0, or more rows.",
            code="nothing-held-out",
        )
    early, late = (np.flatnonzero(part & (ledger.used | ledger.unseen)) for part in (split.early, split.late))
    earlier, cut = yield from run_stage("the earlier rows", take(table, ledger, early))
    later, _ = yield from run_stage("the later rows", take(table, ledger, late))
    weight = float(len(early)) if cut.weight is None else float(cut.weight.sum())
    fits, costs = [], []
    for entry in entries:
        with ResidentMemory() as memory:
            started = time.perf_counter()
            fit = yield from iter_train(earlier, entry.recipe(recipe, weight), threads=workers)
            seconds = time.perf_counter() - started
        fits.append(fit)
        costs.append((seconds, memory.grown, _bytes_of(fit)))
    yield Progress("judging")
    scored = score_each([fit.model for fit in fits], later, seed=recipe.seed)
    judged = judge_models(titles, scored, fits[0].model.target)
    found = tuple(
        ModelOutcome(title, loss, evaluate_scored(fit.model, rows, seed=recipe.seed), *cost, fit.certificate)
        for title, loss, fit, rows, cost in zip(titles, judged.losses, fits, scored, costs, strict=True)
    )
    split_as = {"rows": len(early), "held_out": len(late), "how": how_split(split.kind, split.one_time)}
    certified = frozenset(one.name for one in found if one.certificate.certified)
    return ModelComparison(
        table=table.name,
        target=ledger.target.column,
        metric=judged.metric,
        rows=len(early),
        held_out=len(late),
        split=split.kind,
        outcomes=found,
        differences=judged.differences,
        recommendation=recommend_model(judged, certified),
        seconds=time.perf_counter() - began,
        notes=(*notes, Note(Code.COMPARED_ON, split_as)),
    )


@dataclass(frozen=True)
class JudgedModels:
    """The mean loss of each model on the same rows, and the difference of each pair."""

    metric: str
    names: tuple[str, ...]
    losses: tuple[Estimate, ...]
    differences: tuple[ModelDifference, ...]


def judge_models(names: Sequence[str], scored: Sequence[ScoredRows], target: Target) -> JudgedModels:
    """Compare what models say of the same rows.

    Each interval is of level 1 - 0.05 / models: the differences from any one model, which may be the one that looks
    best, hold together with 95 %.
    """
    score, first = first_score(target_metrics(target)), scored[0]
    known = ~np.isnan(first.label)
    if not known.any():
        raise DataError(
            "No later row has a class that an earlier one has, so there is nothing to compare on. Hold out other rows "
            "with --split random.",
            code="nothing-to-judge",
        )
    weight = np.ones(len(first.label)) if first.weight is None else first.weight
    losses: list[Array] = [one.losses(target)[known] for one in scored]
    weight = weight[known]
    together = first.group if first.time is None else first.time
    most = _BLOCKS_AT_RANDOM if first.time is None else BLOCKS
    starts = time_blocks(weight, None if together is None else together[known], most)
    alpha = (1.0 - LEVEL) / len(names)

    def between(a: Array, b: Array | float) -> Difference:
        return blocked_difference(a - b, weight, starts, alpha)

    own = (between(each, 0.0) for each in losses)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return JudgedModels(
        score.name,
        tuple(names),
        tuple(Estimate(one.value, one.low, one.high) for one in own),
        tuple(ModelDifference(names[i], names[j], between(losses[i], losses[j])) for i, j in pairs),
    )


def recommend_model(judged: JudgedModels, certified: frozenset[str]) -> ModelChoice:
    """Recommend the model of the smallest loss, or the best certified one that is as good.

    It is as good where the two cannot be told apart and its loss is at most a twentieth larger: an interval that holds
    0 may be wide as well, and then it holds much else.
    """
    loss = {name: one.value or 0.0 for name, one in zip(judged.names, judged.losses, strict=True)}
    ranked = sorted(loss, key=lambda name: loss[name])
    best = ranked[0]
    apart = {name for one in judged.differences if one.told_apart and best in (one.a, one.b) for name in (one.a, one.b)}
    proved = next((name for name in ranked if name in certified), best)
    as_good = proved not in apart and loss[proved] - loss[best] <= _AS_GOOD * abs(loss[best])
    chosen = proved if as_good else best
    other = ranked[1] if chosen == best else best
    (found,) = (one for one in judged.differences if {one.a, one.b} == {chosen, other})
    sign = 1.0 if found.a == chosen else -1.0
    ends = (found.difference.low, found.difference.high)
    low, high = (None if end is None else sign * end for end in (ends if sign > 0.0 else ends[::-1]))
    values = {
        "metric": judged.metric,
        "other": other,
        "difference": sign * found.difference.value,
        "low": low,
        "high": high,
        "certified": chosen in certified,
    }
    return ModelChoice(chosen, Note(Code.MODEL_TOLD_APART if found.told_apart else Code.MODEL_AS_GOOD, values))


def _bytes_of(fit: Fit) -> int | None:
    """Return the size of the folder that a fit is saved as; None where its model is not kept."""
    if isinstance(fit.model, BroughtModel) and fit.model.learner.kept_by is None:
        return None
    with TemporaryDirectory() as folder:
        return sum(file.stat().st_size for file in Path(fit.save(Path(folder, "model"))).iterdir())
