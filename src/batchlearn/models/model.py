"""What predicts: the protocol that evaluation, the gate and the cycle ask of a model, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import pyarrow as pa

from batchlearn.data.encoding import LevelTerm
from batchlearn.data.target import Target
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Roles, Table


class Predictions(NamedTuple):
    """One entry a row, in the order of the rows."""

    response: Floats  # probability of the second class, mean or count; of K > 2 classes their probabilities (rows, K)
    predictor: Floats  # of K > 2 classes their logits (rows, K)
    bound: Floats | None  # the response as it stands here is no further from the optimum's


class Model(Protocol):
    """Predicts rows of a table; written by `models.files.save` and read back by `load`.

    A row's prediction has the same bits in whatever batch it comes.
    """

    @property
    def target(self) -> Target:
        """What is predicted, and by which score it is judged."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads from a table."""
        ...

    @property
    def roles(self) -> Roles:
        """What the columns of its training were for; it reads those of offset and exposure."""
        ...

    @property
    def weight_constant(self) -> float:
        """What weights are divided by: their mean over the rows of its training, 1 where there were none."""
        ...

    @property
    def readings(self) -> Mapping[str, ColumnReading]:
        """How it reads the values of columns, by name; of those that are not there as they are found."""
        ...

    @property
    def costs(self) -> Costs | None:
        """What wrong decisions cost, where that was given."""
        ...

    @property
    def level_terms(self) -> tuple[LevelTerm, ...]:
        """The categories that it tells rows apart by, with their levels."""
        ...

    def as_read(self, table: Table) -> Table:
        """Return a table that is read as the model's rows were."""
        ...

    def check(self, table: Table) -> None:
        """Refuse a table that lacks what the model reads, or holds it in another kind: DataError."""
        ...

    def predict(self, data: object, *, bounds: bool = False) -> Predictions:
        """Predict every row of a table, a path, a data frame or Arrow data, in order."""
        ...

    def predict_batch(self, batch: pa.RecordBatch, *, bounds: bool = False) -> Predictions:
        """Predict the rows of one batch in canonical types, as `Table.scan` gives them."""
        ...

    def decide(self, response: Floats) -> pa.Array:
        """Return the prediction for each response: a number or a class, missing where a person has to decide."""
        ...

    @property
    def no_certificate(self) -> str | None:
        """Why no prediction comes with a bound on its distance from the optimum's; None where each does."""
        ...

    @property
    def offset_constant(self) -> float | None:
        """What a model without features adds to the offset of each row; None where there are none, or not known."""
        ...

    def constant(self, rows: int, offset: Floats | None = None) -> Floats:
        """Return what a model without features responds to so many rows, beside their offsets (rows,) where given."""
        ...
