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
from batchlearn.errors import DataError
from batchlearn.evaluation.metrics import Array, first_score, losses_under, target_metrics
from batchlearn.evaluation.slices import Categories
from batchlearn.models.model import Model
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.row_hashes import RowHashes
from batchlearn.tables.table import Table
from batchlearn.tables.table.entries import RowArray


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
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Rows by column whose value was no such value, and counts as missing."""
    fingerprint: str | None = None
    """Of these rows as a certificate has it of those trained on; None where it was not taken."""

    @property
    def clusters(self) -> NDArray[np.integer] | None:
        """What intervals draw whole: the groups, where no time orders the rows."""
        return self.group if self.time is None else None

    def losses(self, target: Target) -> Array:
        """Return the loss of each row under the proper score of a target, (n,)."""
        return losses_under(first_score(target_metrics(target)), self.label, self.response)


def score(model: Model, table: Table, *, seed: int = 0) -> ScoredRows:
    """Return the labelled rows of a table as the model scores them; `seed` orders rows without a time."""
    fingerprint = Fingerprint()
    (rows,) = score_each((model,), table, seed=seed, fingerprint=fingerprint)
    return replace(rows, fingerprint=fingerprint.hexdigest())


def score_each(
    models: Sequence[Model],
    table: Table,
    *,
    seed: int = 0,
    weight_constant: float | None = None,
    fingerprint: Fingerprint | None = None,
) -> list[ScoredRows]:
    """Return the labelled rows of a table as each model scores them; the table is read once.

    The table's roles say which columns hold time, group and weight; target, offset, exposure and categories are the
    first model's, and so is what weights are divided by unless it is given. `fingerprint` takes in what a certificate
    of the first model has the fingerprint of. Raises DataError where a row cannot be used or scored, UsageError as
    `read_ledger`.
    """
    first, roles = models[0], table.roles
    named = replace(
        roles, target=first.target.column, offset=first.roles.offset, exposure=first.roles.exposure, drop=()
    )
    # Texts are read as they are told apart by any of the models.
    kept = any(model.as_read(table).outer_spaces for model in models)
    table = replace(table.like(first.readings), roles=named, outer_spaces=kept)
    # One reading serves all models that read their columns alike.
    together, apart = _by_readings(models, table)
    usable, features, responses = RowArray(), RowArray(), [RowArray() for _ in models]
    codes = [RowArray() for _ in first.level_terms]
    hashes, unseen_classes = RowHashes(), Counter[str]()

    def visit(batch: pa.RecordBatch) -> None:
        own = usable_rows(table, batch)
        usable.add(own)
        if named.time is None:  # the order is drawn by the values of all rows
            features.add(hashes.of(batch.select(list(first.columns))))
        if not own.any():
            return
        kept = batch.filter(pa.array(own))
        if fingerprint is not None:
            known = [first.target.column, *([named.weight] if named.weight else [])]
            fingerprint.update(kept.select(list(dict.fromkeys([*first.columns, *known]))))
        for k in together:
            responses[k].add(models[k].predict_batch(kept).response)
        for term, found in zip(first.level_terms, codes, strict=True):
            found.add(term.encode(kept.column(term.column)).astype(np.int32))
        if first.target.task is Task.CLASSES:
            values = first.target.values(kept.column(first.target.column))
            unseen_classes.update(str(value) for value in values if value not in first.target.classes)

    columns = [name for k in together for name in models[k].columns]
    constant = first.weight_constant if weight_constant is None else weight_constant
    ledger = read_ledger(table, first.target, weight_constant=constant, beside=columns, visit=visit)
    for k in apart:
        responses[k] = _scored_apart(models[k], table, usable.all)
    if named.time is None:
        ledger = with_lots_of(ledger, features.all)
    entry = in_order(ledger, ledger.used | ledger.unseen, named.time is None, seed)
    place = (np.cumsum(usable.all) - 1)[entry]  # among the rows that were scored
    rows = ScoredRows(
        label=ledger.label[entry],
        response=responses[0].all[place],
        weight=None if ledger.weight is None else ledger.weight[entry],
        categories={
            term.column: (found.all[place], level_names(term))
            for term, found in zip(first.level_terms, codes, strict=True)
        },
        unseen=ledger.unseen[entry],
        unseen_classes=dict(unseen_classes),
        group=None if ledger.group is None else ledger.group[entry],
        time=None if ledger.time is None else ledger.time[entry],
        entry=entry,
        offset=None if ledger.offset is None else ledger.offset[entry],
        unreadable=ledger.unreadable,
    )
    return [rows, *(replace(rows, response=parts.all[place]) for parts in responses[1:])]


def _by_readings(models: Sequence[Model], table: Table) -> tuple[list[int], list[int]]:
    """Return which models read their columns as the table does, and which do not. DataError where one cannot."""
    found: tuple[list[int], list[int]] = ([], [])
    for k, model in enumerate(models):
        own = table.like(model.readings)
        model.check(own)
        found[any(table.readings.get(name) != own.readings.get(name) for name in model.readings)].append(k)
    return found


def _scored_apart(model: Model, table: Table, usable: NDArray[np.bool_]) -> RowArray:
    """Return what a model that reads columns in its own way responds to the usable rows of a table."""
    responses, start = RowArray(), 0
    for batch in table.like(model.readings).scan(model.columns):
        kept = batch.filter(pa.array(usable[start : start + batch.num_rows]))
        start += batch.num_rows
        if kept.num_rows:
            responses.add(model.predict_batch(kept).response)
    if start != len(usable):
        raise DataError(
            f"The condition on {table.name} keeps {len(usable):,} rows as one model reads them and {start:,} as the "
            "other does; both must be judged by the same rows. Use another condition.",
            code="readings-differ",
        )
    return responses


def level_names(term: LevelTerm) -> list[str]:
    """Return the name of each code: the levels' own, and one for rows that meet no coefficient."""
    other = "(not seen in training)" if term.reference is None else level_label(term.reference)
    return [*term.labels, other]
