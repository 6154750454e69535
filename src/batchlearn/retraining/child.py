"""A rehearsal before a version goes live: a fresh process loads it and must score kept sample rows to the same bits.

    python -m batchlearn.retraining.child FOLDER TABLE [CODE [TYPE ...]]

writes the responses of a model to standard output, in NumPy's file format. It imports what serving imports and nothing
of what trains, so that a version which loads only beside the trainer, or not from its own files, is found here.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlearn.errors import BatchlearnError, ResourceError
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.brought.formats import NOTHING_ALLOWED, Allowed
from batchlearn.models.files import load

# Loading takes a second or two; a process that has not scored a few hundred rows by then hangs.
SECONDS = 120.0
_LONGEST = 1_000  # characters of what a process said last


@dataclass(frozen=True)
class Rehearsal:
    """Whether a fresh process scored the sample rows to the same bits, and a note of how it went; true where it did."""

    same: bool
    note: Note

    def __bool__(self) -> bool:
        return self.same


def scores_same(
    model_folder: str | os.PathLike[str],
    sample_table_path: str | os.PathLike[str],
    expected: NDArray[np.float64],
    seconds: float = SECONDS,
    allowed: Allowed = NOTHING_ALLOWED,
) -> Rehearsal:
    """Load a model in a child process, score a table of sample rows, and compare with `expected` bit for bit.

    `expected` holds the responses that the trainer's own process gave for these rows, as `Predictions.response`;
    `allowed` is what a project's file names that may be imported. A
    child that crashes, hangs, refuses the model or scores otherwise gives a rehearsal that is not the same; it never
    takes this process down. ResourceError where no process can be started.
    """
    command = [sys.executable, "-P", "-m", "batchlearn.retraining.child"]
    command += [os.fspath(model_folder), os.fspath(sample_table_path)]
    command += [] if allowed == NOTHING_ALLOWED else [str(allowed.file or ""), *allowed.types]
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return Rehearsal(False, Note(Code.PROCESS_LATE, {"seconds": seconds}))
    except OSError as problem:
        raise ResourceError(
            f"No process could be started to load the version in ({problem.strerror}); a version goes live only after "
            "that. Free memory or processes, and run again.",
            code="child-not-started",
        ) from problem
    if child.returncode:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        ended = {"exit_code": child.returncode, "last_line": lines[-1][:_LONGEST] if lines else None}
        return Rehearsal(False, Note(Code.PROCESS_FAILED, ended))
    try:
        found = np.load(io.BytesIO(child.stdout), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return Rehearsal(False, Note(Code.NO_RESPONSES))
    expected = np.asarray(expected, dtype=np.float64)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        shapes = {"shape": str(found.shape), "expected": str(expected.shape)}
        return Rehearsal(False, Note(Code.OTHER_SHAPE, shapes))
    if found.tobytes() == expected.tobytes():
        return Rehearsal(True, Note(Code.SAME_BITS, {"rows": len(expected)}))
    apart = found.view(np.uint64) != expected.view(np.uint64)
    rows = int(apart.reshape(len(expected), -1).any(axis=1).sum())
    most = float(np.max(np.abs(found - expected)))
    return Rehearsal(False, Note(Code.OTHER_BITS, {"rows": rows, "of": len(expected), "most": most}))


def main(arguments: list[str]) -> int:
    """Write the responses of the model in a folder on the rows of a table; return the exit code."""
    folder, table, code, *types = [*arguments, ""] if len(arguments) == 2 else arguments
    try:
        response = load(folder, trust=types, code=code or None).predict(table).response
    except BatchlearnError as problem:
        print(problem.message, file=sys.stderr)
        return problem.exit_code
    np.save(sys.stdout.buffer, np.ascontiguousarray(response), allow_pickle=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
