"""A document as text that fits the terminal.

Everything of our own is ASCII, so it shows in any locale; what comes from data is escaped where it could steer a
terminal, and by the stream where its encoding lacks the character.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Cells
from rich.text import Text

from batchlearn.formatting.numbers import in_ascii
from batchlearn.report.document import Document, FactLines, Marked, Sentence, TextTable

NARROW = 78
_VERY_NARROW = 40
# Marks that change the order in which text is shown: a level's name could hide another behind them.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def _shown(text: str) -> str:
    """Return a text of ours as a terminal shows it: its numbers in ASCII, and nothing that could steer it."""
    return clean(in_ascii(text))


def clean(text: str) -> str:
    """Escape control and reordering characters."""
    return "".join(
        sign if (sign.isprintable() or sign == "\n") and sign not in _REORDERING else repr(sign)[1:-1] for sign in text
    )


def printed(document: Document) -> str:
    """Return what a document looks like on standard output, with colours only where a terminal shows them."""
    console = Console(highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        for block in document.blocks:
            if isinstance(block, Sentence):
                _sentence(console, block)
            elif isinstance(block, FactLines):
                _facts(console, block)
            elif isinstance(block, TextTable):
                _table(console, block.without(block.page_only))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _sentence(console: Console, said: Sentence) -> None:
    text = _shown(said.text)
    if said.kind == "heading":
        console.print()
    if said.kind in ("title", "heading"):
        console.print(Text(text, style="bold"))
    elif said.kind == "command":
        # On one line, however narrow the terminal, so that it can be copied.
        console.print(Text("  " + text, style="cyan"), soft_wrap=True)
    elif said.kind == "bullet":
        grid = Cells.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("-", Text(text, style=said.style))
        console.print(Padding(grid, (0, 0, 0, 2), expand=False))
    else:
        folded = Text(text, style=said.style, overflow="fold")
        console.print(Padding(folded, (0, 0, 0, said.indent), expand=False))


def _facts(console: Console, facts: FactLines) -> None:
    """Write labels with their sentences beside them; below them where the terminal is very narrow."""
    if console.width < _VERY_NARROW:
        for label, value, _ in facts.entries:
            console.print(Text(label, style="bold"))
            console.print(Padding(_text(value), (0, 0, 0, 2), expand=False))
        return
    grid = Cells.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value, _ in facts.entries:
        grid.add_row(label, _text(value))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def _text(value: str | Marked) -> Text:
    mark, style, rest = value if isinstance(value, Marked) else ("", "", value)
    text = Text.assemble((mark, style), _shown(rest))
    text.overflow = "fold"
    return text


def _table(console: Console, grid: TextTable) -> None:
    header, *rows = ([_shown(cell) for cell in row] for row in (grid.header, *grid.rows))
    widest = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    fits = console.width >= NARROW and sum(widest) + 2 * len(widest) <= console.width
    if grid.listing and not fits:
        for line, below in grid.listing:
            _sentence(console, Sentence("line", line))
            _sentence(console, Sentence("line", below, "dim", 4))
        return
    table = Cells(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for number, name in enumerate(header):
        words = number < grid.left
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
