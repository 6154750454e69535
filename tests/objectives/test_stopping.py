"""When a fit may end."""

from __future__ import annotations

import pytest

from batchlearn.errors import UsageError
from batchlearn.objectives.self_concordance import Bounds
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin, StoppingContext


def test_predictions_within_a_part_of_a_standard_error() -> None:
    stopping_context = StoppingContext(value=2.0, null_value=3.0, weight=100.0, free_scale=True)
    assert PredictionsWithin(0.01).met(Bounds(0.00199, 1.0), stopping_context)
    assert not PredictionsWithin(0.01).met(Bounds(0.00201, 1.0), stopping_context)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_positive_number(tolerance: float) -> None:
    with pytest.raises(UsageError, match="positive number"):
        LossWithin(tolerance)
