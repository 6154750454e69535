"""Values far from all others of their column that many rows share: what stands there for a missing value, as a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from batchlearn.data.ledger import Ledger
from batchlearn.data.profile import End, NumberProfile, Profile, TimeProfile
from batchlearn.data.target import Task
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind
from batchlearn.tables.conditions import identifier
from batchlearn.tables.readings import ColumnRemark
from batchlearn.tables.table import Table
from batchlearn.training.summary.labels import moment_said

# One or two rows are a mistake, or the end of a long tail.
_FEWEST_ROWS = 3
# So many times the range of all other values lie between them and a value that is written as programs write a missing
# one, and between them and any other, of which a column needs so many different values to have a range.
_FAR, _FARTHER, _FEWEST_VALUES = 1.0, 3.0, 5
_NINES = re.compile(r"-?9{2,}(\.9+)?|-?9+\.9+")
_WRITTEN = frozenset((-200.0, -32768.0, 32767.0, 65535.0, -2147483648.0, 2147483647.0, 1e20, -1e20))
# 0 of spreadsheets, of C and of databases, and the last day that they know.
_DAYS = ("0001-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1970-01-01", "2099-12-31", "9999-12-31")
_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Spike:
    """A value, the rows that have it, and the range of all others."""

    value: float
    rows: int
    low: float
    high: float

    @property
    def gap(self) -> float:
        """How far it is from all others, in ranges of theirs."""
        apart = max(self.low - self.value, self.value - self.high)
        return apart / (self.high - self.low) if self.high > self.low else 0.0


def spike_remarks(table: Table, profiles: Mapping[str, Profile], ledger: Ledger) -> list[ColumnRemark]:
    """Return a remark for each feature with a spike, and for a target of numbers that has one."""
    found: list[ColumnRemark] = []
    for name, profile in profiles.items():
        if isinstance(profile, TimeProfile):
            found += [_time_remark(name, each) for each in _ends(profile.first, profile.last) if _is_day(each)]
        elif isinstance(profile, NumberProfile) and table.column(name).kind is Kind.NUMBER:
            spikes = _ends(profile.lowest, profile.highest)
            found += [_number_remark(name, each, profile.rows) for each in spikes if _stands_out(each, profile.sample)]
    if ledger.target.task is not Task.CLASSES:
        label = ledger.label[ledger.used]
        spikes = _ends(End.of(label), End.of(-label))
        found += [_number_remark(ledger.target.column, each, len(label)) for each in spikes if _stands_out(each, label)]
    return found


def _ends(lowest: End, highest: End) -> list[Spike]:
    """Return the lowest and the highest value, each beside all others.

    What stands for a missing value may do so at both ends: such a value at the other end does not count.
    """
    low, high = (lowest.value, lowest.next), (-highest.value, -highest.next)
    far_high = high[1] if highest.rows >= _FEWEST_ROWS and _is_written(high[0]) and high[1] > low[1] else high[0]
    far_low = low[1] if lowest.rows >= _FEWEST_ROWS and _is_written(low[0]) and low[1] < high[1] else low[0]
    spikes = (Spike(low[0], lowest.rows, low[1], far_high), Spike(high[0], highest.rows, far_low, high[1]))
    return [each for each in spikes if each.rows >= _FEWEST_ROWS and each.low < each.high]


def _is_written(value: float) -> bool:
    """Whether a number is one that programs write where there is none: 99, -999, 9999.9."""
    return value in _WRITTEN or _NINES.fullmatch(np.format_float_positional(value, trim="-")) is not None


def _stands_out(spike: Spike, values: Floats) -> bool:
    if not _is_written(spike.value):
        return spike.gap >= _FARTHER and len(np.unique(values[values != spike.value])) >= _FEWEST_VALUES
    # The one negative number among amounts is far from them, however far they go.
    return spike.gap >= _FAR or spike.value < 0.0 <= spike.low


def _is_day(spike: Spike) -> bool:
    day = np.datetime64(int(spike.value) // _A_DAY, "D")
    return spike.gap >= (0.1 if str(day) in _DAYS else _FARTHER)


def _number_remark(name: str, spike: Spike, rows: int) -> ColumnRemark:
    column, value = identifier(name), f"{spike.value:.15g}"
    # As a missing value it would be one in every column; a number that means something elsewhere must not be.
    written = _is_written(spike.value)
    change = flag("--null", value) if written else flag("--where", f"{column} is null or {column} <> {value}")
    values = {"column": name, "value": spike.value, "low": spike.low, "high": spike.high}
    note = Note(Code.SPIKE, {**values, "rows": spike.rows, "of": rows, "change": change})
    return ColumnRemark(name, True, note, change)


def _time_remark(name: str, spike: Spike) -> ColumnRemark:
    value, low, high = (moment_said(each) for each in (spike.value, spike.low, spike.high))
    column = identifier(name)
    change = flag("--where", f"{column} is null or {column} <> '{value}'")
    note = Note(
        Code.TIME_SPIKE,
        {"column": name, "value": value, "rows": spike.rows, "low": low, "high": high, "change": change},
    )
    return ColumnRemark(name, True, note, change)
