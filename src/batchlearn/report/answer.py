"""A question that a reader brings, with its answer; and what a reader should look at."""

from __future__ import annotations

from dataclasses import dataclass


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
