"""What all timings share: processes of their own at one thread, another revision beside this one, and turns."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Contender = TypeVar("Contender")
Measured = TypeVar("Measured")

ROOT = Path(__file__).resolve().parents[1]
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


@contextmanager
def beside(revision: str) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder that is removed afterwards, and a Python of its own for another revision and for this tree.

    Each has the packages of this Python, whose editable install would shadow the trees.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder, base, pythons = Path(temporary), Path(temporary) / "base", []
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", base, revision], cwd=ROOT, check=True)
        try:
            for tree, name in ((base, "old"), (ROOT, "new")):
                venv.create(folder / name, with_pip=False)
                installed = [path for path in sys.path if path.endswith("site-packages")]
                packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / name)}))
                (packages / "tree.pth").write_text("\n".join([str(tree / "src"), *installed]), encoding="utf-8")
                pythons.append(folder / name / "bin" / "python")
            yield folder, pythons
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", base], cwd=ROOT, check=True)


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
