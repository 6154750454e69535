"""Evaluating a model: on the part held out of a training, or on a table it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.ledger import Ledger, walk
from batchlearn.data.rows import Rows, stored_codes
from batchlearn.data.split import Split, SplitKind, in_order
from batchlearn.data.target import Target, Task, class_name
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.evaluation.baselines import (
    constant_baseline,
    constant_of,
    last_value_baseline,
    offset_constant,
    rates,
)
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.metrics import first_score, target_metrics
from batchlearn.evaluation.metrics.multiclass import own_probability
from batchlearn.evaluation.report import Evaluation, LeaveOneOut, WorstRow
from batchlearn.evaluation.report import evaluate as evaluate_held_out
from batchlearn.evaluation.scored import ScoredRows, level_names, score
from batchlearn.formatting.names import how_split
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.links import INVERSE_LINKS
from batchlearn.models.model import Model
from batchlearn.progress import Progress
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.optimise import Optimum
from batchlearn.training.summary.columns import JudgedFit
from batchlearn.training.summary.contributions import contributions
from batchlearn.training.summary.notes import group_notes

_MOST_WORST_ROWS = 10


Judging: TypeAlias = Generator[Progress, None, tuple[Evaluation, JudgedFit | None]]
Judged: TypeAlias = tuple[Evaluation | None, JudgedFit | None, list[Note]]


def evaluate_split(
    table: Table, ledger: Ledger, split: Split, judge: Callable[[Split], Judging]
) -> Generator[Progress, None, Judged]:
    """Return the evaluation, coefficients and passes of the fit that it is of, and notes.

    The ledger is as who has seen only the earlier labels has it. `judge` evaluates a model of the earlier rows on the
    later ones that can be judged.
    """
    if split.late is None:
        return None, None, [Note(Code.NOTHING_HELD_OUT)]
    target = ledger.target
    labels = ledger.label[split.early]
    unseen = int((split.late & ledger.unseen).sum())
    late = split.late & ledger.used
    if not late.any():
        return None, None, [Note(Code.CLASSES_NOT_EARLIER, {"rows": unseen})]
    one_class = target.task is Task.CLASSES and bool(np.all(labels == labels[0]))
    if one_class or (target.task in (Task.COUNT, Task.AMOUNT) and not labels.any()):
        return None, None, [Note(Code.ONE_LABEL, {"label": float(labels[0]), "column": target.column})]
    # What only the earlier rows lack is no reason to refuse a model of all rows; what all lack is refused with those.
    try:
        evaluation, judged = yield from judge(split._replace(late=late))
        evaluation = with_values(table, evaluation)
    except (DataError, NoFiniteOptimum) as refusal:
        return None, None, [Note(Code.NOT_EVALUATED, {"refusal": refusal.message})]
    held = {
        "by": split.kind.value,
        "how": how_split(split.kind, split.one_time),
        "rows": int(late.sum()),
        "of": ledger.counts.used,
    }
    notes = [Note(Code.HELD_OUT, held)]
    if unseen:
        notes.append(Note(Code.CLASSES_NOT_EARLIER, {"rows": unseen}))
    return evaluation, judged, notes + group_notes(ledger, split, table.roles.group)


def evaluate_part(
    ledger: Ledger,
    split: Split,
    encoding: Encoding,
    later: Rows,
    optimum: Optimum,
    seed: int,
    costs: Costs | None = None,
) -> Evaluation:
    """Evaluate the optimum of the earlier rows on the later ones, beside baselines and its own leave-one-out."""
    link = INVERSE_LINKS[ledger.target.loss]
    response = later.map_rows(lambda chunk, parameters: link(predictor(chunk, parameters)), optimum.parameters).T
    left_out = leave_one_out(ledger.target, optimum, int(split.early.sum()))
    responses = LaterResponses(encoding, later, response)
    evaluation = evaluate_responses(ledger, split, responses, seed, costs, left_out)
    held = ledger.used if split.late is None else split.late
    position = np.cumsum(held) - 1  # of each late row among the encoded ones
    places = np.asarray([position[one.row - 1] for one in evaluation.worst_rows], dtype=np.intp)
    most = zip(evaluation.worst_rows, contributions(encoding, later, optimum.parameters, places), strict=True)
    return replace(evaluation, worst_rows=[replace(one, pushed=own) for one, own in most])


class LaterResponses(NamedTuple):
    """The later rows of a split, encoded, and what a model of the earlier ones responds to each, (n,) or (n, K)."""

    encoding: Encoding
    rows: Rows
    response: Floats


def evaluate_responses(
    ledger: Ledger,
    split: Split,
    later: LaterResponses,
    seed: int,
    costs: Costs | None = None,
    left_out: LeaveOneOut | None = None,
) -> Evaluation:
    """Evaluate what a model of the earlier rows responds to the later ones, beside baselines."""
    held = ledger.used if split.late is None else split.late
    by_group = split.kind is SplitKind.GROUP or ledger.time is None
    early, late = in_order(ledger, split.early, by_group), in_order(ledger, held, by_group, seed)
    position = np.cumsum(held) - 1  # of each late row among the encoded ones
    order = position[late]
    terms = zip(stored_codes(later.rows), later.encoding.groups, strict=True)
    held_out = ScoredRows(
        label=ledger.label[late],
        response=later.response[order],
        weight=None if ledger.weight is None else ledger.weight[late],
        categories={
            term.column: (codes[order], level_names(term)) for codes, term in terms if isinstance(term, LevelTerm)
        },
        group=ledger.group[late] if by_group and ledger.group is not None else None,
        # Only where all rows are later than those learned from can there be drift.
        time=ledger.time[late] if split.kind is SplitKind.TIME and ledger.time is not None else None,
        entry=late,
        offset=None if ledger.offset is None else ledger.offset[late],
    )
    target, metrics = ledger.target, target_metrics(ledger.target, held_out.offset)
    classes, weight = len(target.classes), None if ledger.weight is None else ledger.weight[early]
    constant, added = constant_baseline(ledger.label[early], weight, len(late), classes), offset_constant(ledger, early)
    if added is not None and held_out.offset is not None:
        constant = INVERSE_LINKS[target.loss](added + held_out.offset)
    baselines = {"constant": constant, "last_value": _last_value(ledger, early, late)}
    evaluation = evaluate_held_out(target.scored_as, held_out, baselines, seed, left_out, costs, metrics)
    return replace(evaluation, worst_rows=_worst(target, held_out))


def _worst(target: Target, held_out: ScoredRows) -> list[WorstRow]:
    """Return the rows with the largest losses."""
    assert held_out.entry is not None
    losses = held_out.losses(target)
    several = held_out.response.ndim > 1
    told = own_probability(held_out.label, held_out.response) if several else held_out.response
    worst = np.argsort(-losses, kind="stable")[:_MOST_WORST_ROWS]
    return [
        WorstRow(
            row=int(held_out.entry[k]) + 1,
            label=class_name(target.classes[int(held_out.label[k])]) if several else float(held_out.label[k]),
            response=float(told[k]),
            loss=float(losses[k]),
        )
        for k in worst
    ]


def with_values(table: Table, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the feature values of its worst rows, read from the table as text."""
    wanted = {one.row - 1: one for one in evaluation.worst_rows}
    found: dict[int, dict[str, str]] = {}
    for entries, batch in walk(table, [column.name for column in table.features]):
        for entry in wanted.keys() & set(range(entries.start, entries.stop)):
            row = batch.slice(entry - entries.start, 1).to_pylist()[0]
            found[entry] = {name: "" if value is None else str(value) for name, value in row.items()}
    return replace(evaluation, worst_rows=[replace(one, values=found.get(entry, {})) for entry, one in wanted.items()])


def _last_value(ledger: Ledger, early: NDArray[np.intp], late: NDArray[np.intp]) -> Floats | None:
    if ledger.time is None:
        return None
    groups = (None, None) if ledger.group is None else (ledger.group[early], ledger.group[late])
    label, weight, exposure = rates(ledger.target, ledger.label, ledger.weight, ledger.offset)
    found = last_value_baseline(
        ledger.target.scored_as,
        label[early],
        groups[0],
        label[late],
        groups[1],
        None if weight is None else weight[early],
        len(ledger.target.classes),
    )
    return found if found is None or exposure is None else found * exposure[late]


def leave_one_out(target: Target, optimum: Optimum, rows: int) -> LeaveOneOut | None:
    """Return the approximate leave-one-out loss in the units of the proper score, with a normal interval."""
    found = optimum.certification.leave_one_out
    if found is None:
        return None
    # Objectives hold half the squared error and half the deviance.
    unit = 1.0 if target.task is Task.CLASSES or target.loss == "huber" else 2.0
    mean, square = found[0] * unit, found[1] * unit**2
    # A product, for a power raises where it overflows: labels of 1e80 have losses whose squares are no numbers.
    half = 1.96 * float(np.sqrt(max(square - mean * mean, 0.0) / max(rows, 1)))
    metric = first_score(target_metrics(target)).name
    return LeaveOneOut(metric, Estimate(mean, mean - half, mean + half), rows)


def evaluate(model: Model, table: Table, *, seed: int = 0, memory: int | str | None = None) -> Evaluation:
    """Evaluate a model on every labelled row of a table.

    Args:
        model: A model, as `Fit.model` or `load` gives it; its target, offset and exposure are read from the table.
        table: The rows; its roles say which columns hold time, group and weight.
        seed: Of the order of rows without a time, 0 to 2**64 - 1; intervals depend on it.
        memory: Bytes, or a size such as "4GB", that rows may take, as of `train`.

    Returns:
        `metrics`, each with `value` and a 95 % interval `low` to `high` by a block bootstrap, the proper score first;
        the same of `baselines`; `calibration`, `slices` by category, and `notes`. `to_json()` gives plain values.

    Raises:
        DataError: No row has a label, a column that the model reads is missing, or a value cannot be used.

    Example:
        >>> import batchlearn as bl
        >>> table = bl.read({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 4.0, 7.0]}, target="y")
        >>> evaluation = bl.evaluate(bl.train(table, bl.Recipe(alpha=0.0)).model, table)
        >>> f"{evaluation.metrics['mse'].value:.3f} against {evaluation.baselines['constant']['mse'].value:.3f}"
        '0.175 against 4.688'
    """
    with within(budget_of(memory)):
        return evaluate_scored(model, score(model, table, seed=seed), seed=seed)


def evaluate_scored(model: Model, rows: ScoredRows, *, seed: int = 0) -> Evaluation:
    """Evaluate a model on rows that it has scored, beside a constant and the last value of each group."""
    target = model.target
    baselines: dict[str, Floats | None] = {"constant": constant_of(model, rows)}
    if rows.time is not None and not np.any(rows.unseen):
        # Fitted on these very rows, which flatters the baseline: a model that beats it beats the honest one too.
        group = np.zeros(len(rows.label), dtype=np.intp) if rows.group is None else rows.group
        again = group + group.max(initial=0) + 2  # rows without a group have code -1
        label, weight, exposure = rates(target, rows.label, rows.weight, rows.offset)
        found = last_value_baseline(target.scored_as, label, group, label, again, weight, len(target.classes))
        baselines["last_value"] = found if found is None or exposure is None else found * exposure
    metrics = target_metrics(target, rows.offset)
    return evaluate_held_out(target.scored_as, rows, baselines, seed, costs=model.costs, metrics=metrics)
