"""Evaluating a model: on the part held out of a training, or on a table it has never seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding, LevelTerm, level_label
from batchlearn.data.ledger import Ledger, read_ledger, walk
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.split import Split
from batchlearn.data.target import Task, class_values
from batchlearn.evaluation.baselines import constant_baseline, last_value_baseline
from batchlearn.evaluation.metrics import proper_score, row_losses
from batchlearn.evaluation.report import Evaluation, HeldOut
from batchlearn.evaluation.report import evaluate as evaluate_held_out
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel
from batchlearn.models.links import INVERSE_LINKS
from batchlearn.objectives.statistics import predictor
from batchlearn.tables.table import Roles, Table
from batchlearn.training.optimise import Optimum

_MOST_WORST_ROWS = 10


class _Responses(NamedTuple):
    response: Floats


@dataclass(frozen=True)
class _ResponseTotal:
    """The responses themselves, one chunk after the other."""

    loss: str
    combine: ClassVar[tuple[Any, ...]] = (lambda a, b: np.concatenate([a, b]),)

    def __call__(self, chunk: Chunk, parameters: Floats) -> _Responses:
        return _Responses(INVERSE_LINKS[self.loss](predictor(chunk, parameters)))


def evaluate_part(
    ledger: Ledger, split: Split, encoding: Encoding, later: Rows, optimum: Optimum, seed: int
) -> Evaluation:
    """Evaluate the optimum of the earlier rows on the later ones, beside baselines and its own leave-one-out."""
    response = later.total(_ResponseTotal(ledger.target.loss), optimum.parameters).response
    held = ledger.used if split.late is None else split.late
    early, late = _ordered(ledger, split.early), _ordered(ledger, held, seed)
    position = np.cumsum(held) - 1  # of each late row among the encoded ones
    order = position[late]
    held_out = HeldOut(
        label=ledger.label[late],
        response=response[order],
        weight=None if ledger.weight is None else ledger.weight[late],
        categories={name: (codes[order], levels) for name, (codes, levels) in _categories(encoding, later).items()},
    )
    baselines = {
        "constant": constant_baseline(
            ledger.label[early], None if ledger.weight is None else ledger.weight[early], len(late)
        ),
        "last_value": _last_value(ledger, early, late),
    }
    task = ledger.target.task
    evaluation = evaluate_held_out(task.value, held_out, baselines, seed, leave_one_out(task, optimum, len(early)))
    return replace(evaluation, worst_rows=_worst(task, late, held_out))


def _worst(task: Task, entries: NDArray[np.intp], held_out: HeldOut) -> list[dict[str, Any]]:
    """Return the rows with the largest losses: their numbers among those read, labels, responses and losses."""
    losses = row_losses(task.value, held_out.label, held_out.response)
    worst = np.argsort(-losses, kind="stable")[:_MOST_WORST_ROWS]
    return [
        {
            "row": int(entries[k]) + 1,
            "label": float(held_out.label[k]),
            "response": float(held_out.response[k]),
            "loss": float(losses[k]),
        }
        for k in worst
    ]


def with_values(table: Table, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the feature values of its worst rows, read from the table as text."""
    wanted = {int(one["row"]) - 1: one for one in evaluation.worst_rows}
    found: dict[int, dict[str, Any]] = {}
    for entries, batch in walk(table, [column.name for column in table.features]):
        for entry in wanted.keys() & set(range(entries.start, entries.stop)):
            row = batch.slice(entry - entries.start, 1).to_pylist()[0]
            found[entry] = {name: "" if value is None else str(value) for name, value in row.items()}
    return replace(evaluation, worst_rows=[{**one, "values": found.get(entry, {})} for entry, one in wanted.items()])


def _ordered(ledger: Ledger, part: NDArray[np.bool_], seed: int = 0) -> NDArray[np.intp]:
    """Return the entries of a part by time; in random order where there is no time."""
    entries = np.flatnonzero(part)
    if ledger.time is None:
        return np.random.default_rng(seed).permutation(entries)
    return entries[np.argsort(ledger.time[entries], kind="stable")]


def _last_value(ledger: Ledger, early: NDArray[np.intp], late: NDArray[np.intp]) -> Floats | None:
    if ledger.time is None:
        return None
    groups = (None, None) if ledger.group is None else (ledger.group[early], ledger.group[late])
    weight = None if ledger.weight is None else ledger.weight[early]
    return last_value_baseline(
        ledger.target.task.value, ledger.label[early], groups[0], ledger.label[late], groups[1], weight
    )


def leave_one_out(task: Task, optimum: Optimum, rows: int) -> dict[str, Any] | None:
    """Return the approximate leave-one-out loss in the units of the proper score, with a normal interval."""
    found = optimum.certification.leave_one_out
    if found is None:
        return None
    unit = 1.0 if task is Task.CLASSES else 2.0  # objectives hold half the squared error and half the deviance
    mean, square = found[0] * unit, found[1] * unit**2
    half = 1.96 * float(np.sqrt(max(square - mean**2, 0.0) / max(rows, 1)))
    return {proper_score(task.value).name: {"value": mean, "low": mean - half, "high": mean + half}, "rows": rows}


def _categories(encoding: Encoding, rows: Rows) -> dict[str, tuple[NDArray[np.intp], list[str]]]:
    codes = np.concatenate([chunk.codes for chunk in rows.chunks], axis=1)
    terms = zip(codes, encoding.groups, strict=True)
    return {term.column: (row, _level_names(term)) for row, term in terms if isinstance(term, LevelTerm)}


def _level_names(term: LevelTerm) -> list[str]:
    """Return the name of each code: the levels' own, and one for rows that meet no coefficient."""
    prefix = len(term.column) + len(" = ")
    other = "(not seen in training)" if term.reference is None else level_label(term.reference)
    return [*(name[prefix:] for name in term.names), other]


def evaluate(model: LinearModel, table: Table, *, seed: int = 0) -> Evaluation:
    """Evaluate a model on every labelled row of a table.

    The table's roles say which columns hold time, group and weight; target, offset and exposure are the model's.
    """
    roles = table.roles
    named = Roles(model.target.column, roles.time, roles.group, roles.weight, model.roles.offset, model.roles.exposure)
    table = replace(table, roles=named)
    model.check(table)
    ledger = read_ledger(table, target=model.target)
    chosen = ledger.used | ledger.unseen
    scored = _ordered(ledger, chosen, seed)
    response = responses(model, table, chosen)[scored]
    label = ledger.label[scored]
    weight = None if ledger.weight is None else ledger.weight[scored]
    categories, unseen_classes = _describe(model, table, chosen)
    categories = {name: (codes[scored], levels) for name, (codes, levels) in categories.items()}
    held_out = HeldOut(label, response, weight, categories, ledger.unseen[scored], unseen_classes)
    baselines: dict[str, Floats | None] = {"constant": np.full(len(scored), model.label_mean)}
    known = ~ledger.unseen[scored]
    if ledger.time is not None and known.all():
        # Fitted on these very rows, which flatters the baseline: a model that beats it beats the honest one too.
        group = np.zeros(len(scored), dtype=np.intp) if ledger.group is None else ledger.group[scored]
        again = group + group.max(initial=0) + 2  # rows without a group have code -1
        baselines["last_value"] = last_value_baseline(model.target.task.value, label, group, label, again, weight)
    return evaluate_held_out(model.target.task.value, held_out, baselines, seed)


def responses(model: LinearModel, table: Table, chosen: NDArray[np.bool_]) -> Floats:
    """Return the response of each chosen row, NaN elsewhere: other rows may lack what a prediction needs."""
    response = np.full(len(chosen), np.nan)
    for entries, batch in walk(table, [*model.columns, model.target.column]):
        mask = chosen[entries]
        if mask.any():
            response[entries][mask] = model.predict_batch(batch.filter(pa.array(mask))).response
    return response


def _describe(
    model: LinearModel, table: Table, chosen: NDArray[np.bool_]
) -> tuple[dict[str, tuple[NDArray[np.intp], list[str]]], dict[str, int]]:
    """Return the categories of all rows, and how often the chosen ones have each class that the model does not know."""
    terms = [term for term in model.encoding.groups if isinstance(term, LevelTerm)]
    codes: list[list[NDArray[np.intp]]] = [[] for _ in terms]
    unknown: Counter[str] = Counter()
    for entries, batch in walk(table, [*(term.column for term in terms), model.target.column]):
        for found, term in zip(codes, terms, strict=True):
            found.append(term.encode(batch.column(term.column)))
        if model.target.task is Task.CLASSES:
            values = class_values(batch.column(model.target.column))[chosen[entries]]
            unknown.update(str(value) for value in values if value is not None and value not in model.target.classes)
    categories = {
        term.column: (np.concatenate(found), _level_names(term)) for term, found in zip(terms, codes, strict=True)
    }
    return categories, dict(unknown)
