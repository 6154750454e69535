"""`batchlearn retrain`: one turn of the cycle; safe to run as often as one likes."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batchlearn.artifacts.folders import named_problems
from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.cli.arguments import CommandResult, Count, Flag, moment, who
from batchlearn.cli.options import Memory
from batchlearn.cli.progress import watch
from batchlearn.cli.train import threads_given, write_page
from batchlearn.errors import DataError
from batchlearn.formatting.numbers import rounded_up
from batchlearn.registry.ledger import FORGET, events
from batchlearn.report.document import Document
from batchlearn.report.retraining.turn import headline, turn_page
from batchlearn.retraining.project import REPORTS, Project, open_project
from batchlearn.retraining.shell.records import CycleContext
from batchlearn.retraining.shell.turn import CycleResult, last_on_record, run_turn, turn_without_source
from batchlearn.retraining.sources.label_times import instant_of, latest_time, parse_instant
from batchlearn.retraining.sources.project_source import open_source
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CycleOptions:
    """When and by whom."""

    now: Annotated[str | None, Parameter(help="Act as at this time: later rows and labels are not there yet.")] = None
    by: Annotated[str | None, Parameter(help="Name for the ledger; that of the user unless given.")] = None
    threads: Annotated[Count | None, Parameter(help="Threads; the cores, up to 8, unless given.")] = None
    memory: Memory = None
    project: Annotated[str, Parameter(help="Folder of the project, or one inside it.")] = "."
    rehash: Annotated[
        Flag, Parameter(help="Compare the values of files that have the size and time of change they had.")
    ] = False


_CAME = ("new", "late", "labelled", "changed", "gone")
DEFAULT_CYCLE = CycleOptions()


def retrain(
    *,
    dry_run: Annotated[Flag, Parameter(help="Say what would be done and what it would gain; train nothing.")] = False,
    anyway: Annotated[Flag, Parameter(help="Train whatever the policy says.")] = False,
    cycle: CycleOptions = DEFAULT_CYCLE,
) -> CommandResult:
    """Look, decide, train, judge, record: one turn of the cycle for this project.

    Nothing happens unless the policy says that it is time. Exit code 0: kept, promoted, or waiting for a person; 10:
    the gate rejected; 11: not enough evidence; 12: an alarm, nothing was trained and the champion stays. Killed at any
    point, it leaves the champion as it was.
    """
    opened = open_project(cycle.project)
    with one_at_a_time(opened.root), within(budget_of(cycle.memory)):
        try:
            context = cycle_context(opened, cycle)
        except DataError as refusal:
            turn = turn_without_source(opened, refusal, moment(), who(cycle.by), dry_run)
        else:
            before = None if dry_run else last_on_record(opened.store)
            if before is not None:  # whoever wrote that record may have been killed before its page
                write_turn_page(opened, *before)
            turn = watch(run_turn(context, dry_run=dry_run, anyway=anyway))
    report = None if turn.event is None else write_turn_page(opened, turn, who(cycle.by))
    record = {**turn.to_json(), "report": None if report is None else str(report)}
    return CommandResult(record, _show(turn, dry_run, report), turn.exit_code)


def write_turn_page(project: Project, turn: CycleResult, by: str) -> Path:
    """Write the page of a turn under the number of its record, unless it is there already; return its path."""
    path = project.root / REPORTS / f"{turn.event:06d}.html"
    if not path.exists():
        with named_problems(path):
            path.parent.mkdir(exist_ok=True)
        text = turn_page(turn, project.settings.source.target, turn.at or "", by)
        write_page(path, text, "The turn is done and on record", "`batchlearn history` has what it came to")
    return path


def cycle_context(project: Project, cycle: CycleOptions) -> CycleContext:
    """Return what a turn is given: the rows as they are, the clock or the time to act as at, and who asks."""
    forgotten = [event.content["where"] for event in events(project.store) if event.content["kind"] == FORGET]
    source = open_source(project, forgotten, cycle.rehash)
    times = source.times()
    clock = datetime.datetime.now(datetime.UTC)
    if cycle.now is not None:
        now = parse_instant(cycle.now, times.stamped)
    else:
        # A row with a time to come is no row of the present.
        now = min(latest_time(source.table(), times), instant_of(clock) if times.stamped else math.inf)
    said = clock
    if times.stamped and cycle.now is not None:
        said = datetime.datetime.fromtimestamp(now / 1e6, datetime.UTC)
    return CycleContext(project, source, now, moment(said), who(cycle.by), threads_given(cycle.threads))


def _show(turn: CycleResult, dry_run: bool, report: Path | None) -> Document:
    document = Document()
    document.title(headline(turn, dry_run))
    facts: list[tuple[str, str]] = [("Why", turn.reason)]
    if turn.rows:
        rows = turn.rows
        came = ", ".join(f"{rows[name]:,} {name}" for name in _CAME if rows.get(name))
        facts.append(("Rows", f"{rows['seen']:,} seen, {rows['known']:,} with a known label, {came or '0 new'}"))
    if turn.gate is not None:
        facts.append(("Gate", turn.gate.sentence))
    if turn.certificate is not None:
        bound = turn.certificate.get("loss_bound")
        said = (
            f"the loss is within {rounded_up(bound):.1e} of the optimum"
            if bound is not None
            else turn.certificate.get("reason")
        )
        facts.append(("Certificate", str(said)))
    facts += [("Alarm", str(alarm)) for alarm in turn.alarms]
    document.facts(facts)
    for note in turn.notes:
        document.bullet(str(note))
    if turn.version is not None and not turn.promoted:
        passed = turn.gate is not None and turn.gate.verdict == "promote"
        document.line("Next:")
        document.command(f"batchlearn promote {turn.version}" + ("" if passed else " --force --why WHY"))
    if report is not None:
        document.line(f"Page: {report}")
    document.line(f"{turn.seconds:.1f} s", "dim")
    return document
