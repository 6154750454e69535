"""Linear models trained on every row, with a proved bound on the distance to the optimum.

The public names below are imported when they are first used: `import batchlearn` loads no other package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlearn.backtesting.backtest import backtest as backtest
    from batchlearn.backtesting.history import Arrivals as Arrivals
    from batchlearn.backtesting.outcome import Backtest as Backtest
    from batchlearn.backtesting.plan import BacktestPlan as BacktestPlan
    from batchlearn.backtesting.plan import Prices as Prices
    from batchlearn.comparison.compare import ComparisonPlan as ComparisonPlan
    from batchlearn.comparison.compare import compare as compare
    from batchlearn.comparison.contenders import Budget as Budget
    from batchlearn.comparison.contenders import Contender as Contender
    from batchlearn.comparison.model_entry import ModelEntry as ModelEntry
    from batchlearn.comparison.models import ModelComparison as ModelComparison
    from batchlearn.comparison.models import compare_models as compare_models
    from batchlearn.comparison.outcome import Comparison as Comparison
    from batchlearn.errors import BatchlearnError as BatchlearnError
    from batchlearn.errors import CertificateError as CertificateError
    from batchlearn.errors import DataError as DataError
    from batchlearn.errors import IntegrityError as IntegrityError
    from batchlearn.errors import NoFiniteOptimum as NoFiniteOptimum
    from batchlearn.errors import RegistryError as RegistryError
    from batchlearn.errors import ResourceError as ResourceError
    from batchlearn.errors import UsageError as UsageError
    from batchlearn.estimators import LinearClassifier as LinearClassifier
    from batchlearn.estimators import LinearRegressor as LinearRegressor
    from batchlearn.models.decision import Costs as Costs
    from batchlearn.models.files import load as load
    from batchlearn.models.linear import LinearModel as LinearModel
    from batchlearn.report.page import page as page
    from batchlearn.retraining.policies import Action as Action
    from batchlearn.retraining.policies import Doubling as Doubling
    from batchlearn.retraining.policies import Every as Every
    from batchlearn.retraining.policies import EveryRows as EveryRows
    from batchlearn.retraining.policies import Never as Never
    from batchlearn.retraining.policies.combined import AllOf as AllOf
    from batchlearn.retraining.policies.combined import AnyOf as AnyOf
    from batchlearn.retraining.policies.combined import With as With
    from batchlearn.retraining.policies.detection import Decay as Decay
    from batchlearn.retraining.policies.detection import Drift as Drift
    from batchlearn.retraining.policies.worth import Forecast as Forecast
    from batchlearn.retraining.policies.worth import WhenGainExceeds as WhenGainExceeds
    from batchlearn.retraining.verdict import Gate as Gate
    from batchlearn.tables.table import Table as Table
    from batchlearn.tables.table import read as read
    from batchlearn.training.certificate import Certificate as Certificate
    from batchlearn.training.evaluate import evaluate as evaluate
    from batchlearn.training.fit import Fit as Fit
    from batchlearn.training.recipe import Recipe as Recipe
    from batchlearn.training.regimes import FullBatch as FullBatch
    from batchlearn.training.regimes import MiniBatch as MiniBatch
    from batchlearn.training.regimes import Online as Online
    from batchlearn.training.train import train as train
    from batchlearn.training.verification.foreign import verify as verify

    __version__: str

_HOME = {
    "Action": "batchlearn.retraining.policies",
    "AllOf": "batchlearn.retraining.policies.combined",
    "AnyOf": "batchlearn.retraining.policies.combined",
    "Arrivals": "batchlearn.backtesting.history",
    "Backtest": "batchlearn.backtesting.outcome",
    "BacktestPlan": "batchlearn.backtesting.plan",
    "BatchlearnError": "batchlearn.errors",
    "Budget": "batchlearn.comparison.contenders",
    "Certificate": "batchlearn.training.certificate",
    "CertificateError": "batchlearn.errors",
    "Comparison": "batchlearn.comparison.outcome",
    "ComparisonPlan": "batchlearn.comparison.compare",
    "Contender": "batchlearn.comparison.contenders",
    "Costs": "batchlearn.models.decision",
    "DataError": "batchlearn.errors",
    "Decay": "batchlearn.retraining.policies.detection",
    "Doubling": "batchlearn.retraining.policies",
    "Drift": "batchlearn.retraining.policies.detection",
    "Every": "batchlearn.retraining.policies",
    "EveryRows": "batchlearn.retraining.policies",
    "Fit": "batchlearn.training.fit",
    "Forecast": "batchlearn.retraining.policies.worth",
    "FullBatch": "batchlearn.training.regimes",
    "Gate": "batchlearn.retraining.verdict",
    "IntegrityError": "batchlearn.errors",
    "LinearClassifier": "batchlearn.estimators",
    "LinearModel": "batchlearn.models.linear",
    "LinearRegressor": "batchlearn.estimators",
    "MiniBatch": "batchlearn.training.regimes",
    "ModelComparison": "batchlearn.comparison.models",
    "ModelEntry": "batchlearn.comparison.model_entry",
    "Never": "batchlearn.retraining.policies",
    "NoFiniteOptimum": "batchlearn.errors",
    "Online": "batchlearn.training.regimes",
    "Prices": "batchlearn.backtesting.plan",
    "Recipe": "batchlearn.training.recipe",
    "RegistryError": "batchlearn.errors",
    "ResourceError": "batchlearn.errors",
    "Table": "batchlearn.tables.table",
    "UsageError": "batchlearn.errors",
    "WhenGainExceeds": "batchlearn.retraining.policies.worth",
    "With": "batchlearn.retraining.policies.combined",
    "backtest": "batchlearn.backtesting.backtest",
    "compare": "batchlearn.comparison.compare",
    "compare_models": "batchlearn.comparison.models",
    "evaluate": "batchlearn.training.evaluate",
    "load": "batchlearn.models.files",
    "page": "batchlearn.report.page",
    "read": "batchlearn.tables.table",
    "train": "batchlearn.training.train",
    "verify": "batchlearn.training.verification.foreign",
}

# Written out once more because type checkers read only a literal list; a test holds the lists together.
__all__ = [
    "Action",
    "AllOf",
    "AnyOf",
    "Arrivals",
    "Backtest",
    "BacktestPlan",
    "BatchlearnError",
    "Budget",
    "Certificate",
    "CertificateError",
    "Comparison",
    "ComparisonPlan",
    "Contender",
    "Costs",
    "DataError",
    "Decay",
    "Doubling",
    "Drift",
    "Every",
    "EveryRows",
    "Fit",
    "Forecast",
    "FullBatch",
    "Gate",
    "IntegrityError",
    "LinearClassifier",
    "LinearModel",
    "LinearRegressor",
    "MiniBatch",
    "ModelComparison",
    "ModelEntry",
    "Never",
    "NoFiniteOptimum",
    "Online",
    "Prices",
    "Recipe",
    "RegistryError",
    "ResourceError",
    "Table",
    "UsageError",
    "WhenGainExceeds",
    "With",
    "__version__",
    "backtest",
    "compare",
    "compare_models",
    "evaluate",
    "load",
    "page",
    "read",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home and keep it, so that this runs once for each name."""
    if name == "__version__":
        value: object = _installed_version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    """Read the version from the installed distribution; a source tree that was never installed has none."""
    # Imported here: it reads mails, as which packages describe themselves, and few commands ask for a version.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("batchlearn")
    except PackageNotFoundError:
        return "0+uninstalled"
