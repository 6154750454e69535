"""The linear model: an encoding, coefficients and a link; what predicts, is saved and is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batchlearn.errors import UsageError
from batchlearn.kernels.design import (
    Block,
    Columns,
    Floats,
    absolute,
    predictors,
)
from batchlearn.kernels.rounding import predictor_error
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.links import (
    INVERSE_LINKS,
    class_logits,
    returned_distance,
)
from batchlearn.models.model import Predictions


@dataclass(frozen=True)
class LinearModel(EncodedModel):
    """Predicts link(intercept + encoded row ' coefficients + offset); `train` makes one and `load` reads one.

    Attributes:
        encoding: How columns become terms.
        target: What is predicted: column, classes, loss.
        parameters: (d,); of K > 2 classes those of K - 1 predictors, one after the other.
        roles: What the columns of its training were for.
        label_mean: Of the training rows: what a model without features predicts; of K > 2 classes of their numbers.
        standard_errors: As `coefficients`, flat; None where there is no factor.
        bounds: What bounds single predictions; None where nothing is proved.
        costs: Of wrong decisions between two classes, where they were given.
        class_shares: Of K > 2 classes: what a model without features predicts.
        level_moments: Of each group of L levels in turn the (L, L) moments of its coefficients less the true ones,
            (K, sum L^2), a row a class.
        weight_constant: The mean weight of the training rows, by which all weights are divided; 1 where there were
            none, and where they say how often a row occurs.
        offset_constant: What a model without features adds to the offset; None where rows have none, and in models of
            before it was kept.
        outer_spaces: Whether spaces around a text tell it from others, as in models of before they did not.
        readings: How each column is read that it uses or that had a role; older models do not say.
        text_encoding: Of the text files of its training, where it was given.

    Example:
        >>> import batchlearn as bl
        >>> rows = {"hour": [6, 7, 8, 9, 10, 11], "late": [False, False, True, False, True, True]}
        >>> model = bl.train(bl.read(rows, target="late"), bl.Recipe(alpha=0.1, holdout=0.0)).model
        >>> model.predict({"hour": [6.0, 11.0]}, bounds=True).response.round(2)
        array([0.17, 0.83])
        >>> model.to_table(model.predict({"hour": [6.0, 11.0]})).column("prediction").to_pylist()
        [False, True]
    """

    parameters: Floats

    @property
    def no_certificate(self) -> str | None:
        """Why no prediction comes with a bound on its distance from the optimum's; None where each does."""
        if self.bounds is not None:
            return None
        return (
            "This model keeps nothing that bounds its predictions: it has no certificate, or was updated from kept "
            "totals."
        )

    def predict_batch(self, batch: pa.RecordBatch, *, bounds: bool = False) -> Predictions:
        """Predict the rows of one batch.

        Args:
            batch: Rows in canonical types, as `Table.scan` gives them, with the model's `columns`.
            bounds: As for `predict`, and so is what is returned and raised.
        """
        stored, codes = self.encoding.encode(self._as_encoded(batch))
        layout = self.encoding.layout
        columns = Columns(stored, self.encoding.shift, self.encoding.scale, layout.intercept)
        block = Block(columns, codes, self.encoding.encode_texts(batch))
        offset = self._offset(batch)
        eta = predictors(layout, block, self.parameters) + offset
        bound = None
        if bounds:
            if self.bounds is None:
                raise UsageError(
                    f'{self.no_certificate} Train with a penalty above 0 (--alpha; in a project start = "warm" or '
                    '"scratch"), or predict without --bounds.',
                    code="no-bounds",
                )
            sizes = predictors(layout, absolute(block), np.abs(self.parameters)) + np.abs(offset)
            error = predictor_error(layout, len(self.parameters) // layout.size, sizes)
            bound = returned_distance(self.loss, eta, self.bounds.of(self.encoding, block), error)
        response = INVERSE_LINKS[self.loss](eta)
        if eta.ndim > 1:
            return Predictions(response.T, class_logits(eta).T, bound)
        return Predictions(response, eta, bound)
