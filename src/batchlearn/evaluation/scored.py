"""Scored rows: what a model says of each labelled row, beside its label; a table is read once for all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.encoding import LevelTerm, level_label
from batchlearn.data.ledger import read_ledger, usable_rows
from batchlearn.data.split import in_order, with_lots_of
from batchlearn.data.target import Target, Task
from batchlearn.evaluation.metrics import Array, first_score, losses_under, target_metrics
from batchlearn.evaluation.slices import Categories
from batchlearn.models.model import Model
from batchlearn.tables.row_hashes import Hashes, RowHashes
from batchlearn.tables.table import Table


@dataclass(frozen=True)
class ScoredRows:
    """Rows in the order of time, or in random order where there is no time.

    `label`, `response` and `weight` have shape (n,). For classes the label is 0 or 1 and the response the
    probability of 1; for "multiclass" the label is a number from 0 to K - 1 and the response (n, K). A row whose
    class training never saw has label NaN and is marked in `unseen`. `unseen_classes` counts those rows by label.
    `categories` gives (codes, level names) for each column. `group` names rows that belong together; without `time`
    they stand together. `entry` is the number of each row among those that were read, from 0.
    """

    label: Array
    response: Array
    weight: Array | None = None
    categories: Categories = field(default_factory=dict)
    unseen: NDArray[np.bool_] | None = None
    unseen_classes: Mapping[str, int] = field(default_factory=dict)
    group: NDArray[np.integer] | None = None
    time: Array | None = None
    entry: NDArray[np.integer] | None = None
    offset: Array | None = None  # what was added to each row's linear predictor, with the logarithm of its exposure

    @property
    def clusters(self) -> NDArray[np.integer] | None:
        """What intervals draw whole: the groups, where no time orders the rows."""
        return self.group if self.time is None else None

    def losses(self, target: Target) -> Array:
        """Return the loss of each row under the proper score of a target, (n,)."""
        return losses_under(first_score(target_metrics(target)), self.label, self.response)


def score(model: Model, table: Table, *, seed: int = 0) -> ScoredRows:
    """Return the labelled rows of a table as the model scores them; `seed` orders rows without a time."""
    return score_each((model,), table, seed=seed)[0]


def score_each(
    models: Sequence[Model], table: Table, *, seed: int = 0, weight_constant: float | None = None
) -> list[ScoredRows]:
    """Return the labelled rows of a table as each model scores them; the table is read once.

    The table's roles say which columns hold time, group and weight; target, offset, exposure and categories are the
    first model's, and so is what weights are divided by unless it is given. Raises DataError where a row cannot be used
    or scored, UsageError as `read_ledger`.
    """
    first, roles = models[0], table.roles
    named = replace(
        roles, target=first.target.column, offset=first.roles.offset, exposure=first.roles.exposure, drop=()
    )
    # Texts are read as they are told apart by any of the models.
    kept = any(model.as_read(table).outer_spaces for model in models)
    table = replace(table, roles=named, outer_spaces=kept)
    for model in models:
        model.check(table)
    usable: list[NDArray[np.bool_]] = []
    responses: list[list[Array]] = [[] for _ in models]
    codes: list[list[NDArray[np.intp]]] = [[] for _ in first.level_terms]
    hashes, features, unseen_classes = RowHashes(), list[Hashes](), Counter[str]()

    def visit(batch: pa.RecordBatch) -> None:
        usable.append(usable_rows(table, batch))
        if named.time is None:  # the order is drawn by the values of all rows
            features.append(hashes.of(batch.select(list(first.columns))))
        if not usable[-1].any():
            return
        kept = batch.filter(pa.array(usable[-1]))
        for model, parts in zip(models, responses, strict=True):
            parts.append(model.predict_batch(kept).response)
        for term, found in zip(first.level_terms, codes, strict=True):
            found.append(term.encode(kept.column(term.column)))
        if first.target.task is Task.CLASSES:
            values = first.target.values(kept.column(first.target.column))
            unseen_classes.update(str(value) for value in values if value not in first.target.classes)

    columns = [name for model in models for name in model.columns]
    constant = first.weight_constant if weight_constant is None else weight_constant
    ledger = read_ledger(table, first.target, weight_constant=constant, beside=columns, visit=visit)
    if named.time is None:
        ledger = with_lots_of(ledger, np.concatenate(features))
    entry = in_order(ledger, ledger.used | ledger.unseen, named.time is None, seed)
    place = (np.cumsum(np.concatenate(usable)) - 1)[entry]  # among the rows that were scored
    rows = ScoredRows(
        label=ledger.label[entry],
        response=np.concatenate(responses[0])[place],
        weight=None if ledger.weight is None else ledger.weight[entry],
        categories={
            term.column: (np.concatenate(found)[place], level_names(term))
            for term, found in zip(first.level_terms, codes, strict=True)
        },
        unseen=ledger.unseen[entry],
        unseen_classes=dict(unseen_classes),
        group=None if ledger.group is None else ledger.group[entry],
        time=None if ledger.time is None else ledger.time[entry],
        entry=entry,
        offset=None if ledger.offset is None else ledger.offset[entry],
    )
    return [rows, *(replace(rows, response=np.concatenate(parts)[place]) for parts in responses[1:])]


def level_names(term: LevelTerm) -> list[str]:
    """Return the name of each code: the levels' own, and one for rows that meet no coefficient."""
    other = "(not seen in training)" if term.reference is None else level_label(term.reference)
    return [*term.labels, other]
