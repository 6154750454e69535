"""Which new rows fit a frozen encoding."""

from __future__ import annotations

import numpy as np
from tests.updating.made import one_chunk

from batchlearn.data.encoding import Encoding
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.text import TextTerm
from batchlearn.kernels.design import Layout
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import read
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal
from batchlearn.updating.encoding_drift import new_domain, new_levels

LAYOUT = Layout(True, 1, (2,))


def rows(column: float, none: int, count: int = 100) -> MemoryRows:
    codes = np.where(np.arange(count) < none, 2, np.arange(count) % 2)[None]
    dense = column * np.where(np.arange(count) % 2 == 0, 1.0, -1.0)[None]
    return one_chunk(LAYOUT, dense, codes, np.zeros(count))


def reasons(old: MemoryRows, new: MemoryRows) -> list[str]:
    one, two = (Domain(LAYOUT, DomainParts(*some.total(DomainTotal(), np.zeros(4)))) for some in (old, new))
    return list(map(str, new_domain(None, one, two, (old.total_weight, new.total_weight))))


def test_rows_like_the_old_ones_fit() -> None:
    assert reasons(rows(1.0, 0), rows(1.0, 0)) == []
    assert reasons(rows(1.0, 3), rows(1.0, 50)) == []
    assert reasons(rows(1.0, 0), rows(1.0, 9)) == []


def test_a_level_without_a_coefficient_and_another_scale_do_not() -> None:
    assert reasons(rows(1.0, 0), rows(1.0, 10)) == ["10 new rows have a level of group 1 that meets no coefficient"]
    assert reasons(rows(1.0, 0), rows(5.0, 0)) == ["with the new rows column 1 deviates 3.61 times as much"]
    assert reasons(rows(1.0, 0), rows(0.1, 0, 100_000)) == ["with the new rows column 1 deviates 0.105 times as much"]
    assert reasons(rows(0.0, 0), rows(0.0, 0)) == []
    assert "inf times" in reasons(rows(0.0, 0), rows(1.0, 0))[0]


def test_texts_without_words_are_new_where_training_had_none() -> None:
    table = read({"note": [*["late"] * 20, *["..."] * 11, "", "zebra"]})
    for missing, expected in (
        (True, []),
        (False, ["12 new rows have a text without words of 'note' that meets no coefficient"]),
    ):
        encoding = Encoding((), (), {"note": Kind.CATEGORY}, {}, (TextTerm("note", ("late",), 4, missing),))
        assert list(map(str, new_levels(encoding, table, 12))) == expected
        assert new_levels(encoding, table, 13) == []
