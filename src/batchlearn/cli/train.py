"""`batchlearn train`: fit, certify, evaluate, save, and say what to type next."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, warn
from batchlearn.cli.options import (
    AS_STORED,
    DEFAULT_RUN,
    NO_ROLES,
    WHOLE,
    PartFlags,
    ReadingFlags,
    RoleFlags,
    RunOptions,
    files_of,
    open_table,
    typed_part,
)
from batchlearn.cli.options.recipe import (
    DEFAULT_RECIPE,
    NO_COSTS,
    CostOptions,
    RecipeFlags,
    recipe_of,
)
from batchlearn.cli.progress import watch
from batchlearn.data.rows.journal import INTERVAL, Journal
from batchlearn.data.rows.threads import thread_count
from batchlearn.errors import CertificateError, ResourceError, UsageError
from batchlearn.formatting.numbers import rounded_up
from batchlearn.kernels import native
from batchlearn.models.folder import check_writable
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.train import iter_train

_MODELS = Path("models")
_LONGEST_NAME = 60
_MOST_RESULTS = 1_000_000
# What saves, reports and prints, which a training needs when it has ended.
AFTERWARDS = (
    "scipy.special",  # of intervals: a tenth of a second
    "batchlearn.models.files",
    "batchlearn.report.page",
    "batchlearn.report.training.brief",
    "batchlearn.report.terminal",
)
# Seconds of a training from which on it is said that compiled kernels would take fewer.
_SLOW = 10.0


def train(  # noqa: PLR0913 - each argument is a group of flags
    data: Annotated[str, Parameter(help='A table: a file, a folder, or a pattern such as "data/*.parquet".')],
    /,
    *,
    target: Annotated[str, Parameter(help="Column to predict.")],
    roles: RoleFlags = NO_ROLES,
    reading: ReadingFlags = AS_STORED,
    part: PartFlags = WHOLE,
    recipe: RecipeFlags = DEFAULT_RECIPE,
    costs: CostOptions = NO_COSTS,
    run: RunOptions = DEFAULT_RUN,
    checkpoint: Annotated[
        str | None, Parameter(help="Folder from which the same command goes on after a kill; made if it is not there.")
    ] = None,
    checkpoint_every: Annotated[
        float, Parameter(help="Seconds of work that a kill costs, besides one reading of the rows.")
    ] = INTERVAL,
) -> CommandResult:
    """Fit a model to every row of a table, certify and evaluate it.

    The model is trained on all rows that have a label. Its evaluation is of the same recipe trained on the earlier
    rows and judged on the later ones: the last fifth by --time, whole groups by --group, else a random fifth.
    """
    plan = recipe_of(recipe, costs, run.seed)
    threads, budget = threads_given(run.threads), budget_of(run.memory)
    destination = Destination(run.output, target, run.force)
    destination.check()
    table = open_table(files_of(data, part), target, roles, reading)
    again = shlex.quote(data) + (" --no-header" if reading.no_header else "") + typed_part(part)
    journal = None if checkpoint is None else Journal(checkpoint, checkpoint_every)
    with journal or nullcontext(), within(budget):
        fit = watch(iter_train(table, plan, threads=threads, journal=journal), AFTERWARDS)
    if native.compiled() is None and fit.seconds > _SLOW:
        warn(
            f"The training took {fit.seconds:.0f} s with loops over rows in NumPy; compiled ones take a fraction of "
            "it: install with a C++ compiler there (`batchlearn --version` says what serves)."
        )
    return save_and_report(fit, destination, again, journal)


def threads_given(threads: int | None) -> int | None:
    """Return how many threads to use; say so where fewer are used than were asked for."""
    if threads is None:
        return None
    used = thread_count(threads)
    if used < threads:
        warn(f"--threads {threads} is more than can help; {used} are used.")
    return used


def numbered(folder: Path, target: str, otherwise: str, what: str) -> Iterator[Path]:
    """Yield what the result of a run may be called: TARGET-1, TARGET-2 and so on. UsageError beyond a million."""
    # A column may have any name; what is easy to type may not.
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", target).strip("._-")[:_LONGEST_NAME] or otherwise
    yield from (folder / f"{name}-{number}" for number in range(1, _MOST_RESULTS))
    raise UsageError(f"All numbers of {folder / name} are taken; name a {what} with --output.", code="no-number")


class Destination:
    """Where the model goes: the folder given, or models/TARGET-N with the first number that is free."""

    def __init__(self, output: str | None, target: str, force: bool) -> None:
        self._output, self._target, self._force = output, target, force

    def check(self) -> None:
        """Refuse before training what would make saving fail after it."""
        if self._output is not None:
            check_writable(self._output, self._force)
        else:
            check_writable(next(self._free()) if os.path.lexists(_MODELS) else _MODELS)

    def _free(self) -> Iterator[Path]:
        for path in numbered(_MODELS, self._target, "model", "folder"):
            if not (os.path.lexists(path) or os.path.lexists(path.with_name(f"{path.name}.html"))):
                yield path

    def save(self, fit: Fit) -> Path:
        """Save the model and return its path as it is best typed."""
        if self._output is not None:
            fit.save(self._output, self._force)
            return Path(self._output)
        _MODELS.mkdir(exist_ok=True)
        free = self._free()
        while True:
            path = next(free)
            try:
                fit.save(path)
            except (UsageError, ResourceError):
                # Another training may have taken the number since; any other refusal stands.
                if not os.path.lexists(path):
                    raise
            else:
                return path


def save_and_report(fit: Fit, destination: Destination, source: str, journal: Journal | None = None) -> CommandResult:
    """Save the model; where the tolerance asked for is not proved, say so and exit with 7.

    `source` is how to type the rows again; `journal` is what the training was kept in.
    """
    # Imported here: `train` has them imported while it reads and fits.
    from batchlearn.report.document import Document
    from batchlearn.report.training.brief import show_fit

    path = destination.save(fit)
    report = write_report(fit, path)
    record: dict[str, Any] = {**fit.to_json(), "model": str(path), "report": str(report)}
    unmet = _unmet(fit, path)
    if unmet is not None:
        record["error"] = {"code": unmet.code, "message": unmet.message, "exit_code": unmet.exit_code}

    document = Document()
    show_fit(document, fit)
    document.heading(f"Model written to {path}, its report to {report}")
    if unmet is not None:
        document.line(f"error: {unmet.message}", "red")
    if journal is not None:
        record["checkpoint"] = {
            "folder": str(journal.folder),
            "answered": journal.answered,
            "computed": journal.computed,
            "finished_before": journal.finished,
            "damaged": journal.damaged,
        }
        document.line(_kept(journal))
    needed = fit.model.restored_with
    if needed is None:
        document.line("It predicts in no other process: see the note on how it is kept.", "yellow")
    else:
        document.line("Next:")
        model, code = shlex.quote(str(path)), "".join(f" {shlex.quote(word)}" for word in needed)
        bounds = " --bounds" if fit.model.no_certificate is None else ""
        document.command(f"batchlearn predict {model} NEW.parquet -o scored.parquet{bounds}{code}")
        document.command(f"batchlearn verify {model} {source}{code}")

    return CommandResult(record, document, 0 if unmet is None else unmet.exit_code)


def _kept(journal: Journal) -> str:
    """Say what of the training was there already."""
    if journal.damaged is not None:
        warn(
            f"The checkpoint's file {journal.damaged} was not as it had been written; what it and later ones held was "
            "computed again."
        )
    if journal.finished:
        return f"The training in the checkpoint {journal.folder} had finished before: this is its model again."
    if journal.answered:
        every = journal.answered + journal.computed
        return f"The training went on from {journal.folder}: {journal.answered:,} of {every:,} answers were there."
    return f"The checkpoint {journal.folder} is done and can be removed."


def write_report(fit: Fit, model: Path) -> Path:
    """Write the page of a fit beside its model and return its path: a model folder holds nothing but the model."""
    from batchlearn.report.page import page as page_of  # imported here, as above

    path = model.with_name(f"{model.name}.html")
    write_page(path, page_of(fit, str(model)), f"The model is saved in {model}", "the model is complete without it")
    return path


def write_page(path: Path, text: str, done: str, instead: str) -> None:
    """Write a page, whole or not at all; where that fails, say what is done all the same."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as problem:
        unfinished.unlink(missing_ok=True)
        raise ResourceError(
            f"{done}, but its report could not be written to {path}: {problem.strerror}. "
            f"Make room or get permission; {instead}.",
            code="report-not-written",
        ) from problem


def _unmet(fit: Fit, path: Path) -> CertificateError | None:
    if fit.recipe.tolerance is None or fit.status is Status.TOLERANCE:
        return None
    certificate = fit.certificate
    if certificate.loss_bound is None:
        came = f"No bound could be proved: {certificate.reason}"
    else:
        came = (
            f"The loss is proved to be within {rounded_up(certificate.loss_bound):.1e} of the optimum, "
            f"{rounded_up(certificate.loss_bound / fit.null_objective):.1e} of the loss of the mean: {fit.status.value}"
        )
    return CertificateError(
        f"{came}. A bound of {fit.recipe.tolerance:g} was asked for. The model in {path} is the best there is; ask for "
        "a larger --tolerance or a larger --alpha.",
        code="tolerance-not-met",
    )
