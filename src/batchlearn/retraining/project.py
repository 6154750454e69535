"""The project folder: `batchlearn.toml` says where rows come from, how to train, when, and what may go live.

The file is data: a key that is not listed here is refused, with the nearest one that is.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from batchlearn.artifacts.disk import Irregular, read_regular
from batchlearn.artifacts.folders import named_problems, temporary_path, write_durably
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError, UsageError, quoted
from batchlearn.models.brought.formats import Allowed
from batchlearn.models.decision import Costs
from batchlearn.registry.place import SETTINGS, find_project
from batchlearn.retraining.policies import FROM_TOTALS, Every, EveryRows, Policy, Span, check_start
from batchlearn.retraining.policies.combined import With
from batchlearn.retraining.policies.text import parse_policy
from batchlearn.retraining.verdict import Gate
from batchlearn.tables.database.postgres import is_postgres, refuse_password
from batchlearn.tables.table import ReadingRules, Roles
from batchlearn.training.recipe import Recipe

REPORTS = "reports"
_LARGEST = 1 << 20
# Fields of a recipe that a project says elsewhere, and where.
SAID_ELSEWHERE = {
    "holdout": "share in [gate]",
    "costs": "false_alarm, miss and fee in [review]",
    "folder": "its own folder for the files that model names",
}
# Keys of [source] that are the fields of a value of their own.
_COLUMN_PARTS: dict[str, type] = {"roles": Roles, "reading": ReadingRules}
_COLUMN_KEYS = {each.name: part for part, kind in _COLUMN_PARTS.items() for each in fields(kind)}

StartName = Literal["scratch", "warm", "fine-tune", "update", "online"]
Spelled = Annotated[str | float | None, BeforeValidator(lambda value: float(value) if type(value) is int else value)]


class _SettingsSection(BaseModel):
    """A table of the file: closed, strict, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SourceSettings(_SettingsSection):
    """Where rows come from and what their columns are; the file has the fields of `roles` and `reading` as keys."""

    files: str | None = None
    database: str | None = None
    query: str | None = None
    target: str
    time: str
    labelled: str | None = None
    landed: str | None = None
    wait: Spelled = None
    lateness: Spelled = None
    roles: Roles
    reading: ReadingRules


class PolicySettings(_SettingsSection):
    """When to train again, on which rows, and from which start."""

    when: str = "never"
    period: Spelled = None
    clock: Literal["data", "wall"] = "data"
    rows: int | None = None
    window: Spelled = None
    half_life: Spelled = None
    start: StartName = "scratch"
    structure: Literal["choose", "keep"] = "choose"
    fallback: bool = True
    price: float | None = Field(default=None, gt=0.0)


class GateSettings(_SettingsSection):
    """What may go live."""

    mode: Literal["superiority", "non-inferiority", "anytime"] = "superiority"
    alpha: float = 0.05
    margin: float | None = None
    promote: Literal["ask", "auto"] = "ask"
    share: float = Field(default=0.2, gt=0.0, lt=1.0)


class ReviewSettings(_SettingsSection):
    """What lands on a person."""

    of: list[Literal["promotion", "rejection", "alarm"]] = ["promotion"]
    budget: int | None = Field(default=None, ge=0)
    false_alarm: float | None = Field(default=None, ge=0.0)
    miss: float | None = Field(default=None, ge=0.0)
    fee: float | None = Field(default=None, ge=0.0)

    @property
    def costs(self) -> Costs | None:
        """What a false alarm, a miss and a person's look at a row cost; None where that is not said."""
        if self.false_alarm is None or self.miss is None or self.fee is None:
            return None
        return Costs(self.false_alarm, self.miss, self.fee)


class ProjectSettings(_SettingsSection):
    """The whole file."""

    format_version: int = 1
    source: SourceSettings
    recipe: Recipe = Recipe()
    policy: PolicySettings = PolicySettings()
    gate: GateSettings = GateSettings()
    review: ReviewSettings = ReviewSettings()


@dataclass(frozen=True)
class Project:
    """A project folder with its settings, checked, and its registry."""

    root: Path
    settings: ProjectSettings
    text: str
    store: FolderStore
    policy: Policy
    gate: Gate

    @property
    def allowed(self) -> Allowed:
        """What the settings name that may be imported to restore an estimator that was brought along."""
        recipe = self.settings.recipe
        file = (recipe.model or "").rpartition(":")[0]
        return Allowed(recipe.trust, self.root / file if file else None)


def open_project(folder: str | os.PathLike[str] = ".") -> Project:
    """Return the project that a folder is in. UsageError where its settings are not what they should be."""
    root = find_project(folder)
    path = (root / SETTINGS).resolve()  # the user's own file may be a link to where it is kept
    try:
        text = read_regular(path, _LARGEST, names=None).decode("utf-8-sig")
    except (Irregular, UnicodeDecodeError) as problem:
        raise _refused(f"it cannot be read: {problem}") from problem
    settings = parse_settings(text)
    return Project(root, settings, text, FolderStore(root), policy_of(settings, root), gate_of(settings))


def parse_settings(text: str) -> ProjectSettings:
    """Return the settings that a text in TOML holds. UsageError names the key and what it needs to be."""
    refuse_password(text)
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # a number of 5,000 digits is no TOMLDecodeError
        raise _refused(f"it is no TOML: {problem}") from problem
    version = found.get("format_version", 1)
    if type(version) is int and version != 1:
        raise _refused(f"its format_version is {version} and this batchlearn reads 1{': upgrade' * (version > 1)}")
    elsewhere = [key for key in SAID_ELSEWHERE if key in (found.get("recipe") or {})]
    if elsewhere:
        raise _refused(f"{quoted(elsewhere[0])} is no key of [recipe]; a project has {SAID_ELSEWHERE[elsewhere[0]]}")
    if isinstance(found.get("source"), dict):
        found["source"] = _gathered(found["source"])
    try:
        # As JSON, because the strict reading of Python values takes no list for a tuple; dates become texts.
        settings = ProjectSettings.model_validate_json(json.dumps(found, default=str))
    except ValidationError as problem:
        raise _refused(_said(problem)) from problem
    _check_source(settings.source)
    costs = (settings.review.false_alarm, settings.review.miss, settings.review.fee)
    if settings.review.costs is None and any(cost is not None for cost in costs):
        raise _refused("[review] needs false_alarm, miss and fee together, in one unit, or none of them")
    chosen = settings.policy
    for of_spans in (settings.source.wait, settings.source.lateness, chosen.window, chosen.half_life):
        if of_spans is not None:
            Span.parse(of_spans)
    _check_start(settings.recipe, chosen.start, None if chosen.half_life is None else Span.parse(chosen.half_life))
    policy_of(settings), gate_of(settings)
    return settings


def _gathered(source: dict[str, Any]) -> dict[str, Any]:
    """Put the keys of [source] that are fields of a part into it; target and time, which a project needs, stay too."""
    gathered: dict[str, Any] = {part: {} for part in _COLUMN_PARTS}
    for key, value in source.items():
        if key in _COLUMN_KEYS:
            gathered[_COLUMN_KEYS[key]][key] = value
        if key not in _COLUMN_KEYS or key in SourceSettings.model_fields:
            gathered[key] = value
    return gathered


def policy_of(settings: ProjectSettings, root: Path | None = None) -> Policy:
    """Return the policy that the settings describe: by period or rows, or as text; files of users lie in `root`."""
    chosen = settings.policy
    given = {"period": chosen.period, "rows": chosen.rows}
    needed = {"every": "period", "rows": "rows"}.get(chosen.when)
    odd = [key for key, value in given.items() if value is not None and key != needed]
    if odd or (needed is not None and given[needed] is None):
        if odd:
            belongs = {"period": "every", "rows": "rows"}[odd[0]]
            what = f'and {odd[0]} is given, which belongs to when = "{belongs}"; remove the line with {odd[0]}'
        else:
            what = (
                f"and {needed} is missing; write " + {"period": 'period = "7d"', "rows": "rows = 10000"}[needed or ""]
            )
        raise _refused(f'[policy] when is "{chosen.when}" {what}')
    if chosen.rows is not None:
        return EveryRows(chosen.rows)
    if chosen.period is not None:
        return Every(Span.parse(chosen.period), chosen.clock)
    files = re.findall(r"([^\s,(]+)\.py:", chosen.when)
    if any(Path(one).is_absolute() or ".." in Path(one).parts for one in files):
        raise _refused(f"'policy.when' names code outside of the project, {quoted(chosen.when)}; put the file into it")
    try:
        policy = parse_policy(chosen.when, "." if root is None else str(root))
    except UsageError as problem:
        raise _refused(f"'policy.when': {problem.message.rstrip('.')}") from problem
    if isinstance(policy, With):
        action = policy.action
        _check_start(replace(settings.recipe, batch_size=action.batch_size), action.start, action.half_life)
    return policy


def gate_of(settings: ProjectSettings) -> Gate:
    """Return the gate that the settings describe."""
    chosen = settings.gate
    return Gate(chosen.mode, chosen.alpha, chosen.margin, chosen.promote)


def write_settings(folder: Path, text: str) -> Path:
    """Write the settings of a new project, checked. UsageError where there is a project already."""
    parse_settings(text)
    path = folder / SETTINGS
    if os.path.lexists(path):
        raise UsageError(
            f"{quoted(path)} exists already and is not overwritten; edit it, or make the project in another folder.",
            code="project-exists",
        )
    with named_problems(path):
        write_durably(path, text.encode())
    return path


def with_policy(text: str, policy: str, price: float | None = None) -> str:
    """Return the text of settings with another policy, which keeps the structure; all else stays as it was written.

    Keys of the policy before go, but those that say what holds without them. UsageError where the policy does not fit
    the rest.
    """
    before = tomllib.loads(text).get("policy", {})
    said = {"when": policy, "structure": "keep", **({} if price is None else {"price": price})}
    lines = {key: f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in said.items()}
    added = [line for key, line in lines.items() if key not in before]
    gone = {key for key, value in before.items() if key not in said and value != getattr(PolicySettings(), key)}
    written, inside, found = list[str](), False, False
    for line in text.splitlines():
        entry = re.match(r"""\s*(\w+)\s*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^#"']*?)(\s*#.*)?$""", line)
        key = entry[1] if inside and entry is not None else ""
        if re.match(r"\s*\[", line):
            inside = re.match(r"\s*\[\s*policy\s*\]", line) is not None
            found |= inside
            written += [line, *(added if inside and "when" not in before else [])]
        elif entry is not None and key in lines:
            written += [lines[key] + (entry[2] or ""), *(added if key == "when" else [])]
        elif key not in gone:
            written.append(line)
    changed = "\n".join(written if found else [*written, "", "[policy]", *lines.values()]) + "\n"
    parse_settings(changed)
    return changed


def replace_settings(folder: Path, text: str) -> Path:
    """Write other settings of a project, whole or not at all; a link to where they are kept stays one."""
    path = (folder / SETTINGS).resolve()
    with named_problems(path):
        unfinished = temporary_path(path.parent)
        write_durably(unfinished, text.encode())
        os.replace(unfinished, path)
    return folder / SETTINGS


def _check_start(recipe: Recipe, start: str, half_life: Span | None) -> None:
    """Refuse what a start other than from scratch cannot do."""
    try:
        check_start(start, recipe.batch_size, half_life)
    except UsageError as problem:
        raise _refused(problem.message.rstrip(".")) from problem
    if recipe.tolerance is not None and start in FROM_TOTALS:
        raise _refused(
            "[recipe] tolerance is a share of the loss of the mean over all rows, and start = "
            f'"{start}" does not read all rows; leave tolerance out, or use start = "warm" or "scratch"'
        )
    if start != "scratch" and recipe.class_weight != Recipe().class_weight:
        raise _refused(
            f'[recipe] class_weight is known to training from scratch alone, and start = "{start}" goes on otherwise; '
            'use start = "scratch", or leave class_weight out'
        )


def _check_source(source: SourceSettings) -> None:
    if (source.files is None) == (source.database is None) or (source.database is None) != (source.query is None):
        raise _refused(
            '[source] needs either files = "data/*.parquet", or database = "shop.sqlite" with query = "SELECT ..."'
        )
    for path in (source.files, source.database):
        if path is not None and (not path.strip() or "://" in path or "\0" in path):
            if path == source.database and is_postgres(path):
                refuse_password(path)
                continue
            raise _refused(
                f"{quoted(path)} is no path; only files of this machine are read, and PostgreSQL by "
                "postgresql://user@host/database"
            )
    if source.landed is not None and source.query is None:
        raise _refused(
            f"[source] landed is {quoted(source.landed)}, which belongs to a query: what is new in files is seen from "
            "the files themselves"
        )
    if source.labelled == source.time:
        raise _refused(
            f"time and labelled are both {quoted(source.time)}; leave labelled out where labels are known at once"
        )


def _said(problem: ValidationError) -> str:
    """Say the first thing that is wrong, with the nearest key where one is not known."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    # A key that is misspelt is missing too; the misspelling says more.
    listed = sorted(problem.errors(), key=lambda error: error["type"] not in unknown)
    first = listed[0]
    place = [str(part) for part in first["loc"] if part not in _COLUMN_PARTS]
    # Beyond section and key come the alternatives of a type, which are no part of the file.
    where = ".".join(place[:2])
    if first["type"] in unknown:
        known = _keys(place[:-1])
        close = difflib.get_close_matches(place[-1], known, n=1)
        advice = f"did you mean {quoted(close[0])}?" if close else f"known are {', '.join(known)}"
        return f"there is no key {quoted(where)}; {advice}"
    if first["type"] == "missing":
        return f"the key {quoted(where)} is missing"
    if first["type"] == "value_error":
        return f"[{where}]: {first['ctx']['error']}"
    if isinstance(first["input"], dict):
        return f"{quoted(where)} is a table of its own, and not what the key needs"
    return f"{quoted(where)} is {quoted(first['input'])}: {first['msg']}"


def _keys(section: list[str]) -> list[str]:
    kind: Any = ProjectSettings
    for part in section:
        kind = get_type_hints(kind).get(part)
    if kind is SourceSettings:
        return sorted({*kind.model_fields, *_COLUMN_KEYS} - _COLUMN_PARTS.keys())
    if is_dataclass(kind):
        return sorted({each.name for each in fields(kind)} - SAID_ELSEWHERE.keys())
    return sorted(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _refused(what: str) -> BatchlearnError:
    ended = what if what.endswith("?") else f"{what}."
    return UsageError(f"{SETTINGS} cannot be used: {ended} See `batchlearn init --help`.", code="project-settings")
