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

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.files import named_problems

HIGHEST_RATIO = 200
MOST_BYTES = 64 << 30
_NEAR = 1 << 16
_SHARE = 400
"""Bytes that are enough to tell UTF-16 by."""
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_ENCODINGS = (
    *("cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp1257", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
"""What files are written in; those of old machines would be taken for them by mistake."""
_OF_ONE_ALPHABET = ("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256")
_OF_OUR_LETTERS = ("cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1254", "cp1257")
_LETTERS, _OUR_LETTER = re.compile(r"[^\W\d_]+"), re.compile("[A-Za-z]")
_UNIT_SIGNS = "²³µ°"
_SMALL = 1 << 20
"""Below it no ratio is judged: a few short rows, many times, are no attack."""
_OPENING = re.compile(r'(?:^|(?<=[,;\t|]))"')
_CLOSING = re.compile(r'(?:[^"]|"")*+"')


def is_bomb(unpacked: int, packed: int) -> bool:
    """Whether so many bytes of so few look like an attack."""
    return (unpacked > _SMALL and unpacked > HIGHEST_RATIO * max(packed, 1)) or unpacked > MOST_BYTES


class CheckedCharacters(io.RawIOBase):
    """A file's text as UTF-8, without NUL and with every quote closed, or DataError says in which line not.

    The encoding is what the first bytes say, else the one given, else UTF-8; anything else is refused with a guess.
    gzip is unpacked on the way, up to 200 times the compressed size and up to 64 GiB. `quotes` says whether those of
    CSV enclose values.
    """

    def __init__(self, path: Path, encoding: str | None = None, *, quotes: bool = True) -> None:
        super().__init__()
        self._has_quotes = quotes
        self._path = path
        self._lines = 1
        self._quotes = 0
        self._bytes = 0
        with named_problems(path):
            self._packed = cast(BinaryIO, path.open("rb"))
            self._compressed = self._packed.read(2) == b"\x1f\x8b"
            self._packed.seek(0)
        self._plain = cast(BinaryIO, gzip.GzipFile(fileobj=self._packed)) if self._compressed else self._packed
        self._encoding = encoding or "utf-8"
        try:
            self._decoder: codecs.IncrementalDecoder | None = None
            codecs.lookup(self._encoding)
        except LookupError:
            raise UsageError(
                f"there is no encoding {quoted(self._encoding)}; utf-8, utf-16, cp1252 and latin-1 are some that there "
                "are",
                code="encoding-unknown",
            ) from None

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
        """Return the next characters as UTF-8, after checking them; none at the end."""
        while True:
            chunk = self._unpacked(size)
            if self._decoder is None:
                self._encoding = _marked(chunk) or self._encoding
                self._decoder = codecs.getincrementaldecoder(self._encoding)()
            try:
                text = self._decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as problem:
                raise self._other_encoding(problem) from problem
            characters = chunk if self._encoding == "utf-8" else text.encode()
            if b"\0" in characters:
                line = self._lines + characters[: characters.index(b"\0")].count(b"\n")
                raise self._error(f"has a NUL byte in line {line:,}; text has none: correct it", "csv-nul-byte")
            self._lines += characters.count(b"\n")
            self._quotes += characters.count(b'"')
            if not chunk and self._has_quotes and self._quotes % 2:
                self._refuse_unclosed_quote()
            # Bytes that end within a character give none yet.
            if characters or not chunk:
                return characters

    def _unpacked(self, size: int) -> bytes:
        """Return the next bytes, unless they are many more than the file has."""
        try:
            with named_problems(self._path):
                chunk = self._plain.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise self._error(
                f"is no complete gzip file ({problem}): write or copy it again", "gzip-unreadable"
            ) from problem
        self._bytes += len(chunk)
        if self._compressed and is_bomb(self._bytes, self._packed.tell()):
            raise self._error(
                f"unpacks to more than {HIGHEST_RATIO} times its size or {MOST_BYTES >> 30} GiB; this is how attacks "
                "look: unpack it yourself and read the result if you trust it",
                "gzip-bomb",
            )
        return chunk

    def _other_encoding(self, problem: UnicodeDecodeError) -> DataError:
        """Say which bytes are of another encoding, and which one it seems to be."""
        # Imported here because only files in other encodings need it.
        from charset_normalizer import from_bytes

        line = self._lines + problem.object[: problem.start].count(b"\n")
        near = problem.object[max(0, problem.start - _NEAR) : problem.start + _NEAR]
        best = from_bytes(near, cp_isolation=list(_ENCODINGS)).best()
        if best is not None and best.encoding in _OF_ONE_ALPHABET:
            words = [word for word in _LETTERS.findall(str(best)) if not word.isascii()]
            # Words of another alphabet have none of our letters: these are ours, with accents.
            if 2 * sum(bool(_OUR_LETTER.search(word)) for word in words) > len(words):
                best = from_bytes(near, cp_isolation=list(_OF_OUR_LETTERS)).best()
        guess = "cp1252" if best is None else best.encoding
        # Where both mean the same, but for signs of units, it is the one in most use.
        if guess != "cp1252" and best is not None:
            western = near.decode("cp1252", errors="replace")
            if all(ours in _UNIT_SIGNS for ours, theirs in zip(western, str(best), strict=False) if ours != theirs):
                guess = "cp1252"
        found = problem.object[problem.start : problem.end].hex()
        return self._error(
            f"is not {self._encoding.upper()} in line {line:,} (bytes {found}); it seems to be {guess}: read it with "
            f"--encoding {guess}",
            "not-utf8",
        )

    def _refuse_unclosed_quote(self) -> None:
        """Find out whether an odd number of quotes is an open quote, or an inch sign inside a value."""
        opened: int | None = None
        opener = gzip.open if self._compressed else open
        plain = "utf-8-sig" if self._encoding == "utf-8" else self._encoding
        with opener(self._path, "rt", encoding=plain, newline="") as file:
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


def _marked(start: bytes) -> str | None:
    """Return the encoding that the first bytes of a file say.

    In UTF-16 without a mark many bytes are 0: of delimiters, digits and line ends the first of two, or the second.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    first, second = start[0:_SHARE:2].count(0), start[1:_SHARE:2].count(0)
    if min(first, second) or max(first, second) < max(3, min(len(start), _SHARE) / 16):
        return None
    return "utf-16-be" if first else "utf-16-le"
