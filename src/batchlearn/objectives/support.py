"""What the rows can carry: notes where they are fewer, rarer or more unequal than their number says."""

from __future__ import annotations

import numpy as np

from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Task
from batchlearn.formatting.notes import Code, Note

# Ten to twenty rows of the rarer class a coefficient are the usual advice (Peduzzi et al. 1996); fewer than so many in
# all say next to nothing about any of them.
_FEW_OF_A_CLASS = 20
# Weights as unequal as this leave a tenth of the rows' information or less.
_UNEQUAL = 0.1


def support_notes(ledger: Ledger, encoding: Encoding) -> list[Note]:
    """Return what should be known about the rows before the model is believed."""
    rows, notes = ledger.counts.used, list[Note]()
    if ledger.target.task is Task.CLASSES:
        counts = np.bincount(ledger.label[ledger.used].astype(np.intp), minlength=len(ledger.target.classes))
        for label, number in zip(ledger.target.classes, counts, strict=True):
            if number < _FEW_OF_A_CLASS and number < 0.1 * rows:
                notes.append(Note(Code.RARE_CLASS, {"rows": int(number), "of": rows, "label": str(label)}))
    if ledger.weight is not None:
        weight = ledger.weight[ledger.used] / np.max(ledger.weight[ledger.used])
        # How many equal rows the weights are worth (Kish 1965).
        effective = float(np.sum(weight)) ** 2 / float(np.sum(weight**2))
        if effective < _UNEQUAL * len(weight):
            notes.append(Note(Code.UNEQUAL_WEIGHTS, {"rows": len(weight), "effective": effective}))
    coefficients = encoding.layout.size
    if coefficients > rows:
        notes.append(Note(Code.MORE_COEFFICIENTS_THAN_ROWS, {"coefficients": coefficients, "rows": rows}))
    for term in encoding.groups:
        if isinstance(term, LevelTerm) and term.buckets:
            hashed = {"column": term.column, "levels": len(term.levels), "buckets": term.buckets}
            notes.append(Note(Code.HASHED_LEVELS, hashed))
    return notes
