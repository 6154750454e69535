"""What of a model can be written as a formula of its columns, and why the rest cannot."""

from __future__ import annotations

import numpy as np

from batchlearn.data.encoding import LevelTerm, PairTerm, SingleTerm
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel
from batchlearn.models.model import Model


def linear(model: Model, form: str) -> LinearModel:
    """Return the model where `form`, ONNX or SQL, can say what it does: UsageError with the reason otherwise."""
    if not isinstance(model, LinearModel):
        raise _refused("it was brought along from another library", form, "Use that library's own export")
    if model.encoding.texts:
        column = quoted(model.encoding.texts[0].column)
        raise _refused(f"it finds words in {column} by rules of Unicode", form, f"Train without --text {column}")
    hashed = [term.column for term in single_terms(model) if isinstance(term, LevelTerm) and term.buckets]
    if hashed:
        remedy = f"Train without them: --drop {','.join(hashed)}"
        raise _refused(f"the levels of {quoted(hashed[0])} share coefficients by a hash", form, remedy)
    if not model.columns:
        raise _refused("it reads no column", form, "Its prediction is one number, which `evaluate` shows")
    return model


def _refused(why: str, form: str, remedy: str) -> UsageError:
    return UsageError(
        f"The model cannot be written as {form}: {why}. {remedy}, or use --to mlflow, which takes every model.",
        code="export-encoding",
    )


def single_terms(model: LinearModel) -> list[SingleTerm]:
    """Return the terms of one column each that give codes, both halves of pairs among them."""
    groups = model.encoding.groups
    return [half for g in groups for half in ((g.first, g.second) if isinstance(g, PairTerm) else (g,))]


def group_coefficients(model: LinearModel) -> list[Floats]:
    """Return what each code of each group adds to each output, (levels + 1, outputs): zero for the code "no level"."""
    none = np.zeros((1, len(model.coefficients)))
    return [np.vstack([model.coefficients[:, part].T, none]) for part in model.encoding.layout.group_slices]
