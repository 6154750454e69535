"""What a policy may look at in production: losses of the versions there are, rows that came, and the bracket.

Each is read when a policy asks for it, once a turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.errors import DataError
from batchlearn.evaluation.scored import score_each
from batchlearn.formatting.notes import Note
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.cycle.continued import bracket_of
from batchlearn.retraining.cycle.state import Champion, CycleState, KnownRows, Versions
from batchlearn.retraining.policies import Losses, Samples
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Table

# Rows of the last training that are looked at, evenly over its time, and as large a share of those that came since.
_MOST_SAMPLED = 20_000
# What labelled rows that came can be without being a fault: none, or none that counts.
_NOTHING_CAME = ("no-rows", "no-usable-rows")


class ArrivedEvidence:
    """The evidence of a turn of the cycle, where there is a version."""

    def __init__(self, known: KnownRows, versions: Versions, state: CycleState) -> None:
        self.known, self.versions, self.state = known, versions, state

    @cached_property
    def champion(self) -> Champion:
        """The live model."""
        return self.versions.champion()

    @cached_property
    def bracketed(self) -> tuple[Bracket | None, Note]:
        """The bracket of the plan's training, with what is to be said of it; some version has to be live."""
        # Columns go on being read as the live model reads them: their kinds do not turn with what new rows hold.
        known = replace(self.known, source=self.known.source.like(self.champion.model.readings))
        return bracket_of(self.champion, known.plan.recipe, known.parts(self.champion), known.plan.threads)

    def bracket(self) -> Bracket | None:
        """Return the bracket; None where there is none, or where no version is live."""
        return None if self.state.live is None else self.bracketed[0]

    def losses(self, versions: int = 1) -> Sequence[Losses]:
        """Return the losses of the last so many versions up to the live one, else up to the newest, by one reading.

        Versions of another target, or another loss, than the last one are left out.
        """
        state, times, now = self.state, self.known.times, self.known.now
        assert state.newest is not None
        serving = state.newest.number if state.live is None else state.live.number
        past = [one for one in self.versions.past() if one.number <= serving][-versions:]
        models = [self.versions.model(one.number) for one in past]
        kind = models[-1].target
        alike = [
            k for k, one in enumerate(models) if (one.target.loss, one.target.classes) == (kind.loss, kind.classes)
        ]
        table = self.known.source.table(times.after(past[alike[0]].as_of), times.labelled_by(now))
        try:
            scored = score_each([models[k] for k in reversed(alike)], table)
        except DataError as problem:
            if problem.code not in _NOTHING_CAME:
                raise
            return [Losses(past[-1].as_of, past[-1].known or 0, *(np.empty(0) for _ in range(3)))]
        rows = scored[0]
        assert rows.time is not None  # a project has a time column
        seen = rows.time.astype(np.float64)
        arrived = seen + times.wait
        if times.labelled is not None:
            told = np.concatenate([_instants(batch.column(0)) for batch in table.scan([times.labelled])])
            arrived = np.maximum(arrived, told[rows.entry])
        usable, order = ~np.isnan(rows.label), np.argsort(arrived, kind="stable")
        order = order[usable[order]]
        found = list[Losses]()
        for k, one in zip(reversed(alike), scored, strict=True):
            after = order[seen[order] > past[k].as_of]
            loss = np.asarray(one.losses(kind))[after]
            found.insert(0, Losses(past[k].as_of, past[k].known or 0, seen[after], arrived[after], loss))
        return found

    def samples(self) -> Samples:
        """Return columns that the newest version reads, of the rows it knew and of those seen since."""
        newest, times = self.state.newest, self.known.times
        assert newest is not None
        model = self.versions.model(newest.number)
        source = self.known.source.like(model.readings)
        since = source.table(times.after(newest.as_of), times.seen_by(self.known.now))
        return samples_of(model, source.table(times.labelled_by(newest.as_of)), since, times.seen, newest.known or 0)


def samples_of(model: EncodedModel, before: Table, since: Table, seen: str, known: int) -> Samples:
    """Return columns that a model reads, of rows before its training and since; `known` rows say how many are taken."""
    names = [name for name in model.columns if before.column(name).kind is not Kind.TIMESTAMP and name != seen]
    stride = max(math.ceil(known / _MOST_SAMPLED), 1)
    return Samples(_thinned(before, names, seen, stride), _thinned(since, names, seen, stride))


def _instants(times: pa.Array) -> Floats:
    """Return times on the scale of the policies, microseconds since 1970 for timestamps; NaN where there is none."""
    plain = pc.cast(pc.cast(times, pa.int64()), pa.float64()) if pa.types.is_timestamp(times.type) else times
    return np.asarray(pc.fill_null(plain, math.nan).to_numpy(zero_copy_only=False))


def _thinned(table: Table, names: Sequence[str], seen: str, stride: int) -> pa.Table:
    """Return columns of every so many-th row in the order of time; the times are read first, then the rows chosen."""
    parts = [_instants(batch.column(0)) for batch in table.scan([seen])]
    time = np.concatenate(parts) if parts else np.empty(0)
    chosen = np.argsort(time, kind="stable")[: int(np.sum(~np.isnan(time)))][::stride]
    kept, begun = np.zeros(len(time), dtype=bool), 0
    kept[chosen] = True
    batches = list[pa.RecordBatch]()
    for batch in table.scan(names):
        batches.append(batch.filter(pa.array(kept[begun : begun + batch.num_rows])))
        begun += batch.num_rows
    if not batches or not names:
        return pa.table({})
    place = np.empty(len(time), dtype=np.int64)
    place[np.flatnonzero(kept)] = np.arange(len(chosen))
    return pa.Table.from_batches(batches).take(pa.array(place[chosen]))
