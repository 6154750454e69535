"""What readings of the rows cost beside each other: from this solvers know what to do less of."""

from __future__ import annotations

from typing import NamedTuple

from batchlearn.data.rows import Rows
from batchlearn.kernels.sums import bundled_groups


class PassCosts(NamedTuple):
    """Nanoseconds on one core, as the compiled kernels take them (`benchmarks/pass_costs.py`)."""

    gradient: float  # loss and gradient of all rows
    hessian: float  # the Hessian with them
    factor: float

    @property
    def expansion(self) -> float:
        """Of the Hessian and its factor, which a Newton step needs."""
        return self.hessian + self.factor


def pass_costs(rows: Rows, outputs: int = 1) -> PassCosts:
    """Return what one reading of all rows costs for so many outputs."""
    layout, number, chunks = rows.layout, float(len(rows)), max(rows.chunk_count, 1)
    lead, groups, stored = layout.lead, len(layout.groups), float(rows.stored_entries)
    size = outputs * layout.size
    if outputs == 1:
        gradient = number * (12.0 + 0.5 * lead + 1.5 * groups) + 4.0 * stored + 2e5 * chunks
    else:  # numbers of all classes side by side, in eights
        eights = outputs // 8 + 1
        gradient = number * (13.0 + 3.0 * outputs + eights * (lead + 4.0 * groups)) + 3.0 * stored
    counted = len(bundled_groups(layout)) or groups
    gram = number * (0.025 * lead**2 + 1.2 * counted * lead + counted**2)
    gram += 20.0 * stored * max(stored / max(number, 1.0), 1.0)
    # A matrix of sums is cleared and added for each chunk.
    hessian = gradient + gram * outputs * (outputs + 1) / 2.0 + 3.0 * float(size) ** 2 * chunks
    return PassCosts(gradient, hessian, 0.02 * float(size) ** 3 + 10.0 * float(size) ** 2)
