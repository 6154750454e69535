"""`batchlearn history` and `status`: what the files of the registry say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, moment
from batchlearn.formatting.numbers import count
from batchlearn.registry.ledger import (
    ALARM,
    CYCLE,
    FORGET,
    OVERRULED,
    Choice,
    Reviews,
    check_promotions,
    choices,
    events,
    reviews,
    standing_alarm,
    tenures,
    waiting,
)
from batchlearn.registry.place import open_store
from batchlearn.registry.promotions import champion, promotions
from batchlearn.registry.pruned import PRUNE, files_of_record
from batchlearn.registry.records import Record
from batchlearn.registry.version import read_version, version_numbers
from batchlearn.report.document import Document

FORMAT_VERSION = 1
InProject = Annotated[str, Parameter(help="Folder of the project, or one inside it.")]


def history(
    *,
    project: InProject = ".",
) -> CommandResult:
    """Say which version was live when, why and by whom, and how each turn of the cycle ended."""
    store = open_store(project)
    lives, past = tenures(promotions(store)), events(store)
    check_promotions(past, lives[-1].promotion if lives else None)
    kinds = CYCLE, ALARM, PRUNE
    turns, alarms, prunings = ([event for event in past if event.content["kind"] == kind] for kind in kinds)
    decided = choices(past)
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "tenures": [tenure.to_json() for tenure in lives],
        "turns": [_turn(event) for event in turns],
        "alarms": [
            {"event": event.number, **{key: event.content[key] for key in ("at", "by", "alarms", "alarms_noted")}}
            for event in alarms
        ],
        "decisions": [choice.to_json() for choice in decided],
        "forgotten": [event.content["where"] for event in past if event.content["kind"] == FORGET],
        "reviews": reviews(past, moment()).to_json(),
        "pruned": [{key: event.content[key] for key in ("at", "by", "keep", "files")} for event in prunings],
    }

    document = Document()
    document.title(f"{count(len(lives), 'tenure')}, {count(len(version_numbers(store)), 'version')}")
    rows, listing = [], []
    for one in lives:
        reason, until = one.promotion.reason, one.until or "live"
        rows.append([str(one.version), one.since, until, reason.by, reason.why])
        when = f"{one.since} to {one.until}" if one.until else f"since {one.since}, live"
        listing.append((f"version {one.version}, by {reason.by}: {when}", reason.why))
    if rows:
        document.table(["version", "since", "until", "by", "why"], rows, 5, listing)
    if turns:
        document.heading("Turns of the cycle")
        document.table(
            ["version", "at", "gate", "live"],
            [
                [str(said["version"]), said["at"], _gate(said["gate"]), "yes" if said["promote"] else "no"]
                for said in (event.content for event in turns)
            ],
            4,
        )
    if alarms:
        document.heading("Turns that an alarm ended")
    for event in alarms:
        document.bullet(f"{event.content['at']}: {event.content['alarms'][-1]}")
    if decided:
        document.heading("What people decided")
    for choice in decided:
        document.bullet(_format_choice(choice))
    if prunings:
        document.heading("What was pruned")
    for event in prunings:
        numbers, others = [str(one.version) for one in files_of_record(event)], len(event.content["files"])
        gone = [f"the kept totals of version {', '.join(numbers)}"] * bool(numbers)
        gone += [count(others - len(numbers), "part") + " of a query"] * (others > len(numbers))
        document.bullet(f"{event.content['at']}, {event.content['by']}: {' and '.join(gone)}")

    return CommandResult(record, document)


def _gate(said: Mapping[str, Any]) -> str:
    """Return the verdict; no row judged a first version, or one that takes another's place without forgotten rows."""
    return str(said["verdict"]) if said["rows"] or said["verdict"] != "promote" else "no contest"


def _format_choice(choice: Choice) -> str:
    chosen = "no version" if choice.chosen is None else f"version {choice.chosen}"
    rival = "" if choice.instead_of is None else f" instead of version {choice.instead_of}"
    reason = f" ({choice.why.removesuffix('.')})" if choice.why else ""
    said = f"{choice.at}, {choice.by}: {chosen}{rival}{reason}"
    if choice.answer != OVERRULED:
        return f"{said}. The gate was not overruled."
    outcome = "whether rightly is not known yet" if choice.outcome is None else f"the person was {choice.outcome}"
    return f"{said}. The gate was overruled; {outcome}.{f' {choice.because}' if choice.because else ''}"


def _turn(event: Record) -> dict[str, Any]:
    said = event.content
    kept = ("at", "version", "decision", "reason", "promote", "review", "by", "note")
    return {"event": event.number, **{key: said[key] for key in kept}, "verdict": said["gate"]["verdict"]}


def status(
    *,
    project: InProject = ".",
) -> CommandResult:
    """Say who is live, what waits for a person, and how often people were asked and overruled the gate."""
    store = open_store(project)
    stands, numbers, past = champion(store), version_numbers(store), events(store)
    check_promotions(past, stands)
    asked = reviews(past, moment())
    live = None if stands is None else {**stands.to_json(), **_described(read_version(store, stands.version))}
    asking, alarm = [event.content for event in waiting(past, stands)], standing_alarm(past)
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "champion": live,
        "versions": len(numbers),
        "waiting": [said["version"] for said in asking],
        "alarms": [] if alarm is None else alarm.content["alarms"],
        "reviews": asked.to_json(),
    }

    document = Document()
    if stands is None or live is None:
        document.title("No version is live yet")
    else:
        document.title(f"Version {stands.version} is live (generation {stands.generation})")
        document.facts(
            [
                ("Since", f"{stands.reason.at}, by {stands.reason.by}"),
                ("Why", stands.reason.why),
                ("Rows", f"{live['rows']:,}, known as of {live['as_of']}"),
            ]
        )
    if alarm is not None:
        document.line(f"The last turn ended by an alarm ({alarm.content['at']}):", "red")
        document.bullet(alarm.content["alarms"][-1])
    for said in asking:
        number, passed = said["version"], said["gate"]["verdict"] == "promote" and said["rehearsed"]
        document.line(f"Version {number} waits for a person ({said['review']}):")
        for alarm in said.get("alarms", ()):
            document.bullet(alarm, "red")
        document.command(f"batchlearn promote {number}{'' if passed else ' --force --why REASON'}")
        document.command(f"batchlearn promote {number} --decline")
    document.line(f"{count(len(numbers), 'version')}; {_people(asked)}", "dim")

    return CommandResult(record, document)


def _people(asked: Reviews) -> str:
    outcomes = {
        "right": asked.right,
        "wrong": asked.wrong,
        "not known yet": asked.overrides - asked.right - asked.wrong,
    }
    known = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items() if number)
    return f"{count(asked.asked, 'review')} asked, {asked.overrides} overruled{f' ({known})' if known else ''}"


def _described(version: Any) -> dict[str, Any]:
    data = version.description.get("data", {})
    return {"as_of": data.get("as_of"), "rows": data.get("rows", {}).get("used"), "model": str(version.model_path)}
