"""`batchlearn compare`: full batch, mini-batch and online on one objective, under equal budgets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, Count, Flag
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
from batchlearn.cli.options.recipe import learner_settings
from batchlearn.cli.progress import watch
from batchlearn.cli.train import numbered, threads_given, write_page
from batchlearn.comparison.compare import DEFAULT_ROWS, DEFAULT_SEEDS, ComparisonPlan, iter_compare
from batchlearn.comparison.contenders import Budget
from batchlearn.comparison.model_entry import ModelEntry
from batchlearn.comparison.models import ModelComparison, iter_compare_models
from batchlearn.comparison.outcome import Comparison
from batchlearn.errors import UsageError, quoted
from batchlearn.models.folder import check_writable
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.recipe import Recipe

_FOLDER = Path("comparisons")
# What reports and prints, which a comparison needs when it has ended.
_AFTERWARDS = (
    "scipy.special",
    "batchlearn.report.page",
    "batchlearn.report.comparison.brief",
    "batchlearn.report.comparison.models",
    "batchlearn.report.terminal",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is compared, and on how much; the defaults end within two minutes."""

    models: Annotated[
        str | None,
        Parameter(
            help="Compare these models instead of ways of reading rows: additive,linear,lightgbm.LGBMClassifier."
        ),
    ] = None
    loss: Annotated[
        str | None, Parameter(help="logistic, softmax, squared or poisson; with --models any. Follows from the target.")
    ] = None
    alpha: Annotated[float | None, Parameter(help="Strength of the penalty, of a plain linear model then.")] = None
    holdout: Annotated[float, Parameter(help="Share of the latest rows to judge on.")] = 0.2
    seeds: Annotated[Count, Parameter(help="Runs of each contender that draws at random.")] = DEFAULT_SEEDS
    passes: Annotated[
        float | None,
        Parameter(help="Passes over the rows that each run may make; 10, full batch as many as it needs unless given."),
    ] = Budget.passes
    seconds: Annotated[
        float | None,
        Parameter(
            help="Seconds of its own work that each run may take; those of the steps to the optimum unless given."
        ),
    ] = Budget.seconds
    rows: Annotated[Count, Parameter(help="Rows to compare on: a random sample of larger tables.")] = DEFAULT_ROWS
    memory: Memory = None

    @property
    def plan(self) -> ComparisonPlan:
        """The plan, checked."""
        return ComparisonPlan(budget=Budget(self.passes, self.seconds), seeds=self.seeds, rows=self.rows)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """How to run, and where the page goes."""

    output: Annotated[
        str | None, Parameter(help="The page; comparisons/TARGET-N.html, the first free number, unless given.")
    ] = None
    force: Annotated[Flag, Parameter(help="Replace the output where it exists.")] = False
    seed: Annotated[Count, Parameter(help="The first seed; the others follow it.")] = 0
    threads: Annotated[Count | None, Parameter(help="Threads; the cores, up to 8, unless given.")] = None


DEFAULT_PLAN = PlanOptions()
DEFAULT_PAGE = PageOptions()


def compare(
    data: Annotated[str, Parameter(help='A table: a file, a folder, or a pattern such as "data/*.parquet".')],
    /,
    *,
    target: Annotated[str, Parameter(help="Column to predict.")],
    roles: RoleFlags = NO_ROLES,
    reading: ReadingFlags = AS_STORED,
    part: PartFlags = WHOLE,
    plan: PlanOptions = DEFAULT_PLAN,
    run: PageOptions = DEFAULT_PAGE,
) -> CommandResult:
    """Compare ways of reading the rows, or with --models models: what each costs, and what it is worth.

    Full batch, mini-batch and online start from the model that knows only the mean and may spend the same passes and
    seconds on one objective. Distances are from the certified optimum over the same rows. Models are trained on the
    same rows. Scores are on held-out rows: the last fifth by --time, or a random fifth.
    """
    recipe = Recipe(plan.loss, plan.alpha, holdout=plan.holdout, seed=run.seed)
    destination = PageFolder(_FOLDER, run.output, target, run.force)
    destination.check()
    chosen, threads = plan.plan, threads_given(run.threads)
    entries = None if plan.models is None else model_entries(plan.models)
    if entries is not None and (plan.seeds, plan.passes, plan.seconds) != (
        DEFAULT_SEEDS,
        Budget.passes,
        Budget.seconds,
    ):
        raise UsageError(
            "--seeds, --passes and --seconds say what each way of reading rows may spend; models are trained to their "
            "end. Leave them out beside --models.",
            code="option-unknown",
        )
    table = open_table(files_of(data, part), target, roles, reading)
    comparison: Comparison | ModelComparison
    with within(budget_of(plan.memory)):
        if entries is None:
            comparison = watch(iter_compare(table, chosen, recipe, threads=threads), _AFTERWARDS)
        else:
            comparison = watch(iter_compare_models(table, entries, recipe, plan.rows, threads), _AFTERWARDS)
    # Imported here: they were imported while rows were read and fits made.
    from batchlearn.report.comparison.brief import show_comparison
    from batchlearn.report.comparison.models import show_models
    from batchlearn.report.document import Document
    from batchlearn.report.page import page as page_of

    columns = [column.to_json() for column in table.uses()]
    record = {**comparison.to_json(), "lines_passed_over": dict(table.lines_passed_over), "columns": columns}
    report = destination.save(page_of(comparison), "The comparison is done")
    record["report"] = str(report)

    document = Document()
    if isinstance(comparison, ModelComparison):
        show_models(document, comparison)
    else:
        show_comparison(document, comparison)
    document.heading(f"Report written to {report}")

    return CommandResult(record, document)


def model_entries(text: str) -> tuple[ModelEntry, ...]:
    """Read "additive,lightgbm.LGBMRegressor(objective=poisson,n_estimators=300)"."""
    # A comma within parentheses parts settings.
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)]
    named = [re.fullmatch(r"([^()]+?)\s*(?:\((.*)\))?", part) for part in parts]
    if not all(named):
        raise UsageError(
            f"--models came with {quoted(text)}; it takes names between commas, each with what is set of it in "
            "parentheses where something is: additive,lightgbm.LGBMRegressor(objective=poisson).",
            code="models-to-compare",
        )
    return tuple(
        ModelEntry(one.group(1), learner_settings(one.group(2).split(",") if one.group(2) else []))
        for one in named
        if one
    )


class PageFolder:
    """Where a page goes: the file given, or TARGET-N.html in a folder, with the first number that is free."""

    def __init__(self, folder: Path, output: str | None, target: str, force: bool) -> None:
        self._folder, self._output, self._target, self._force = folder, output, target, force

    def check(self) -> None:
        """Refuse before the work what would make saving fail after it."""
        if self._output is None:
            check_writable(self._free() if os.path.lexists(self._folder) else self._folder)
        elif not os.path.lexists(self._output):
            check_writable(self._output)
        elif not (self._force and os.path.isfile(self._output)):
            raise UsageError(
                f"{quoted(self._output)} exists; --output needs the name of a new file for the page. Choose another "
                "name, or replace a file with --force.",
                code="output-exists",
            )

    def _free(self) -> Path:
        paths = (one.with_name(f"{one.name}.html") for one in numbered(self._folder, self._target, "target", "file"))
        return next(path for path in paths if not os.path.lexists(path))

    def save(self, text: str, done: str) -> Path:
        """Write the page and return its path as it is best typed; `done` is what is so if it cannot be written."""
        if self._output is None:
            self._folder.mkdir(exist_ok=True)
        path = self._free() if self._output is None else Path(self._output)
        write_page(path, text, done, "ask for --json to keep its figures")
        return path
