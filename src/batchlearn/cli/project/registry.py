"""`batchlearn registry check` and `registry prune`: is everything as it was written, and what may go."""

from __future__ import annotations

import math
import os
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.cli.arguments import CommandResult, Count, Flag, moment, who
from batchlearn.errors import IntegrityError, UsageError
from batchlearn.exports.mlflow_mirror import mirror
from batchlearn.formatting.numbers import count
from batchlearn.registry.check import RegistryFinding
from batchlearn.registry.check import check as check_registry
from batchlearn.registry.ledger import check_promotions, events
from batchlearn.registry.loading import rows_of
from batchlearn.registry.place import find_project, open_store
from batchlearn.registry.promotions import champion
from batchlearn.registry.pruning import Pruning, plan_pruning, prune, with_parts
from batchlearn.registry.version import VERSIONS, read_version
from batchlearn.report.document import Document
from batchlearn.retraining.sources.snapshots import superseded_parts

FORMAT_VERSION = 1


def registry(  # noqa: PLR0913 - each argument is a flag
    action: Annotated[
        Literal["check", "prune", "mirror"],
        Parameter(
            help="check: read every record and every byte of every version. prune: remove the totals that older "
            "versions keep of their rows, and parts of a query that were fetched again; models stay. mirror: show "
            "versions and aliases in MLflow."
        ),
    ],
    /,
    *,
    repair: Annotated[Flag, Parameter(help="check: propose a command for each finding; none is run.")] = False,
    keep: Annotated[
        Count | None,
        Parameter(help="prune: of how many versions, the last that were live, the totals stay; with the newest's."),
    ] = None,
    dry_run: Annotated[Flag, Parameter(help="prune: say what would go, and remove nothing.")] = False,
    by: Annotated[str | None, Parameter(help="prune: name for the ledger; that of the user unless given.")] = None,
    to: Annotated[str | None, Parameter(help="mirror: MLflow's address, such as http://localhost:5000.")] = None,
    name: Annotated[
        str | None, Parameter(help="mirror: the registered model; the project's folder unless given.")
    ] = None,
    project: Annotated[str, Parameter(help="Folder of the project, or one inside it.")] = ".",
) -> CommandResult:
    """Check the registry, make it smaller, or show it elsewhere.

    Exit code 6 where something that is relied on is not what was written. Pruning writes into the ledger what goes
    before it goes; a version without totals predicts, is promoted and rolled back as before. A mirror gets what it
    lacks and where aliases point; nothing done there changes anything here.
    """
    if action != "mirror" and (to is not None or name is not None):
        raise UsageError("--to and --name belong to `registry mirror`.", code="option-unknown")
    if action == "mirror":
        if repair or keep is not None or dry_run or by is not None:
            raise UsageError("`registry mirror` takes --to, --name and --project.", code="option-unknown")
        return _mirror(project, to, name)
    if action == "check":
        if keep is not None or dry_run or by is not None:
            raise UsageError("--keep, --dry-run and --by belong to `registry prune`.", code="option-unknown")
        return _check(project, repair)
    if repair:
        raise UsageError("--repair belongs to `registry check`.", code="option-unknown")
    if keep is None or keep < 1:
        given = "It was not given" if keep is None else f"{keep} was given"
        raise UsageError(
            f"--keep says of how many versions, the last that were live, the totals stay. {given}; 1 or more is "
            "needed, such as --keep 3.",
            code="keep-too-few",
        )
    return _prune(project, keep, dry_run, by)


def _check(project: str, repair: bool) -> CommandResult:
    found = check_registry(open_store(project))
    serious = [finding for finding in found if finding.serious]
    findings = [finding.to_json() for finding in found]
    if not repair:
        findings = [{key: value for key, value in finding.items() if key != "proposal"} for finding in findings]
    record: dict[str, Any] = {"format_version": FORMAT_VERSION, "sound": not serious, "findings": findings}
    if serious:
        refusal = IntegrityError(serious[0].what, code="registry-not-sound")
        record["error"] = {"code": refusal.code, "message": refusal.message, "exit_code": refusal.exit_code}
    return CommandResult(record, _show_findings(found, repair), IntegrityError.exit_code if serious else 0)


def _show_findings(found: list[RegistryFinding], repair: bool) -> Document:
    document = Document()
    serious = sum(finding.serious for finding in found)
    document.title(f"The registry is not sound: {count(serious, 'finding')}" if serious else "The registry is sound")
    for finding in found:
        document.bullet(f"{finding.state}: {finding.what}", "red" if finding.serious else "")
        if repair:
            document.command(finding.proposal)
    if found and not repair:
        document.line("--repair proposes what to do; nothing is ever changed or deleted by it.", "dim")
    return document


def _mirror(project: str, to: str | None, name: str | None) -> CommandResult:
    if to is None:
        raise UsageError(
            "The address of MLflow is missing; give it with --to, such as --to http://localhost:5000.",
            code="option-missing",
        )
    # MLflow reports to its makers unless told not to.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    store = open_store(project)
    mirrored = mirror(store, to, name or find_project(project).resolve().name)
    document = Document()
    added = f"{count(len(mirrored.added), 'version')} added" if mirrored.added else "nothing was missing"
    document.title(f"{mirrored.name} at {mirrored.uri} mirrors {count(len(mirrored.versions), 'version')}; {added}")
    for alias, number in mirrored.aliases.items():
        document.bullet(f"{alias}: version {number}, there {mirrored.versions[number]}")
    return CommandResult({"format_version": FORMAT_VERSION, **mirrored.to_json()}, document)


def _prune(project: str, keep: int, dry_run: bool, by: str | None) -> CommandResult:
    store = open_store(project)
    with one_at_a_time(store.root):
        check_promotions(events(store), champion(store))
        plan = plan_pruning(store, keep)
        versions = [read_version(store, number) for number in plan.kept]
        lists = [one for one in (rows_of(store, version) for version in versions) if one is not None]
        plan = with_parts(store, plan, superseded_parts(store, lists))
        # Versions are written under this lock alone, so nobody is at work on what has such a name.
        halves = [path.name for path in store.unfinished(VERSIONS)]
        if not dry_run:
            prune(store, plan, moment(), who(by))
            store.remove_unfinished(VERSIONS)
    record = {"format_version": FORMAT_VERSION, "dry_run": dry_run, **plan.to_json(), "half_written": halves}
    return CommandResult(record, _show_pruning(plan, halves, dry_run))


def _show_pruning(plan: Pruning, halves: list[str], dry_run: bool) -> Document:
    document = Document()
    files = sorted((*plan.unfinished, *plan.files), key=lambda one: (one.version or math.inf, one.file))
    verb = "Would remove" if dry_run else "Removed"
    document.title(f"{verb} {count(len(files), 'file')}, {plan.bytes:,} bytes" if files else "Nothing to prune")
    for one in files:
        whose = "" if one.version is None else f"version {one.version}: "
        document.bullet(f"{whose}{one.file}, {one.bytes:,} bytes")
    for name in halves:
        document.bullet(f"{verb} versions/{name}, which a killed command left")
    if plan.kept:
        document.line(f"Whole as they were: {', '.join(map(str, plan.kept))}.")
    for number in plan.left_alone:
        document.bullet(f"version {number} is damaged and was left alone; see `batchlearn registry check`", "red")
    return document
