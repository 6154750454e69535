"""A sample of a part of the rows with the linear encoding: what a loss's own number is chosen on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import Ledger
from batchlearn.data.rows import Rows
from batchlearn.data.rows.journal import Journal
from batchlearn.data.sample import take
from batchlearn.data.split import drawn
from batchlearn.selection.penalty_selection import PenalisedTerm
from batchlearn.selection.terms import encoding_terms
from batchlearn.tables.table import Table

# A number chosen on so many rows has a standard error near a hundredth, and the choice takes about a second.
MOST_ROWS = 20_000
_LEVEL_CAP, _BUCKETS = 160, 32
_TEXT_WORDS, _TEXT_BUCKETS = 256, 64


def linear_sample(
    table: Table,
    ledger: Ledger,
    part: NDArray[np.bool_],
    rules: EncodingRules,
    seed: int,
    threads: int,
    *,
    journal: Journal | None = None,
) -> Generator[int, None, tuple[Rows, tuple[PenalisedTerm, ...]]]:
    """Yield rows read; return random rows of the part, encoded, with the terms of their encoding."""
    taken, cut = yield from take(table, ledger, drawn(ledger, part, seed, MOST_ROWS))
    profiles = yield from profile_parts(taken, cut, [cut.used])
    capped = replace(
        rules,
        level_cap=min(rules.level_cap, _LEVEL_CAP),
        buckets=min(rules.buckets, _BUCKETS),
        text_words=min(rules.text_words, _TEXT_WORDS),
        text_buckets=min(rules.text_buckets, _TEXT_BUCKETS),
    )
    encoding = fit_encoding(taken.features, profiles[0], capped, table.roles.time, ())
    rows = yield from build_rows(taken, cut, encoding, cut.used, threads, fingerprinted=False, journal=journal)
    return rows, tuple(encoding_terms(encoding).values())
