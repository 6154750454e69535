"""What model.json says: a closed description of a linear model, and the way from a model to it and back.

Nothing in a description names code: every kind of term is one of those listed here, and an unknown key is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from batchlearn.artifacts.strict_json import Malformed
from batchlearn.data.encoding import Encoding
from batchlearn.data.target import TASK_OF_LOSS, Target, power_fits
from batchlearn.errors import quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.linear import LinearModel, PredictionBounds
from batchlearn.models.term_schema import Closed, GroupSchema, Name, NumberSchema, describe_group, distinct
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Roles

FORMAT_VERSION = 1
_LEAST_MEMBERS = 2


class EncodingSchema(Closed):
    """An `Encoding`."""

    numbers: list[NumberSchema]
    groups: list[GroupSchema]
    kinds: dict[Name, Literal["number", "category", "boolean", "timestamp"]]
    left_out: dict[Name, str]

    @model_validator(mode="after")
    def _consistent(self) -> EncodingSchema:
        distinct([*(n.column for n in self.numbers), *(g.key for g in self.groups)], "the terms")
        served: list[tuple[str, tuple[str, ...]]] = [(number.column, ("number", "boolean")) for number in self.numbers]
        served += [pair for group in self.groups for pair in group.serves]
        if {column for column, _ in served} != self.kinds.keys():
            raise ValueError("the columns of the terms are not those that have a kind")
        for column, kinds in served:
            self._check_kind(column, *kinds)
        return self

    def _check_kind(self, column: str, *served: str) -> None:
        if self.kinds[column] not in served:
            raise ValueError(f"column {quoted(column)} is a {self.kinds[column]} and its term is for a {served[0]}")

    @property
    def coefficients(self) -> int:
        """The number of coefficients, the intercept included."""
        return 1 + sum(term.width for term in (*self.numbers, *self.groups))

    def encoding(self) -> Encoding:
        """Return the encoding described."""
        return Encoding(
            tuple(number.term() for number in self.numbers),
            tuple(group.term() for group in self.groups),
            {column: Kind(kind) for column, kind in self.kinds.items()},
            dict(self.left_out),
        )


class TargetSchema(Closed):
    """A `Target`."""

    column: Name
    task: Literal["classes", "number", "count", "amount"]
    classes: list[str | float | bool]
    loss: str | None = None  # files older than this field hold the first loss of their task
    power: float | None = None
    threshold: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _consistent(self) -> TargetSchema:
        distinct(self.classes, "the classes")
        number, needed = len(self.classes), _LEAST_MEMBERS if self.task == "classes" else 0
        if not (number > needed if self.loss == "softmax" else number == needed):
            raise ValueError(f"a target of {self.task} has {len(self.classes)} classes")
        if self.loss is not None and TASK_OF_LOSS.get(self.loss) != self.task:
            raise ValueError(f"the loss {quoted(self.loss)} is none of {self.task}")
        if (self.threshold is not None) != (self.loss == "huber"):
            raise ValueError(f"the threshold {self.threshold!r} does not go with the loss {quoted(self.loss)}")
        if len({type(value) for value in self.classes}) > 1:
            raise ValueError("the classes are of two types")
        if (self.power is not None) != (self.loss == "tweedie") or not power_fits(self.power):
            raise ValueError(f"the power {self.power!r} does not go with the loss {quoted(self.loss)}")
        return self


class RolesSchema(Closed):
    """The `Roles` of the table that was learned from."""

    target: Name | None
    time: Name | None
    group: Name | None
    weight: Name | None
    offset: Name | None
    exposure: Name | None
    drop: list[Name]


class CostsSchema(Closed):
    """The `Costs` of wrong decisions."""

    false_positive: float = Field(ge=1e-100, le=1e100)
    false_negative: float = Field(ge=1e-100, le=1e100)
    fee: float | None = Field(default=None, ge=0.0)  # files older than this field leave nothing to people


class BoundsSchema(Closed):
    """The scalars of `PredictionBounds`; `inverse` says whether the inverse Hessian is kept."""

    radius: float = Field(ge=0.0)
    form_error: float = Field(ge=0.0)
    inverse: bool


class ModelSchema(Closed):
    """Everything in model.json; `record` is what the fit has to say about itself, in plain values."""

    format_version: Literal[1]
    kind: Literal["linear"]
    encoding: EncodingSchema
    target: TargetSchema
    roles: RolesSchema
    label_mean: float
    class_shares: list[float] = Field(default_factory=list)
    standard_errors: bool
    level_moments: bool = False  # files older than this field have none
    bounds: BoundsSchema | None
    costs: CostsSchema | None = None  # files older than this field decide at one half
    record: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> ModelSchema:
        classes = len(self.target.classes)
        if self.costs is not None and classes != _LEAST_MEMBERS:
            raise ValueError(f"there are costs of decisions between {classes} classes")
        if len(self.class_shares) != (classes if classes > _LEAST_MEMBERS else 0):
            raise ValueError(f"{len(self.class_shares)} shares for {classes} classes")
        return self

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays that belong to the description, by name."""
        classes = len(self.target.classes)
        several = classes > _LEAST_MEMBERS
        size = self.encoding.coefficients * (classes - 1 if several else 1)
        shapes: dict[str, tuple[int, ...]] = {"parameters": (size,)}
        if self.standard_errors:
            shapes["standard_errors"] = (self.encoding.coefficients * (classes if several else 1),)
        if self.level_moments:
            squares = sum(group.width**2 for group in self.encoding.groups)
            shapes["level_moments"] = (classes if several else 1, squares)
        if self.bounds is not None:
            shapes["bounds.norms"] = (size,)
            if self.bounds.inverse:
                shapes["bounds.inverse"] = (size, size)
                shapes["bounds.inverse_square_scale"] = (size,)
        return shapes


def parse_schema(value: object) -> ModelSchema:
    """Check a description; Malformed where it is none."""
    try:
        return ModelSchema.model_validate(value)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Malformed(f"{quoted(where)}: {quoted(first['msg'], 200)}") from problem


def describe(model: LinearModel, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a model, unchecked."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": "linear",
        "encoding": _describe_encoding(model.encoding),
        "target": {
            "column": model.target.column,
            "task": model.target.task.value,
            "classes": list(model.target.classes),
            "loss": model.target.loss,
            "power": model.target.power,
            "threshold": model.target.threshold,
        },
        "roles": {
            "target": model.roles.target,
            "time": model.roles.time,
            "group": model.roles.group,
            "weight": model.roles.weight,
            "offset": model.roles.offset,
            "exposure": model.roles.exposure,
            "drop": list(model.roles.drop),
        },
        "label_mean": model.label_mean,
        "class_shares": list(model.class_shares),
        "standard_errors": model.standard_errors is not None,
        "level_moments": model.level_moments is not None,
        "bounds": None
        if model.bounds is None
        else {
            "radius": model.bounds.radius,
            "form_error": model.bounds.form_error,
            "inverse": _keeps_inverse(model.bounds),
        },
        "costs": None if model.costs is None else asdict(model.costs),
        "record": dict(record),
    }


def _describe_encoding(encoding: Encoding) -> dict[str, Any]:
    return {
        "numbers": [
            {
                "column": term.column,
                "mean": term.mean,
                "deviation": term.deviation,
                "low": term.low,
                "high": term.high,
                "missing_share": term.missing_share,
            }
            for term in encoding.numbers
        ],
        "groups": [describe_group(group) for group in encoding.groups],
        "kinds": {column: kind.value for column, kind in encoding.kinds.items()},
        "left_out": dict(encoding.left_out),
    }


def _keeps_inverse(bounds: PredictionBounds) -> bool:
    return bounds.inverse is not None and bounds.inverse_square_scale is not None


def tensors_of(model: LinearModel) -> dict[str, Floats]:
    """Return the arrays of a model under the names that its description gives them."""
    arrays = {"parameters": model.parameters}
    if model.standard_errors is not None:
        arrays["standard_errors"] = model.standard_errors
    if model.level_moments is not None:
        arrays["level_moments"] = model.level_moments
    if model.bounds is not None:
        arrays["bounds.norms"] = model.bounds.norms
        if model.bounds.inverse is not None and model.bounds.inverse_square_scale is not None:
            arrays["bounds.inverse"] = model.bounds.inverse
            arrays["bounds.inverse_square_scale"] = model.bounds.inverse_square_scale
    return arrays


def restore(schema: ModelSchema, arrays: Mapping[str, Floats]) -> LinearModel:
    """Return the model that a description and its arrays stand for; Malformed where what must not be negative is."""
    for key in ("standard_errors", "bounds.norms", "bounds.inverse_square_scale"):
        if key in arrays and np.any(arrays[key] < 0.0):
            raise Malformed(f"the array {quoted(key)} holds a value below 0")
    bounds = None
    if schema.bounds is not None:
        bounds = PredictionBounds(
            schema.bounds.radius,
            arrays["bounds.norms"],
            arrays.get("bounds.inverse"),
            arrays.get("bounds.inverse_square_scale"),
            schema.bounds.form_error,
        )
    loss = schema.target.loss or next(loss for loss, task in TASK_OF_LOSS.items() if task == schema.target.task)
    stored, roles = schema.target, schema.roles
    target = Target(stored.column, loss, tuple(stored.classes), stored.power, stored.threshold)
    return LinearModel(
        schema.encoding.encoding(),
        target,
        arrays["parameters"],
        Roles(roles.target, roles.time, roles.group, roles.weight, roles.offset, roles.exposure, tuple(roles.drop)),
        schema.label_mean,
        arrays.get("standard_errors"),
        bounds,
        None if schema.costs is None else Costs(**dict(schema.costs)),
        tuple(schema.class_shares),
        arrays.get("level_moments"),
    )
