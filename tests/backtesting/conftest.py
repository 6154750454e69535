"""What tests of backtests share."""

from __future__ import annotations

import pytest

from batchlearn.backtesting.matrix import LossMatrix


@pytest.fixture
def nothing_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test that trains a model."""

    def begun(*_: object) -> None:
        raise AssertionError("a model was trained")

    monkeypatch.setattr(LossMatrix, "begin", begun)
