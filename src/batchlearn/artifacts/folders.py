"""Folders that are written whole or not at all: into a temporary one, flushed, and renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from batchlearn.artifacts.disk import LOCAL_DISK, Disk
from batchlearn.errors import ResourceError, quoted

# What is not complete yet, or was not removed because its writer was killed, has a name that begins so.
TEMPORARY = ".batchlearn-tmp-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def temporary_path(parent: Path) -> Path:
    """Return a name in a folder that nobody has, for what is not complete yet."""
    return parent / f"{TEMPORARY}{secrets.token_hex(8)}"


@contextmanager
def temporary_folder(parent: Path, disk: Disk = LOCAL_DISK) -> Iterator[Path]:
    """Make a folder, and remove it at the end if it still has that name."""
    folder = temporary_path(parent)
    disk.make_folder(folder)
    try:
        yield folder
    finally:
        with suppress(FileNotFoundError):
            remove_folder(folder, disk)


def write_durably(path: Path, data: bytes, disk: Disk = LOCAL_DISK) -> None:
    """Write a new file and flush its bytes; its name is durable once its folder is flushed."""
    disk.create(path, data)
    disk.flush(path)


def fill(folder: Path, files: Mapping[str, bytes], disk: Disk = LOCAL_DISK) -> None:
    """Write files into an empty folder, "name" or "folder/name", and flush all of it."""
    inside = sorted({str(Path(file).parent) for file in files} - {"."})
    for name in inside:
        disk.make_folder(folder / name)
    for file, data in files.items():
        write_durably(folder / file, data, disk)
    for name in reversed([".", *inside]):
        disk.flush(folder / name)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write files as a folder, or nothing. A folder already there makes room by a rename, and comes back if that fails.

    OSError from the file system.
    """
    with temporary_folder(target.parent) as temporary:
        fill(temporary, files)
        if os.path.lexists(target):
            _replace(temporary, target)
        else:
            LOCAL_DISK.rename(temporary, target)
        LOCAL_DISK.flush(target.parent)


def _replace(folder: Path, target: Path) -> None:
    aside = target.parent / f".batchlearn-old-{secrets.token_hex(8)}"
    target.rename(aside)
    try:
        folder.rename(target)
    except OSError:
        aside.rename(target)
        raise
    with suppress(OSError):  # the new folder is in place: what is left of the old one harms nobody
        remove_folder(aside, LOCAL_DISK)


def remove_folder(folder: Path, disk: Disk) -> None:
    """Remove a folder of files and of folders of files."""
    for name in os.listdir(folder):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            remove_folder(path, disk)
        else:
            disk.remove(path)
    disk.remove_folder(folder)


@contextmanager
def named_problems(target: Path) -> Iterator[None]:
    """Say in our errors why the operating system does not write."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise ResourceError(
                f"There is no room left to write {quoted(target)} ({problem.strerror}). Make room, or save elsewhere; "
                "nothing was left behind.",
                code="disk-full",
            ) from problem
        advice = "change the permissions of its folder" if problem.errno in _REFUSED else "check the path and the disk"
        raise ResourceError(
            f"{quoted(target)} cannot be written: {problem.strerror}; {advice}, or save elsewhere.",
            code="output-not-writable",
        ) from problem
