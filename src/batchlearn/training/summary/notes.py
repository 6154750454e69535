"""What a training has to say about its rows and columns beside its figures."""

from __future__ import annotations

import numpy as np

from batchlearn.data.build import Profiles
from batchlearn.data.encoding import SMALLEST_UNIT, Encoding, LevelTerm
from batchlearn.data.ledger import Ledger
from batchlearn.data.profile import CategoryProfile
from batchlearn.data.split import Split, groups_on_both_sides
from batchlearn.data.target import Target, Task, affirmed, class_name
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.objectives.class_weights import correction_note
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.support import support_notes
from batchlearn.statistics.objective import Expansion
from batchlearn.tables.table import Roles
from batchlearn.training.recipe import Recipe

# Two columns whose correlation differs from one by no more than rounding say the same thing.
_SAME = 1.0 - 1e-12
_HIDDEN = 1e-3
_MOST_PAIRS = 10
# So few different numbers may be classes.
_FEW_VALUES = 10
# What beside 1, true or yes can only mean the opposite.
_DENIED = frozenset({"0", "-1", "false", "no"})
_HALF = 0.5


def group_notes(ledger: Ledger, split: Split, column: str | None) -> list[Note]:
    """Say where the same group is learned from and judged on: what is known of it flatters the evaluation."""
    both, late = groups_on_both_sides(ledger, split)
    return [Note(Code.GROUPS_ON_BOTH_SIDES, {"both": both, "late": late, "column": column})] if both else []


def target_notes(ledger: Ledger, recipe: Recipe, roles: Roles, before: Target | None) -> list[Note]:
    """Say what was concluded from labels and weights where users may have meant something else."""
    classes = ledger.target.classes
    asked = recipe.positive is not None or (before is not None and before.classes == classes)
    notes = _positive_notes(ledger) if len(classes) == 2 and not asked else []
    if recipe.loss is None and ledger.target.task is Task.NUMBER:
        values = np.unique(ledger.label[ledger.used])
        if len(values) <= _FEW_VALUES:
            counts = bool(np.all((values >= 0.0) & (values == np.trunc(values))))
            said = {"column": ledger.target.column, "values": len(values), "counts": counts}
            notes.append(Note(Code.TAKEN_AS_NUMBER, said))
    if recipe.loss is None and roles.exposure is not None:
        notes.append(Note(Code.TAKEN_AS_RATE, {"column": ledger.target.column, "exposure": roles.exposure}))
    return notes


def _positive_notes(ledger: Ledger) -> list[Note]:
    """Say which of two classes is the positive one, and why, but for a plain yes beside a no."""
    other, positive = ledger.target.classes
    said = affirmed((other, positive)) is not None
    if said and class_name(other).casefold() in _DENIED:
        return []
    weight = None if ledger.weight is None else ledger.weight[ledger.used]
    share = float(np.average(ledger.label[ledger.used], weights=weight))
    why = "affirmed" if said else "rarer" if share < _HALF else "later"
    names = {"label": class_name(positive), "other": class_name(other)}
    return [Note(Code.POSITIVE_CLASS, {**names, "share": share, "why": why})]


def row_notes(ledger: Ledger, encoding: Encoding, class_weights: Floats | None, repeated: int) -> list[Note]:
    """Say what rows repeat each other, what classes counted, and what the rows can carry."""
    notes = support_notes(ledger, encoding)
    if repeated:
        notes.insert(0, Note(Code.REPEATED_ROWS, {"rows": repeated, "share": repeated / ledger.counts.used}))
    if class_weights is not None:
        notes.append(correction_note(ledger.target.classes, class_weights))
    return notes


def case_notes(encoding: Encoding, profiles: Profiles) -> list[Note]:
    """Say which categories in use have levels that differ in the case of letters alone."""
    notes = list[Note]()
    for term in encoding.groups:
        profile = profiles[term.column] if isinstance(term, LevelTerm) else None
        if not isinstance(profile, CategoryProfile):
            continue
        alike: dict[str, list[str]] = {}
        for level in sorted(profile.counts):
            alike.setdefault(level.casefold(), []).append(level)
        several = [levels for levels in alike.values() if len(levels) > 1]
        if several:
            said = {"column": term.column, "levels": several[0], "sets": len(several)}
            notes.append(Note(Code.LEVELS_BY_CASE, said))
    return notes


def feature_notes(encoding: Encoding, expansion: Expansion | None, penalty: Quadratic) -> list[Note]:
    """Say what was done about missing numbers, and which columns repeat each other or are not there at all."""
    notes = list[Note]()
    if encoding.layout.size == 1:
        notes.append(Note(Code.NO_FEATURE))
    missing = {term.column: term.missing_share for term in encoding.numbers if term.missing_share > 0.0}
    if missing:
        notes.append(Note(Code.MISSING_NUMBERS, {"shares": missing}))
    tiny = [term.column for term in encoding.numbers if term.deviation < SMALLEST_UNIT]
    if tiny:
        notes.append(Note(Code.TINY_NUMBERS, {"columns": tiny}))
    pairs = _repeats(encoding, expansion, penalty)
    notes += [Note(Code.SAME_COLUMNS, {"first": a, "second": b}) for a, b in pairs[:_MOST_PAIRS]]
    if len(pairs) > _MOST_PAIRS:
        notes.append(Note(Code.MORE_SAME_COLUMNS, {"pairs": len(pairs) - _MOST_PAIRS}))
    return notes


def _repeats(encoding: Encoding, expansion: Expansion | None, penalty: Quadratic) -> list[tuple[str, str]]:
    """Return the pairs of dense columns that are proportional to each other in every row."""
    layout = encoding.layout
    if expansion is None or layout.dense < 2:
        return []
    products = expansion.hessian[1 : layout.lead, 1 : layout.lead]
    # The curvature of the rows; where the penalty hides it in rounding, nothing can be said.
    square = np.diagonal(products) - penalty.diagonal[1 : layout.lead]
    seen = square > _HIDDEN * np.diagonal(products)
    size = np.where(seen, np.sqrt(np.where(seen, square, 1.0)), np.inf)
    same = np.argwhere(np.triu(np.abs(products / size[:, None] / size) >= _SAME, 1))
    names = encoding.names[1:]
    return [(names[a], names[b]) for a, b in same]
