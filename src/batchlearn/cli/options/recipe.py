"""The options that say how to train: the fields of a recipe, class weights as they are typed, and costs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from batchlearn.cli.options import flags_of
from batchlearn.data.target import Class
from batchlearn.errors import UsageError, quoted
from batchlearn.models.brought import Setting
from batchlearn.models.decision import Costs
from batchlearn.objectives.class_weights import BALANCED
from batchlearn.training.recipe import Recipe

if TYPE_CHECKING:
    RecipeFlags: TypeAlias = Recipe
    LossFlags: TypeAlias = Recipe
else:
    LossFlags = flags_of(Recipe, "loss", "power", "threshold", "alpha", "model", "set", "trust")
    _FIELDS = ("loss", "power", "threshold", "alpha", "tolerance", "batch_size", "holdout", "split")
    RecipeFlags = flags_of(Recipe, *_FIELDS, "class_weight", "positive", "model", "set", "trust")


def class_weight_rule(given: Sequence[str]) -> str | dict[Class, float] | None:
    """Read "balanced" or "yes=5,no=1"; a label that holds a comma is written in double quotes with its weight."""
    parts = [part.strip() for line in csv.reader(given, skipinitialspace=True) for part in line if part.strip()]
    if not parts or parts == [BALANCED]:
        return BALANCED if parts else None
    rule: dict[Class, float] = {}
    for part in parts:
        label, sign, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            sign = ""
        if not sign or label in rule:
            raise UsageError(
                f"--class-weight came with {quoted(part)}; it takes {BALANCED}, or each label once with its weight: "
                "yes=5,no=1.",
                code="class-weight-rule",
            )
        rule[label.strip()] = weight
    return rule


def learner_settings(given: Sequence[str]) -> dict[str, Setting]:
    """Read "n_estimators=300" and the like: numbers, true, false and none as such, all else as text."""
    found: dict[str, Setting] = {}
    for part in given:
        name, sign, text = part.partition("=")
        if not sign or not name.strip() or name.strip() in found:
            raise UsageError(
                f"--set came with {quoted(part)}; it takes each name once with its value: --set n_estimators=300.",
                code="learner-setting",
            )
        words: dict[str, Setting] = {"true": True, "false": False, "none": None, "null": None}
        value: Setting = words.get(text.strip().lower(), text.strip())
        for number in (int, float):
            if isinstance(value, str):
                with suppress(ValueError):
                    value = number(value)
        found[name.strip()] = value
    return found


def recipe_of(flags: RecipeFlags, costs: CostOptions, seed: int) -> Recipe:
    """Return the recipe that flags say."""
    given = dict(vars(flags))
    parsed = {"class_weight": class_weight_rule(given["class_weight"]), "set": learner_settings(given["set"])}
    return Recipe(**{**given, **parsed}, costs=costs.costs, seed=seed)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """What wrong decisions cost."""

    cost_false_positive: Annotated[
        float | None, Parameter(help="Cost of deciding for the positive class (--positive) where the other is true.")
    ] = None
    cost_false_negative: Annotated[
        float | None, Parameter(help="Cost of deciding for the other class where the positive one is true.")
    ] = None

    fee: Annotated[
        float | None,
        Parameter(help="Cost of a person's look at a row; rows more uncertain than that are left to people."),
    ] = None

    @property
    def costs(self) -> Costs | None:
        """The costs of wrong decisions; UsageError where one of them is missing."""
        if self.cost_false_positive is None and self.cost_false_negative is None:
            if self.fee is not None:
                raise UsageError(
                    "A --fee for a person's look at a row was given without the costs it is weighed against; add "
                    "--cost-false-positive and --cost-false-negative, in the same units.",
                    code="cost-missing",
                )
            return None
        if self.cost_false_positive is None or self.cost_false_negative is None:
            missing = "negative" if self.cost_false_negative is None else "positive"
            raise UsageError(
                f"One cost was given and --cost-false-{missing} is missing; both are needed, because only their ratio "
                "decides.",
                code="cost-missing",
            )
        return Costs(self.cost_false_positive, self.cost_false_negative, self.fee)


DEFAULT_RECIPE, ANY_LOSS, NO_COSTS = RecipeFlags(), LossFlags(), CostOptions()
