"""Encoding drift: whether new rows still fit the tables of levels and the scales that are part of the model.

An update adds rows to totals that were encoded with these tables. Rows that would be given a level, an indicator or a
scale of their own by a training from scratch do not fit: the reasons name the columns.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.compute as pc

from batchlearn.data.encoding import CalendarTerm, Encoding, GroupTerm, LevelTerm, PairTerm
from batchlearn.data.text import has_words
from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.table import Table
from batchlearn.updating.domain import Domain

MINIMUM_ROWS = 10
# A column whose deviation over all rows is off the frozen one by more than this factor has another scale.
_LARGEST_DRIFT = 2.0


def new_levels(encoding: Encoding, table: Table, minimum_rows: int = MINIMUM_ROWS) -> list[Note]:
    """Return a reason for each category in which a level without a coefficient has at least so many new rows.

    And for each text that so many of them lack, where none did in training: new words share coefficients, these have
    none.
    """
    terms = {term.column: term for term in encoding.groups if isinstance(term, LevelTerm)}
    wordless = {term.column: 0 for term in encoding.texts if not term.missing}
    counts: dict[str, Counter[str]] = {name: Counter() for name in terms}
    for batch in table.scan([*terms, *wordless]) if terms or wordless else ():
        for name, term in terms.items():
            column = batch.column(name)
            unseen = term.unseen(column)
            if unseen.any():
                for entry in pc.value_counts(column.filter(unseen).dictionary_decode()).to_pylist():
                    counts[name][entry["values"]] += entry["counts"]
        for name in wordless:
            wordless[name] += int(np.count_nonzero(~has_words(batch.column(name))))
    levels = [
        Note(Code.NEW_LEVEL, {"level": level, "column": name, "rows": rows})
        for name, found in counts.items()
        for level, rows in found.most_common()
        if rows >= minimum_rows
    ]
    lacking = ((name, rows) for name, rows in wordless.items() if rows >= minimum_rows)
    return levels + [
        Note(Code.NEW_GROUP, {"rows": rows, "entry": "text without words", "of": f"'{name}'"}) for name, rows in lacking
    ]


def new_domain(
    encoding: Encoding | None, old: Domain, new: Domain, weights: tuple[float, float], minimum_rows: int = MINIMUM_ROWS
) -> list[Note]:
    """Return a reason for each group and column that old and new rows together would encode in another way.

    `weights` are the total weights of old and new rows; without an encoding groups and columns go by their numbers.
    """
    reasons = []
    for g, (before, after) in enumerate(zip(old.group_counts(), new.group_counts(), strict=True)):
        if before[-1] == 0.0 and after[-1] >= minimum_rows:
            reasons.append(Note(Code.NEW_GROUP, {"rows": int(after[-1]), **_group(encoding, g)}))
    total = weights[0] + weights[1]
    mean = (old.parts.first + new.parts.first) / total
    square = np.maximum((old.parts.second + new.parts.second) / total - mean**2, 0.0)
    start = np.maximum(old.parts.second / weights[0] - (old.parts.first / weights[0]) ** 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        drift = np.sqrt(np.where(start > 0.0, square / start, np.where(square > 0.0, np.inf, 1.0)))
    for column in np.flatnonzero((drift > _LARGEST_DRIFT) | (drift < 1.0 / _LARGEST_DRIFT)):
        name = f"column {column + 1}" if encoding is None else f"'{encoding.names[1 + column]}'"
        reasons.append(Note(Code.NEW_SCALE, {"column": name, "times": float(drift[column])}))
    return reasons


def _group(encoding: Encoding | None, number: int) -> dict[str, str]:
    """Return what an entry of a group of columns is called, and of what."""
    if encoding is None:
        return {"entry": "level", "of": f"group {number + 1}"}
    term: GroupTerm = encoding.groups[number]
    entry = "cell" if isinstance(term, PairTerm) else "value"
    return {"entry": term.part if isinstance(term, CalendarTerm) else entry, "of": f"'{term.column}'"}
