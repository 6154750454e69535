"""A fit: what came out of training once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from batchlearn.data.encoding import Encoding
from batchlearn.data.ledger import Ledger, RowCounts
from batchlearn.data.target import class_name
from batchlearn.evaluation.baselines import offset_constant
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.notes import Note
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.shapes import Shape, shapes
from batchlearn.selection.structure import Structure
from batchlearn.tables.readings import ColumnUse
from batchlearn.tables.table import Table
from batchlearn.tables.table.roles import Fading
from batchlearn.training.certificate import Certificate
from batchlearn.training.optimise import Status, Step
from batchlearn.training.recipe import Recipe, installed_version
from batchlearn.training.summary.columns import DataSummary, model_readings

FORMAT_VERSION = 1
Made = TypeVar("Made", bound=EncodedModel)


@dataclass(frozen=True)
class Fit:
    """What `train` returns: a model of every row, its certificate, and the evaluation of the recipe on later rows.

    Attributes:
        model: The model; it predicts, and is what `save` writes.
        certificate: What is proved about it.
        status: Why the fit ended.
        structure: What was chosen by data: linear or additive, pairs, and a strength for each term.
        recipe: How it was trained.
        alpha: The penalty beside the mean loss; where strengths were chosen by data, those of `structure` count.
        rows: How many rows were read and used, had no label, or were set aside and why.
        objective: F at the parameters: mean loss of a row plus penalty.
        null_objective: F of the model that knows only the mean.
        solver: The solver's name.
        trace: A line for each point the solver looked at.
        passes: Readings of all rows.
        seconds: Seconds of the whole training.
        evaluation: Of a model of the earlier rows on the later ones; None where none were held out.
        notes: What is worth saying, each with a code and values; as text a sentence.
        condition: Which rows were read, as text; None where all were.
        where: What of the condition rows of any time can meet, as text; None where nothing is.
        fading: How much less older rows counted; None where rows of all ages counted alike.
        class_weights: What each class counted, in order; None where all count once.
        dispersion: That the standard errors carry: 1 for classes; None where there are none.
        summary: What was found out about the data on the way.
        columns: What became of each column of the table.
        lines_passed_over: Lines of text files that are neither header nor rows, by reason.

    Example:
        >>> import batchlearn as bl
        >>> table = bl.read({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]}, target="y")
        >>> fit = bl.train(table, bl.Recipe(alpha=0.0, holdout=0.0))
        >>> {name: round(value, 6) for name, value in fit.coefficients.items()}
        {'(intercept)': 4.0, 'x': 2.0}
        >>> fit.certificate.certified, fit.rows.used
        (True, 4)
    """

    model: EncodedModel
    certificate: Certificate
    status: Status
    structure: Structure
    recipe: Recipe
    alpha: float
    rows: RowCounts
    objective: float
    null_objective: float
    solver: str
    trace: tuple[Step, ...]
    passes: int
    seconds: float
    evaluation: Evaluation | None
    notes: tuple[Note, ...]
    condition: str | None = None
    where: str | None = None  # what of the condition rows of any time can meet
    fading: Fading | None = None
    class_weights: tuple[float, ...] | None = None  # what each class counted in the objective, in order
    dispersion: float | None = None  # that the standard errors carry: 1 for classes; None where there is no factor
    summary: DataSummary | None = None  # what it found out about the data on the way
    columns: tuple[ColumnUse, ...] = ()
    lines_passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def positive(self) -> str | None:
        """Of two classes the one whose probability is predicted; None where there are no two."""
        classes = self.model.target.classes
        return class_name(classes[1]) if len(classes) == 2 else None

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by name, in the units of the columns as given for numbers; the intercept for rows whose
        numbers are all at their means. Of more than two classes a name begins with the class. Empty where the model
        has none."""
        return {} if self.model.size is None else self._named(self.model.coefficients)

    @property
    def standard_errors(self) -> dict[str, float]:
        """The coefficients' standard errors by name, in the same units; empty where there is no factor.

        With strengths chosen by data they count what those took away too, with a given penalty they do not.
        """
        if self.model.standard_errors is None:
            return {}
        return self._named(self.model.standard_errors.reshape(-1, self.model.encoding.layout.size))

    def _named(self, values: Floats) -> dict[str, float]:
        names, classes = self.model.encoding.names, self.model.target.classes
        prefixes = [f"{class_name(known)}: " for known in classes] if len(values) > 1 else [""]
        scaled = values / self.model.encoding.units
        named = (
            (prefix + name, float(v))
            for prefix, row in zip(prefixes, scaled, strict=True)
            for name, v in zip(names, row, strict=True)
        )
        return dict(named)

    @property
    def shapes(self) -> list[Shape]:
        """The shape of every term, those that move most rows' predictions most first."""
        if self.model.size is None:
            return []
        if self.summary is None:
            return shapes(self.model)
        level_rows = {name: counts.rows for name, counts in self.summary.levels.items()}
        return shapes(self.model, level_rows, self.summary.texts)

    def to_json(self) -> dict[str, Any]:
        """Return what `train --json` prints, the path of the model aside, as plain values."""
        certificate = self.certificate.to_json()
        return {
            "format_version": FORMAT_VERSION,
            "rows": self.rows.to_json(),
            "lines_passed_over": dict(self.lines_passed_over),
            "columns": [column.to_json() for column in self.columns],
            "coefficients": self.model.size,
            "seed": self.recipe.seed,
            "certificate": certificate,
            "status": self.status.value,
            "status_code": self.status.name.lower(),
            "objective": self.objective,
            "null_objective": self.null_objective,
            "alpha": self.alpha,
            "loss": self.model.loss,
            "positive": self.positive,
            "class_weights": None if self.class_weights is None else list(self.class_weights),
            "power": self.model.target.power,
            "threshold": self.model.target.threshold,
            "dispersion": self.dispersion,
            "solver": self.solver,
            "regime": str(self.recipe.regime),
            "passes": self.passes,
            "seconds": self.seconds,
            "encoding": self.structure.name,
            "learner": self.model.learned_by,
            "structure": self.structure.to_json(),
            "evaluation": None if self.evaluation is None else self.evaluation.to_json(),
            "notes": list(map(str, self.notes)),
            "noted": [note.to_json() for note in self.notes],
            "facts": None if self.summary is None else self.summary.to_json(),
        }

    def record(self) -> dict[str, Any]:
        """Return what is saved beside the model: all of `to_json`, the recipe, the condition and the trace."""
        return {
            **self.to_json(),
            "created_with": f"batchlearn {installed_version()}",
            "recipe": self.recipe.to_json(),
            "condition": self.condition,
            "where": self.where,
            "fading": None if self.fading is None else vars(self.fading),
            "trace": [step._asdict() for step in self.trace],
        }

    def save(self, path: str | os.PathLike[str], force: bool = False) -> Path:
        """Save the model with this record as a new folder, which `load` reads.

        Args:
            path: The folder to make, in one that exists.
            force: Replace the model that is there.

        Returns:
            The folder's absolute path.

        Raises:
            UsageError: The path exists and `force` was not given, or the folder above it does not.
            ResourceError: It cannot be written.
            DataError: The model holds what no file may, such as a column name with control characters.
        """
        from batchlearn.models.files import save  # imported here: what checks files is needed for no fit

        return save(self.model, self.record(), path, force=force)


def model_of(make: Callable[..., Made], table: Table, ledger: Ledger, encoding: Encoding, costs: Costs | None) -> Made:
    """Return a model of all used rows: `make` is given what all models have in common, and adds its own."""
    classes = len(ledger.target.classes)
    weight = None if ledger.weight is None else ledger.weight[ledger.used]
    mean = float(np.average(ledger.label[ledger.used], weights=weight))
    shares = np.bincount(ledger.label[ledger.used].astype(np.intp), weight, classes) if classes > 2 else np.zeros(0)
    return make(
        encoding,
        ledger.target,
        table.roles,
        mean,
        costs=costs,
        class_shares=tuple(map(float, shares / max(float(shares.sum()), 1e-300))),
        weight_constant=ledger.weight_constant,
        offset_constant=offset_constant(ledger, ledger.used),
        readings=model_readings(table, encoding),
        text_encoding=table.text_encoding,
    )
