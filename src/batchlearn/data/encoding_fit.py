"""Fitting an encoding: from the profiles of the columns to terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from batchlearn.data.bins import BinTerm, NumberTerm, cut_points
from batchlearn.data.encoding import INTERCEPT, CalendarTerm, Encoding, GroupTerm, LevelTerm, PairTerm
from batchlearn.data.profile import CategoryProfile, NumberProfile, Profile, TextProfile, TimeProfile, level_digest
from batchlearn.data.text import LONGEST_WORD, TextTerm
from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import Column, Kind

# A share that rounds to one would leave its indicator no deviation to divide by.
_LARGEST_SHARE = 1.0 - 2.0**-53


_FEWEST_BINS, _ROWS_A_BIN = 8, 25
_MOST_OF_TEXT = 1 << 20
# A megabyte of a model's description.
_MOST_MARKS = 100_000


@dataclass(frozen=True)
class EncodingRules:
    """How columns become terms; the defaults are for tables of any size.

    minimum_rows: a level with fewer rows is pooled with the other rare ones. level_cap: beyond so many frequent
    levels the most frequent keep a coefficient each and the others share `buckets` by a hash. reference: leave one
    level of each group without a coefficient (needed where nothing is penalised). additive: numbers become at most
    `bins` bins, so that each has a shape of its own. text_words: at most so many words and word pairs of a text, those
    in most rows, have a coefficient each; the others share at most `text_buckets` by a hash.
    """

    minimum_rows: int = 10
    level_cap: int = 512
    buckets: int = 128
    reference: bool = False
    additive: bool = False
    bins: int = 64
    text_words: int = 1024
    text_buckets: int = 256

    def __post_init__(self) -> None:
        if not (1 <= self.text_words <= _MOST_OF_TEXT and 0 <= self.text_buckets <= _MOST_OF_TEXT):
            raise UsageError(
                f"The rules for text are text_words={self.text_words} and text_buckets={self.text_buckets}; text_words "
                f"needs to be at least 1, text_buckets at least 0, and both at most {_MOST_OF_TEXT}.",
                code="encoding-rules",
            )
        if self.minimum_rows < 1 or not 0 < self.buckets < self.level_cap:
            raise UsageError(
                f"The rules for levels are minimum_rows={self.minimum_rows}, level_cap={self.level_cap} and "
                f"buckets={self.buckets}; minimum_rows needs to be at least 1, and buckets from 1 to below level_cap.",
                code="encoding-rules",
            )


def fit_encoding(
    columns: Sequence[Column],
    profiles: Mapping[str, Profile],
    rules: EncodingRules,
    time: str | None,
    pairs: Sequence[PairTerm] = (),
) -> Encoding:
    """Return the encoding of the columns. `time` names the column that orders the rows: its trend is no feature.

    Free text is left out unless it was profiled as words. Raises DataError where two coefficients would have the same
    name.
    """
    numbers: list[NumberTerm] = []
    groups: list[GroupTerm] = []
    texts: list[TextTerm] = []
    left_out: dict[str, str] = {}
    for column in columns:
        profile = profiles[column.name]
        if isinstance(profile, TimeProfile):
            terms: list[CalendarTerm] = []
            for part, counts in profile.parts.items():
                values = [int(value) for value in counts.nonzero()[0]]
                if len(values) < 2:
                    continue
                reference = max(values, key=lambda value: int(counts[value])) if rules.reference else None
                kept = tuple(value for value in values if value != reference)
                missing = profile.missing > 0 and not terms  # one coefficient for "no time" is enough
                terms.append(CalendarTerm(column.name, part, kept, reference, missing))
            groups += terms
            if not terms:
                left_out[column.name] = "its calendar parts are constant"
        elif column.name == time:
            left_out[column.name] = "it orders the rows; a trend is no feature"
        elif isinstance(profile, TextProfile):
            text = _text_term(column.name, profile, rules, left_out)
            texts += [text] if text else []
        elif isinstance(profile, CategoryProfile):
            level = _level_term(column.name, profile, rules, left_out)
            groups += [level] if level else []
        else:
            number = _number_term(column, profile, left_out)
            # Few bins where rows are few: one of a row or two says nothing.
            bins = min(rules.bins, max(_FEWEST_BINS, profile.rows // _ROWS_A_BIN))
            edges = cut_points(profile.sample, bins) if rules.additive and number else ()
            if number and edges:
                groups.append(BinTerm(column.name, edges, profile.low, profile.high, profile.missing > 0))
            else:
                numbers += [number] if number else []
    plain: list[NumberTerm | TextTerm] = [*numbers, *texts]
    used = {*(term.column for term in plain), *(name for group in groups for name in group.columns)}
    # A pair was chosen on other rows: here one of its columns may have nothing to say any more.
    groups += [pair for pair in pairs if used.issuperset(pair.columns)]
    kinds = {column.name: column.kind for column in columns if column.name in used}
    names = (name for term in (*numbers, *groups, *texts) for name in term.names)
    _refuse_repeats("coefficients", [INTERCEPT, *names])
    _refuse_repeats("terms", [*(term.column for term in plain), *(group.key for group in groups)])
    zones = {column.name: column.zone for column in columns if column.name in used and column.zone is not None}
    return Encoding(tuple(numbers), tuple(groups), kinds, left_out, tuple(texts), zones)


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(
            f"Two {what} would be called {quoted(repeated[0])}; each needs a name of its own. Rename a column.",
            code="coefficient-name-repeated",
        )


def _number_term(column: Column, profile: NumberProfile, left_out: dict[str, str]) -> NumberTerm | None:
    if profile.missing == profile.rows:
        left_out[column.name] = "every value is missing"
    elif profile.names_rows:
        left_out[column.name] = "every row has a number of its own: an identifier"
    elif profile.low == profile.high and not profile.missing:
        left_out[column.name] = "it is constant"
    else:
        # A constant with missing values keeps its indicator; the constant itself then has no deviation to divide by.
        deviation = profile.deviation or (profile.high - profile.low) or 1.0
        share = min(profile.missing_share, _LARGEST_SHARE)
        return NumberTerm(column.name, profile.mean, deviation, profile.low, profile.high, share)
    return None


def _level_term(
    name: str, profile: CategoryProfile, rules: EncodingRules, left_out: dict[str, str]
) -> LevelTerm | None:
    if profile.known == 0:
        left_out[name] = "every value is missing"
    elif profile.is_text:
        left_out[name] = "it is free text"
    elif profile.names_rows:
        left_out[name] = f"{len(profile.counts)} levels in {profile.known} rows: an identifier"
    elif len(profile.counts) == 1 and not profile.missing:
        left_out[name] = "it is constant"
    else:
        term = _levels(name, profile, rules)
        if len(term.names) + (term.reference is not None) > 1 or term.missing:
            return term
        left_out[name] = f"none of its {len(profile.counts)} levels has {rules.minimum_rows} rows"
    return None


def _levels(name: str, profile: CategoryProfile, rules: EncodingRules) -> LevelTerm:
    # Most frequent first, ties by name: the same table gives the same codes whatever order its rows come in.
    ranked = sorted(profile.counts.items(), key=lambda item: (-item[1], item[0]))
    frequent = [level for level, count in ranked if count >= rules.minimum_rows]
    if len(ranked) - len(frequent) < 2:
        frequent = [level for level, _ in ranked]
    hashed = len(frequent) > rules.level_cap
    kept = frequent[: rules.level_cap - rules.buckets] if hashed else frequent
    reference = kept[0] if rules.reference and kept else None
    # Where every level is rare, the rare ones together are the reference, without a coefficient.
    pooled = not hashed and len(kept) < len(ranked) and bool(kept or not rules.reference)
    return LevelTerm(
        column=name,
        levels=tuple(level for level in kept if level != reference),
        buckets=rules.buckets if hashed else 0,
        rare=pooled,
        missing=profile.missing > 0,
        reference=reference,
        pooled=_marks([level for level, _ in ranked[len(kept) :]]),
    )


def _text_term(name: str, profile: TextProfile, rules: EncodingRules, left_out: dict[str, str]) -> TextTerm | None:
    if profile.wordless == profile.rows:
        left_out[name] = "no row has a word in it"
        return None
    repeated = profile.repeated
    frequent = (word for word, rows in repeated if rows >= rules.minimum_rows and len(word) <= LONGEST_WORD)
    kept = tuple(islice(frequent, rules.text_words))
    # Fewer buckets where few of the others come twice: those of one row say nothing of a next one.
    others = len(repeated) - len(kept)
    buckets = min(1 << (others - 1).bit_length(), rules.text_buckets) if others else 0
    if not kept and not buckets:
        left_out[name] = "no two rows have a word in common"
        return None
    return TextTerm(name, kept, buckets, missing=profile.wordless > 0)


def _marks(levels: Sequence[str]) -> tuple[int, ...] | None:
    """Return half the digests of levels that have no coefficient of their own, unless they are too many to keep."""
    return tuple(sorted({level_digest(level) >> 32 for level in levels})) if len(levels) <= _MOST_MARKS else None


def check_kinds(encoding: Encoding, columns: Mapping[str, Kind], where: str) -> None:
    """Refuse a table that holds a column of the encoding in another kind: DataError."""
    for name, kind in encoding.kinds.items():
        if columns.get(name, kind) is not kind:
            raise DataError(
                f"Column '{name}' of {where} holds {columns[name]} values; the model was trained on {kind} values. "
                "Convert the column, or train again.",
                code="column-kind",
            )


def missing_column(name: str, where: str, strict: bool) -> DataError:
    """Make the error for a column that a table, or a file of it, lacks and that cannot count as missing."""
    why = "--strict refuses that" if strict else "in training it was never missing"
    return DataError(
        f"{where} has no column '{name}', which the model reads; {why}. Add the column, or train a model without it.",
        code="column-missing",
    )
