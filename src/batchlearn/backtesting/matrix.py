"""The matrix: what each model that a policy may train loses on every later row, each trained and scored once.

A model is told by its action and by the edges at which it and those before it were trained. Where a model does not
depend on those before it the last edge is enough, and all policies share it: from scratch it is a function of the rows,
and warm starts and updates end in the same optimum, proved, whatever they start from. They are trained from their
neighbour, at the edge before, and of its encoding. Fine-tuning, new rows only and warm mini-batches depend on the path:
those models are trained along it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from batchlearn.artifacts.store import Store
from batchlearn.artifacts.strict_json import plain
from batchlearn.backtesting.cells import MatrixCell, ModelKey, read_cell, read_trained, write_cell, write_trained
from batchlearn.backtesting.history import History
from batchlearn.data.target import Target
from batchlearn.errors import CertificateError, DataError, NoFiniteOptimum, RegistryError, UsageError
from batchlearn.evaluation.metrics import hit_rows
from batchlearn.evaluation.scored import ScoredRows, score_each
from batchlearn.formatting.notes import Note, all_recorded
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.files import files_of
from batchlearn.models.linear import LinearModel
from batchlearn.progress import Progress, finish
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.cycle.candidate import Judged, judge_later, judge_twin, of_one_kind, uncertified
from batchlearn.retraining.cycle.continued import bracket_of, dearer_start, statistics_at, train_from
from batchlearn.retraining.cycle.state import Champion, KnownRows, Newest, Plan
from batchlearn.retraining.gate import Gate, Verdict
from batchlearn.retraining.policies import FROM_TOTALS, Action, Never
from batchlearn.selection.structure import Structure
from batchlearn.tables.conditions import together
from batchlearn.tables.table import Table
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import iter_train
from batchlearn.updating.sufficient_statistics import SufficientStatistics

REFUSALS = (DataError, UsageError, RegistryError, CertificateError, NoFiniteOptimum)


class TrainedModel(NamedTuple):
    """A model as it was trained or read, without what bounds and explains single predictions, and its rows."""

    model: EncodedModel
    structure: Structure
    recipe: Recipe
    start: str  # that it was trained from
    rows: int  # that it was trained on
    rows_read: int
    seconds: float  # those of a start that was refused among them
    loss_bound: float | None  # None where nothing is proved
    prediction_bound: float | None
    weighted: bool  # whether classes were
    alarms: tuple[Note, ...]  # that it lacks the certificate that its start should end with
    table: Table
    as_of: float

    def champion(self, kept: SufficientStatistics | None = None) -> Champion:
        """Return the model as the cycle has it when it is live, with what it kept of its rows if that is needed."""
        recipe = self.recipe.to_json()
        return Champion(self.model, self.as_of, self.as_of, 1, self.structure.strengths, recipe, kept)


def _as_recorded(
    model: EncodedModel, record: Mapping[str, Any], recipe: Recipe, table: Table, now: float
) -> TrainedModel:
    """Return a model by what is on record of its fit, and beside that of what it cost."""
    return TrainedModel(
        model=model,
        structure=Structure.from_json(record["structure"], model.encoding, recipe.rules),
        recipe=recipe,
        start=record["start"],
        rows=record["rows"]["used"],
        rows_read=record["rows_read"],
        seconds=record["training_seconds"],
        loss_bound=record["certificate"]["loss_bound"],
        prediction_bound=record["certificate"]["prediction_bound"],
        weighted=record["class_weights"] is not None,
        alarms=all_recorded(record["alarms"]),
        table=table,
        as_of=now,
    )


@dataclass
class LossMatrix:
    """Cells, each computed when it is first asked for, and kept in a store where there is one."""

    history: History
    recipe: Recipe  # with nothing held out
    threads: int | None = None
    store: Store | None = None
    gate: Gate | None = None  # that models have to pass before they go live; None where all do
    share: float = 0.2  # of the new rows, the latest, that judge
    cells: dict[ModelKey, MatrixCell] = field(default_factory=dict)
    fits: int = 0  # trained by this run
    _trained: dict[ModelKey, TrainedModel] = field(default_factory=dict)
    _kept: dict[ModelKey, SufficientStatistics | None] = field(default_factory=dict)
    _brackets: dict[tuple[ModelKey, int], Bracket | None] = field(default_factory=dict)
    _judged: dict[tuple[ModelKey, ModelKey], Judged] = field(default_factory=dict)

    def begin(self) -> Generator[Progress, None, TrainedModel]:
        """Train the first model of all; what its rows choose, the models that keep the structure have too.

        DataError where its rows are too few, or of one class, and later ones are not.
        """
        try:
            return (yield from self.trained(ModelKey(Action(structure="choose"), 0)))
        except DataError as problem:
            if problem.code not in ("one-class", "too-few-rows"):
                raise
            began = self.history.times.literal(float(self.history.edges[0]))
            raise DataError(
                f"The first training, on the rows known by {began}, is not possible: {problem.message} Give it a "
                "larger share of the rows (start=, --first).",
                code=problem.code,
            ) from problem

    @property
    def target(self) -> Target | None:
        """What is predicted, as the first model has it: of two classes the same one is the positive one in all."""
        first = self._trained.get(ModelKey(Action(structure="choose"), 0))
        return None if first is None else first.model.target

    @property
    def scratch_seconds(self) -> float:
        """Seconds that training from scratch with the structure kept has taken, in this run or before."""
        scratch = ((key.action, cell.seconds) for key, cell in self.cells.items())
        plain = ((Action(window=action.window, half_life=action.half_life), action, took) for action, took in scratch)
        return sum(took for only, action, took in plain if only == action)

    def cell(self, key: ModelKey) -> Generator[Progress, None, MatrixCell]:
        """Return a cell, trained and scored unless that was done before."""
        found = self.cells.get(key)
        if found is None and self.store is not None:
            found = read_cell(self.store, key)
        if found is None:
            try:
                trained = yield from self.trained(key)
            except REFUSALS as problem:
                if key.edge == 0:
                    raise
                none = np.empty(0)
                nothing = (none,) * 4
                found = MatrixCell(key.edge, key.action.start, 0, 0, 0.0, None, 0, *nothing, problem.message)
            else:
                yield Progress(f"scoring {self._said(key)}", rows=len(self.history.seen))
                found = self._scored(key, trained)
            # What another run wrote first counts: its seconds are those that decisions heed.
            if self.store is not None and not write_cell(self.store, key, found):
                found = read_cell(self.store, key) or found
        self.cells[key] = found
        return found

    def _said(self, key: ModelKey) -> str:
        return f"a model of window {key.edge} of {self.history.windows} ({key.action.start})"

    # --- training -----------------------------------------------------------------------------------------------------

    def _known(self, action: Action, edge: int, trained: float | None = None) -> KnownRows:
        """Return the rows that had arrived by an edge, of which the cycle would take those that an action wants."""
        history, now = self.history, float(self.history.edges[edge])
        plan = Plan(self.recipe, Never(), None, "scratch", self.gate or Gate(), self.share, threads=self.threads)
        return KnownRows(history.rows(now), history.times, now, plan.doing(action, trained))

    def depends_on_path(self, action: Action) -> bool:
        """Whether what an action trains depends on the model before: then it is no cell that policies can share.

        Warm starts and updates end in one optimum, unless rows are read in parts or the estimator is a user's.
        """
        one_optimum = action.batch_size == "full" and self.recipe.model is None
        along = action.new_only or action.start in ("online", "fine-tune")
        return along or (action.start != "scratch" and not one_optimum)

    def _before(self, key: ModelKey) -> ModelKey | None:
        """Return the model that training goes on from; None where it begins anew."""
        if self.depends_on_path(key.action):
            return key.before
        return ModelKey(key.action, key.edge - 1) if key.edge and key.action.start != "scratch" else None

    def trained(self, key: ModelKey) -> Generator[Progress, None, TrainedModel]:
        """Train as the cycle does: from the action's start, or from the next dearer one where that is refused."""
        if key in self._trained:
            return self._trained[key]
        action, before, kept = key.action, self._before(key), None
        known = self._known(action, key.edge, None if before is None else float(self.history.edges[before.edge]))
        table = known.faded(known.source.table(*known.wanted()))
        stored = None if self.store is None else read_trained(self.store, key)
        if stored is not None:
            self._trained[key] = _as_recorded(stored.model, stored.record, known.plan.recipe, table, known.now)
            return self._trained[key]
        if action.structure == "keep":
            kept = (yield from self.begin()).structure
        champion = None if before is None else (yield from self.trained(before)).champion()
        start = "scratch" if champion is None else action.start
        yield Progress(f"training {self._said(key)}")
        began = time.perf_counter()
        parts = None if champion is None else known.parts(champion)
        fit = None
        while fit is None:
            try:
                if champion is None or parts is None or start == "scratch":
                    given = known.plan.recipe
                    training = iter_train(table, given, threads=self.threads, before=self.target, structure=kept)
                else:
                    if before is not None and start in FROM_TOTALS:
                        champion = replace(champion, kept=self.kept(before))
                    training = train_from(start, champion, known.plan.recipe, parts, self.threads)
                fit = yield from training
            except REFUSALS as problem:
                dearer = None if start == "scratch" else dearer_start(start, problem.code)
                if dearer is None:
                    raise
                start = dearer
        return self._taken(key, fit, start, table, time.perf_counter() - began)

    def _taken(self, key: ModelKey, fit: Fit, start: str, table: Table, seconds: float) -> TrainedModel:
        """Take a fit in, without what bounds and explains single predictions, and with what it cost."""
        self.fits += 1
        model, recipe, rows_read = fit.model, fit.recipe, fit.rows.used
        if isinstance(model, LinearModel):
            model = replace(model, standard_errors=None, level_moments=None, bounds=None)
        now, before = float(self.history.edges[key.edge]), self._before(key)
        if start in FROM_TOTALS and before is not None:
            rows_read = self.history.known_by(now) - self.history.known_by(float(self.history.edges[before.edge]))
        alarms = uncertified(fit)
        said = {"notes": list(map(str, alarms)), "noted": [note.to_json() for note in alarms]}
        cost = {"start": start, "rows_read": rows_read, "training_seconds": seconds, "alarms": said}
        record = plain({**replace(fit, summary=None).record(), **cost})
        self._trained[key] = _as_recorded(model, record, recipe, table, now)
        if self.store is not None and isinstance(model, LinearModel):
            with suppress(DataError):  # no file holds it: it is trained again where a run goes on
                write_trained(self.store, key, files_of(model, record))
        return self._trained[key]

    def kept(self, key: ModelKey) -> SufficientStatistics | None:
        """Return what a model keeps of its rows, from one reading; None where nothing is bounded from totals."""
        if key not in self._kept:
            found = finish(self.trained(key))
            kept = None
            if not found.weighted:
                strengths, alpha = found.structure.strengths, found.recipe.alpha
                kept = statistics_at(found.model, strengths, alpha, found.table, self.threads)
            self._kept = {key: kept}  # of one model: they are large
        return self._kept[key]

    def bracket(self, key: ModelKey, edge: int) -> Bracket | None:
        """Return what training again at an edge would gain a model, from the rows that came since, or None."""
        if (key, edge) not in self._brackets:
            found = finish(self.trained(key))
            champion, known = found.champion(self.kept(key)), self._known(key.action, edge)
            self._brackets[key, edge], _ = bracket_of(champion, known.plan.recipe, known.parts(champion), self.threads)
        return self._brackets[key, edge]

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge(self, key: ModelKey, champion: ModelKey) -> Generator[Progress, None, Judged]:
        """Let the gate judge a model before it goes live, as the cycle does: its twin, on rows since the champion."""
        if (key, champion) not in self._judged:
            trained, before = (yield from self.trained(key)), (yield from self.trained(champion))
            live = before.champion(self.kept(champion) if trained.start in FROM_TOTALS else None)
            if key.action.structure == "keep":
                live = replace(live, structure=(yield from self.begin()).structure)
            since = None if key.before is None else float(self.history.edges[key.before.edge])
            known = self._known(key.action, key.edge, since)
            known = replace(known, source=known.source.like(live.model.readings))
            yield Progress(f"judging {self._said(key)}")
            found = yield from judge_twin(known, live, trained.start)
            found = of_one_kind(known.plan.gate, found, live.model.target, trained.model.target)
            self._judged[key, champion] = replace(found, alarms=(*found.alarms, *trained.alarms))
        return self._judged[key, champion]

    def judge_later(self, key: ModelKey, champion: ModelKey, edge: int, verdict: Verdict) -> Judged | None:
        """Judge a model that waits for evidence by the rows that came since the last look; None where none can."""
        known, then = self._known(key.action, edge), float(self.history.edges[key.edge])
        newest = Newest(key.edge, then, then, None, "", verdict, None)
        models = (finish(self.trained(one)).model for one in (champion, key))
        found = judge_later(known, newest, lambda: (next(models), next(models)))
        return found if isinstance(found, Judged) else None

    # --- scoring ------------------------------------------------------------------------------------------------------

    def _scored(self, key: ModelKey, trained: TrainedModel) -> MatrixCell:
        history, model = self.history, trained.model
        edge = float(history.edges[key.edge])
        first = int(np.searchsorted(history.seen, edge, side="right"))
        losses, decided, errors, unseen = (np.full(len(history.seen) - first, np.nan) for _ in range(4))
        position = np.full(len(history.sighted), -1, dtype=np.intp)
        position[history.place] = np.arange(len(history.place)) - first
        # What cannot be scored in one reading is window by window: a window that cannot be leaves its own rows empty.
        stretches = [(edge, np.inf)]
        unable = None
        while stretches:
            begins, ends = stretches.pop()
            inside = (history.sighted > begins) & (history.sighted <= ends)
            if not (position[inside] >= 0).any():
                continue
            until = () if ends == np.inf else (history.times.seen_by(ends),)
            asked = together(history.table.condition, history.times.after(begins), *until)
            try:
                (rows,) = score_each((model,), replace(history.table, condition=asked), weight_constant=1.0)
            except DataError as problem:
                unable = problem.message
                if ends == np.inf:
                    stretches = [*pairwise(map(float, history.edges[key.edge :]))]
                continue
            at = position[np.flatnonzero(inside)[rows.entry]]
            known = at >= 0
            losses[at[known]], unseen[at[known]] = rows.losses(model.target)[known], np.isnan(rows.label)[known]
            decided[at[known]], errors[at[known]] = (one[known] for one in _decisions(model.target, rows))
        return MatrixCell(
            edge=key.edge,
            start=trained.start,
            rows=trained.rows,
            rows_read=trained.rows_read,
            seconds=trained.seconds,
            loss_bound=trained.loss_bound,
            first=first,
            losses=losses,
            decided=decided,
            errors=errors,
            unseen=unseen,
            unable=unable,
            probabilities=model.target.scored_as == "classes",
            classes=model.target.classes if model.target.scored_as == "multiclass" else (),
        )


def _decisions(target: Target, rows: ScoredRows) -> tuple[Floats, Floats]:
    """Return the response of each row, of more than two classes the likeliest, and how wrong that is."""
    if target.scored_as == "multiclass":
        likeliest = np.argmax(rows.response, axis=1).astype(np.float64)
        return likeliest, (likeliest != rows.label).astype(np.float64)
    if target.scored_as == "classes":
        return rows.response, 1.0 - hit_rows(rows.label, rows.response)
    return rows.response, np.abs(rows.label - rows.response)
