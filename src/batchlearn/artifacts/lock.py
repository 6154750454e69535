"""One at a time: a lock that the system takes back when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlearn.artifacts.folders import named_problems
from batchlearn.errors import RegistryError

LOCK = ".batchlearn-lock"


@contextmanager
def one_at_a_time(root: Path, where: str = "in this project") -> Iterator[None]:
    """Hold the lock of a folder. RegistryError, at once, where another process holds it; it names that process."""
    path = root / LOCK
    with named_problems(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
            raise RegistryError(
                f"Another batchlearn (process {holder}) is at work {where}; one trains at a time. Wait until "
                "it is done, or end it: nothing is lost.",
                code="project-locked",
            ) from problem
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)
