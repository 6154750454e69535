"""The one table in a zip file, unpacked into a folder of its own; nothing that an archive says decides where."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from batchlearn.errors import DataError, quoted
from batchlearn.tables.files import TABLES, Stamp, named_problems
from batchlearn.tables.text.characters import HIGHEST_RATIO, MOST_BYTES, is_bomb

_PIECE = 1 << 20
_ENDINGS = (*TABLES, ".xlsx", ".xlsm")
_MOST_NAMED = 5


def unpacked_table(path: Path, folder: Path) -> Path:
    """Unpack the one table of an archive into `folder` and return its path. DataError where it has none or several."""
    stamp = Stamp.of(path)
    with opened_archive(path) as archive:
        known = [entry for entry in archive.infolist() if entry.filename]
        entries = [entry for entry in known if not entry.is_dir() and not _is_hidden(entry.filename)]
        tables = [entry for entry in entries if entry.filename.lower().endswith(_ENDINGS)]
        tables = tables or [entry for entry in entries if entry.filename.lower().endswith((".txt", ".txt.gz"))]
        if len(tables) != 1:
            named = ", ".join(quoted(entry.filename) for entry in (tables or entries)[:_MOST_NAMED])
            more = " and more" if len(tables or entries) > _MOST_NAMED else ""
            what = f"{len(tables)} tables: {named}{more}" if tables else f"no table, but {named}{more}"
            raise DataError(
                f"file {quoted(path)} holds {what if entries else 'nothing'}; a zip file is read where it holds one "
                "table: unpack it and give the file or folder",
                code="zip-not-one-table",
            )
        entry = tables[0]
        # Only the last part of the name, so that no name leads out of the folder.
        name = PurePosixPath(entry.filename.replace("\\", "/")).name
        target = folder / name
        with target.open("wb") as file:
            unpack(archive, entry, path, file.write)
    stamp.check()
    return target


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file. DataError, also while it is read, where it is damaged or packed in a way that is not known."""
    with named_problems(path):
        file = path.open("rb")
    try:
        with file, zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as problem:
        raise DataError(
            f"file {quoted(path)} cannot be unpacked ({problem}): copy or write it again", code="zip-unreadable"
        ) from problem


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, take: Callable[[bytes], object]) -> None:
    """Give `take` the bytes of an entry, checked by its checksum; DataError where they are locked or too many."""
    if entry.flag_bits & 1:
        raise DataError(
            f"{quoted(entry.filename)} in {quoted(path)} is locked with a password; unpack it and read the result",
            code="zip-locked",
        )
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(
            f"{quoted(entry.filename)} in {quoted(path)} is a link or device and no file: pack the table itself",
            code="zip-not-one-table",
        )
    size = checksum = 0
    with archive.open(entry) as packed:
        while piece := packed.read(_PIECE):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            if is_bomb(size, entry.compress_size):
                raise DataError(
                    f"{quoted(entry.filename)} in {quoted(path)} unpacks to more than {HIGHEST_RATIO} times its size "
                    f"or {MOST_BYTES >> 30} GiB; this is how attacks look: unpack it yourself and read the result if "
                    "you trust it",
                    code="zip-bomb",
                )
            take(piece)
    if checksum != entry.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {entry.filename!r}")


def _is_hidden(name: str) -> bool:
    """Whether a file describes others, as those that macOS adds do."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part.startswith((".", "__MACOSX")) and part not in {"..", "."} for part in parts)
