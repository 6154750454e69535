"""What model.json says: a closed description of a linear model, and the way from a model to it and back.

Nothing in a description names code: every kind of term is one of those listed here, and an unknown key is refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from batchlearn.data.columns import Kind
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, NumberTerm
from batchlearn.data.profile import CALENDAR_PARTS
from batchlearn.data.table import Roles
from batchlearn.data.target import Target, Task
from batchlearn.errors import quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel, PredictionBounds
from batchlearn.models.strict_json import Malformed

FORMAT_VERSION = 1
_LONGEST_NAME = 512
_MOST_BUCKETS = 1 << 20
_LEAST_MEMBERS = 2
# Control characters, lone surrogates, line and paragraph separators; and what reorders the text around it.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"the name {quoted(name)} has {len(name):,} characters; {_LONGEST_NAME} is the most")
    if any(unicodedata.category(sign) in _UNPRINTABLE or sign in _REORDERING for sign in name):
        raise ValueError(f"the name {quoted(name)} has a character that cannot be printed")
    return name


def _distinct(values: Iterable[Hashable], what: str) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise ValueError(f"{what} are not distinct")


Name = Annotated[str, AfterValidator(_name)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class NumberSchema(_Closed):
    """A `NumberTerm`."""

    column: Name
    mean: float
    deviation: float = Field(gt=0.0)
    low: float
    high: float
    missing_share: float = Field(ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _ordered(self) -> NumberSchema:
        if self.low > self.high:
            raise ValueError(f"the range of {quoted(self.column)} ends before it begins")
        return self

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return 2 if self.missing_share > 0.0 else 1

    def term(self) -> NumberTerm:
        """Return the term described."""
        return NumberTerm(self.column, self.mean, self.deviation, self.low, self.high, self.missing_share)


class LevelSchema(_Closed):
    """A `LevelTerm`."""

    kind: Literal["category"]
    column: Name
    levels: list[str]
    buckets: int = Field(ge=0, le=_MOST_BUCKETS)
    rare: bool
    missing: bool
    reference: str | None

    @model_validator(mode="after")
    def _consistent(self) -> LevelSchema:
        known = [*self.levels, *([] if self.reference is None else [self.reference])]
        _distinct(known, f"the levels of {quoted(self.column)}")
        if self.rare and self.buckets:
            raise ValueError(f"the rare levels of {quoted(self.column)} are both pooled and hashed")
        return self

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.levels) + self.buckets + self.rare + self.missing

    def term(self) -> LevelTerm:
        """Return the term described."""
        return LevelTerm(self.column, tuple(self.levels), self.buckets, self.rare, self.missing, self.reference)


class CalendarSchema(_Closed):
    """A `CalendarTerm`."""

    kind: Literal["calendar"]
    column: Name
    part: Literal["hour", "weekday", "month"]
    values: list[int]
    missing: bool
    reference: int | None

    @model_validator(mode="after")
    def _consistent(self) -> CalendarSchema:
        known = [*self.values, *([] if self.reference is None else [self.reference])]
        _distinct(known, f"the values of {self.part}({quoted(self.column)})")
        if any(not 0 <= value < CALENDAR_PARTS[self.part] for value in known):
            raise ValueError(f"a value of {self.part}({quoted(self.column)}) is no {self.part}")
        return self

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.values) + self.missing

    def term(self) -> CalendarTerm:
        """Return the term described."""
        return CalendarTerm(self.column, self.part, tuple(self.values), self.missing, self.reference)


class EncodingSchema(_Closed):
    """An `Encoding`."""

    numbers: list[NumberSchema]
    groups: list[Annotated[LevelSchema | CalendarSchema, Field(discriminator="kind")]]
    kinds: dict[Name, Literal["number", "category", "boolean", "timestamp"]]
    left_out: dict[Name, str]

    @model_validator(mode="after")
    def _consistent(self) -> EncodingSchema:
        terms = [(number.column, "") for number in self.numbers]
        terms += [(g.column, g.part if isinstance(g, CalendarSchema) else "") for g in self.groups]
        _distinct(terms, "the terms")
        if {column for column, _ in terms} != self.kinds.keys():
            raise ValueError("the columns of the terms are not those that have a kind")
        for number in self.numbers:
            self._check_kind(number.column, "number", "boolean")
        for group in self.groups:
            self._check_kind(group.column, "category" if isinstance(group, LevelSchema) else "timestamp")
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


class TargetSchema(_Closed):
    """A `Target`."""

    column: Name
    task: Literal["classes", "number", "count"]
    classes: list[str | float | bool]

    @model_validator(mode="after")
    def _consistent(self) -> TargetSchema:
        _distinct(self.classes, "the classes")
        if len(self.classes) != (_LEAST_MEMBERS if self.task == "classes" else 0):
            raise ValueError(f"a target of {self.task} has {len(self.classes)} classes")
        if len({type(value) for value in self.classes}) > 1:
            raise ValueError("the classes are of two types")
        return self


class RolesSchema(_Closed):
    """The `Roles` of the table that was learned from."""

    target: Name | None
    time: Name | None
    group: Name | None
    weight: Name | None
    offset: Name | None
    exposure: Name | None
    drop: list[Name]


class BoundsSchema(_Closed):
    """The scalars of `PredictionBounds`; `inverse` says whether the inverse Hessian is kept."""

    radius: float = Field(ge=0.0)
    form_error: float = Field(ge=0.0)
    inverse: bool


class ModelSchema(_Closed):
    """Everything in model.json; `record` is what the fit has to say about itself, in plain values."""

    format_version: Literal[1]
    kind: Literal["linear"]
    encoding: EncodingSchema
    target: TargetSchema
    roles: RolesSchema
    label_mean: float
    standard_errors: bool
    bounds: BoundsSchema | None
    record: dict[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays that belong to the description, by name."""
        size = self.encoding.coefficients
        shapes: dict[str, tuple[int, ...]] = {"parameters": (size,)}
        if self.standard_errors:
            shapes["standard_errors"] = (size,)
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
        "standard_errors": model.standard_errors is not None,
        "bounds": None
        if model.bounds is None
        else {
            "radius": model.bounds.radius,
            "form_error": model.bounds.form_error,
            "inverse": _keeps_inverse(model.bounds),
        },
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
        "groups": [_describe_group(group) for group in encoding.groups],
        "kinds": {column: kind.value for column, kind in encoding.kinds.items()},
        "left_out": dict(encoding.left_out),
    }


def _describe_group(group: LevelTerm | CalendarTerm) -> dict[str, Any]:
    shared = {"kind": group.kind, "column": group.column, "missing": group.missing, "reference": group.reference}
    if isinstance(group, LevelTerm):
        return {**shared, "levels": list(group.levels), "buckets": group.buckets, "rare": group.rare}
    return {**shared, "part": group.part, "values": list(group.values)}


def _keeps_inverse(bounds: PredictionBounds) -> bool:
    return bounds.inverse is not None and bounds.inverse_square_scale is not None


def tensors_of(model: LinearModel) -> dict[str, Floats]:
    """Return the arrays of a model under the names that its description gives them."""
    arrays = {"parameters": model.parameters}
    if model.standard_errors is not None:
        arrays["standard_errors"] = model.standard_errors
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
    target = Target(schema.target.column, Task(schema.target.task), tuple(schema.target.classes))
    roles = schema.roles
    return LinearModel(
        schema.encoding.encoding(),
        target,
        arrays["parameters"],
        Roles(roles.target, roles.time, roles.group, roles.weight, roles.offset, roles.exposure, tuple(roles.drop)),
        schema.label_mean,
        arrays.get("standard_errors"),
        bounds,
    )
