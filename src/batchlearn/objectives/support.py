"""What the rows can carry: sentences where they are fewer, rarer or more unequal than their number says."""

from __future__ import annotations

import numpy as np

from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Task

# Ten to twenty rows of the rarer class a coefficient are the usual advice (Peduzzi et al. 1996); fewer than so many in
# all say next to nothing about any of them.
_FEW_OF_A_CLASS = 20
# Weights as unequal as this leave a tenth of the rows' information or less.
_UNEQUAL = 0.1


def support_notes(ledger: Ledger, encoding: Encoding) -> list[str]:
    """Return what should be known about the rows before the model is believed, a sentence each."""
    return [*_class_notes(ledger), *_weight_notes(ledger), *_size_notes(ledger, encoding), *_level_notes(encoding)]


def _class_notes(ledger: Ledger) -> list[str]:
    if ledger.target.task is not Task.CLASSES:
        return []
    rows = ledger.counts.used
    counts = np.bincount(ledger.label[ledger.used].astype(np.intp), minlength=len(ledger.target.classes))
    named = [
        f"{number:,} of {rows:,} rows {'is' if number == 1 else 'are'} {label}"
        for label, number in zip(ledger.target.classes, counts, strict=True)
        if number < _FEW_OF_A_CLASS and number < 0.1 * rows
    ]
    return [f"Only {one}: too few to tell what goes with it. Collect more before deciding by it." for one in named]


def _weight_notes(ledger: Ledger) -> list[str]:
    """Say how many equal rows the weights are worth (Kish 1965): (sum of weights)^2 / sum of squared weights."""
    if ledger.weight is None:
        return []
    weight = ledger.weight[ledger.used] / np.max(ledger.weight[ledger.used])
    effective = float(np.sum(weight)) ** 2 / float(np.sum(weight**2))
    if effective >= _UNEQUAL * len(weight):
        return []
    return [
        f"The weights are so unequal that {len(weight):,} rows say no more than {effective:,.1f} rows of equal weight "
        "would; look at the largest weights."
    ]


def _size_notes(ledger: Ledger, encoding: Encoding) -> list[str]:
    coefficients = encoding.layout.size
    if coefficients <= ledger.counts.used:
        return []
    return [
        f"There are more coefficients ({coefficients:,}) than rows ({ledger.counts.used:,}): the rows alone do not "
        "decide between models, the penalty does."
    ]


def _level_notes(encoding: Encoding) -> list[str]:
    hashed = [term for term in encoding.groups if isinstance(term, LevelTerm) and term.buckets]
    return [
        f"{term.column} has more levels than can have a coefficient each: the {len(term.levels):,} most frequent have "
        f"one, all others share {term.buckets:,} by a hash."
        for term in hashed
    ]
