"""From an encoding's terms to the penalties of an objective."""

from __future__ import annotations

from collections.abc import Mapping

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, PairTerm, SingleTerm
from batchlearn.objectives.penalties import Penalty
from batchlearn.objectives.penalties.smoothing import UnitPenalty, differences, product, squares
from batchlearn.selection.penalty_selection import PenalisedTerm, penalty
from batchlearn.statistics.objective import ridge


def encoding_terms(encoding: Encoding) -> dict[str, PenalisedTerm]:
    """Return each term of an encoding with its unit penalty, by name."""
    terms, start = {}, 1
    for number in encoding.numbers:
        stop = start + len(number.names)
        terms[number.column] = PenalisedTerm(slice(start, stop), squares(stop - start))
        start = stop
    for group, part in zip(encoding.groups, encoding.layout.group_slices, strict=True):
        if isinstance(group, PairTerm):
            terms[group.column] = PenalisedTerm(part, product(_unit(group.first), _unit(group.second)))
        elif isinstance(group, BinTerm | LevelTerm | CalendarTerm):
            terms[group.key] = PenalisedTerm(part, _unit(group))
    for text, part in zip(encoding.texts, encoding.text_slices, strict=True):
        # What few rows have says less a row than what many do: a strength of its own.
        words = slice(part.start, part.start + len(text.words))
        others = slice(words.stop, part.stop)
        for name, own in ((text.column, words), (f"{text.column} (rare words)", others)):
            terms.update({name: PenalisedTerm(own, squares(own.stop - own.start))} if own.stop > own.start else {})
    return terms


def _unit(term: SingleTerm) -> UnitPenalty:
    if isinstance(term, BinTerm):
        return differences(term.ordered, int(term.missing))
    if isinstance(term, CalendarTerm):
        return differences(len(term.values), int(term.missing), cyclic=True)
    return squares(len(term.names))


def encoding_penalty(
    encoding: Encoding, strengths: Mapping[str, float], alpha: float | None, outputs: int = 1
) -> Penalty:
    """Return the penalty of an encoding: strengths chosen by data, else alpha per row, else one in total.

    Among chosen strengths a term that has none has a total strength of one.
    """
    if strengths:
        terms = encoding_terms(encoding)
        values = [strengths.get(name, 1.0) for name in terms]
        return penalty(tuple(terms.values()), values, encoding.layout.size, outputs)
    none = ridge(encoding.layout, 0.0, outputs=outputs)
    if alpha is None:
        return Penalty(in_total=ridge(encoding.layout, 1.0, outputs=outputs), per_row=none)
    return Penalty(in_total=none, per_row=ridge(encoding.layout, alpha, outputs=outputs))
