"""Trainings that are killed again and again, each time begun by the same command; `python -m benchmarks.kills`.

As a program it reads lines `[CASE, CHECKPOINT, MODEL]`, and forks a process for each, which trains and saves the model:
a fresh one each time, that need not load Python again. It prints the number of the process, and how it ended. All that
the rows answer is written at once; without a CHECKPOINT nothing is.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import batchlearn as bl
from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.rows.journal import Journal
from batchlearn.progress import finish
from batchlearn.training.fit import Fit
from batchlearn.training.train import iter_train

ROOT = Path(__file__).resolve().parents[3]
ROWS = 1_500
EVERY_LEVEL = EncodingRules(minimum_rows=1, level_cap=1_000)
CASES = {
    "full batch, structure chosen": ("two", bl.Recipe()),
    "mini-batch, structure chosen": ("two", bl.Recipe(batch_size=64)),
    "mini-batch, many coefficients": ("levels", bl.Recipe(alpha=1e-3, batch_size=32, rules=EVERY_LEVEL)),
    "online, structure chosen": ("two", bl.Recipe(batch_size=1)),
    "online, diagonal": ("levels", bl.Recipe(alpha=1e-3, batch_size=1, rules=EVERY_LEVEL)),
    "softmax, structure chosen": ("three", bl.Recipe()),
    "Huber, threshold chosen": ("number", bl.Recipe(loss="huber")),
    "Tweedie, power chosen": ("amount", bl.Recipe(loss="tweedie")),
}


def table(kind: str, rows: int = ROWS) -> bl.Table:
    """Draw a table with a target of two classes, three, numbers or amounts; or with more levels than a matrix takes."""
    rng = np.random.default_rng(5)
    size, weight = rng.normal(size=(2, rows))
    colour = rng.integers(0, 700 if kind == "levels" else 5, rows)
    eta = size + np.sin(2.0 * weight) + 0.5 * (colour == 2) * size
    noise = rng.logistic(size=rows)
    target = {
        "two": (eta + noise > 0.0).astype(float),
        "levels": (eta + noise > 0.0).astype(float),
        "three": np.digitize(eta + noise, [-1.0, 1.0]).astype(float),
        "number": eta + noise,
        "amount": np.where(rng.random(rows) < 0.6, rng.gamma(2.0, np.exp(0.3 * eta)), 0.0),
    }[kind]
    names = ["a", "b", "c"] if kind == "three" else None
    columns: dict[str, Any] = {"size": size, "weight": weight, "colour": [f"colour {k}" for k in colour]}
    return bl.read({**columns, "y": target if names is None else [names[int(k)] for k in target]}, target="y")


def trained(case: str, journal: Journal | None, rows: int = ROWS) -> Fit:
    """Train a case, in a journal where one is given."""
    kind, recipe = CASES[case]
    with journal or nullcontext():
        return finish(iter_train(table(kind, rows), recipe, threads=1, journal=journal))


def bits(model: Path) -> str:
    """Return one digest of the files of a model, but for the seconds on record."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key != "seconds"}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    schema = json.dumps(timeless(json.loads((model / "model.json").read_bytes())))
    return hashlib.sha256(schema.encode() + (model / "weights.safetensors").read_bytes()).hexdigest()


class Life(NamedTuple):
    """One call of the command: how it ended, and what it left."""

    killed: bool
    seconds: float
    answers: int  # that are on disk after it, or what came of them


class Trainer:
    """The program that forks trainings."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.data.rows.killed"]
        more = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._program: Any = subprocess.Popen(command, cwd=ROOT, env=more, text=True, **pipes)  # type: ignore[call-overload]

    def train(self, case: str, checkpoint: Path | None, model: Path, life: float) -> tuple[bool, float]:
        """Train, killed after so many seconds; return whether it was, and the seconds it took."""
        asked = [case, None if checkpoint is None else str(checkpoint), str(model)]
        self._program.stdin.write(json.dumps(asked) + "\n")
        self._program.stdin.flush()
        process, began = int(self._program.stdout.readline()), time.monotonic()
        if not select.select([self._program.stdout], [], [], life)[0]:
            os.kill(process, signal.SIGKILL)  # it is not waited for yet, so the number is still its own
        status = int(self._program.stdout.readline())
        assert status in (0, signal.SIGKILL), "the training failed by itself"
        return status != 0, time.monotonic() - began

    def unkilled(self, case: str, model: Path) -> tuple[str, float]:
        """Train in one go, without a checkpoint; return the digest of the model and the seconds it took."""
        _, seconds = self.train(case, None, model, 3_600.0)
        return bits(model), seconds

    def lives(self, case: str, folder: Path, longest: float, rng: np.random.Generator) -> Iterator[Life]:
        """Train until it is done, each time killed at a random moment of the next `longest` seconds or so."""
        killed = True
        while killed:
            killed, seconds = self.train(case, folder / "kept", folder / "model", rng.uniform(0.0, longest))
            numbers = [int(path.name[:9]) for path in (folder / "kept" / "journal").glob("0*")]
            answers = max(numbers, default=-1) + 1
            yield Life(killed, seconds, answers)
            longest *= 1.1  # even where what is done again takes long, there is an end

    def end(self) -> None:
        """End the program."""
        self._program.stdin.close()
        self._program.stdout.close()
        self._program.wait()


def serve() -> None:
    """Be that program."""
    for line in sys.stdin:
        case, kept, model = json.loads(line)
        process = os.fork()
        if process == 0:
            code = 1
            try:
                trained(case, Journal(kept, seconds=0.0) if kept else None).save(model, force=True)
                code = 0
            finally:
                os._exit(code)
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    serve()
