"""A store: names with bytes, each written once, whole or not at all, and perhaps removed one day.

The one promise that the registry rests on is *put-if-absent*: of all writers of a name, one succeeds. A folder of
this machine keeps it by `link` and `rename`, which fail where the name is taken; an object store can by a conditional
put.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from batchlearn.artifacts.disk import LOCAL_DISK, Disk, Irregular, read_regular
from batchlearn.artifacts.folders import (
    TEMPORARY,
    fill,
    named_problems,
    remove_folder,
    temporary_folder,
    temporary_path,
    write_durably,
)
from batchlearn.errors import IntegrityError, ResourceError, quoted

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(?:/[a-z0-9][a-z0-9._-]{0,62}){0,3}\Z")
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


class Store(Protocol):
    """Names with bytes, each written once. Names are ours: lower case, digits, `.`, `_`, `-`, and `/` between parts."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder in order, without those of writes that are under way; none if it is absent."""
        ...

    def get(self, name: str, largest: int) -> bytes:
        """Return the bytes of a name. IntegrityError where there are none, or more than `largest`."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a name for good, or return False where another writer was first. ResourceError where it fails."""
        ...

    def put_folder_if_absent(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Write a folder of files for good, all at once, or return False where another writer was first."""
        ...

    def remove(self, name: str) -> bool:
        """Remove a name for good, or return False where it is not there. ResourceError where it fails."""
        ...

    def path(self, name: str) -> Path:
        """Return where a name's files can be read by what reads folders, such as a model."""
        ...


class FolderStore:
    """A store in a folder of a local file system. The folder itself must be there; its parts are made as needed."""

    def __init__(self, root: Path, disk: Disk = LOCAL_DISK) -> None:
        self.root = root
        self._disk = disk

    def names(self, folder: str) -> list[str]:
        """List a folder; what is hidden is not ours or not complete."""
        path = self.path(folder)
        try:
            return sorted(name for name in os.listdir(path) if not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise _unreadable(path, problem) from problem

    def get(self, name: str, largest: int) -> bytes:
        """Read a file whole."""
        path = self.path(name)
        try:
            # A writer that was killed between giving the name and taking back the temporary one leaves two.
            return read_regular(path, largest, names=None)
        except Irregular as problem:
            raise damaged(name, str(problem)) from problem
        except OSError as problem:
            if problem.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
                raise damaged(name, "it is not there, or a link or a socket") from problem
            raise _unreadable(path, problem) from problem

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write the bytes under a name of their own, flush them, and link that to the name: which fails if taken."""
        target = self.path(name)
        with named_problems(target):
            self._make(target.parent)
            temporary = temporary_path(target.parent)
            try:
                write_durably(temporary, data, self._disk)
                self._disk.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                with suppress(FileNotFoundError):
                    self._disk.remove(temporary)
            self._disk.flush(target.parent)
        return True

    def put_folder_if_absent(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Write the files into a folder beside the name, flush all, and rename it: which fails if taken."""
        target = self.path(name)
        with named_problems(target):
            self._make(target.parent)
            with temporary_folder(target.parent, self._disk) as temporary:
                fill(temporary, files, self._disk)
                try:
                    self._disk.rename(temporary, target)
                except OSError as problem:
                    if problem.errno in _TAKEN:
                        return False
                    raise
            self._disk.flush(target.parent)
        return True

    def remove(self, name: str) -> bool:
        """Remove a file and flush its folder, so that it does not come back when the power goes."""
        path = self.path(name)
        with named_problems(path):
            try:
                self._disk.remove(path)
            except FileNotFoundError:
                return False
            self._disk.flush(path.parent)
        return True

    def unfinished(self, folder: str) -> list[Path]:
        """List what writers of a folder left when they were killed; what is being written has such a name too."""
        path = self.path(folder)
        return sorted(path / name for name in os.listdir(path) if name.startswith(TEMPORARY)) if path.is_dir() else []

    def remove_unfinished(self, folder: str) -> None:
        """Remove that, while nobody writes there."""
        for left in self.unfinished(folder):
            with named_problems(left):
                if left.is_dir() and not left.is_symlink():
                    remove_folder(left, self._disk)
                else:
                    self._disk.remove(left)

    def path(self, name: str) -> Path:
        """Return the path of a name; a name that could lead out of the folder is a fault of the caller."""
        if not _NAME.match(name) or ".." in name:
            raise ValueError(f"{name!r} is no name of a store")
        return self.root / name

    def _make(self, folder: Path) -> None:
        if folder.is_dir() or folder == self.root:
            return
        self._make(folder.parent)
        with suppress(FileExistsError):
            self._disk.make_folder(folder)
        self._disk.flush(folder.parent)


def damaged(name: str, what: str) -> IntegrityError:
    """Make the error for a file of the registry that is not what was written."""
    return IntegrityError(
        f"The registry's {quoted(name)} is damaged: {what}. Nothing was changed. See `batchlearn registry check`, and "
        "restore the file from a backup.",
        code="registry-damaged",
    )


def _unreadable(path: Path, problem: OSError) -> ResourceError:
    return ResourceError(
        f"{quoted(path)} cannot be read: {problem.strerror}; check its permissions and the disk.",
        code="registry-unreadable",
    )
