"""`batchlearn backtest`: retraining policies replayed over history, beside the best that could have been done."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.history import Arrivals
from batchlearn.backtesting.plan import BacktestPlan, Prices
from batchlearn.cli.arguments import CommandResult, Count, Flag
from batchlearn.cli.compare import PageFolder, PageOptions
from batchlearn.cli.options import (
    AS_STORED,
    NO_ROLES,
    WHOLE,
    Memory,
    PartFlags,
    ReadingFlags,
    RoleFlags,
    files_of,
    open_table,
)
from batchlearn.cli.options.recipe import ANY_LOSS, LossFlags, learner_settings
from batchlearn.cli.progress import watch
from batchlearn.cli.project.init import NO_LABELS, LabelOptions
from batchlearn.cli.train import threads_given
from batchlearn.errors import BatchlearnError, UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.registry.place import SETTINGS
from batchlearn.report.document import Document
from batchlearn.report.page import page as page_of
from batchlearn.report.retraining.brief import show_backtest
from batchlearn.retraining.policies.text import parse_policies
from batchlearn.retraining.project import SAID_ELSEWHERE, Project, open_project, replace_settings, with_policy
from batchlearn.retraining.sources.project_source import open_source
from batchlearn.retraining.verdict import Gate
from batchlearn.tables.files import Files
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.recipe import Recipe

_FOLDER = Path("backtests")
_PROJECT = "project"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """How history is cut and played again."""

    policies: Annotated[
        str | None,
        Parameter(
            help='Policies, between semicolons: "never; every 7d; decay 0.05; every 7d with start=warm". A dozen of '
            "all kinds unless given, fewer for few windows."
        ),
    ] = None
    windows: Annotated[str, Parameter(help="How many windows judge, or how long each is: 7d.")] = "40"
    first: Annotated[float, Parameter(help="Share of the rows that the first model is trained on.")] = 0.2
    landed: Annotated[str | None, Parameter(help="Column with the time at which a row landed.")] = None
    delay: Annotated[str | None, Parameter(help="How long a deployment takes: 1h.")] = None
    cost: Annotated[
        str | None,
        Parameter(help="Prices in one unit: retrain=500,hour=2,loss=0.01; an hour is one of staleness."),
    ] = None
    hold_out: Annotated[float, Parameter(help="Share of the windows, the last, that judge the choice.")] = 0.0
    gate: Annotated[
        str | None,
        Parameter(
            help='What a model has to pass to go live: superiority, "non-inferiority 0.01", anytime, or project, that '
            "of the current folder's project. All go live unless given."
        ),
    ] = None
    write: Annotated[
        Flag, Parameter(help="Put the recommended policy into the batchlearn.toml of the current folder's project.")
    ] = False
    cache: Annotated[str | None, Parameter(help="Folder that keeps models' losses, so that a killed run goes on.")] = (
        None
    )
    memory: Memory = None


DEFAULT_REPLAY = ReplayOptions()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReplayPageOptions(PageOptions):
    """How to run, and where the page goes: as of a comparison, in words of a backtest."""

    output: Annotated[
        str | None, Parameter(help="The page; backtests/TARGET-N.html, the first free number, unless given.")
    ] = None
    seed: Annotated[Count, Parameter(help="Seed of the trainings, and of the bootstrap of the intervals.")] = 0


_DEFAULT_PAGE = ReplayPageOptions()


def backtest(  # noqa: PLR0913 - each argument is a group of flags
    data: Annotated[str, Parameter(help='A table: a file, a folder, or a pattern such as "data/*.parquet".')],
    /,
    *,
    target: Annotated[str, Parameter(help="Column to predict.")],
    roles: RoleFlags = NO_ROLES,
    labels: LabelOptions = NO_LABELS,
    reading: ReadingFlags = AS_STORED,
    part: PartFlags = WHOLE,
    recipe: LossFlags = ANY_LOSS,
    options: ReplayOptions = DEFAULT_REPLAY,
    run: ReplayPageOptions = _DEFAULT_PAGE,
) -> CommandResult:
    """Replay retraining policies over history: each is told only what had arrived when it decides.

    Shows what each would have lost and spent beside the best that could have been done, what waiting costs, and which
    policy to take. Policies are those of batchlearn.toml.
    """
    destination = PageFolder(_FOLDER, run.output, target, run.force)
    destination.check()
    replayed = open_project() if options.write or options.gate == _PROJECT else None
    plan = BacktestPlan(
        gate=_gate(options.gate, replayed),
        share=replayed.settings.gate.share if replayed is not None and options.gate == _PROJECT else 0.2,
        windows=int(options.windows) if options.windows.strip().isdecimal() else options.windows,
        start=options.first,
        arrivals=Arrivals(labels.labelled, options.landed, labels.wait),
        delay=options.delay,
        prices=None if options.cost is None else Prices.parse(options.cost),
        holdout=options.hold_out,
        cache=options.cache,
        seed=run.seed,
    )
    policies = () if options.policies is None else parse_policies(options.policies)
    project = replayed if options.write else None
    if project is not None and (project.settings.source.target, project.settings.source.time) != (target, roles.time):
        raise UsageError(
            f"--write puts the policy into {project.root / SETTINGS}, which predicts "
            f"{quoted(project.settings.source.target)} by the time {quoted(project.settings.source.time)}, and this "
            f"backtest {quoted(target)} by {quoted(roles.time or '')}. Replay the project's own, or leave --write out.",
            code="project-of-another",
        )
    files = files_of(data, part)
    table = open_table(files, target, roles, reading)
    own = tuple(name for name in (labels.labelled, options.landed) if name is not None)
    table = replace(table, roles=replace(table.roles, drop=(*table.roles.drop, *own)))
    fitted = Recipe(**{**vars(recipe), "set": learner_settings(tuple(recipe.set))}, seed=run.seed)
    differ = [] if project is None else _differences(project, files, roles, labels, options, fitted)
    with within(budget_of(options.memory)):
        result = watch(iter_backtest(table, policies, fitted, plan, threads=threads_given(run.threads)))
    if project is not None and differ:
        note = Note(Code.PROJECT_DIFFERS, {"project": str(project.root / SETTINGS), "differ": differ})
        result = replace(result, notes=(*result.notes, note))
    record = {**result.to_json(), "columns": [column.to_json() for column in table.uses()]}
    report = destination.save(page_of(result), "The backtest is done")
    record["report"], record["written"] = str(report), None
    if project is not None:
        price = None if plan.prices is None else plan.prices.retrain_in_loss
        settings = with_policy(project.text, result.recommendation.policy, price)
        record["written"] = str(replace_settings(project.root, settings))

    document = Document()
    show_backtest(document, result)
    document.heading(f"Report written to {report}")
    if record["written"] is not None:
        document.line(f"{result.recommendation.policy} is the policy of {record['written']} now.")

    return CommandResult(record, document)


def _gate(text: str | None, project: Project | None) -> Gate | None:
    """Return the gate that a text names: a mode with its margin, or that of a project. UsageError where it does not."""
    if text is None:
        return None
    if text == _PROJECT and project is not None:
        return project.gate
    try:
        mode, *margin = text.split()
        return Gate(mode, margin=float(*margin) if margin else None)  # type: ignore[arg-type]  # it refuses the rest
    except (TypeError, ValueError) as problem:
        raise UsageError(
            f'{quoted(text)} is no gate; write superiority, "non-inferiority 0.01", anytime or project.',
            code="gate-setting",
        ) from problem


def _differences(
    project: Project, files: Files, roles: RoleFlags, labels: LabelOptions, options: ReplayOptions, recipe: Recipe
) -> list[str]:
    """Return the keys of the settings by which a project takes other rows, or trains otherwise, than is replayed."""
    source, own = project.settings.source, project.settings.recipe
    paths: tuple[Path, ...] = ()
    if source.files is not None:
        with contextlib.suppress(BatchlearnError):  # a project may wait for its first file
            paths = tuple(stamp.path for stamp in open_source(project).stamps)
    same = set(map(os.path.realpath, paths)) == set(map(os.path.realpath, files.paths))
    found = {
        "files" if source.files is not None else "database": not same,
        "labelled": source.labelled != labels.labelled,
        "landed": source.landed != options.landed,
        "wait": source.wait != labels.wait,
        "drop": set(source.roles.drop) != set(roles.drop),
    }
    keys = [key.name for key in fields(Recipe) if key.name not in SAID_ELSEWHERE and key.name != "seed"]
    found |= {key: getattr(own, key) != getattr(recipe, key) for key in keys}
    return [key for key, differs in found.items() if differs]
