"""Forgetting rows: a verified refit without them, and a list of what still holds them.

The rows are left out for good: the condition goes into the ledger and every later turn reads the source without them.
The model is trained from scratch on the rows known as of the champion's training without them, encoding included, and
its certificate bounds how far it is from the optimum of those rows: so it equals training without them within that
bound, and nothing more is claimed.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq

from batchlearn.artifacts.folders import TEMPORARY
from batchlearn.artifacts.store import Store
from batchlearn.errors import CertificateError, DataError, IntegrityError, NoFiniteOptimum, UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.progress import Progress
from batchlearn.registry.ledger import FORGET, record_event
from batchlearn.registry.loading import load_version, rows_of
from batchlearn.registry.promotions import Reason, needed_champion, promote
from batchlearn.registry.version import SAMPLE, VERSIONS, Version, read_file, read_version, version_numbers
from batchlearn.retraining.cycle.candidate import refuse_unkept, refuse_unmet
from batchlearn.retraining.cycle.continued import statistics_of
from batchlearn.retraining.cycle.events import RowsCounted, Settled, Trained
from batchlearn.retraining.cycle.state import KnownRows
from batchlearn.retraining.shell.records import CycleContext, as_of, rehearse
from batchlearn.retraining.shell.turn import CycleResult, record_cycle, register_trained
from batchlearn.retraining.sources.label_times import count_new_rows
from batchlearn.retraining.sources.project_source import ProjectSource
from batchlearn.retraining.sources.snapshots import SNAPSHOTS
from batchlearn.retraining.verdict import answered
from batchlearn.tables.conditions import Written
from batchlearn.tables.table import Table, read
from batchlearn.training.train import iter_train

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Held:
    """Something that still holds forgotten rows; `rows` is None where it cannot be told how many."""

    what: str
    rows: int | None
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"what": self.what, "rows": self.rows, "remedy": self.remedy}


@dataclass(frozen=True)
class Forgotten:
    """What forgetting came to."""

    where: str
    rows: int  # of the source that meet the condition
    version: int
    certificate: dict[str, Any]
    held: tuple[Held, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what `forget --json` prints."""
        return {
            "format_version": FORMAT_VERSION,
            "where": self.where,
            "rows": self.rows,
            "version": self.version,
            "promoted": True,
            "certificate": self.certificate,
            "still_held_by": [one.to_json() for one in self.held],
            "seconds": self.seconds,
        }


def forget_rows(context: CycleContext, where: str, why: str) -> Generator[Progress, None, Forgotten]:
    """Train without the rows of a condition, record it, promote, and list what still holds them.

    CertificateError, before anything goes live, where the refit has no certificate;
    RegistryError where no version is live; DataError and UsageError, before anything is recorded, where the condition
    does not fit the source, no row meets it, or no model can be trained without its rows.
    """
    began = time.perf_counter()
    store, source = context.project.store, context.source
    before = read_version(store, (stands := needed_champion(store)).version)
    yield Progress("counting rows")
    others = tuple(one for one in source.forgotten if one != where)
    recorded = len(others) < len(source.forgotten)  # by an earlier command, which may have been killed
    rows = _count(replace(source, forgotten=()).table(Written(where)))
    _refuse_none(store, source, before, where, rows, recorded)
    known, lessened = None, replace(source, forgotten=(*others, where))
    with suppress(IntegrityError):  # a model that is damaged is no reason to keep the rows
        model = load_version(store, before).model
        known, lessened = model.target, lessened.like(model.readings)
    then, times = replace(context, source=lessened, now=as_of(before)), lessened.times()
    left = KnownRows(lessened, times, then.now, then.plan)
    table = left.faded(lessened.table(*left.wanted()))
    try:
        fit = yield from iter_train(table, then.plan.recipe, threads=context.threads, before=known)
    except (DataError, NoFiniteOptimum) as problem:
        raise type(problem)(
            f"Without the {rows:,} rows where {where} no model can be trained, and nothing was recorded: "
            f"{problem.message}",
            code=problem.code,
        ) from problem
    refuse_unkept(fit)
    # From this line on, whatever comes, the rows are not learned from again.
    if not recorded:
        record_event(store, FORGET, context.at, {"where": where, "why": why, "by": context.by, "rows": rows})
    if not fit.certificate.certified and fit.model.learned_by is None:
        raise CertificateError(
            "The rows are left out from now on, but the model without them has no certificate and is not made live: "
            f"{fit.certificate.reason} Choose a penalty above 0 in [recipe], and run `batchlearn retrain --anyway`.",
            code="forget-not-certified",
        )
    refuse_unmet(fit)
    reason = Note(Code.TRAINED_WITHOUT, {"rows": rows, "where": where, "why": why})
    found = count_new_rows(lessened.table(times.seen_by(then.now)), times, then.now, None)
    # It goes live whether it is better or not.
    answer = answered(then.plan.gate, "promote", Note(Code.NO_CONTEST, {"champion": stands.version}), 0)
    kept, verdict = statistics_of(fit, table, context.threads), replace(answer, asks=False)
    trained = Trained(fit, table, kept, verdict, None, fit.notes, stands.generation, forgotten=where)
    turn = CycleResult(
        "retrain",
        (reason,),
        start="scratch",
        start_asked="scratch",
        rows={**found.to_json(), "new": 0},
        notes=fit.notes,
    )
    version = register_trained(then, RowsCounted(found, times.stamped), trained, turn)
    rehearsal = rehearse(context, version)
    if not rehearsal:
        raise IntegrityError(
            f"Version {version.number}, trained without the rows, is not made live: {rehearsal.note} Run "
            "`batchlearn retrain --anyway`.",
            code="version-not-rehearsed",
        )
    record_cycle(then, version, Settled(verdict, True, None, True, rehearsal.note, (), None))
    promote(store, version.number, Reason(str(reason), context.by, context.at, forced=True), stands)
    held = tuple(_still_held(context, source, where, rows, version))
    return Forgotten(where, rows, version.number, version.description["certificate"], held, time.perf_counter() - began)


def _refuse_none(store: Store, source: ProjectSource, before: Version, where: str, rows: int, recorded: bool) -> None:
    """Refuse a condition that neither rows of the source nor those of the live version meet: DataError."""
    # Rows that are gone from the source may still be in the champion: None where that cannot be told.
    if (recorded or not rows) and _matching(store, source, before, where) == 0:
        blame = "They were forgotten before" if recorded else f"No row of the source meets {quoted(where)}"
        raise DataError(
            f"{blame}, and version {before.number}, which is live, was trained on none of them; nothing was recorded "
            f"or trained.{'' if recorded else ' Check the condition.'}",
            code="no-rows",
        )


def _count(table: Table) -> int:
    return sum(batch.num_rows for batch in table.scan([table.columns[0].name]))


def _still_held(context: CycleContext, source: ProjectSource, where: str, rows: int, new: Version) -> Iterator[Held]:
    """Yield what still holds rows that meet the condition: the source, older versions, and files beside them."""
    store, root, categories = context.project.store, context.project.root, source.settings.reading.categories
    if rows:
        yield Held("the source itself", rows, "delete the rows where they are kept")
    # 1. Older versions were made from them: the model with encoding and totals, and the sample.
    for number in version_numbers(store):
        if number == new.number:
            continue
        folder = f"versions/{number:06d}"
        remedy = f"remove {folder} once nobody has to answer for it; the ledger stays"
        try:
            version = read_version(store, number)
            trained = _matching(store, source, version, where)
            rows_kept = pq.read_table(io.BytesIO(read_file(store, version, SAMPLE)))
            sample = _count(read(rows_kept, where=where, categories=categories))
        except (DataError, IntegrityError) as problem:
            yield Held(f"{folder}, perhaps: {problem.message}", None, remedy)
            continue
        if trained != 0:
            yield Held(f"model, encoding and kept totals of {folder}, by what they learned", trained, remedy)
        if sample:
            yield Held(f"sample rows of {folder}, as they are", sample, remedy)
    # 2. Parts of a query that were fetched, also of earlier ones, told by their folders; what killed commands left.
    parts = "once the rows are gone from the database, remove the folder of parts: all is fetched again"
    left = "remove it while no batchlearn command runs"
    files = [(path, path.parent, parts) for path in sorted(store.path(SNAPSHOTS).rglob("*.parquet"))]
    files += [(path, path, left) for path in sorted(store.path(VERSIONS).glob(f"{TEMPORARY}*/{SAMPLE}"))]
    held: Counter[tuple[str, str]] = Counter()
    for path, whole, remedy in files:
        try:
            held[str(whole.relative_to(root)), remedy] += _count(read(path, where=where, categories=categories))
        except (DataError, IntegrityError, UsageError) as problem:
            yield Held(f"{path.relative_to(root)}, perhaps: {problem.message}", None, remedy)
    yield from (Held(name, found, remedy) for (name, remedy), found in held.items() if found)


def _matching(store: Store, source: ProjectSource, version: Version, where: str) -> int | None:
    """Return how many of a version's rows meet the condition; None where its rows are not those of the source now."""
    data, then = version.description["data"], rows_of(store, version)
    reading = replace(source.settings.reading, where=data["condition"])
    trained = replace(source, settings=source.settings.model_copy(update={"reading": reading}), forgotten=())
    standing = None if then is None else trained.compare(then)
    listed = None if standing is None else standing.listed
    if (standing is not None and standing.lost) or _count(trained.table(listed)) < data["rows"]["used"]:
        return None
    return _count(trained.table(listed, Written(where)))
