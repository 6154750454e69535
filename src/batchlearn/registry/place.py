"""Where a project is: the folder that holds its settings, and with it its registry."""

from __future__ import annotations

import os
from pathlib import Path

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import UsageError, quoted

SETTINGS = "batchlearn.toml"


def find_project(folder: str | os.PathLike[str] = ".") -> Path:
    """Return the folder that holds `batchlearn.toml`: this one or the nearest above it; UsageError if there is none."""
    start = Path(os.path.abspath(folder))
    for candidate in (start, *start.parents):
        if (candidate / SETTINGS).is_file():
            return candidate
    raise UsageError(
        f"Neither {quoted(start)} nor a folder above it holds a {SETTINGS}. Make a project with `batchlearn init "
        "--source DATA --target COLUMN --time COLUMN`, or go to its folder.",
        code="no-project",
    )


def open_store(folder: str | os.PathLike[str] = ".") -> FolderStore:
    """Return the registry of the project that a folder is in, without reading its settings."""
    return FolderStore(find_project(folder))
