"""Class weights: what the rows of each class count in the objective, and what puts probabilities right again.

A model of rows whose class k counts w_k times is a model of other rows than those there are: its probability of k is
proportional to w_k P(k | x). By Bayes' rule log w_k taken off the logit of each class gives P(k | x) back (prior
correction: Prentice and Pyke 1979; King and Zeng 2001, section 3). With an intercept in each logit that moves the
intercepts alone. It is exact where the weighted model is right about the weighted rows; otherwise the fit itself leans
towards the heavy class and what is left is an approximation, which calibration on held-out rows shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Class, Task, class_name, means
from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts

BALANCED = "balanced"
ClassWeightRule = str | Mapping[Any, float]  # by label
# Beyond these, products with other weights could overflow or vanish.
_LEAST, _MOST = 1e-100, 1e100


def check_rule(rule: object) -> None:
    """Refuse what is neither "balanced" nor a weight above 0 for each of some labels: UsageError."""
    if isinstance(rule, str) and rule == BALANCED:
        return
    if not isinstance(rule, Mapping) or not rule:
        raise UsageError(
            f'The class weights are {quoted(rule)}; they need to be "{BALANCED}" or a weight for each of some labels, '
            "such as yes=5,no=1.",
            code="class-weight-rule",
        )
    for label, weight in rule.items():
        numeric = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not numeric or not _LEAST <= weight <= _MOST:
            raise UsageError(
                f"The weight of class {quoted(label)} is {quoted(weight)}; it needs to be a number above 0 (from "
                f"{_LEAST:g} to {_MOST:g}).",
                code="class-weight-value",
            )


def weights_of_classes(
    rule: ClassWeightRule, classes: Sequence[Class], code: NDArray[np.intp], weight: Floats | None
) -> Floats:
    """Return what each class counts, shape (classes,), from the codes (rows,) and weights of the rows that count.

    "balanced" gives class k the weight (sum of weights) / (classes * sum of weights of class k), as scikit-learn does,
    so that the classes count alike and the sum stays; classes that a mapping does not name, or that no row has, count
    once. UsageError where the mapping names a label that is no class.
    """
    check_rule(rule)
    found = np.ones(len(classes))
    if isinstance(rule, str):
        totals = np.bincount(code, weight, len(classes))
        present = totals > 0.0
        found[present] = totals.sum() / (len(classes) * totals[present])
        return found
    for label, value in rule.items():
        places = [k for k, known in enumerate(classes) if means(label, known)]
        if len(places) != 1:
            raise UsageError(
                f"There is no class {quoted(label)} to give a weight; the classes are "
                f"{', '.join(quoted(class_name(known)) for known in classes)}. Write the label as it is in the table.",
                code="class-weight-label",
            )
        found[places[0]] = float(value)
    return found


def weights_of(rule: Mapping[Any, float], classes: Sequence[Class]) -> dict[Any, float]:
    """Return what the rule says of these classes alone."""
    return {label: weight for label, weight in rule.items() if any(means(label, known) for known in classes)}


def counted_by_class(
    rule: ClassWeightRule | None, ledger: Ledger, part: NDArray[np.bool_]
) -> tuple[Ledger, Floats | None]:
    """Return the ledger as a fit to the part counts its rows, and what each class counts where a rule was given.

    UsageError where the target holds no classes.
    """
    if rule is None:
        return ledger, None
    if ledger.target.task is not Task.CLASSES:
        raise UsageError(
            f"Class weights were given and '{ledger.target.column}' holds no classes (its loss is "
            f"{ledger.target.loss}); leave them out, or give rows weights with a column (--weight).",
            code="class-weight-without-classes",
        )
    weight = None if ledger.weight is None else ledger.weight[part]
    weights = weights_of_classes(rule, ledger.target.classes, ledger.label[part].astype(np.intp), weight)
    return weighted(ledger, weights), weights


def weighted(ledger: Ledger, weights: Floats) -> Ledger:
    """Return the ledger with each row's weight times that of its class; rows without a known class keep theirs."""
    known = ~np.isnan(ledger.label)
    factor = np.ones(len(ledger.label))
    factor[known] = weights[ledger.label[known].astype(np.intp)]
    return replace(ledger, weight=factor if ledger.weight is None else factor * ledger.weight)


def correction_note(classes: Sequence[Class], weights: Floats) -> Note:
    """Return what the classes counted; the probabilities were corrected for it afterwards."""
    counted = {class_name(label): float(weight) for label, weight in zip(classes, weights, strict=True)}
    return Note(Code.CLASS_WEIGHTS, {"weights": counted})


def log_odds_shift(weights: Floats) -> Floats:
    """Return what the weights add to the intercept of each predictor: log odds of two classes, contrasts of more."""
    if len(weights) == 2:
        return np.asarray([math.log(weights[1]) - math.log(weights[0])])
    return np.asarray(class_contrasts(len(weights)) @ np.log(weights))


def moved_intercepts(parameters: Floats, shift: Floats) -> Floats:
    """Return parameters whose intercepts, the first entry of each output's block, are moved by `shift` (outputs,)."""
    moved = parameters.reshape(len(shift), -1).copy()
    moved[:, 0] += shift
    return moved.ravel()
