"""A model of a comparison, as it is named, and how it is trained."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from batchlearn.errors import UsageError, quoted
from batchlearn.models.brought import Setting
from batchlearn.training.recipe import Recipe

ADDITIVE, LINEAR = "additive", "linear"


@dataclass(frozen=True)
class ModelEntry:
    """A model of a comparison.

    Args:
        name: "additive" for what `train` fits unless told otherwise (linear where that serves), "linear" for the
            columns as they are under one penalty, or the import path of an estimator as `Recipe.model` takes it.
        settings: What is set of an estimator, by name.

    Example:
        >>> from batchlearn.comparison.model_entry import ModelEntry
        >>> ModelEntry("lightgbm.LGBMRegressor", {"objective": "poisson"}).title
        'lightgbm.LGBMRegressor(objective=poisson)'
    """

    name: str
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called in the comparison."""
        given = ",".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name}({given})" if given else self.name

    def recipe(self, given: Recipe, total_weight: float) -> Recipe:
        """Return how it is trained.

        Args:
            given: What all models of the comparison have in common.
            total_weight: Of the rows that it is trained on.
        """
        recipe = replace(given, holdout=0.0, alpha=None, model=None)
        if self.name == LINEAR:
            return replace(recipe, alpha=given.alpha_for(total_weight))
        return recipe if self.name == ADDITIVE else replace(recipe, model=self.name, set=self.settings)

    def check(self) -> None:
        """Refuse, before anything is trained, a name that is neither one of ours nor a path: UsageError."""
        if self.name in (ADDITIVE, LINEAR) or set(".:") & set(self.name):
            return
        close = difflib.get_close_matches(self.name, (ADDITIVE, LINEAR), n=1)
        advice = (
            f"did you mean {quoted(close[0])}?"
            if close
            else f"{ADDITIVE} and {LINEAR} are ours; any other is an import path such as lightgbm.LGBMClassifier."
        )
        raise UsageError(f"There is no model {quoted(self.name)}; {advice}", code="learner-path")
