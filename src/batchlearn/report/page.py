"""The report of a result: one HTML page that needs nothing else."""

from __future__ import annotations

from batchlearn.comparison.outcome import Comparison
from batchlearn.report.comparison.page import comparison_page
from batchlearn.report.training.page import training_page
from batchlearn.training.fit import Fit


def page(result: Fit | Comparison, model: str | None = None) -> str:
    """Return the page of a fit or of a comparison as HTML; `model` is where the fit's model was saved.

    The page has no script, asks for nothing, and escapes every name.
    """
    return comparison_page(result) if isinstance(result, Comparison) else training_page(result, model)
