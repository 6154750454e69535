"""What the rows can carry: notes where they are fewer, rarer or more unequal than their number says."""

from __future__ import annotations

import numpy as np

from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Task
from batchlearn.words.notes import Code, Note

# Ten to twenty rows of the rarer class a coefficient are the usual advice (Peduzzi et al. 1996); fewer than so many in
# all say next to nothing about any of them.
_FEW_OF_A_CLASS = 20
# Weights as unequal as this leave a tenth of the rows' information or less.
_UNEQUAL = 0.1


def support_notes(ledger: Ledger, encoding: Encoding) -> list[Note]:
    """Return what should be known about the rows before the model is believed."""
    return [*_class_notes(ledger), *_weight_notes(ledger), *_size_notes(ledger, encoding), *_level_notes(encoding)]


def _class_notes(ledger: Ledger) -> list[Note]:
    if ledger.target.task is not Task.CLASSES:
        return []
    rows = ledger.counts.used
    counts = np.bincount(ledger.label[ledger.used].astype(np.intp), minlength=len(ledger.target.classes))
    return [
        Note(Code.RARE_CLASS, {"rows": int(number), "of": rows, "label": str(label)})
        for label, number in zip(ledger.target.classes, counts, strict=True)
        if number < _FEW_OF_A_CLASS and number < 0.1 * rows
    ]


def _weight_notes(ledger: Ledger) -> list[Note]:
    """Say how many equal rows the weights are worth (Kish 1965): (sum of weights)^2 / sum of squared weights."""
    if ledger.weight is None:
        return []
    weight = ledger.weight[ledger.used] / np.max(ledger.weight[ledger.used])
    effective = float(np.sum(weight)) ** 2 / float(np.sum(weight**2))
    if effective >= _UNEQUAL * len(weight):
        return []
    return [Note(Code.UNEQUAL_WEIGHTS, {"rows": len(weight), "effective": effective})]


def _size_notes(ledger: Ledger, encoding: Encoding) -> list[Note]:
    coefficients = encoding.layout.size
    if coefficients <= ledger.counts.used:
        return []
    return [Note(Code.MORE_COEFFICIENTS_THAN_ROWS, {"coefficients": coefficients, "rows": ledger.counts.used})]


def _level_notes(encoding: Encoding) -> list[Note]:
    hashed = [term for term in encoding.groups if isinstance(term, LevelTerm) and term.buckets]
    return [
        Note(Code.HASHED_LEVELS, {"column": term.column, "levels": len(term.levels), "buckets": term.buckets})
        for term in hashed
    ]
