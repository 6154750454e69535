"""What there is to say: questions with their answers, findings, tables, and documents of blocks in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Marked(NamedTuple):
    """A sentence whose first words are coloured by what they mean."""

    mark: str
    style: str
    rest: str

    @property
    def plain(self) -> str:
        """The sentence without its colour."""
        return f"{self.mark}{self.rest}"


class Sentence(NamedTuple):
    """One line of text, or more where it is long: what kind of line, and how it looks."""

    kind: Literal["title", "heading", "line", "bullet", "command"]
    text: str
    style: str = ""
    indent: int = 2


class FactLines(NamedTuple):
    """Labels with their sentences."""

    entries: tuple[tuple[str, str | Marked], ...]


class Table(NamedTuple):
    """Cells in words; the first of a row names it.

    In a terminal the first `left` columns hold words, the others figures. `listing` says the same in lines, each with
    a line below it, for where the table has no room; without it a table gets narrower.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    listing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a few words and in sentences; `tone` is good, warn or plain.

    `brief` is what the card on top of a page says; `sentences` are what is said in full, without what is in brief.
    """

    question: str
    short: str
    tone: str
    sentences: tuple[str, ...]
    anchor: str
    brief: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing to look at: what kind, how pressing from 0 to 100, what is so, what to do, and where it is shown.

    What is so begins with `begins`, which is enough to know it again.
    """

    kind: str
    weight: int
    begins: str
    rest: str
    do: str
    anchor: str

    @property
    def what(self) -> str:
        """What is so, in a sentence."""
        return f"{self.begins}{self.rest}"


@dataclass
class Document:
    """The blocks so far; each method adds one."""

    blocks: list[Sentence | FactLines | Table] = field(default_factory=list)

    def title(self, text: str) -> None:
        """Write the one line that says what happened."""
        self.blocks.append(Sentence("title", text))

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.blocks.append(Sentence("heading", text))

    def line(self, text: str, style: str = "", indent: int = 2) -> None:
        """Write a paragraph."""
        self.blocks.append(Sentence("line", text, style, indent))

    def bullet(self, text: str, style: str = "") -> None:
        """Write one point of a list."""
        self.blocks.append(Sentence("bullet", text, style))

    def command(self, text: str) -> None:
        """Write a command to type, so that it can be copied."""
        self.blocks.append(Sentence("command", text))

    def facts(self, entries: Sequence[tuple[str, str | Marked]]) -> None:
        """Write labels with their sentences."""
        self.blocks.append(FactLines(tuple(entries)))

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        left: int = 1,
        listing: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Write a table; see `Table`."""
        self.blocks.append(Table(tuple(header), tuple(map(tuple, rows)), left, tuple(listing)))
