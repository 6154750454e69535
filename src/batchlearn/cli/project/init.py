"""`batchlearn init`: a project folder, which is one file with comments."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Container
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, Count
from batchlearn.cli.options import ALL_FEATURES, AS_STORED, FeatureFlags, ReadingFlags
from batchlearn.cli.options.recipe import ANY_LOSS, LossFlags, learner_settings
from batchlearn.report.document import Document
from batchlearn.retraining.policies import Span
from batchlearn.retraining.project import SAID_ELSEWHERE, SourceSettings, parse_settings, write_settings
from batchlearn.retraining.sources.project_source import ProjectSource, inside
from batchlearn.retraining.sources.snapshots import query_of
from batchlearn.tables.database import open_view
from batchlearn.tables.database.postgres import is_postgres, refuse_password
from batchlearn.tables.files import refuse_address
from batchlearn.tables.table import ReadingRules, Roles
from batchlearn.training.recipe import Recipe

FORMAT_VERSION = 1
_ROWS = 10_000


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """When labels are known."""

    labelled: Annotated[
        str | None, Parameter(help="Column with the time at which the label was known, where labels come late.")
    ] = None
    wait: Annotated[str | None, Parameter(help="How long a row rests before it is learned from: 90d.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """When to train again, and what may go live."""

    every: Annotated[str | None, Parameter(help="Train again when so much time has passed: 7d.")] = None
    after_rows: Annotated[Count | None, Parameter(help="Train again when so many rows were labelled.")] = None
    promote: Annotated[str, Parameter(help="What passes the gate goes live: ask a person, or auto.")] = "ask"


NO_LABELS, NO_POLICY = LabelOptions(), PolicyOptions()


def init(  # noqa: PLR0913 - each argument is a flag
    *,
    source: Annotated[
        str,
        Parameter(
            help='Files that may grow, "data/*.parquet", or with --query a SQLite file or postgresql://host/database.'
        ),
    ],
    target: Annotated[str, Parameter(help="Column to predict.")],
    time: Annotated[str, Parameter(help="Column with the time at which a row was seen.")],
    query: Annotated[str | None, Parameter(help="SELECT that gives the rows, where the source is a database.")] = None,
    roles: FeatureFlags = ALL_FEATURES,
    labels: LabelOptions = NO_LABELS,
    reading: ReadingFlags = AS_STORED,
    recipe: LossFlags = ANY_LOSS,
    policy: PolicyOptions = NO_POLICY,
    folder: Annotated[str, Parameter(help="Where the project goes; the current folder unless given.")] = ".",
) -> CommandResult:
    """Write batchlearn.toml: where rows come from, how to train, when, and what may go live.

    The columns are looked up in the source; no row is read.
    """
    root = Path(os.path.abspath(folder))
    given = {
        **_where_from(source, query, root),
        "target": target,
        "time": time,
        **vars(labels),
        **vars(roles),
        **vars(reading),
        **vars(recipe),
        "model": None if recipe.model is None else _file_from(root, recipe.model),
        "set": learner_settings(tuple(recipe.set)),
    }
    text = _settings_text(given, policy)
    settings = parse_settings(text)
    stamped = _stamped(settings.source, root)
    if stamped is False and policy.every is None and policy.after_rows is None:
        # Where times are numbers nobody but the user knows how long a period is.
        text = _settings_text(given, replace(policy, after_rows=_ROWS))
    elif stamped is not None and policy.every is not None:
        Span.parse(policy.every).on(stamped)
    root.mkdir(parents=True, exist_ok=True)
    path = write_settings(root, text)
    record: dict[str, Any] = {"format_version": FORMAT_VERSION, "settings": str(path), "source": source}

    document = Document()
    document.title(f"Project written: {path}")
    document.line("It says where rows come from, how to train, when, and what may go live; edit it as you like.")
    document.line("Next:")
    inside = "" if root == Path.cwd() else f"cd {shlex.quote(str(root))} && "
    document.command(f"{inside}batchlearn retrain")

    return CommandResult(record, document)


def _where_from(source: str, query: str | None, root: Path) -> dict[str, Any]:
    """Return the path as it is best kept: relative to the project where it lies in or beside it."""
    refuse_password(source)
    if query is not None and is_postgres(source):
        return {"database": source, "query": query}
    refuse_address(source)
    path = source if os.path.isabs(source) else os.path.relpath(os.path.abspath(source), root)
    return {"files": path} if query is None else {"database": path, "query": query}


def _file_from(root: Path, model: str) -> str:
    """Return what names an estimator with the path of its file, where there is one, relative to the project."""
    file, colon, name = model.rpartition(":")
    return f"{os.path.relpath(os.path.abspath(file), root)}:{name}" if colon else model


def _stamped(settings: SourceSettings, root: Path) -> bool | None:
    """Say whether times are timestamps; None of a database, whose types are known once it is fetched.

    Refuses columns that are not there or of another kind, before anything is written.
    """
    if settings.files is not None:
        # The folder of the project may be about to be made, and ".." leads out of none that is not there.
        return ProjectSource(os.path.abspath(inside(root, settings.files)), settings).times().stamped
    query = query_of(settings, root)
    if isinstance(query.database, Path):
        query = replace(query, database=Path(os.path.abspath(query.database)))
    with open_view(query):
        pass
    return None


def _settings_text(given: dict[str, Any], policy: PolicyOptions) -> str:
    """Return a batchlearn.toml with a comment for each key; keys that were not given are comments themselves."""
    lines = [
        "# A batchlearn project. `batchlearn retrain` reads this file; a key that it does not know is refused.",
        "",
    ]
    lines += ["[source]", *(_entry(key, given.get(key), *said) for key, said in _SOURCE.items() if _shown(key, given))]
    lines += ["", "[recipe]", *(_entry(key, given.get(key), *said) for key, said in _RECIPE.items())]
    lines += ["", "[policy]", *_policy_lines(policy)]
    lines += ["", "[gate]", _entry("promote", policy.promote, "ask", "or auto: what passes goes live by itself")]
    lines += [_entry(key, None, *said) for key, said in _GATE.items()]
    lines += ["", "[review]", *(_entry(key, None, *said) for key, said in _REVIEW.items())]
    return "\n".join(lines) + "\n"


def _shown(key: str, given: dict[str, Any]) -> bool:
    """Files need no keys of a database, nor the other way round."""
    return key in given or key not in ("files", "database", "query", *([] if "query" in given else ["landed"]))


def _entry(key: str, value: object, example: object, comment: str) -> str:
    is_given = value not in (None, (), [], {}) and value is not False
    shown = value if is_given else example
    # A JSON string is a TOML string, and so are numbers and lists of strings.
    text = json.dumps(shown, ensure_ascii=False)
    if isinstance(shown, dict):
        text = f"{{{', '.join(f'{name} = {json.dumps(one, ensure_ascii=False)}' for name, one in shown.items())}}}"
    written = f"{key} = {text}"
    return f"{'' if is_given else '# '}{written:<44} # {comment}"


def _policy_lines(policy: PolicyOptions) -> list[str]:
    every = policy.every if policy.after_rows is not None or policy.every is not None else "30d"
    when = "rows" if policy.after_rows is not None and policy.every is None else "every"
    return [
        _entry(
            "when",
            when,
            "",
            'never, every (with period), rows (with rows); without either a text, "decay 0.05"',
        ),
        _entry("period", every, "7d", "2w, 7d, 12h; a plain number where the time column holds numbers"),
        _entry("clock", None, "data", "by which a period is counted: data, or wall"),
        _entry("rows", policy.after_rows, _ROWS, 'with when = "rows"'),
        _entry("window", None, "365d", "train on the rows seen so recently; all unless given"),
        _entry("half_life", None, "30d", "rows count half at this age; alike unless given"),
        _entry("start", "scratch", "", "scratch, warm, fine-tune, online or update"),
        _entry("fallback", None, False, "stop where the start is refused; else the next dearer one is taken"),
    ]


def _described(kind: type, but: Container[str] = ()) -> dict[str, tuple[object, str]]:
    """Return an example and a comment for each field of a dataclass that describes itself."""
    given = ((each.name, each.metadata) for each in fields(kind) if each.name not in but and each.metadata)
    return {name: (said["example"], said["help"]) for name, said in given}


_SOURCE = {
    "files": ("data/*.parquet", "May match more files every day; Parquet, CSV or TSV."),
    "database": ("shop.sqlite", "Read without any right to change it."),
    "query": ("SELECT * FROM orders", "One SELECT; each turn fetches what came since the last."),
    "labelled": ("known_at", "When its label was known, where labels come late."),
    "landed": ("updated_at", "When a row of the query came or was last changed, where a column says so."),
    "wait": ("90d", "How long a row rests before it is learned from."),
    "lateness": ("2d", "How late rows may land; later ones are told."),
    **_described(Roles),
    **_described(ReadingRules),
}
_RECIPE = _described(Recipe, but=SAID_ELSEWHERE)
_GATE = {
    "mode": ("superiority", "or non-inferiority (with margin), or anytime (look as often as you like)"),
    "alpha": (0.05, "rate of wrong verdicts"),
    "margin": (0.01, "share of the champion's loss by which a challenger may be worse"),
    "share": (0.2, "share of the new rows, the latest, that judge"),
}
_REVIEW = {
    "of": (["rejection"], "what a person is asked about besides promotions that wait: rejection, alarm"),
    "budget": (4, "reviews a month; none is asked for beyond it"),
    "false_alarm": (1.0, "cost of taking the other class for the positive one"),
    "miss": (10.0, "cost of taking the positive class for the other one"),
    "fee": (0.5, "cost of a person's look at a row; rows more uncertain than that are left to people"),
}
