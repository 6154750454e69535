"""What the registry says, as the state of the cycle; and its versions, read when the cycle asks for them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchlearn.artifacts.store import Store
from batchlearn.artifacts.tensors import unpack
from batchlearn.errors import IntegrityError
from batchlearn.formatting.notes import Note, all_recorded
from batchlearn.kernels.design import Floats
from batchlearn.models.brought.formats import NOTHING_ALLOWED
from batchlearn.models.encoded import EncodedModel
from batchlearn.registry.ledger import (
    OUTCOME,
    OVERRIDE_INTERIM,
    OVERRULED,
    choices,
    events,
    forgotten_since,
    latest_cycle_of,
)
from batchlearn.registry.loading import load_champion, load_version, rows_of
from batchlearn.registry.promotions import Promotion, champion, promotions
from batchlearn.registry.records import Record
from batchlearn.registry.version import EXPECTED, KEPT, SAMPLE, Version, read_file, read_version, version_numbers
from batchlearn.retraining.child import Rehearsal, scores_same
from batchlearn.retraining.cycle.state import (
    Champion,
    CycleClock,
    CycleState,
    LiveVersion,
    Newest,
    Override,
    PastVersion,
    Plan,
    Rehearsed,
)
from batchlearn.retraining.policies import Span
from batchlearn.retraining.project import Project
from batchlearn.retraining.sources.project_source import ProjectSource
from batchlearn.retraining.verdict import Verdict
from batchlearn.selection.structure import Structure
from batchlearn.tables.table.row_list import RowList
from batchlearn.updating.storage import load


@dataclass(frozen=True)
class CycleContext:
    """What a turn of the cycle is given: the project with its store, the rows, the time, and how to rehearse.

    `rehearse` takes the folder of a model, sample rows as Parquet and what they must score.
    """

    project: Project
    source: ProjectSource
    now: float  # on the scale of the time column
    at: str  # the same, or the clock where times are numbers: ISO 8601 in UTC, for the record
    by: str
    threads: int | None = None
    rehearse: Callable[[Path, Path, Floats], Rehearsal] = scores_same

    @property
    def clock(self) -> CycleClock:
        """The time of the turn."""
        return CycleClock(self.now, self.at)

    @property
    def plan(self) -> Plan:
        """What the settings of the project say, with nothing held out."""
        settings, project = self.project.settings, self.project
        recipe = settings.recipe
        window, half_life = (
            None if one is None else Span.parse(one) for one in (settings.policy.window, settings.policy.half_life)
        )
        if recipe.model is not None:
            recipe = replace(recipe, folder=str(project.root))
        return Plan(
            recipe=replace(recipe, holdout=0.0, costs=settings.review.costs),
            policy=project.policy,
            window=window,
            start=settings.policy.start,
            gate=project.gate,
            share=settings.gate.share,
            review=tuple(settings.review.of),
            budget=settings.review.budget,
            threads=self.threads,
            fallback=settings.policy.fallback,
            price=settings.policy.price,
            structure=settings.policy.structure,
            half_life=half_life,
        )


def newest_version(store: Store) -> Version | None:
    """Return the newest registered version, or None. IntegrityError where it is damaged."""
    numbers = version_numbers(store)
    if not numbers:
        return None
    try:
        return read_version(store, numbers[-1])
    except IntegrityError as problem:
        raise IntegrityError(
            f"The next training goes on from version {numbers[-1]}, and it is damaged: {problem.message} What can be "
            "done says `batchlearn registry check --repair`.",
            code=problem.code,
        ) from problem


def unfinished(store: Store) -> Version | None:
    """Return the newest version if the turn that made or judged it was killed before its end."""
    version = newest_version(store)
    if version is None:
        return None
    turn, stands = latest_cycle_of(events(store), version.number), champion(store)
    if turn is None:
        return version
    live = any(one.version == version.number for one in promotions(store))
    stale = turn.content["judged_against"] != (None if stands is None else stands.generation)
    return version if turn.content["promote"] and not live and not stale else None


def as_of(version: Version) -> float:
    """Return the time at which the rows of a version were known."""
    return float(version.description["data"]["as_of_instant"])


def latest_of(version: Version) -> float:
    """Return the latest time at which a row that had landed when a version was trained was seen."""
    return float(version.description["data"].get("latest_instant", as_of(version)))


def state_of(store: Store) -> CycleState:
    """Return what the registry knows of its versions. IntegrityError or RegistryError where it is damaged."""
    past, version, stands = events(store), newest_version(store), champion(store)
    live = None
    if stands is not None:
        live = LiveVersion(stands.version, stands.generation, tuple(forgotten_since(past, stands.version)))
    asked = tuple(event.content["at"] for event in past if event.content.get("review"))
    return CycleState(None if version is None else newest_of(version, past), live, _overrides(past), asked)


def newest_of(version: Version, past: Sequence[Record]) -> Newest:
    """Return what is on record of a version: its own verdict, or that of the last look at it."""
    said, turn = version.description, latest_cycle_of(past, version.number)
    return Newest(
        number=version.number,
        as_of=as_of(version),
        latest=latest_of(version),
        known=None if forgotten_since(past, version.number) else int(said["rows"]["known"]),
        at=str(said["created_at"]),
        verdict=Verdict.from_json(said["gate"] if turn is None else turn.content["gate"]),
        judged_against=said["judged_against"],
        judged_at=None if turn is None else turn.content["looked"],
        alarms=recorded_alarms(said),
        forgotten=said.get("forgotten"),
        last=said["data"].get("last_instant"),
    )


def recorded_alarms(description: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return the alarms of a version; the first releases kept none."""
    alarms = description.get("alarms", [])
    return all_recorded({"notes": alarms, "noted": description.get("alarms_noted", [None] * len(alarms))})


def _overrides(past: Sequence[Record]) -> tuple[Override, ...]:
    settled = {event.content["about"] for event in past if event.content["kind"] == OUTCOME}
    looks = {event.content["about"]: event.content for event in past if event.content["kind"] == OVERRIDE_INTERIM}
    decided = {choice.event for choice in choices(past)} - settled
    found = []
    for event in past:
        said, look = event.content, looks.get(event.number, {})
        if event.number in decided and said["answer"] == OVERRULED:
            versions = said["chosen"], said["instead_of"]
            found.append(Override(event.number, *versions, said["as_of"], look.get("looked"), look.get("state")))
    return tuple(found)


class RegisteredVersions:
    """The versions of a registry: `newest` is the last one, and `stands` who was live when it was asked for."""

    def __init__(self, context: CycleContext, newest: Version | None) -> None:
        self.context, self.newest = context, newest
        self.stands: Promotion | None = None

    def champion(self) -> Champion:
        """Return the champion with its totals, every byte checked against its promotion."""
        store = self.context.project.store
        live = load_champion(store, self.context.project.allowed)
        model, record = live.stored.model, live.stored.record
        structure = Structure.from_json(record["structure"], model.encoding, self.context.plan.recipe.rules)
        kept, pruned = None, KEPT in live.version.pruned
        if KEPT in live.version.sizes and not pruned:
            kept = load(read_file(store, live.version, KEPT), model.encoding.layout, model.loss)
        said = record.get("columns")  # of those that older models were trained on nothing is on record
        return Champion(
            model=model,
            as_of=as_of(live.version),
            latest=latest_of(live.version),
            generation=live.promotion.generation,
            strengths=structure.strengths,
            recipe=dict(record["recipe"]),
            kept=kept,
            pruned=pruned,
            structure=structure,
            columns=None if said is None else {str(one["name"]): one["read_as"] for one in said},
        )

    def model(self, number: int) -> EncodedModel:
        """Return the model of a version, its bytes checked."""
        store = self.context.project.store
        return load_version(store, read_version(store, number), self.context.project.allowed).model

    def past(self) -> list[PastVersion]:
        """Return what is on record of all versions, the oldest first."""
        store = self.context.project.store
        read = [read_version(store, number) for number in version_numbers(store)]
        return [PastVersion(one.number, as_of(one), int(one.description["rows"]["known"])) for one in read]

    def rows_of(self, number: int) -> RowList | None:
        """Return the list of a version's rows, its bytes checked."""
        store = self.context.project.store
        return rows_of(store, read_version(store, number))

    def rehearse_newest(self) -> Rehearsed:
        """See who is live, and have the sample rows of the newest version scored by a fresh process."""
        self.stands = champion(self.context.project.store)
        assert self.newest is not None
        found = rehearse(self.context, self.newest)
        return Rehearsed(found.same, found.note, None if self.stands is None else self.stands.generation)


def rehearse(context: CycleContext, version: Version) -> Rehearsal:
    """Have a copy of the version's own bytes loaded, in a fresh process, and its sample rows scored."""
    store = context.project.store
    shape = tuple(int(size) for size in version.description["sample"]["shape"])
    expected = unpack(read_file(store, version, EXPECTED), {"response": shape})["response"]
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / SAMPLE
        sample.write_bytes(read_file(store, version, SAMPLE))
        model = shutil.copytree(version.model_path, Path(folder) / "model")
        allowed = context.project.allowed
        if allowed == NOTHING_ALLOWED:
            return context.rehearse(model, sample, expected)
        return scores_same(model, sample, expected, allowed=allowed)
