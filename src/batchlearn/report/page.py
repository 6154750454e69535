"""The report of a result: one HTML page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlearn.report.training.page import training_page
from batchlearn.training.fit import Fit

if TYPE_CHECKING:
    from batchlearn.backtesting.outcome import Backtest
    from batchlearn.comparison.models import ModelComparison
    from batchlearn.comparison.outcome import Comparison


def page(result: Fit | Comparison | ModelComparison | Backtest, model: str | None = None) -> str:
    """Return the page of a fit, of a comparison or of a backtest as HTML.

    The page has no script, asks for nothing, and escapes every name.

    Args:
        result: What `train`, `compare`, `compare_models` or `backtest` returned.
        model: Where the fit's model was saved, which the page then says; other results have none.

    Returns:
        The whole page; write it with encoding UTF-8.

    Example:
        >>> import batchlearn as bl
        >>> fit = bl.train(bl.read({"x": [1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0]}, target="y"))
        >>> bl.page(fit).startswith("<!DOCTYPE html>")
        True
    """
    if isinstance(result, Fit):
        return training_page(result, model)
    # Imported here: `train` needs none of it, and begins a quarter of a second sooner.
    from batchlearn.backtesting.outcome import Backtest
    from batchlearn.comparison.outcome import Comparison
    from batchlearn.report.comparison.models import models_page
    from batchlearn.report.comparison.page import comparison_page
    from batchlearn.report.retraining.page import backtest_page

    if isinstance(result, Backtest):
        return backtest_page(result)
    return comparison_page(result) if isinstance(result, Comparison) else models_page(result)
