"""The rows of a delimited text file as bytes: lines that are no rows are taken out on the way, and counted."""

from __future__ import annotations

import io
import re
from collections import Counter

from batchlearn.tables.text.layout import UNIT_SEPARATOR, TextLayout, tabbed

_LONGEST_LINE = 8 << 20
_TAIL = 4096
_COMMENT = re.compile(rb"(?m)^#.*\n?")
_BLANK = re.compile(rb"\n\r?(?=\n)")


class Body(io.RawIOBase):
    """What follows the header of a file, without the lines that repeat it; `passed_over` counts lines by reason."""

    def __init__(self, characters: io.RawIOBase, layout: TextLayout) -> None:
        super().__init__()
        self.passed_over: Counter[str] = Counter(layout.passed_over)
        self.rows_passed_over = 0
        """Lines among them that the reader of rows came upon."""
        self.notes = False
        """Whether the rows are over and notes have begun."""
        self.tail = b"\n"
        """The last bytes so far."""
        self._characters = characters
        self._ready = b""
        self._comments = layout.comments
        self._one_column = len(layout.names) == 1
        header = re.escape(layout.header.encode())
        self._header = layout.header.encode()
        self._repeated = re.compile(rb"(?:(?<=\n)|\A)" + header + rb"[ \t]*\r?(?:\n|\Z)")
        self._fused = (f"{layout.delimiter} ".encode(), f"{UNIT_SEPARATOR} ".encode()) if layout.spaced else None
        self._blanks = layout.blanks
        before = b""
        # At once so many bytes that they tell the encoding.
        while len(before) < layout.start and (chunk := characters.read(max(layout.start, _TAIL))):
            before += chunk
        self._held = before[layout.start :]

    def readable(self) -> bool:
        """Say that this file is for reading."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of rows; none at the end.

        They are fewer than asked for at the end only: the reader takes two blocks for the most that a row needs.
        """
        ready = [self._ready]
        found = len(self._ready)
        while size < 0 or found < size:
            chunk = self._characters.read(size) or b""
            data = self._held + chunk
            cut = data.rfind(b"\n") + 1 if chunk else len(data)
            if not cut and len(data) > _LONGEST_LINE:
                cut = len(data)
            lines, self._held = data[:cut], data[cut:]
            ready.append(self._rows(lines))
            found += len(ready[-1])
            if not chunk:
                break
        whole = b"".join(ready)
        count = len(whole) if size < 0 else size
        self._ready = whole[count:]
        return whole[:count]

    def _rows(self, lines: bytes) -> bytes:
        """Take out the lines that repeat the header, and count the blank ones, which the reader passes over."""
        if self._header and self._header in lines:
            lines, times = self._repeated.subn(b"", lines)
            self.passed_over["repeated header"] += times
        if self._comments and b"#" in lines:
            lines, times = _COMMENT.subn(b"", lines)
            self.passed_over["comment"] += times
        found = self.tail[-1:] + lines
        if not self._one_column and (b"\n\n" in found or b"\n\r\n" in found):
            # Outside of quotes, which are closed where an even number of them came before.
            blank = sum(len(_BLANK.findall(part)) for part in found.split(b'"')[::2])
            self.passed_over["blank line"] += blank
        if self._blanks:
            lines = tabbed(lines)
        if self._fused is not None:
            lines = lines.replace(*self._fused)
        if lines:
            self.tail = (self.tail + lines)[-_TAIL:]
        return lines
