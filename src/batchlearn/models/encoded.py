"""What models have in common whose rows are read by an encoding: which columns, read how, and what responses mean.

How a row's response comes about is each one's own.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.encoding_fit import check_kinds, missing_column
from batchlearn.data.target import Target, Task, class_name
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.bounds import PredictionBounds
from batchlearn.models.decision import Costs
from batchlearn.models.links import INVERSE_LINKS, class_contrasts
from batchlearn.models.model import Predictions
from batchlearn.tables.columns import Kind, unsupported, without_kind, without_outer_spaces
from batchlearn.tables.readings import ColumnReading, ColumnRemark
from batchlearn.tables.table import ReadingRules, Roles, Table, open_by

if TYPE_CHECKING:
    from batchlearn.models.brought.formats import Allowed

AS_FOUND, NO_ROLES = ReadingRules(), Roles()
_EVEN = 0.5


@dataclass(frozen=True)
class EncodedModel(ABC):
    """What reads rows by an encoding and responds to each.

    Attributes:
        encoding: How columns become terms.
        target: What is predicted: column, classes, loss.
        roles: What the columns of its training were for.
        label_mean: Of the training rows: what a model without features predicts; of K > 2 classes of their numbers.
        costs: Of wrong decisions between two classes, where they were given.
        class_shares: Of K > 2 classes: what a model without features predicts.
        weight_constant: The mean weight of the training rows, by which all weights are divided; 1 where there were
            none, and where they say how often a row occurs.
        offset_constant: What a model without features adds to the offset; None where rows have none, and in models of
            before it was kept.
        outer_spaces: Whether spaces around a text tell it from others, as in models of before they did not.
        readings: How each column is read that it uses or that had a role; older models do not say.
        text_encoding: Of the text files of its training, where it was given.
        parameters: (d,); of K > 2 classes those of K - 1 predictors, one after the other; none of an estimator.
        standard_errors: As `coefficients`, flat; None where there is no factor.
        bounds: What bounds single predictions; None where nothing is proved.
        level_moments: Of each group of L levels in turn the (L, L) moments of its coefficients less the true ones,
            (K, sum L^2), a row a class.
    """

    encoding: Encoding
    target: Target
    roles: Roles
    label_mean: float
    costs: Costs | None = field(default=None, kw_only=True)
    class_shares: tuple[float, ...] = field(default=(), kw_only=True)
    weight_constant: float = field(default=1.0, kw_only=True)
    offset_constant: float | None = field(default=None, kw_only=True)
    outer_spaces: bool = field(default=False, kw_only=True)
    readings: Mapping[str, ColumnReading] = field(default_factory=dict, kw_only=True)
    text_encoding: str | None = field(default=None, kw_only=True)
    parameters: Floats = field(default_factory=lambda: np.empty(0), kw_only=True)
    standard_errors: Floats | None = field(default=None, kw_only=True)
    bounds: PredictionBounds | None = field(default=None, kw_only=True)
    level_moments: Floats | None = field(default=None, kw_only=True)

    @property
    def size(self) -> int | None:
        """The number of its coefficients; None where it has none."""
        return len(self.parameters) or None

    @property
    def coefficients(self) -> Floats:
        """The coefficients of each class, (K, d); of all else one row, (1, d); none, (0, d), where it has none."""
        outputs = self.parameters.reshape(-1, self.encoding.layout.size)
        if len(outputs) <= 1:
            return outputs
        return np.asarray(class_contrasts(len(outputs) + 1).T @ outputs)

    def allowing(self, allowed: Allowed) -> Self:  # noqa: ARG002 - what is no code needs nothing allowed
        """Return the model with what a person named that may be imported to restore it; ours needs nothing.

        Args:
            allowed: Types, and a file of code.
        """
        return self

    @property
    def restored_with(self) -> tuple[str, ...] | None:
        """What a person has to type beside its path for it to be used; None where no file holds it."""
        return ()

    @property
    def learned_by(self) -> str | None:
        """What the user named to be fitted; None of our own models."""
        return None

    @property
    @abstractmethod
    def no_certificate(self) -> str | None:
        """Why no prediction comes with a bound on its distance from the optimum's; None where each does."""

    @abstractmethod
    def predict_batch(self, batch: pa.RecordBatch, *, bounds: bool = False) -> Predictions:
        """Predict the rows of one batch.

        Args:
            batch: Rows in canonical types, as `Table.scan` gives them, with the model's `columns`.
            bounds: As for `predict`, and so is what is returned and raised.
        """

    @property
    def threshold(self) -> float:
        """The probability of the second of two classes above which `prediction` is that class."""
        return _EVEN if self.costs is None else self.costs.threshold

    @property
    def loss(self) -> str:
        """The name of the loss it was trained with."""
        return self.target.loss

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads from a table."""
        named = (self.roles.offset, self.roles.exposure)
        return tuple(dict.fromkeys([*self.encoding.columns, *(name for name in named if name is not None)]))

    @property
    def level_terms(self) -> tuple[LevelTerm, ...]:
        """The categories that it tells rows apart by, with their levels."""
        return tuple(term for term in self.encoding.groups if isinstance(term, LevelTerm))

    def constant(self, rows: int, offset: Floats | None = None) -> Floats:
        """Return what a model without features responds.

        Args:
            rows: To how many rows.
            offset: What is added to the linear predictor of each, with the logarithm of an exposure, (rows,).

        Returns:
            The mean label or the share of the second class, (rows,); of K > 2 classes their shares, (rows, K). With
            offsets the response to `offset_constant` beside each: a rate times the exposure.
        """
        if offset is not None and self.offset_constant is not None:
            return np.asarray(INVERSE_LINKS[self.loss](self.offset_constant + offset))
        return np.tile(self.class_shares, (rows, 1)) if self.class_shares else np.full(rows, self.label_mean)

    def read(self, source: object, rules: ReadingRules = AS_FOUND, roles: Roles = NO_ROLES) -> Table:
        """Open a table with its columns read as in training.

        Args:
            source: What `batchlearn.read` takes.
            rules: What else is said of how rows are read; an encoding given here counts.
            roles: What the columns of this table are for.

        Returns:
            The table, which may lack columns and have no rows.

        Raises:
            UsageError: As `batchlearn.read`.
            DataError: As `batchlearn.read`.
        """
        rules = replace(rules, encoding=rules.encoding or self.text_encoding)
        if not self.readings:
            # A file of text does not say which numbers are names; the model does.
            named = [name for name, kind in self.encoding.kinds.items() if kind is Kind.CATEGORY]
            named += [roles.target or ""] * any(isinstance(value, str) for value in self.target.classes)
            rules = replace(rules, categories=(*rules.categories, *filter(None, named)))
        return open_by(source, roles, rules, self.readings or None)

    def predict(self, data: object, *, bounds: bool = False) -> Predictions:
        """Predict every row, in order. A row's prediction has the same bits in whatever batch it comes.

        Args:
            data: A table, or what `read` takes: a path, a data frame, Arrow data, a dictionary of columns.
            bounds: Whether each prediction comes with a bound on its distance from the optimum's.

        Returns:
            `response` (n,), the probability of the second class, the mean or the count, of K > 2 classes (n, K);
            `predictor`, the same before the link; and `bound` (n,), None unless asked for.

        Values that cannot be read as what they were in training count as missing, and so does a column that is absent
        and was sometimes missing then; a warning says so.

        Raises:
            DataError: A column that the model reads is absent, of another kind, or missing where an offset is needed.
            UsageError: Bounds were asked for and `no_certificate` says why there are none.
        """
        table = data if isinstance(data, Table) else self.read(data)
        parts = list(self.stream(table, bounds=bounds))
        if not parts:
            none = np.empty((0, len(self.class_shares)) if self.class_shares else 0)
            return Predictions(none, none, np.empty(0) if bounds else None)
        bound = np.concatenate([part.bound for part in parts if part.bound is not None]) if bounds else None
        return Predictions(
            np.concatenate([part.response for part in parts]), np.concatenate([part.predictor for part in parts]), bound
        )

    def stream(self, table: Table, *, bounds: bool = False) -> Iterator[Predictions]:
        """Predict batch by batch: memory does not grow with the table.

        Args:
            table: The rows.
            bounds: As for `predict`, and so is what is raised.

        Yields:
            The predictions of the next rows, as `predict` returns them.
        """
        table = table.like(self.readings)
        self.check(table)
        # Each row is predicted once, whatever it counts.
        table = self.as_read(replace(table, roles=replace(table.roles, weight=None, weight_kind=None)))
        # An intercept alone reads no column, but its rows have to be counted.
        scan = table.scan(self.columns or [table.columns[0].name])
        for batch in scan:
            yield self.predict_batch(batch, bounds=bounds)
        for remark in scoring_remarks(self, table, scan.unreadable):
            warnings.warn(str(remark.note), stacklevel=2)

    def lacking(self, table: Table) -> list[str]:
        """Return the columns that the model reads and a table, or a file of it, lacks.

        Args:
            table: The table; no row of it is read.
        """
        there = {column.name for column in table.columns}
        return [name for name in self.encoding.columns if name not in there or name in table.source.lacking]

    def as_read(self, table: Table) -> Table:
        """Return a table that is read as the model's rows were.

        Args:
            table: The table; no row of it is read.
        """
        return replace(table, outer_spaces=self.outer_spaces)

    def check(self, table: Table) -> None:
        """Refuse a table that the model cannot predict.

        Args:
            table: The table; no row of it is read.

        Raises:
            DataError: It lacks a column that the model reads and that was never missing, or holds one in another kind.
        """
        kinds = {column.name: column.kind for column in table.columns}
        check_kinds(self.encoding, kinds, table.name)
        absent = {column.name for column in table.absent}
        for lacking in self.lacking(table):
            if (stored := without_kind(table.source.schema).get(lacking)) is not None:
                raise unsupported(lacking, stored, table.name)
            known = lacking in absent or lacking in table.source.lacking
            if table.strict or not known or lacking not in self.encoding.may_be_missing:
                raise missing_column(lacking, table.name, table.strict)
        for name in (self.roles.offset, self.roles.exposure):
            if name is not None and table.column(name).kind is not Kind.NUMBER:
                raise DataError(
                    f"Column '{name}' of {table.name} holds {table.column(name).kind} values; the model adds it to "
                    "every prediction and needs numbers. Convert the column.",
                    code="column-kind",
                )

    def _offset(self, batch: pa.RecordBatch) -> Floats | float:
        """Return what is added to the linear predictor of each row, with the logarithm of its exposure."""
        total: Floats | float = 0.0
        for name, transform in ((self.roles.offset, None), (self.roles.exposure, np.log)):
            if name is None:
                continue
            column = batch.column(name)
            if column.null_count:
                raise DataError(
                    f"Column '{name}' is missing in {column.null_count} rows; the model needs it for every prediction.",
                    code="offset-missing",
                )
            values = np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))
            if transform is not None and np.any(values <= 0.0):
                raise DataError(
                    f"Column '{name}' holds values of 0 or less; an exposure needs to be above 0.",
                    code="exposure-not-positive",
                )
            total = total + (values if transform is None else transform(values))
        return total

    def _as_encoded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch whose texts have outer spaces only if the model's have: beside an older one it is read so."""
        if self.outer_spaces:
            return batch
        plain = [without_outer_spaces(one) if pa.types.is_dictionary(one.type) else one for one in batch.columns]
        return pa.RecordBatch.from_arrays(plain, names=batch.schema.names)

    def decide(self, response: Floats) -> pa.Array:
        """Return the prediction for each response.

        Args:
            response: That of `predict`, (n,); of K > 2 classes (n, K).

        Returns:
            Numbers or classes; missing where a person has to decide.
        """
        classes = self.target.classes
        if len(classes) > 2:
            return pa.array([classes[code] for code in np.argmax(response, axis=1)])
        if self.target.task is Task.CLASSES:
            chosen = pa.array((response > self.threshold).astype(int), mask=self.left_to_people(response))
            return pa.array(classes).take(chosen)
        return pa.array(response)

    def to_table(self, predictions: Predictions) -> pa.RecordBatch:
        """Return predictions as columns: `prediction`, for classes also probabilities, and `bound` where asked for.

        Of two classes `probability_yes` is that of the positive one, here yes; of more `probability` is that of the
        prediction, and each class has one of its own.
        Where the costs of decisions have a fee, `left_to_people` says which rows a person is worth asking about; their
        `prediction` is missing, because the model does not decide them.

        Args:
            predictions: What `predict` returned.
        """
        columns: dict[str, Any] = {"prediction": self.decide(predictions.response)}
        classes = self.target.classes
        if len(classes) > 2:
            columns["probability"] = predictions.response.max(axis=1)
            for code, known in enumerate(classes):
                columns[f"probability {class_name(known)}"] = predictions.response[:, code]
        elif self.target.task is Task.CLASSES:
            columns[f"probability_{class_name(classes[1])}"] = predictions.response
            left = self.left_to_people(predictions.response)
            if left is not None:
                columns["left_to_people"] = left
        if predictions.bound is not None:
            columns["bound"] = predictions.bound
        return pa.RecordBatch.from_pydict(columns)

    def left_to_people(self, response: Floats) -> NDArray[np.bool_] | None:
        """Say which rows cost less on average with a person's look at them.

        Args:
            response: That of `predict`, the probability of the second class, (n,).

        Returns:
            True for such rows, (n,); None where the costs have no fee.
        """
        if self.costs is None or self.costs.fee is None:
            return None
        return self.costs.left_to_people(response)

    def with_fee(self, fee: float) -> Self:
        """Return the model with another fee for a person's look at a row.

        Args:
            fee: In the units of the costs, 0 or more.

        Raises:
            UsageError: The model has no costs, or the fee is negative or not finite.
        """
        if self.costs is None:
            raise UsageError(
                "A fee was given and this model has no costs of wrong decisions to weigh it against; it decides every "
                "row. Train with --cost-false-positive and --cost-false-negative, or predict without --fee.",
                code="no-costs",
            )
        return replace(self, costs=replace(self.costs, fee=fee))


def scoring_remarks(model: EncodedModel, table: Table, unreadable: Mapping[str, int]) -> tuple[ColumnRemark, ...]:
    """Return a remark on each column that the table lacks, or of which so many values could not be read."""
    absent = {column.name for column in table.absent}
    notes = [Note(Code.TAKEN_AS_MISSING, {"column": name}) for name in model.lacking(table) if name in absent]
    for name, rows in unreadable.items():
        values = {"column": name, "kind": str(table.readings[name].kind), "rows": rows}
        notes.append(Note(Code.UNREADABLE_VALUES, values))
    return tuple(ColumnRemark(note.values["column"], True, note, None) for note in notes)
