"""The characters of a text file, unpacked if it is compressed and checked as they are read."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from batchlearn.errors import DataError, quoted
from batchlearn.tables.files import named_problems

_HIGHEST_RATIO = 200
_MOST_BYTES = 64 << 30
_SMALL = 1 << 20
"""Below it no ratio is judged: a few short rows, many times, are no attack."""
_OPENING = re.compile(r'(?:^|(?<=[,;\t|]))"')
_CLOSING = re.compile(r'(?:[^"]|"")*+"')


class CheckedCharacters(io.RawIOBase):
    """A file's bytes, which are UTF-8 without NUL and with every quote closed, or DataError says in which line not.

    gzip is unpacked on the way, up to 200 times the compressed size and up to 64 GiB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lines = 1
        self._quotes = 0
        self._bytes = 0
        with named_problems(path):
            self._packed = cast(BinaryIO, path.open("rb"))
            self._compressed = self._packed.read(2) == b"\x1f\x8b"
            self._packed.seek(0)
        self._plain = cast(BinaryIO, gzip.GzipFile(fileobj=self._packed)) if self._compressed else self._packed

    def __enter__(self) -> CheckedCharacters:
        """Return the open file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, and the compressed one below it."""
        self._plain.close()
        self._packed.close()
        super().close()

    def readable(self) -> bool:
        """Say that this file is for reading."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, after checking them; none at the end."""
        # 1. The bytes, unpacked, unless they are many more than the file has.
        try:
            with named_problems(self._path):
                chunk = self._plain.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise self._error(
                f"is no complete gzip file ({problem}): write or copy it again", "gzip-unreadable"
            ) from problem
        self._bytes += len(chunk)
        ratio = self._bytes / max(self._packed.tell(), 1)
        if self._compressed and ((self._bytes > _SMALL and ratio > _HIGHEST_RATIO) or self._bytes > _MOST_BYTES):
            raise self._error(
                f"unpacks to more than {_HIGHEST_RATIO} times its size or {_MOST_BYTES >> 30} GiB; this is how attacks "
                "look: unpack it yourself and read the result if you trust it",
                "gzip-bomb",
            )
        # 2. Their characters.
        try:
            self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as problem:
            line = self._lines + problem.object[: problem.start].count(b"\n")
            raise self._error(
                f"is not UTF-8 in line {line:,} (bytes {problem.object[problem.start : problem.end].hex()}); write it "
                "again with the encoding UTF-8",
                "not-utf8",
            ) from problem
        if b"\0" in chunk:
            line = self._lines + chunk[: chunk.index(b"\0")].count(b"\n")
            raise self._error(f"has a NUL byte in line {line:,}; text has none: correct it", "csv-nul-byte")
        self._lines += chunk.count(b"\n")
        # 3. At the end, their quotes.
        self._quotes += chunk.count(b'"')
        if not chunk and self._quotes % 2:
            self._refuse_unclosed_quote()
        return chunk

    def _refuse_unclosed_quote(self) -> None:
        """Find out whether an odd number of quotes is an open quote, or an inch sign inside a value."""
        opened: int | None = None
        opener = gzip.open if self._compressed else open
        with opener(self._path, "rt", encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                position = 0
                while found := (_OPENING if opened is None else _CLOSING).search(line, position):
                    position = found.end()
                    opened = number if opened is None else None
        if opened is not None:
            raise self._error(
                f"has a quote that is opened in line {opened:,} and not closed: close it", "csv-unclosed-quote"
            )

    def _error(self, what: str, code: str) -> DataError:
        return DataError(f"file {quoted(self._path)} {what}", code=code)
