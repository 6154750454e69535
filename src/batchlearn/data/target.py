"""The target: what a column of labels means, and how its values become numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from numbers import Real
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.artifacts.checks import Checked
from batchlearn.errors import DataError, UsageError, in_shell, quoted
from batchlearn.formatting.numbers import count
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Column, Kind, floats
from batchlearn.tables.conditions import identifier
from batchlearn.tables.table import Table

Class = str | float | bool


class Task(StrEnum):
    """What is predicted."""

    CLASSES = "classes"
    NUMBER = "number"
    COUNT = "count"
    AMOUNT = "amount"


# Which task each loss serves; the first of a task is its default.
TASK_OF_LOSS = {
    "logistic": Task.CLASSES,
    "softmax": Task.CLASSES,
    "squared": Task.NUMBER,
    "huber": Task.NUMBER,
    "poisson": Task.COUNT,
    "gamma": Task.AMOUNT,
    "tweedie": Task.AMOUNT,
}


MOST_CLASSES = 200
_TWO = 2
# Of two classes the one that is called so is the positive one, in whatever case.
_AFFIRMED = frozenset({"1", "true", "yes"})


def power_fits(power: float | None) -> bool:
    """Whether a Tweedie power is a number between 1 and 2, or is not given."""
    return power is None or (isinstance(power, Real) and 1.0 < power < 2.0)


@dataclass(frozen=True)
class Target:
    """A column of labels and the loss that it is learned with; its classes in order where it holds classes.

    Of two classes the second is the positive one. `power` is the Tweedie loss's own, between 1 and 2, and `threshold`
    the Huber loss's, above 0 and in units of the label; None for other losses, and where still to be chosen by data.
    """

    column: str
    loss: str
    classes: tuple[Class, ...] = ()
    power: float | None = None
    threshold: Annotated[float, Checked(gt=0.0)] | None = None

    def check_learned(self) -> None:
        """Refuse a target that no model could have learned: ValueError. Nothing is left to choose by then."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("the classes are not distinct")
        if len({type(value) for value in self.classes}) > 1:
            raise ValueError("the classes are of two types")
        number, needed = len(self.classes), _TWO if self.task is Task.CLASSES else 0
        if not (number > needed if self.loss == "softmax" else number == needed):
            raise ValueError(f"the loss {quoted(self.loss)} has {number} classes")
        if (self.threshold is not None) != (self.loss == "huber"):
            raise ValueError(f"the threshold {self.threshold!r} does not go with the loss {quoted(self.loss)}")
        if (self.power is not None) != (self.loss == "tweedie") or not power_fits(self.power):
            raise ValueError(f"the power {self.power!r} does not go with the loss {quoted(self.loss)}")

    @property
    def task(self) -> Task:
        """What is predicted."""
        return TASK_OF_LOSS[self.loss]

    @property
    def scored_as(self) -> Literal["classes", "multiclass", "number", "count", "amount"]:
        """Which metrics judge it: those of the task; of more than two classes "multiclass"."""
        return "multiclass" if len(self.classes) > _TWO else self.task.value

    def encode(self, array: pa.Array) -> tuple[Floats, NDArray[np.bool_]]:
        """Return labels as numbers (NaN where there is none), and which rows hold a class never seen in training."""
        if self.task is not Task.CLASSES:
            return floats(array), np.zeros(len(array), dtype=bool)
        values, numbers = self._known(array)
        label = np.full(len(values), np.nan)
        for code, known in enumerate(self.classes):
            label[values == known] = float(code)
        unseen = np.isnan(label) & np.asarray([value is not None for value in values], dtype=bool)
        return label[numbers], unseen[numbers]

    def values(self, array: pa.Array) -> NDArray[np.object_]:
        """Return the labels of a column as objects, None where missing: texts without outer spaces."""
        values, numbers = self._known(array)
        return np.asarray(values[numbers], dtype=object)

    def _known(self, array: pa.Array) -> tuple[NDArray[np.object_], NDArray[np.integer[Any]]]:
        values, numbers = _coded(array)
        # Models of before outer spaces were taken off may tell classes apart by them.
        if not any(value != without_spaces(value) for value in self.classes):
            values = np.asarray([*map(without_spaces, values)], dtype=object)
        return values, numbers


def class_name(value: object) -> str:
    """Write a class: 1 and not 1.0, text as it is."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_spaces(value: Any) -> Any:
    """Return a label as it is told from others: text without outer spaces, all else as it is."""
    return value.strip() if isinstance(value, str) else value


def means(label: Class, known: Class) -> bool:
    """Say whether a label that a person wrote means a class: "1" is 1.0, "true" is True, outer spaces are nothing."""
    if isinstance(label, str) and not isinstance(known, str):
        return label.strip().lower() == class_name(known).lower()
    return without_spaces(label) == without_spaces(known) and isinstance(label, str) == isinstance(known, str)


def affirmed(classes: Sequence[Class]) -> Class | None:
    """Return the one of two classes that is 1, true or yes; None where that is neither or both."""
    found = [known for known in classes if class_name(known).strip().casefold() in _AFFIRMED]
    return found[0] if len(found) == 1 else None


def _coded(array: pa.Array) -> tuple[NDArray[np.object_], NDArray[np.integer[Any]]]:
    """Return the values that occur, last None for missing ones, and the number of each row's among them."""
    coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    values = np.asarray([*coded.dictionary.to_pylist(), None], dtype=object)
    return values, pc.fill_null(coded.indices, len(values) - 1).to_numpy(zero_copy_only=False)


def infer_target(column: Column, found: Sequence[Class], loss: str | None) -> Target:
    """Return the target of a column whose distinct values are `found` (at most a handful are needed).

    Text, booleans and two values are classes; other numbers are a regression; `loss` decides otherwise. Raises
    DataError where there is one class or too many, and UsageError where the loss does not fit the column.
    """
    if not found:
        raise DataError(
            f"Column '{column.name}' holds no label at all; labels are needed to learn from.", code="no-labels"
        )
    two = len(found) == _TWO
    task = TASK_OF_LOSS[loss] if loss else (Task.NUMBER if column.kind is Kind.NUMBER and not two else Task.CLASSES)
    if column.kind is Kind.TIMESTAMP:
        raise DataError(f"Column '{column.name}' holds times; a target needs classes or numbers.", code="target-kind")
    if len(found) == 1 and (loss is None or task is Task.CLASSES):
        raise DataError(
            f"Column '{column.name}' holds one class only ({quoted(found[0])}); two are needed to tell apart, or "
            "numbers that differ.",
            code="one-class",
        )
    if task is not Task.CLASSES:
        if column.kind is Kind.CATEGORY:
            raise UsageError(
                f"Column '{column.name}' holds text; --loss {loss} needs numbers. Leave --loss out for classes.",
                code="loss-for-classes",
            )
        return Target(column.name, loss or "squared")
    if len(found) > MOST_CLASSES:
        numbers = column.kind is not Kind.CATEGORY
        regression = "For a regression use --loss squared, poisson, gamma or tweedie. " if numbers else ""
        raise DataError(
            f"Column '{column.name}' holds more than {MOST_CLASSES} classes; no more are learned at once. "
            f"{regression}To tell one class from the rest, make a column of it.",
            code="many-classes",
        )
    if loss == "logistic" and not two:
        raise UsageError(
            f"Column '{column.name}' holds {len(found)} classes; --loss logistic tells two apart. Use --loss softmax "
            "for more.",
            code="loss-for-two",
        )
    return Target(column.name, "logistic" if two else "softmax", tuple(sorted(found)))


def loss_of_rate(column: Column, exposure: str | None, loss: str | None) -> str | None:
    """Return the loss as given; where an exposure makes the label a rate, the Poisson loss unless another is given.

    The logarithm of an exposure is part of a predictor that is a logarithm itself: other losses refuse it, UsageError.
    """
    if exposure is None or (loss is not None and TASK_OF_LOSS[loss] in (Task.COUNT, Task.AMOUNT)):
        return loss
    if loss is None and column.kind is not Kind.CATEGORY:
        return "poisson"
    came = f"'{column.name}' holds text" if loss is None else f"--loss {loss} has no log link"
    raise UsageError(
        f"Column '{exposure}' is an exposure, which makes the label a count or an amount for each unit of it, and "
        f"{came}; a rate needs numbers and --loss poisson, gamma or tweedie. Leave --exposure out, or give --offset a "
        "column that is added to the predictor as it is.",
        code="exposure-loss",
    )


def with_positive(
    target: Target,
    label: Floats,
    weight: Floats | None,
    positive: Class | None,
    before: Target | None,
) -> Target:
    """Return a target with the positive one of two classes second, whose probability is predicted.

    That is `positive` where it is given, else that of an earlier version, `before`, else the one that is 1, true or
    yes, else the rarer one by weight, and of equally frequent ones the later. `label` and `weight` have one entry a row
    that counts, (n,). Raises UsageError where there are no two classes, no such class, or another is fixed.
    """
    classes = target.classes
    if len(classes) != _TWO:
        check_positive(target, positive)
        return target
    kept = before is not None and set(before.classes) == set(classes)
    if before is not None and kept:
        classes = tuple(sorted(classes, key=before.classes.index))
        check_positive(replace(target, classes=classes), positive)
        return replace(target, classes=classes)
    if positive is not None:
        chosen = [known for known in classes if means(positive, known)]
        if not chosen:
            raise UsageError(
                f"The positive class is to be {quoted(positive)}, and '{target.column}' holds "
                f"{' and '.join(quoted(class_name(known)) for known in classes)}. Give --positive one of them.",
                code="positive-unknown",
            )
    else:
        first, second = (
            float(np.sum(label == code)) if weight is None else math.fsum(weight[label == code]) for code in (0.0, 1.0)
        )
        said = affirmed(classes)
        chosen = [classes[int(second <= first)] if said is None else said]
    return replace(target, classes=(*(known for known in classes if known != chosen[0]), chosen[0]))


def check_positive(target: Target, positive: Class | None) -> None:
    """Refuse a positive class for a target that has no two classes, or whose positive class is another: UsageError."""
    if positive is None:
        return
    if len(target.classes) != _TWO:
        what = f"holds {len(target.classes)} classes" if target.classes else f"is predicted by the {target.loss} loss"
        raise UsageError(
            f"The positive class is to be {quoted(positive)}, and '{target.column}' {what}; one of two classes can be "
            "positive. Leave --positive out.",
            code="positive-without-two-classes",
        )
    if not means(positive, target.classes[1]):
        raise UsageError(
            f"The positive class is to be {quoted(positive)}, and the versions of this project predict the probability "
            f"of {quoted(class_name(target.classes[1]))}: the first one fixed it, so that all are about the same. Take "
            "positive out of [recipe], or make another project.",
            code="positive-fixed",
        )


def check_spellings(target: Target, table: Table) -> None:
    """Refuse classes that differ in the case of letters alone: DataError, with the condition that leaves some out.

    The table is read again only to refuse it: a condition compares texts as they are stored, with their outer spaces.
    """
    spellings: dict[str, list[str]] = {}
    for known in target.classes:
        if isinstance(known, str):
            spellings.setdefault(known.casefold(), []).append(known)
    several = [alike for alike in spellings.values() if len(alike) > 1]
    if not several:
        return
    stored, rows = Counter[str](), Counter[str]()
    for batch in replace(table, outer_spaces=True).scan([target.column]):
        labels = batch.column(0).dictionary_decode().drop_null()
        stored.update({one["values"]: one["counts"] for one in pc.value_counts(labels).to_pylist()})
    for label, number in stored.items():
        rows[label.strip()] += number
    ranked = [sorted(alike, key=lambda one: (-rows[one], one)) for alike in several]
    shown = "; ".join(" and ".join(f"{quoted(one)} in {count(rows[one], 'row')}" for one in alike) for alike in ranked)
    rarer = {one for alike in ranked for one in alike[1:]}
    listed = ", ".join("'" + label.replace("'", "''") + "'" for label in sorted(stored) if label.strip() in rarer)
    name = target.column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", target.column) else identifier(target.column)
    kept = (
        f"{name} not in ({listed})" if table.condition is None else f"({table.condition}) and {name} not in ({listed})"
    )
    raise DataError(
        f"Labels of column '{target.column}' differ in the case of letters alone: {shown}. Each label needs one "
        f"spelling: write them alike in the file, or leave the rarer spellings out with --where {in_shell(kept)}",
        code="labels-by-case",
    )


def check_offset(target: Target, table: Table) -> None:
    """Refuse an offset or an exposure beside more than two classes: UsageError."""
    named = table.roles.offset or table.roles.exposure
    if len(target.classes) > 2 and named is not None:
        raise UsageError(
            f"Column '{named}' is to be added to the predictor, but there is one for each of the "
            f"{len(target.classes)} classes; offsets and exposures need one. Leave the role out.",
            code="offset-classes",
        )
