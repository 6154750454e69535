"""Which rows an evaluation keeps apart: the latest by time, whole groups, or random ones.

Chance draws lots that follow from the values of the rows (`Ledger.lots`): the same rows in another order are split in
the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger, Lots
from batchlearn.errors import DataError, UsageError
from batchlearn.tables.row_hashes import Hashes, RowHashes, bits_of, mixed
from batchlearn.tables.table import Table


class SplitKind(StrEnum):
    """By what rows are told apart: by time, by whole groups, or by chance; the value is what `--split` takes."""

    TIME = "time"
    GROUP = "group"
    RANDOM = "random"


# Copies of a row that make up more than this share are no accident; a single copy is none in any table.
_LARGEST_UNIT, _PAIR = 0.01, 2
# Rows whose lots are drawn together.
_ROWS_AT_ONCE = 1 << 20
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


class Split(NamedTuple):
    """The earlier part, the later part (none where nothing is held out), and how they were told apart."""

    early: NDArray[np.bool_]
    late: NDArray[np.bool_] | None
    kind: SplitKind = SplitKind.RANDOM  # as it came out
    one_time: bool = False  # by chance, because all rows have the same time


def split_kind(ledger: Ledger, asked: str | None) -> SplitKind:
    """Return how to split: as asked, else by time or by group where the rows differ in it, else at random.

    UsageError or DataError where a split by time or group was asked for and the rows cannot have it.
    """
    given = {SplitKind.TIME: ledger.time, SplitKind.GROUP: ledger.group}
    if asked is None:
        either = SplitKind.RANDOM if ledger.time is None else SplitKind.TIME
        return next((kind for kind, found in given.items() if found is not None and _differs(ledger, found)), either)
    kind = SplitKind(asked)
    if kind is SplitKind.RANDOM:
        return kind
    found = given[kind]
    if found is None:
        raise UsageError(
            f"A split by {kind} was asked for and no column says the {kind}; name it with --{kind}, or split at "
            "random (--split random).",
            code="split-needs-time" if kind is SplitKind.TIME else "split-needs-group",
        )
    if not _differs(ledger, found):
        raise DataError(
            f"A split by {kind} was asked for and all {int(ledger.used.sum()):,} usable rows have the same {kind}; "
            f"two are needed, or none can be held out. Name another column with --{kind}, or split at random "
            "(--split random).",
            code="one-time" if kind is SplitKind.TIME else "one-group",
        )
    return kind


def _differs(ledger: Ledger, found: NDArray[np.floating] | NDArray[np.intp]) -> bool:
    own = found[ledger.used]
    return bool(np.any(own != own[0]))


def hold_out(ledger: Ledger, share: float, seed: int, kind: SplitKind | None = None) -> Split:
    """Split the used rows: the later part is about `share` of them.

    `kind` is by time (the latest rows), by group (whole groups, drawn at random) or random; None is by time where there
    is a time column and random otherwise. Rows of one time, or of one group, stay together, so the held-out share is
    the nearest that whole times give, or close to it for groups; rows without a group stay together as if they were
    one. Nothing is held out where there is one group only. Of random rows, those that repeat each other in features and
    label stay together, as one row entered twice; but where the same features come with several labels, or one row
    makes up more than a hundredth, repeats are what such rows are like, and each is a row of its own.
    """
    used = ledger.used
    rows = int(used.sum())
    nothing = Split(used, None)
    if share == 0.0 or round(share * rows) == 0 or round(share * rows) == rows:
        return nothing
    if kind is SplitKind.GROUP:
        late = _whole_groups(ledger, share, seed)
        return nothing if late is None else Split(used & ~late, late, kind)
    if kind is not SplitKind.RANDOM and ledger.time is not None:
        times = np.sort(ledger.time[used])
        # The first row of the time that the share would begin in, and the first of the time after it.
        around = (np.searchsorted(times, times[min(int(rows - share * rows), rows - 1)], side) for side in _SIDES)
        cuts = [cut for cut in map(int, around) if 0 < cut < rows]
        if cuts:
            cut = min(cuts, key=lambda cut: abs(rows - cut - share * rows))
            late = used & (ledger.time > times[cut - 1])
            return Split(used & ~late, late, SplitKind.TIME)
    late = np.zeros_like(used)
    late[_random_rows(ledger, round(share * rows), seed)] = True
    one_time = kind is not SplitKind.RANDOM and ledger.time is not None
    return Split(used & ~late, late, one_time=one_time)


def with_lots(table: Table, ledger: Ledger) -> Ledger:
    """Read the features once; return the ledger with the lots of its rows."""
    # Where there are no features, rows are told apart by their labels.
    hashes, features, start = RowHashes(), np.zeros(len(ledger.used), dtype=np.uint64), 0
    scan = table.scan([column.name for column in table.features]) if table.features else None
    for batch in scan or ():
        features[start : start + batch.num_rows] = hashes.of(batch)
        start += batch.num_rows
    unreadable = {**ledger.unreadable, **({} if scan is None else scan.unreadable)}
    return with_lots_of(replace(ledger, unreadable=unreadable), features)


def with_lots_of(ledger: Ledger, features: Hashes) -> Ledger:
    """Return the ledger with the lots of its rows, from the hash of each row's features.

    Rows with the same features get different lots, in the order of their labels: neither the unit of the labels nor the
    features of other rows have a say. Of rows equal in all that is read it does not matter which of them gets which.
    """
    lot, repeated = np.empty_like(features), 0
    for entries in _alike_together(features):
        own, label, used = features[entries], ledger.label[entries], ledger.used[entries]
        whole = row_hashes(own, label)
        for salt, role in enumerate((ledger.offset, ledger.time, ledger.group), start=3):
            if role is not None:
                whole = mixed(whole ^ bits_of(role[entries].astype(np.float64)), np.uint64(salt))
        weight = [] if ledger.weight is None else [ledger.weight[entries]]  # by their order, which has no unit
        order = np.argsort(own)
        again = np.diff(own[order]) == 0
        tied = np.append(again, False) | np.insert(again, 0, False)
        alike = order[tied]  # as a rule few: all keys are looked at where the first one does not tell
        order[tied] = alike[np.lexsort([key[alike] for key in (whole, *weight, label, ~used, own)])]
        starts = np.flatnonzero(np.diff(own[order], prepend=~own[order[0]]))
        copy = np.arange(len(own)) - np.repeat(starts, np.diff(starts, append=len(own)))
        lot[entries[order]] = mixed(own[order] + copy.astype(np.uint64), np.uint64(0))
        told_apart = whole if not weight else mixed(whole ^ bits_of(weight[0]), np.uint64(2))
        repeated += int(np.count_nonzero(np.diff(np.sort(told_apart[alike[used[alike]]])) == 0))
    return replace(ledger, read_lots=Lots(features, lot, repeated))


def _alike_together(features: Hashes) -> Iterator[NDArray[np.intp]]:
    """Yield the entries of all rows, those with the same features at a time, and so many that memory is no matter."""
    bits = (len(features) // _ROWS_AT_ONCE).bit_length()
    for part in range(1 << bits):
        first, last = np.uint64(part << 64 - bits), np.uint64((part + 1 << 64 - bits) - 1)
        entries = np.flatnonzero((features >= first) & (features <= last))
        if len(entries):
            yield entries


def row_hashes(features: Hashes, label: NDArray[np.float64]) -> Hashes:
    """Return the hash of features and label of each row."""
    return mixed(features ^ bits_of(label), np.uint64(1))


def drawn(ledger: Ledger, part: NDArray[np.bool_], seed: int, most: int | None = None) -> NDArray[np.intp]:
    """Return the entries of a part, or the first of them, in an order that chance decides by the values of the rows."""
    entries = np.flatnonzero(part)
    lots = _seeded(ledger.lots.lot[entries], seed)
    if most is not None and most < len(lots):
        first = lots <= np.partition(lots, most)[most]
        entries, lots = entries[first], lots[first]
    return entries[np.argsort(lots)][:most]


def in_order(ledger: Ledger, part: NDArray[np.bool_], by_group: bool, seed: int = 0) -> NDArray[np.intp]:
    """Return the entries of a part by time, in random order where there is no time; `by_group`: group after group."""
    time = ledger.time
    entries = drawn(ledger, part, seed) if time is None else by_time(time, np.flatnonzero(part))
    if not by_group or ledger.group is None:
        return entries
    _, group = np.unique(ledger.group[entries], return_inverse=True)
    place = np.random.default_rng(seed).permutation(int(group.max(initial=0)) + 1)
    return entries[np.argsort(place[group], kind="stable")]


def by_time(time: NDArray[np.float64], entries: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return entries in the order of their times, those of one time as they stand: most tables are in it already."""
    own = time[entries]
    return entries if np.all(own[:-1] <= own[1:]) else entries[np.argsort(own, kind="stable")]


def _random_rows(ledger: Ledger, wanted: int, seed: int) -> NDArray[np.intp]:
    """Return the entries of about so many used rows, drawn by lot, rows entered twice as one."""
    entries, lots = np.flatnonzero(ledger.used), ledger.lots
    features = lots.features[entries]
    row = row_hashes(features, ledger.label[entries])
    distinct, copies = np.unique(row, return_counts=True)
    accidents = copies.max() <= max(_PAIR, _LARGEST_UNIT * len(entries)) and len(np.unique(features)) == len(distinct)
    unit = _seeded(mixed(features, np.uint64(0)) if accidents else lots.lot[entries], seed)
    order = np.argsort(unit, kind="stable")
    ends = np.flatnonzero(np.diff(unit[order])) + 1
    return entries[order[: ends[np.argmin(np.abs(ends - wanted))]]] if len(ends) else entries[:0]


def _seeded(lots: Hashes, seed: int) -> Hashes:
    return mixed(lots, np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])


def _whole_groups(ledger: Ledger, share: float, seed: int) -> NDArray[np.bool_] | None:
    """Return the rows of groups drawn at random that together are near the share; None where there is one group.

    A group that would take the share further from what is wanted is passed over, so a very large one is never held out.
    """
    if ledger.group is None:
        return None
    names, group, counts = np.unique(ledger.group[ledger.used], return_inverse=True, return_counts=True)
    if len(names) < 2:
        return None
    wanted, smallest, taken = share * len(group), int(counts.min()), 0
    held = np.zeros(len(names), dtype=bool)
    for one in np.random.default_rng(seed).permutation(len(names)):
        if 2.0 * (wanted - taken) <= smallest:
            break
        if counts[one] < 2.0 * (wanted - taken) and held.sum() < len(names) - 1:
            held[one] = True
            taken += int(counts[one])
    if not held.any():
        held[int(np.argmin(counts))] = True
    late = np.zeros_like(ledger.used)
    late[np.flatnonzero(ledger.used)] = held[group]
    return late


def groups_on_both_sides(ledger: Ledger, split: Split) -> tuple[int, int]:
    """Return how many named groups have rows in both parts, and how many the later part has."""
    if ledger.group is None or split.late is None:
        return 0, 0
    early, late = (np.unique(ledger.group[part]) for part in (split.early, split.late))
    late = late[late >= 0]
    return len(np.intersect1d(early, late, assume_unique=True)), len(late)


def stretches(ledger: Ledger, part: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.intp]:
    """Return the stretch of time, 0 to `count` - 1, of each row of the part, each of about as many rows.

    Rows with the same time stay together, so that there may be fewer. Without a time, or where all rows have the same,
    the stretches are random ones.
    """
    rows = int(part.sum())
    if ledger.time is not None:
        times = ledger.time[part]
        first = np.unique(np.sort(times)[np.arange(1, count) * rows // count])
        found = np.searchsorted(first, times, side="right")
        if found.min() < found.max():
            return np.asarray(found, dtype=np.intp)
    place = np.empty(len(part), dtype=np.intp)
    place[drawn(ledger, part, seed)] = np.arange(rows) * count // rows
    return place[part]
