"""Evidence as values: losses of versions and rows, as a test makes them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batchlearn.kernels.design import Floats
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.policies import Losses, Samples, Situation
from batchlearn.updating.later_gain import LaterGain


@dataclass(frozen=True)
class Arrivals:
    """What policies are handed, as it is."""

    versions: tuple[Losses, ...] = ()
    rows: Samples | None = None
    found: Bracket | None = None

    def losses(self, versions: int = 1) -> Sequence[Losses]:
        return self.versions[-versions:]

    def samples(self) -> Samples:
        assert self.rows is not None
        return self.rows

    def bracket(self) -> Bracket | None:
        return self.found

    def situation(self, learned: int = 1_000, new_rows: int = 100, price: float | None = None) -> Situation:
        """Return the situation of a version trained at 0, times being numbers."""
        return Situation(1e9, 0.0, new_rows, False, None, learned, price, self)


def losses_of(loss: Floats, trained: float = 0.0, learned: int = 1_000) -> Losses:
    """Return the losses of rows that come one at a time, the first of all at time 1."""
    seen = np.arange(1.0, len(loss) + 1.0)
    later = seen > trained
    return Losses(trained, learned, seen[later], seen[later], loss[later])


def bracket_with(gain_over_null: float | None = None, later: float | None = None) -> Bracket:
    """Return a bracket that says so much."""
    gain = None if later is None else LaterGain(later, None, None, 3, "day")
    return Bracket(0.1, 0.2, True, 1, 100, 0.1, None, 100, 0.1, gain_over_null, 0.05, gain, 1_000, None)


def table_of(rng: np.random.Generator, rows: int, moved: float = 0.0) -> pa.Table:
    """Draw numbers, one of them with gaps, and levels; `moved` shifts the first number."""
    gaps = rng.normal(size=rows)
    gaps[rng.random(rows) < 0.3] = np.nan
    return pa.table(
        {
            "a": rng.normal(size=rows) + moved,
            "b": pa.array(gaps, from_pandas=True),
            "c": pa.array([f"level {one}" for one in rng.geometric(0.4, rows)]).dictionary_encode(),
        }
    )
