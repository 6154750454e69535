"""Which files a path means, what is in them, and whether they stay the same while they are read."""

from __future__ import annotations

import difflib
import errno
import glob
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from batchlearn.errors import DataError, ResourceError, UsageError, quoted

_ADDRESS = re.compile(r"(?i)^(file:|data:|[a-z][a-z0-9+.\-]+:/)")
_PARQUET = (".parquet", ".pq")
_DELIMITED = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_ARROW = (".arrow", ".feather", ".ipc", ".arrows")
_OFTEN_DELIMITED = (".data", ".dat", ".asc", ".tab", ".psv")
_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_EXCEL = (".xlsx", ".xlsm")
_DATABASE = (".sqlite", ".sqlite3", ".db", ".duckdb")
TABLES = (*_PARQUET, *_DELIMITED, *_ARROW, *_JSON_LINES)
"""How the names of files end that a folder's table is made of."""
_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAGIC_BYTES = 16


class Format(StrEnum):
    """How a file stores a table."""

    PARQUET = "parquet"
    DELIMITED = "delimited text"
    ARROW = "Arrow IPC"
    JSON_LINES = "JSON lines"
    EXCEL = "Excel"
    ZIP = "zip"
    SQLITE = "SQLite"
    DUCKDB = "DuckDB"


@dataclass(frozen=True)
class PartOfFile:
    """Which table of a file is meant, where it may have several; flags are made from the fields."""

    query: str | None = field(
        default=None,
        metadata={
            "help": "SELECT that gives the rows of a SQLite or DuckDB file.",
            "example": "SELECT * FROM orders",
        },
    )
    sheet: str | None = field(
        default=None, metadata={"help": "Sheet of an Excel file, where it has several.", "example": "2024"}
    )


WHOLE = PartOfFile()


@dataclass(frozen=True)
class Files:
    """The files of one table, all of one format, in the order in which their rows are read."""

    paths: tuple[Path, ...]
    format: Format
    folder: Path | None
    """The folder that was given, if it was one: names of folders below it may carry values (year=2008)."""
    name: str
    part: PartOfFile = WHOLE
    unpacked: object = None
    """Where they were unpacked, if they were: they are there as long as something holds it."""
    empty: tuple[Path, ...] = ()
    """Files without a byte that were passed over."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was when first looked at."""

    path: Path
    size: int
    modified: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Look at a file now."""
        with named_problems(path):
            status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    def check(self) -> None:
        """Raise DataError if the file is not as it was."""
        if Stamp.of(self.path) != self:
            raise DataError(
                f"file {quoted(self.path)} changed while it was read; all passes must see the same rows: wait until "
                "nothing writes to it, or read a copy",
                code="file-changed",
            )


def find(
    source: str | os.PathLike[str], but: Sequence[Path] = (), part: PartOfFile = WHOLE, *, but_empty: bool = False
) -> Files:
    """Find the files that a path, a folder or a pattern such as "data/*.parquet" means, `but` those below folders.

    `but_empty`: among others, files without a byte are passed over; else, as where there are no others, DataError.
    """
    text = os.fspath(source)
    refuse_address(text)
    if not text or "\0" in text:
        raise UsageError(f"{quoted(text)} is no path: give a file, a folder or a pattern", code="path-not-valid")
    path = Path(text)
    if any(sign in text for sign in "*?[") and not os.path.lexists(path):
        return replace(_matching(text, but, but_empty), part=part)
    with named_problems(path):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return replace(_in_folder(path, but, but_empty), part=part)
    _refuse_special(path, mode)
    return Files((path,), format_of(path), None, _short_name(path), part)


def refuse_address(text: str) -> None:
    """Raise UsageError where a text is an address on a network and no path."""
    if _ADDRESS.match(text):
        raise UsageError(
            f"{quoted(text)} is an address; only files of this machine are read and nothing is fetched: download it "
            "first and give its path",
            code="address-not-path",
        )


@contextmanager
def named_problems(path: Path) -> Iterator[None]:
    """Say in our errors what the operating system refuses to do with a file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise DataError(f"there is no file {quoted(path)}{_nearest(path)}", code="file-missing") from problem
    except PermissionError as problem:
        raise ResourceError(
            f"file {quoted(path)} may not be read by this user: change its permissions", code="file-permission"
        ) from problem
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            reason = "is a symbolic link that leads back to itself: give the file itself"
            raise DataError(f"{quoted(path)} {reason}", code="path-loops") from problem
        if problem.errno == errno.ENAMETOOLONG:
            raise DataError(f"there is no file {quoted(path)}: its name is too long", code="file-missing") from problem
        raise ResourceError(
            f"file {quoted(path)} cannot be read: {problem.strerror}", code="file-unreadable"
        ) from problem


def format_of(path: Path) -> Format:
    """Tell a file's format by its first bytes, else by its name; DataError where neither is known."""
    with named_problems(path), path.open("rb") as file:
        start = file.read(_MAGIC_BYTES)
    name = path.name.lower()
    if not start:
        raise DataError(f"file {quoted(path)} is empty; a table needs a header and rows", code="file-empty")
    by_bytes = _by_bytes(path, start, name)
    if by_bytes is not None:
        return by_bytes
    named = ((_PARQUET, "a Parquet", "parquet"), (_ARROW, "an Arrow", "arrow"), (_EXCEL, "an Excel", "excel"))
    for endings, what, slug in named:
        if name.endswith(endings):
            raise DataError(
                f"file {quoted(path)} does not start as {what} file does; it is damaged or has the wrong name: write "
                "it again, or rename it to .csv if it is text",
                code=f"{slug}-unreadable",
            )
    if name.endswith((*_JSON_LINES, ".json", ".json.gz")):
        return Format.JSON_LINES
    if name.endswith((*_DELIMITED, ".txt", ".txt.gz", *_OFTEN_DELIMITED)):
        return Format.DELIMITED
    raise DataError(
        f"file {quoted(path)} is of no known format; Parquet, CSV, TSV, Arrow, JSON, Excel, SQLite, DuckDB and "
        "zip files with one of them are read, text also compressed with gzip: convert it, or rename it so that it "
        "ends in .csv, .tsv or .jsonl",
        code="format-unknown",
    )


def _by_bytes(path: Path, start: bytes, name: str) -> Format | None:
    """Tell the format by the bytes that its files start with; None where they start with anything."""
    if start.startswith(b"PAR1"):
        return Format.PARQUET
    # A stream, which has no magic of its own, starts with a mark that no text has.
    if start.startswith(b"ARROW1") or (start.startswith(b"\xff\xff\xff\xff") and name.endswith(_ARROW)):
        return Format.ARROW
    if start.startswith(b"SQLite format 3\0"):
        return Format.SQLITE
    if start[8:12] == b"DUCK":
        return Format.DUCKDB
    if start.startswith(b"FEA1"):
        raise DataError(
            f"file {quoted(path)} is of Feather's first version, which is no longer read: write it again with "
            "pandas.read_feather and to_feather",
            code="arrow-unreadable",
        )
    if start.startswith(_OLD_EXCEL):
        raise DataError(
            f"file {quoted(path)} is an Excel file of the old form (.xls) or one with a password: save it as .xlsx, "
            "without one",
            code="excel-unreadable",
        )
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return Format.EXCEL if "xl/workbook.xml" in archive.namelist() else Format.ZIP
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, EOFError, ValueError, struct.error) as problem:
        raise DataError(
            f"file {quoted(path)} is no complete {'Excel' if name.endswith(_EXCEL) else 'zip'} file ({problem}): copy "
            "it again",
            code="zip-unreadable",
        ) from problem


def _matching(pattern: str, but: Sequence[Path], but_empty: bool) -> Files:
    paths = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in paths if not path.is_dir() and not _below(path, but)]
    if not paths:
        raise DataError(f"no file matches {quoted(pattern)}: check the pattern", code="file-missing")
    # The deepest folder without a sign; values may be in the names of the folders below it.
    return _together(paths, pattern, Path(re.split(r"[*?\[]", pattern, maxsplit=1)[0] + "x").parent, but_empty)


def _below(path: Path, folders: Sequence[Path]) -> bool:
    return any(Path(os.path.abspath(path)).is_relative_to(folder) for folder in folders)


def _in_folder(folder: Path, but: Sequence[Path], but_empty: bool) -> Files:
    paths: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith((".", "_")) and not _below(Path(parent, name), but)
        )
        tables = (name for name in names if name.lower().endswith(TABLES))
        paths += [Path(parent, name) for name in sorted(tables) if not name.startswith((".", "_"))]
    if not paths:
        raise DataError(
            f"folder {quoted(folder)} has no tables; Parquet (.parquet), CSV, TSV, Arrow (.arrow) or JSON lines "
            "(.jsonl) files are needed in it",
            code="folder-without-tables",
        )
    return _together(paths, str(folder), folder, but_empty)


def _together(paths: list[Path], given: str, folder: Path, but_empty: bool) -> Files:
    """Return the files that were found below a folder, all regular and of one format."""
    sizes = {}
    for path in paths:
        with named_problems(path):
            status = path.stat()
        _refuse_special(path, status.st_mode)
        sizes[path] = status.st_size
    empty = [path for path, size in sizes.items() if size == 0] if but_empty and any(sizes.values()) else []
    full = [path for path in paths if path not in empty]
    formats = {format_of(path): path for path in full}
    if len(formats) > 1:
        first, second = (quoted(path) for path in formats.values())
        raise DataError(
            f"{quoted(given)} means files of two formats, for example {first} and {second}; one table has one format: "
            "give a pattern such as 'data/*.parquet'",
            code="formats-mixed",
        )
    return Files(tuple(full), next(iter(formats)), folder, _short_name(folder.absolute()), empty=tuple(empty))


def _refuse_special(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{quoted(path)} is no regular file but a pipe, a device or a socket; rows are read more than once, so "
            "write them to a file first",
            code="not-a-file",
        )


def _nearest(path: Path) -> str:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ": check the path"
    # By the names without their endings: two files of Parquet are not near each other for that.
    stems = {Path(name).stem: name for name in sorted(names)}
    close = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.75)
    return f"; did you mean {quoted(str(path.parent / stems[close[0]]))}?" if close else ": check the path"


def _short_name(path: Path) -> str:
    name = path.name
    for ending in (".gz", ".zip", *_PARQUET, *_ARROW, *_EXCEL, ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", *_DATABASE):
        name = name.removesuffix(ending)
    return re.sub(r"[^\w.\-]+", "_", name).strip("._") or "table"
