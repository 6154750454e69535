"""The recipe: everything needed to train once, except the data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

import numpy as np

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import Ledger
from batchlearn.data.split import SplitKind
from batchlearn.data.target import TASK_OF_LOSS, Class, power_fits
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels import native
from batchlearn.models.brought import Setting
from batchlearn.models.decision import Costs
from batchlearn.objectives.class_weights import ClassWeightRule, check_rule
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin, Stopping
from batchlearn.tables.table import Table
from batchlearn.training.regimes import Regime, parse_regime

_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Recipe:
    """How to train once. Checked here, once; nothing later checks again.

    Flags of the command line and keys of a project's file are made from these fields: `help` and `example` are theirs.

    Args:
        loss: "logistic", "softmax", "squared", "poisson", "gamma", "tweedie" or "huber"; None follows from the target.
        alpha: F = mean loss + alpha/2 ||w||^2 over standardised columns and levels, 0 or more, of a linear model. None:
            the data choose terms by forward validation and their strengths by restricted likelihood (Wood and Fasiolo
            2017); where nothing is chosen, alpha is 1 / total weight.
        tolerance: A bound on the loss to reach, above 0, in losses of the model that knows only the mean. None stops
            where no linear predictor is off by more than 1 % of its standard error.
        holdout: The share of the latest rows (of random ones without a time column), 0 to below 1, that the evaluation
            keeps apart; 0 for no evaluation.
        seed: Of whatever is drawn at random, 0 to 2**64 - 1.
        rules: How columns become terms: how many rows make a level, how many levels have a coefficient of their own.
        split: "time", "group" or "random": how the share, and the block on which the structure is chosen, is kept
            apart. None is by time where there is a time column, else by whole groups where there is a group column,
            else random.
        class_weight: "balanced", or a weight for each of some labels, that rows of a class count with in training; the
            probabilities delivered are corrected back to how often the classes occur in the rows.
        costs: Of wrong decisions between two classes: the model decides for the second one above the probability that
            makes it the cheaper decision, else above one half.
        power: The Tweedie loss's, above 1 and below 2; None is chosen by profile likelihood (Dunn and Smyth 2005).
        threshold: The Huber loss's, above 0, in units of the label; None is 1.345 times a robust scale of the
            residuals (Holland and Welsch 1977).
        positive: Of two classes the one whose probability is predicted, and that precision, recall and costs are about.
            None: 1, true or yes, else the rarer one.
        batch_size: Rows an update sees: "full" for all, 1 for online, or a number such as 256; the objective is the
            same.
        model: An estimator of scikit-learn's interface to fit instead of ours, by its import path, as
            "lightgbm.LGBMClassifier", or "my_models.py:build" for what a function or class of a file gives. Its code is
            run; what is written in a model or a record never is.
        set: What to set of it, by name.
        trust: Types that an estimator consists of and that may be restored from a file, where they are not known to be
            harmless; without them it is kept in no file.
        folder: The folder that a file named in `model` is in.

    Raises:
        UsageError: A value is out of its range, or belongs to another loss.

    Example:
        >>> import batchlearn as bl
        >>> recipe = bl.Recipe(loss="logistic", alpha=0.001, holdout=0.1, seed=7)
        >>> recipe.to_json()["split"] is None, recipe.alpha_for(1_000.0)
        (True, 0.001)
    """

    loss: str | None = field(
        default=None,
        metadata={
            "help": "logistic, softmax, squared, poisson, gamma, tweedie or huber; follows from the target.",
            "example": "logistic",
        },
    )
    alpha: float | None = field(
        default=None,
        metadata={
            "help": "Strength of the penalty, of a plain linear model then; chosen by the data unless given.",
            "example": 0.001,
        },
    )
    tolerance: float | None = field(
        default=None,
        metadata={
            "help": "Bound to reach, times the loss of the mean; exit code 7 if it is not.",
            "example": 1e-8,
        },
    )
    holdout: float = field(default=0.2, metadata={"help": "Share of the latest rows to evaluate on.", "example": 0.2})
    seed: int = field(default=0, metadata={"help": "Seed of whatever is drawn at random.", "example": 0})
    rules: EncodingRules = field(default_factory=EncodingRules)
    split: str | None = field(
        default=None,
        metadata={"help": "Hold out by time, group or random; time, else group, unless given.", "example": "group"},
    )
    class_weight: ClassWeightRule | None = field(
        default=None,
        metadata={
            "help": "What classes count in training: balanced, or LABEL=W,LABEL=W.",
            "example": "balanced",
        },
    )
    costs: Costs | None = None
    positive: Class | None = field(
        default=None,
        metadata={
            "help": "Of two classes the one whose probability is predicted; 1, true or yes, else the rarer one, unless "
            "given.",
            "example": "fraud",
        },
    )
    power: float | None = field(
        default=None,
        metadata={"help": "Of the Tweedie loss, above 1 and below 2; chosen by the data unless given.", "example": 1.5},
    )
    threshold: float | None = field(
        default=None,
        metadata={
            "help": "Of the Huber loss, in units of the target; chosen by the data unless given.",
            "example": 1.0,
        },
    )
    batch_size: str | int = field(
        default="full",
        metadata={"help": "Rows an update sees: full for all, 1 for online, or 32 to 512.", "example": 256},
    )

    model: str | None = field(
        default=None,
        metadata={
            "help": "Estimator to fit instead of ours: lightgbm.LGBMClassifier, or my_models.py:build.",
            "example": "lightgbm.LGBMClassifier",
        },
    )
    set: Mapping[str, Setting] = field(
        default_factory=dict,
        metadata={"help": "What to set of it: n_estimators=300. Repeatable.", "example": {"n_estimators": 300}},
    )
    trust: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Types of it that may be restored from a file: a,b. Repeatable.",
            "example": ("my_models.Hand",),
        },
    )
    folder: str = "."

    def __post_init__(self) -> None:
        self._check_loss()
        self._check_model()
        alpha = self.alpha
        if alpha is not None and not (isinstance(alpha, Real) and math.isfinite(alpha) and float(alpha) >= 0.0):
            raise UsageError(
                f"The penalty alpha is {alpha!r}; it needs to be a finite number of 0 or more. 0 is none.",
                code="alpha-negative",
            )
        if not (math.isfinite(self.holdout) and 0.0 <= self.holdout < 1.0):
            raise UsageError(
                f"The held-out share is {self.holdout!r}; it needs to be at least 0 and below 1, such as 0.2.",
                code="holdout-range",
            )
        if self.split is not None and self.split not in list(SplitKind):
            raise UsageError(
                f"The split is {quoted(self.split)}; it needs to be one of {', '.join(SplitKind)}.",
                code="split-unknown",
            )
        if self.class_weight is not None:
            check_rule(self.class_weight)
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(
                f"The seed is {self.seed}; it needs to be a whole number from 0 to 2**64 - 1.", code="seed-range"
            )
        parse_regime(self.batch_size)
        if self.tolerance is not None:
            LossWithin(self.tolerance)

    def _check_model(self) -> None:
        if self.model is None:
            if self.set:
                raise UsageError(
                    f"{quoted(next(iter(self.set)))} is to be set and no model was named; what is set belongs to an "
                    "estimator: --model lightgbm.LGBMClassifier --set n_estimators=300.",
                    code="learner-setting-without-model",
                )
            return
        ours = ("alpha", "tolerance", "power", "threshold")
        odd = [name for name in ours if getattr(self, name) is not None] + ["batch_size"] * (self.batch_size != "full")
        if odd:
            raise UsageError(
                f"{odd[0]} was given with the model {quoted(self.model)}; it belongs to our own models. Set what the "
                "estimator itself has with --set NAME=VALUE.",
                code="learner-recipe",
            )

    def _check_loss(self) -> None:
        if self.loss == "quantile":
            raise UsageError(
                "The loss is 'quantile'; its optimum lies on corners of the loss, where no certificate is known here. "
                "Use --loss huber for a centre that few rows cannot pull away.",
                code="loss-unknown",
            )
        if self.loss is not None and self.loss not in TASK_OF_LOSS:
            raise UsageError(
                f"The loss is {quoted(self.loss)}; it needs to be one of {', '.join(TASK_OF_LOSS)}.",
                code="loss-unknown",
            )
        named = "no loss was named" if self.loss is None else f"the loss {quoted(self.loss)}"
        if self.power is not None and (self.loss != "tweedie" or not power_fits(self.power)):
            raise UsageError(
                f"The power is {self.power!r} and {named}; a power is for the Tweedie loss, above "
                "1 and below 2. Give --loss tweedie with it; power 1 is --loss poisson, power 2 --loss gamma.",
                code="power-range",
            )
        if self.threshold is not None and not (
            self.loss == "huber" and math.isfinite(self.threshold) and self.threshold > 0.0
        ):
            raise UsageError(
                f"The threshold is {self.threshold!r} and {named}; a threshold is for the Huber "
                "loss, above 0 and in units of the target. Give --loss huber with it.",
                code="threshold-range",
            )

    @property
    def regime(self) -> Regime:
        """How rows are presented to one update."""
        return parse_regime(self.batch_size)

    @property
    def stopping(self) -> Stopping:
        """What ends a fit."""
        return PredictionsWithin() if self.tolerance is None else LossWithin(self.tolerance)

    def alpha_for(self, total_weight: float) -> float:
        """Return the penalty beside the mean loss.

        Args:
            total_weight: Of the rows: their number, but where classes have weights.

        Returns:
            `alpha`, or 1 / `total_weight` where it is None.
        """
        return 1.0 / total_weight if self.alpha is None else self.alpha

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        weights = self.class_weight
        return {
            "loss": self.loss,
            "power": self.power,
            "threshold": self.threshold,
            "alpha": self.alpha,
            "tolerance": self.tolerance,
            "holdout": self.holdout,
            "split": self.split,
            "class_weight": weights if isinstance(weights, str | None) else dict(weights),
            "costs": None if self.costs is None else asdict(self.costs),
            "seed": self.seed,
            "minimum_rows": self.rules.minimum_rows,
            "level_cap": self.rules.level_cap,
            "buckets": self.rules.buckets,
            "text_words": self.rules.text_words,
            "text_buckets": self.rules.text_buckets,
            "batch_size": str(self.regime),
            "positive": self.positive,
            **({} if self.model is None else {"model": self.model, "set": dict(self.set), "trust": list(self.trust)}),
        }


def installed_version() -> str:
    """Return the release that trains."""
    # Asked for here and not of the package, which may not be imported from inside: it names what is above.
    from importlib.metadata import PackageNotFoundError, version  # imported here, as there

    try:
        return version("batchlearn")
    except PackageNotFoundError:
        return "(not installed)"


def told_apart(recipe: Recipe, table: Table, ledger: Ledger) -> dict[str, str]:
    """Return all that decides what a training gives, to the last bit: no other training has the same.

    Rows are those of a ledger with lots, which are made of all values of all features.
    """
    digest = hashlib.sha256(repr(ledger.target).encode())
    arrays = [getattr(ledger, each.name) for each in fields(ledger) if each.name != "read_lots"]
    for array in (*arrays, *vars(ledger.lots).values()):
        if isinstance(array, np.ndarray):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    columns = [(column.name, column.kind.value, column.zone) for column in table.features]
    return {
        "batchlearn": installed_version(),
        "numpy": np.__version__,
        "kernels": native.name(),
        **{f"recipe {name}": str(value) for name, value in recipe.to_json().items()},
        **{f"role {name}": str(value) for name, value in asdict(table.roles).items()},
        "columns": str(columns),
        "rows": digest.hexdigest(),
    }
