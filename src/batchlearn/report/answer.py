"""A question that a reader brings, with its answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a few words and in sentences; `tone` is good, warn or plain."""

    question: str
    short: str
    tone: str
    sentences: tuple[str, ...]
    anchor: str
