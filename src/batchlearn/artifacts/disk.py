"""What the file system is asked to do when something is written: seven operations, each of which may be the last.

Whatever is written durably goes through a `Disk`, so that a test can stop after any operation, or lose what was not
yet flushed, and look at what is left.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

_READ_BYTES = 1 << 24


class Disk(Protocol):
    """The operations in which writing is expressed. Errors are OSError."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that is not there yet."""
        ...

    def create(self, path: Path, data: bytes) -> None:
        """Write a file that is not there yet; its bytes may be lost until `flush`."""
        ...

    def flush(self, path: Path) -> None:
        """Make the bytes of a file, or the names in a folder, survive a loss of power."""
        ...

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, unless that name is taken: FileExistsError."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name; a folder with entries is not replaced: OSError."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a name of a file."""
        ...

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        ...


class LocalDisk:
    """The file system of this machine."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that is not there yet."""
        path.mkdir()

    def create(self, path: Path, data: bytes) -> None:
        """Write a file that is not there yet."""
        with path.open("xb") as file:
            file.write(data)

    def flush(self, path: Path) -> None:
        """Flush a file or a folder: fsync reaches its bytes whoever wrote them."""
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, unless that name is taken."""
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove a name of a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()


LOCAL_DISK: Disk = LocalDisk()


class Irregular(ValueError):
    """What a name stands for is no plain file of a plausible size; the message says why."""


def read_regular(path: str | Path, largest: int, *, folder: int | None = None, names: int | None = 1) -> bytes:
    """Read a regular file whole, without following a link in its last step or waiting for a pipe.

    `folder` is an opened folder that the path starts from; `names` is how many names the file may have, None for any.
    Irregular, or OSError from the file system.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or names not in (None, status.st_nlink):
            raise Irregular("it is no regular file with one name but a link, a folder, a pipe or a device")
        if status.st_size > largest:
            raise Irregular(f"it has {status.st_size:,} bytes instead of at most {largest:,}")
        parts: list[bytes] = []
        left = status.st_size + 1  # one more, to notice a file that grows
        while left and (part := os.read(file, min(left, _READ_BYTES))):
            parts.append(part)
            left -= len(part)
        if left != 1:
            raise Irregular("its size changed while it was read")
        return b"".join(parts)
    finally:
        os.close(file)
