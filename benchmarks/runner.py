"""What all timings share: processes of their own at one thread, and contenders that take turns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Contender = TypeVar("Contender")
Measured = TypeVar("Measured")

POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ProcessFailed(Exception):
    """A process ended with an error; the text is what it wrote last."""


def run_apart(command: Sequence[Any], folder: Path, seconds: float | None = None) -> str:
    """Run a command at one thread in a folder; return what it printed. Raises ProcessFailed, TimeoutExpired."""
    environment = {**os.environ, **dict.fromkeys(POOLS, "1")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode:
        raise ProcessFailed(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def in_turns(
    contenders: Sequence[Contender], rounds: int, measure: Callable[[Contender], Measured]
) -> list[list[Measured]]:
    """Measure each contender once a round, every other round in reverse; return what each gave, round by round.

    A host that slows down for a while slows all of them.
    """
    found: list[list[Measured]] = [[] for _ in contenders]
    for number in range(rounds):
        order = range(len(contenders)) if number % 2 else reversed(range(len(contenders)))
        for k in order:
            found[k].append(measure(contenders[k]))
    return found
