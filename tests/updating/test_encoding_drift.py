"""Which new rows fit a frozen encoding."""

from __future__ import annotations

import numpy as np
from tests.updating.made import one_chunk

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Layout
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal
from batchlearn.updating.encoding_drift import new_domain

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
