"""Trainings that are killed again and again, each time begun by the same command; `python -m benchmarks.kills`.

As a program (`python -m tests.data.rows.killed CASE CHECKPOINT MODEL`) it is one such command: it says that it is
ready, trains, and saves the model. All that the rows answer is written at once; without a CHECKPOINT nothing is.
"""

from __future__ import annotations

import hashlib
import json
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
    "online, normalised": ("levels", bl.Recipe(alpha=1e-3, batch_size=1, rules=EVERY_LEVEL)),
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
    seconds: float  # from when it was ready
    answers: int  # on disk after it


def begun(case: str, checkpoint: Path | None, model: Path) -> subprocess.Popen[str]:
    """Begin a training as a process of its own, and wait until it is ready."""
    kept = "" if checkpoint is None else str(checkpoint)
    command = [sys.executable, "-m", "tests.data.rows.killed", case, kept, str(model)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.stdout.close()
    return child


def unkilled(case: str, model: Path) -> tuple[str, float]:
    """Train in one go, without a checkpoint; return the digest of the model and the seconds it took."""
    child, began = begun(case, None, model), time.monotonic()
    assert child.wait() == 0
    return bits(model), time.monotonic() - began


def lives(case: str, folder: Path, longest: float, rng: np.random.Generator) -> Iterator[Life]:
    """Begin a training until it is done, each time killed at a random moment of the next `longest` seconds or so."""
    done = False
    while not done:
        child, began = begun(case, folder / "kept", folder / "model"), time.monotonic()
        try:
            assert child.wait(rng.uniform(0.0, longest)) == 0, "the training failed by itself"
            done = True
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        kept = folder / "kept" / "journal"
        answers = len([name for name in kept.iterdir() if name.suffix == ".safetensors"]) if kept.exists() else 0
        yield Life(not done, time.monotonic() - began, answers)
        longest *= 1.1  # even where what is done again takes long, there is an end


if __name__ == "__main__":
    case, kept, model = sys.argv[1:]
    print("ready", flush=True)
    trained(case, Journal(kept, seconds=0.0) if kept else None).save(model, force=True)
