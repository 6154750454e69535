from __future__ import annotations

from pathlib import Path

import pytest
from tests.models.spoiling import golden_copy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden model that a test may spoil."""
    return golden_copy(tmp_path)
