"""What tests of the journal share: statistics that count, and rows that keep one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tests.data.rows.test_protocol import in_memory

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.journal import Journal
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats

NONE = np.empty(0)


@dataclass(frozen=True)
class Constant:
    """The same array of each chunk."""

    array: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:  # noqa: ARG002 - the same of any rows
        return (self.array,)


class Counter:
    """Counts how often a statistic is computed."""

    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float]:
        self.times += 1
        return (float(len(chunk.label)) * parameters[0],)


def rows_of(journal: Journal | None, *cuts: int) -> MemoryRows:
    rows = in_memory(*cuts)
    assert isinstance(rows, MemoryRows)
    return replace(rows, journal=journal)


def entered(folder: Path, training: str = "of a test", seconds: float = 0.0) -> Journal:
    journal = Journal(folder, seconds=seconds).__enter__()
    journal.begin({"rows": training})
    return journal


def left(journal: Journal) -> None:
    journal.write()
    journal.__exit__(None, None, None)


def answers(folder: Path) -> list[Path]:
    return sorted((folder / "journal").glob("*.safetensors"))
