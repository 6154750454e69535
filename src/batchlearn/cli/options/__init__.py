"""The options that commands share, and what they say about a table; each class becomes flags of its own."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

from cyclopts import Parameter

from batchlearn.cli.arguments import Count, Flag, Names
from batchlearn.models.brought.formats import Allowed
from batchlearn.models.encoded import EncodedModel
from batchlearn.tables.files import Files, PartOfFile, find
from batchlearn.tables.table import ReadingRules, Roles, Table, open_by

Memory = Annotated[
    str | None,
    Parameter(help="Memory that rows may take, such as 4GB: more rows go to a file; 2/3 of what is free unless given."),
]
Parts = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
# Fields whose values are typed in parts: LABEL=W, NAME=VALUE.
_IN_PARTS = ("class_weight", "set")
# How fields are typed that hold something else.
_TYPED = {
    **dict.fromkeys(("drop", "text", "categories", "null", "trust"), Names),
    **dict.fromkeys(("no_header", "strict"), Flag),
    **dict.fromkeys(_IN_PARTS, Parts),
    "batch_size": str,
    "positive": str | None,
}


def flags_of(kind: type, *wanted: str) -> Any:
    """Return a class of flags: fields of a dataclass with their defaults, and the help of their metadata."""
    hints, given = get_type_hints(kind), {each.name: each for each in fields(kind)}
    flags = [
        (
            name,
            Annotated[_TYPED.get(name, hints[name]), Parameter(help=given[name].metadata["help"])],
            field(default=() if name in _IN_PARTS else given[name].default),
        )
        for name in wanted
    ]
    # A class of the module `types`, which is the default, is taken for a value of one word.
    home = {"__module__": __name__}
    return Parameter(name="*")(
        make_dataclass(f"{kind.__name__}Flags", flags, namespace=home, frozen=True, kw_only=True)
    )


if TYPE_CHECKING:
    from batchlearn.models.files import StoredModel

    RoleFlags: TypeAlias = Roles
    JudgingFlags: TypeAlias = Roles
    FeatureFlags: TypeAlias = Roles
    ReadingFlags: TypeAlias = ReadingRules
    RowFlags: TypeAlias = ReadingRules
    PartFlags: TypeAlias = PartOfFile
    FileFlags: TypeAlias = ReadingRules
else:
    RoleFlags = flags_of(Roles, "time", "group", "weight", "weight_kind", "drop", "text", "offset", "exposure")
    JudgingFlags = flags_of(Roles, "time", "group", "weight", "weight_kind")
    FeatureFlags = flags_of(Roles, "group", "weight", "weight_kind", "drop", "text", "offset", "exposure")
    ReadingFlags = flags_of(ReadingRules, *(each.name for each in fields(ReadingRules)))
    RowFlags = flags_of(ReadingRules, "where", "null", "encoding", "zone", "no_header", "strict")
    FileFlags = flags_of(ReadingRules, "null", "encoding", "zone", "no_header", "strict")
    PartFlags = flags_of(PartOfFile, "query", "sheet")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run, and where the model goes."""

    output: Annotated[
        str | None, Parameter(help="Folder of the model; models/TARGET-N, the first free number, unless given.")
    ] = None
    force: Annotated[Flag, Parameter(help="Replace the output where it exists.")] = False
    seed: Annotated[Count, Parameter(help="Seed of whatever is drawn at random.")] = 0
    threads: Annotated[Count | None, Parameter(help="Threads; the cores, up to 8, unless given.")] = None
    memory: Memory = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """What may be imported to restore an estimator that was brought along."""

    trust: Annotated[
        Names, Parameter(help="Types that may be restored from a model brought along: a,b. Repeatable.")
    ] = ()
    code: Annotated[str | None, Parameter(help="File of Python that defines them; it is run.")] = None
    rebuild: Annotated[
        str | None, Parameter(help="Rows of the training, to which what no file holds is fitted again.")
    ] = None
    learner: Annotated[str | None, Parameter(help="With --rebuild: what the model was trained with.")] = None

    @property
    def allowed(self) -> Allowed:
        """The types and the file as models take them."""
        return Allowed(self.trust, None if self.code is None else Path(self.code))

    def open(self, path: str) -> StoredModel:
        """Read a model, and fit again what no file holds where that was asked for."""
        from batchlearn.models.files import read_model  # imported here: a training reads no model

        stored = read_model(path, self.allowed)
        if self.rebuild is None:
            return stored
        # Imported here: other models are used without what trains.
        from batchlearn.training.brought.starts import rebuild

        return stored._replace(model=rebuild(stored, self.learner or "", find(self.rebuild), 1))


NO_CODE = CodeOptions()
NO_ROLES, UNJUDGED, ALL_FEATURES = RoleFlags(), JudgingFlags(), FeatureFlags()
AS_STORED, ALL_ROWS, THESE_FILES = ReadingFlags(), RowFlags(), FileFlags()
DEFAULT_RUN = RunOptions()
WHOLE = PartFlags()


def rules_of(flags: ReadingFlags) -> ReadingRules:
    """Return what flags say of how rows are read."""
    return ReadingRules(**vars(flags))


def files_of(data: str, part: PartFlags) -> Files:
    """Find the files that hold the rows, and which table in them is meant."""
    return find(data, part=PartOfFile(**vars(part)))


def typed_part(part: PartFlags) -> str:
    """Return the flags that say which table of a file is meant, as they are typed behind others."""
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in vars(part).items() if value is not None)


def open_table(data: str | Files, target: str, roles: RoleFlags, reading: ReadingFlags) -> Table:
    """Open the table that a model is to be trained on."""
    return open_by(data, Roles(target, **vars(roles)), rules_of(reading))


def open_for(
    model: EncodedModel,
    data: str | Files,
    rows: RowFlags,
    judging: JudgingFlags | None = None,
    drop: tuple[str, ...] = (),
) -> Table:
    """Open a table as the model reads it.

    With `judging` the table has time, group and weight: as given, else as in training where the table has them.
    """
    rules = rules_of(rows)
    table = model.read(data, rules, Roles(drop=drop))
    if judging is None:
        return model.as_read(table)
    there = {column.name for column in table.columns}
    if not model.readings and any(isinstance(value, str) for value in model.target.classes):
        # What older models read is found in the rows, but for the names of classes.
        rules = replace(rules, categories=(model.target.column,) if model.target.column in there else ())
    known = {role: name for role in ("time", "group", "weight") if (name := getattr(model.roles, role)) in there}
    given: dict[str, Any] = {role: getattr(judging, role) or known.get(role) for role in ("time", "group", "weight")}
    weight_kind = judging.weight_kind or (model.roles.weight_kind if "weight" in known else None)
    return model.as_read(model.read(data, rules, Roles(drop=drop, weight_kind=weight_kind, **given)))
