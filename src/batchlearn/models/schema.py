"""What model.json says: a closed description of a linear model, and the way from a model to it and back.

A description is the model's own values, written field by field in their order and checked as they are read: the types
and ranges beside the fields, and what a value checks of itself when it is made. Nothing in it names code: every kind of
term is one of those that `data.encoding` lists, and an unknown key is refused.

To add a field, give it to the dataclass that holds it, with its type and range, and say in `_LATER` what files of the
formats before mean by lacking it: one line there. It is then written, read and checked like the others, and demanded of
files of the new `FORMAT_VERSION`.
"""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batchlearn.artifacts.strict_json import Malformed
from batchlearn.data.encoding import Encoding
from batchlearn.data.target import TASK_OF_LOSS, Target, Task
from batchlearn.errors import quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.bounds import PredictionBounds
from batchlearn.models.brought import BroughtModel, LearnerRecord
from batchlearn.models.decision import Costs
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.folder import LEARNERS
from batchlearn.models.linear import LinearModel
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Roles

FORMAT_VERSION = 2
# What files mean by a field they lack, by the last format in which that may be, and by part of the description ("" is
# the whole, "category" every term of that kind). Format 1 grew while nothing was released: the loss is then the first
# one of the task. Its models do not say how columns are read: they are read as they are found.
_LATER: dict[int, dict[str, dict[str, Any]]] = {
    1: {
        "": {
            "class_shares": [],
            "level_moments": False,
            "costs": None,
            "weight_constant": 1.0,
            "offset_constant": None,
            "outer_spaces": True,
            "readings": {},
            "text_encoding": None,
        },
        "roles": {"weight_kind": None, "text": []},
        "target": {"loss": None, "power": None, "threshold": None},
        "costs": {"fee": None},
        # Calendar parts were those of UTC.
        "encoding": {"texts": [], "zones": {}},
        "category": {"pooled": None},
    },
}
_LONGEST_NAME = 512
# Control characters, lone surrogates, line and paragraph separators; and what reorders the text around it.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _Closed(BaseModel):
    """A description that refuses what it does not know, and so do the dataclasses in it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, defer_build=True)


class BoundsSchema(_Closed):
    """The scalars of `PredictionBounds`; `inverse` says whether the inverse Hessian is kept."""

    radius: Annotated[float, Field(ge=0.0)]
    form_error: Annotated[float, Field(ge=0.0)]
    inverse: bool


class ModelSchema(_Closed):
    """What model.json says of any model; `record` is what the fit has to say about itself, in plain values."""

    format_version: Literal[2]
    encoding: Encoding
    target: Target
    roles: Roles
    weight_constant: Annotated[float, Field(gt=0.0)]
    label_mean: float
    class_shares: tuple[float, ...]
    offset_constant: float | None
    outer_spaces: bool
    costs: Costs | None
    readings: Mapping[str, ColumnReading]
    text_encoding: str | None
    record: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> ModelSchema:
        self.target.check_learned()
        classes = len(self.target.classes)
        if self.costs is not None and classes != 2:
            raise ValueError(f"there are costs of decisions between {classes} classes; they need two")
        if len(self.class_shares) != (classes if classes > 2 else 0):
            raise ValueError(f"{len(self.class_shares)} shares for {classes} classes")
        roles = self.roles
        of_roles = (roles.target, roles.time, roles.group, roles.weight, roles.offset, roles.exposure)
        named = (*filter(None, of_roles), *roles.drop, *roles.text)
        _check_names([self.target.column, *self.encoding.kinds, *self.encoding.left_out, *self.readings, *named])
        for name, kind in self.encoding.kinds.items() if self.readings else ():
            if name not in self.readings or self.readings[name].kind is not kind:
                raise ValueError(f"column {quoted(name)} is a {kind} and no reading says so")
        return self

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays that belong to the description, by name."""
        return {}

    @property
    def learner_file(self) -> str | None:
        """The file that holds the estimator; None where there is none."""
        return None


class LinearSchema(ModelSchema):
    """Everything in model.json of a linear model."""

    # Built where this is imported, which is beside a training; few models are of the other kind.
    model_config = ConfigDict(defer_build=False)

    kind: Literal["linear"]
    standard_errors: bool
    level_moments: bool
    bounds: BoundsSchema | None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays that belong to the description, by name."""
        layout, classes = self.encoding.layout, len(self.target.classes)
        several = classes > 2
        size = layout.size * (classes - 1 if several else 1)
        shapes: dict[str, tuple[int, ...]] = {"parameters": (size,)}
        if self.standard_errors:
            shapes["standard_errors"] = (layout.size * (classes if several else 1),)
        if self.level_moments:
            shapes["level_moments"] = (classes if several else 1, sum(width**2 for width in layout.groups))
        if self.bounds is not None:
            shapes["bounds.norms"] = (size,)
            if self.bounds.inverse:
                shapes["bounds.inverse"] = (size, size)
                shapes["bounds.inverse_square_scale"] = (size,)
        return shapes


class BroughtSchema(ModelSchema):
    """Everything in model.json of an estimator of the user's; its own file lies beside it."""

    kind: Literal["brought"]
    learner: LearnerRecord

    @property
    def learner_file(self) -> str | None:
        """The file that holds the estimator; None where it is rebuilt."""
        return None if self.learner.kept_by is None else LEARNERS[self.learner.kept_by]


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if len(name) > _LONGEST_NAME:
            raise ValueError(f"the name {quoted(name)} has {len(name):,} characters; {_LONGEST_NAME} is the most")
        if any(unicodedata.category(sign) in _UNPRINTABLE or sign in _REORDERING for sign in name):
            raise ValueError(f"the name {quoted(name)} has a character that cannot be printed")


def parse_schema(value: object) -> LinearSchema | BroughtSchema:
    """Check a description, in plain values as JSON gives them; Malformed says what is wrong with which part."""
    current = _as_written_today(value)
    try:
        # As text, because the strict reading of Python values takes no list for a tuple.
        brought = isinstance(current, dict) and current.get("kind") == "brought"
        kind: type[LinearSchema | BroughtSchema] = BroughtSchema if brought else LinearSchema
        schema = kind.model_validate_json(json.dumps(current))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where, came = quoted(".".join(map(str, first["loc"]))), first["input"]
        if first["type"] == "value_error":
            raise Malformed(f"{where}: {quoted(first['ctx']['error'], 200)}") from problem
        given = "" if isinstance(came, dict | list) else f" is {quoted(came)}"
        raise Malformed(f"{where}{given}: {quoted(first['msg'], 200)}") from problem
    for key in _missing(current, schema.model_dump(mode="json", exclude={"record"})):
        raise Malformed(f"{quoted(key)} is missing")
    return schema


def _as_written_today(value: object) -> object:
    """Return a description of any age with the fields that it is too old to have, and none but those of today."""
    if not isinstance(value, dict):
        return value
    current, version = copy.deepcopy(value), value.get("format_version")
    if type(version) is int and 1 <= version < FORMAT_VERSION:
        current["format_version"] = FORMAT_VERSION
    parts = [parts for last, parts in _LATER.items() if type(version) is int and version <= last]
    for part, later in (each for of in parts for each in of.items()):
        for described in _described(current, part):
            described.update({key: meaning for key, meaning in later.items() if key not in described})
    if isinstance(current.get("target"), dict):
        target = current["target"] = dict(current["target"])
        task, loss = target.pop("task", None), target.get("loss")
        if task not in list(Task):
            raise Malformed(f"'target.task' is {quoted(task)}; needed is one of {', '.join(Task)}")
        if loss is None:
            target["loss"] = next(first for first, served in TASK_OF_LOSS.items() if served == task)
        elif not isinstance(loss, str) or TASK_OF_LOSS.get(loss) != task:
            raise Malformed(f"'target.loss' is {quoted(loss)}, which is no loss for {task}")
    return current


def _described(current: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    """Yield the descriptions of a part, as `_LATER` names it: none where there is none, or where it is malformed."""
    if part == "":
        yield current
    elif part != "category":
        yield from (found for found in [current.get(part)] if isinstance(found, dict))
    else:
        encoding = current.get("encoding")
        groups = encoding.get("groups") if isinstance(encoding, dict) else None
        given = [group for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []
        for term in (*given, *(group.get(half) for group in given for half in ("first", "second"))):
            if isinstance(term, dict) and term.get("kind") == part:
                yield term


def _missing(given: Any, full: Any, place: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the keys of a description in full that the one given lacks: a default in code is none in a file."""
    if isinstance(full, dict):
        for key, value in full.items():
            if key in given:
                yield from _missing(given[key], value, (*place, key))
            else:
                yield ".".join((*place, key))
    elif isinstance(full, list) and full and isinstance(full[0], dict):
        for number, parts in enumerate(zip(given, full, strict=True)):
            yield from _missing(*parts, (*place, str(number)))


def describe(model: EncodedModel, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a model, unchecked, in values that JSON can hold."""
    target, kind, own = asdict(model.target), "linear", dict[str, Any]()
    if isinstance(model, BroughtModel):
        kind, own = "brought", {"learner": asdict(model.learner)}
    elif isinstance(model, LinearModel):
        bounds = model.bounds
        own = {
            "standard_errors": model.standard_errors is not None,
            "level_moments": model.level_moments is not None,
            "bounds": None
            if bounds is None
            else {
                "radius": bounds.radius,
                "form_error": bounds.form_error,
                "inverse": bounds.inverse is not None and bounds.inverse_square_scale is not None,
            },
        }
    return {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "encoding": asdict(model.encoding),
        # The task follows from the loss; the first files had no other word for it.
        "target": {
            "column": target.pop("column"),
            "task": model.target.task,
            "classes": target.pop("classes"),
            **target,
        },
        "roles": asdict(model.roles),
        "weight_constant": model.weight_constant,
        "label_mean": model.label_mean,
        "class_shares": model.class_shares,
        "offset_constant": model.offset_constant,
        "outer_spaces": model.outer_spaces,
        **own,
        "costs": None if model.costs is None else asdict(model.costs),
        "readings": {name: asdict(reading) for name, reading in model.readings.items()},
        "text_encoding": model.text_encoding,
        "record": record,
    }


def learner_of(model: EncodedModel) -> dict[str, bytes]:
    """Return the file of the estimator that a model keeps; none of a linear one."""
    if not isinstance(model, BroughtModel) or model.learner.kept_by is None:
        return {}
    return {LEARNERS[model.learner.kept_by]: model.kept}


def tensors_of(model: EncodedModel) -> dict[str, Floats]:
    """Return the arrays of a model under the names that its description gives them."""
    if not isinstance(model, LinearModel):
        return {}
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


def restore(schema: LinearSchema | BroughtSchema, arrays: Mapping[str, Floats], learner: bytes) -> EncodedModel:
    """Return the model that a description and its files stand for; Malformed where what must not be negative is.

    The estimator of a user's model stays as bytes until it predicts.
    """
    kind: Callable[..., EncodedModel]
    own: dict[str, Any]
    if isinstance(schema, BroughtSchema):
        kind, own = BroughtModel, {"learner": schema.learner, "kept": learner}
    else:
        kind, own = LinearModel, _own(schema, arrays)
    return kind(
        schema.encoding,
        schema.target,
        schema.roles,
        schema.label_mean,
        costs=schema.costs,
        class_shares=schema.class_shares,
        weight_constant=schema.weight_constant,
        offset_constant=schema.offset_constant,
        outer_spaces=schema.outer_spaces,
        readings=schema.readings,
        text_encoding=schema.text_encoding,
        **own,
    )


def _own(schema: LinearSchema, arrays: Mapping[str, Floats]) -> dict[str, Any]:
    """Return what a linear model alone has."""
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
    own: dict[str, Any] = {name: arrays.get(name) for name in ("parameters", "standard_errors", "level_moments")}
    return {**own, "bounds": bounds}
