"""What there is to say, as blocks in order: of a terminal's document, and of the sections of a page.

The blocks are the same for both. `report.html` renders them as elements of a page; `report.terminal` as text, without
those that only a page can show: figures, and what stands beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from batchlearn.report.figures.plots import Forest, Plot
    from batchlearn.report.terms.shapes import Drawn
    from batchlearn.report.training.worst import ToldRow


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
    """One line of text, or more where it is long: what kind of line, how a terminal shows it, and a page's anchor."""

    kind: Literal["title", "heading", "lead", "line", "bullet", "command"]
    text: str
    style: str = ""
    indent: int = 2
    anchor: str = ""


class Fact(NamedTuple):
    """A label with its figure or sentence; `meaning` says on a page what the figure is."""

    label: str
    value: str | Marked
    meaning: str = ""


class FactLines(NamedTuple):
    """Labels with their sentences."""

    entries: tuple[Fact, ...]


class Bullets(NamedTuple):
    """Points of a list, each with a name in bold or without one."""

    entries: tuple[tuple[str, str], ...]


class TextTable(NamedTuple):
    """Cells in words; the first of a row names it.

    In a terminal the first `left` columns hold words, the others figures. `listing` says the same in lines, each with
    a line below it, for where the table has no room; without it a table gets narrower. On a page the last column holds
    words unless it is `figures_only`; a `compact` table takes no more room than it needs, and `swatches` are the
    colours before its rows. `page_only` and `terminal_only` are the places of columns that the other leaves out.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    listing: tuple[tuple[str, str], ...] = ()
    figures_only: bool = False
    compact: bool = False
    swatches: tuple[str, ...] = ()
    page_only: tuple[int, ...] = ()
    terminal_only: tuple[int, ...] = ()

    def without(self, left_out: tuple[int, ...]) -> TextTable:
        """Return the table without some of its columns."""
        kept = [at for at in range(len(self.header)) if at not in left_out]
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return self._replace(header=tuple(self.header[at] for at in kept), rows=rows)


class Part(NamedTuple):
    """Some of the rows: what they are, how many, and where they lie in a bar, in per cent."""

    said: str
    rows: int
    share: str
    at: float
    width: float
    role: str


class Stack(NamedTuple):
    """Parts of the rows as one bar, with or without a legend below."""

    label: str
    parts: tuple[Part, ...]
    legend: bool


class Beside(NamedTuple):
    """Blocks that stand beside each other where there is room: a pair of them, or the terms of a model."""

    blocks: tuple[Block, ...]
    kind: Literal["pair", "shapes"] = "pair"


class WorstRows(NamedTuple):
    """Rows that a model got most wrong, numbered from `start`."""

    rows: tuple[ToldRow, ...]
    start: int = 1


class Folded(NamedTuple):
    """Blocks that are shown when they are asked for, by their summary."""

    summary: str
    blocks: tuple[Block, ...]


Block: TypeAlias = (
    "Sentence | FactLines | Bullets | TextTable | Stack | Beside | WorstRows | Folded | Plot | Forest | Drawn"
)


class Section(NamedTuple):
    """A part of a page: its anchor, its name in the list of sections, its heading and its blocks."""

    anchor: str
    name: str
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """One report as it is read in a browser: what it is of, the cards, what to look at, sections and answers."""

    kind: str  # "Training report"
    title: str
    subtitle: str
    facts: tuple[Fact, ...]
    cards: tuple[Answer, ...]
    looks: tuple[Finding, ...]
    sections: tuple[Section, ...]
    answers: tuple[Answer, ...]

    @property
    def names(self) -> dict[str, str]:
        """The sections by anchor, the questions and answers at last."""
        return {**{one.anchor: one.name for one in self.sections}, "answers": "Questions"}


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a few words and in sentences; `tone` is good, warn or plain.

    `brief` is what the card on top of a page says; `sentences` are what is said in full, without what is in brief. A
    card may hold other questions with their answers `in_short`.
    """

    question: str
    short: str
    tone: str
    sentences: tuple[str, ...]
    anchor: str
    brief: tuple[str, ...] = ()
    in_short: tuple[tuple[str, str], ...] = ()


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

    blocks: list[Block] = field(default_factory=list)

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
        self.blocks.append(FactLines(tuple(Fact(*entry) for entry in entries)))

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        left: int = 1,
        listing: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Write a table; see `TextTable`."""
        self.blocks.append(TextTable(tuple(header), tuple(map(tuple, rows)), left, tuple(listing)))
