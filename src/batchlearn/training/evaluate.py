"""Evaluating a model: on the part held out of a training, or on a table it has never seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding, LevelTerm, level_label
from batchlearn.data.ledger import Ledger, read_ledger, walk, with_lots
from batchlearn.data.rows import Rows, level_codes
from batchlearn.data.split import Split, drawn
from batchlearn.data.target import Target, Task, class_name, class_values
from batchlearn.evaluation.baselines import constant_baseline, last_value_baseline
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.metrics import first_score, losses_under, target_metrics
from batchlearn.evaluation.metrics.multiclass import own_probability
from batchlearn.evaluation.report import Evaluation, HeldOut, LeaveOneOut, WorstRow
from batchlearn.evaluation.report import evaluate as evaluate_held_out
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.linear import LinearModel
from batchlearn.models.links import INVERSE_LINKS
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Roles, Table
from batchlearn.training.facts.pushes import pushes
from batchlearn.training.optimise import Optimum

_MOST_WORST_ROWS = 10


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
    held = ledger.used if split.late is None else split.late
    by_group = split.by_group or _without_time(ledger)
    early, late = _ordered(ledger, split.early, by_group), _ordered(ledger, held, by_group, seed)
    position = np.cumsum(held) - 1  # of each late row among the encoded ones
    order = position[late]
    held_out = HeldOut(
        label=ledger.label[late],
        response=response[order],
        weight=None if ledger.weight is None else ledger.weight[late],
        categories={name: (codes[order], levels) for name, (codes, levels) in _categories(encoding, later).items()},
        clusters=ledger.group[late] if by_group and ledger.group is not None else None,
        time=ledger.time[late] if split.kind == "time" and ledger.time is not None else None,
    )
    classes, weight = len(ledger.target.classes), None if ledger.weight is None else ledger.weight[early]
    baselines = {
        "constant": constant_baseline(ledger.label[early], weight, len(late), classes),
        "last_value": _last_value(ledger, early, late),
    }
    target, metrics = ledger.target, target_metrics(ledger.target)
    left_out = leave_one_out(target, optimum, len(early))
    evaluation = evaluate_held_out(target.scored_as, held_out, baselines, seed, left_out, costs, metrics)
    worst = _worst(target, late, held_out)
    places = np.asarray([position[one.row - 1] for one in worst], dtype=np.intp)
    told = pushes(encoding, later, optimum.parameters, places)
    return replace(evaluation, worst_rows=[replace(one, pushed=most) for one, most in zip(worst, told, strict=True)])


def _worst(target: Target, entries: NDArray[np.intp], held_out: HeldOut) -> list[WorstRow]:
    """Return the rows with the largest losses."""
    losses = losses_under(first_score(target_metrics(target)), held_out.label, held_out.response)
    several = held_out.response.ndim > 1
    told = own_probability(held_out.label, held_out.response) if several else held_out.response
    worst = np.argsort(-losses, kind="stable")[:_MOST_WORST_ROWS]
    return [
        WorstRow(
            row=int(entries[k]) + 1,
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


def _without_time(ledger: Ledger) -> bool:
    """Whether groups, and no times, say which rows belong together."""
    return ledger.time is None and ledger.group is not None


def _ordered(ledger: Ledger, part: NDArray[np.bool_], by_group: bool, seed: int = 0) -> NDArray[np.intp]:
    """Return the entries of a part by time, in random order where there is no time; `by_group`: group after group."""
    if ledger.time is None:
        entries = drawn(ledger, part, seed)
    else:
        entries = np.flatnonzero(part)
        entries = entries[np.argsort(ledger.time[entries], kind="stable")]
    if not by_group or ledger.group is None:
        return entries
    _, group = np.unique(ledger.group[entries], return_inverse=True)
    place = np.random.default_rng(seed).permutation(int(group.max(initial=0)) + 1)
    return entries[np.argsort(place[group], kind="stable")]


def _last_value(ledger: Ledger, early: NDArray[np.intp], late: NDArray[np.intp]) -> Floats | None:
    if ledger.time is None:
        return None
    groups = (None, None) if ledger.group is None else (ledger.group[early], ledger.group[late])
    weight = None if ledger.weight is None else ledger.weight[early]
    return last_value_baseline(
        ledger.target.scored_as,
        ledger.label[early],
        groups[0],
        ledger.label[late],
        groups[1],
        weight,
        len(ledger.target.classes),
    )


def leave_one_out(target: Target, optimum: Optimum, rows: int) -> LeaveOneOut | None:
    """Return the approximate leave-one-out loss in the units of the proper score, with a normal interval."""
    found = optimum.certification.leave_one_out
    if found is None:
        return None
    # Objectives hold half the squared error and half the deviance.
    unit = 1.0 if target.task is Task.CLASSES or target.loss == "huber" else 2.0
    mean, square = found[0] * unit, found[1] * unit**2
    half = 1.96 * float(np.sqrt(max(square - mean**2, 0.0) / max(rows, 1)))
    score = first_score(target_metrics(target)).name
    return LeaveOneOut(score, Estimate(mean, mean - half, mean + half), rows)


def _categories(encoding: Encoding, rows: Rows) -> dict[str, tuple[NDArray[np.intp], list[str]]]:
    terms = zip(level_codes(rows), encoding.groups, strict=True)
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
    if ledger.time is None:
        ledger = with_lots(table, ledger, model.columns)
    chosen = ledger.used | ledger.unseen
    by_group = _without_time(ledger)
    scored = _ordered(ledger, chosen, by_group, seed)
    response = responses(model, table, chosen)[scored]
    label = ledger.label[scored]
    weight = None if ledger.weight is None else ledger.weight[scored]
    categories, unseen_classes = _describe(model, table, chosen)
    categories = {name: (codes[scored], levels) for name, (codes, levels) in categories.items()}
    clusters = ledger.group[scored] if by_group and ledger.group is not None else None
    held_out = HeldOut(label, response, weight, categories, ledger.unseen[scored], unseen_classes, clusters)
    several = len(model.class_shares) > 0
    constant = np.tile(model.class_shares, (len(scored), 1)) if several else np.full(len(scored), model.label_mean)
    baselines: dict[str, Floats | None] = {"constant": constant}
    known = ~ledger.unseen[scored]
    if ledger.time is not None and known.all():
        # Fitted on these very rows, which flatters the baseline: a model that beats it beats the honest one too.
        group = np.zeros(len(scored), dtype=np.intp) if ledger.group is None else ledger.group[scored]
        again = group + group.max(initial=0) + 2  # rows without a group have code -1
        judged = model.target.scored_as
        classes = len(model.target.classes)
        baselines["last_value"] = last_value_baseline(judged, label, group, label, again, weight, classes)
    metrics = target_metrics(model.target)
    return evaluate_held_out(model.target.scored_as, held_out, baselines, seed, costs=model.costs, metrics=metrics)


def responses(model: LinearModel, table: Table, chosen: NDArray[np.bool_]) -> Floats:
    """Return the response of each chosen row, NaN elsewhere: other rows may lack what a prediction needs."""
    shape = (len(chosen), len(model.target.classes)) if model.class_shares else (len(chosen),)
    response = np.full(shape, np.nan)
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
