"""From the survey of a column to how it is read, and what is worth saying about that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.columns import Kind
from batchlearn.tables.readings import ColumnReading, ColumnRemark, stored_reading
from batchlearn.tables.text.numbers import UNREAD, NumberStyle, numbers, style_of
from batchlearn.tables.text.survey import ColumnSurvey
from batchlearn.tables.text.times import CLOCK_FORMS, ISO, moments, pattern, seconds_of_day

_MOST = 0.9
"""From this share of its values on, a column is taken for one of numbers or times."""
_STRAY = 0.01
_STRAY_TEXTS = 10
_MOST_TYPED = 5
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class TextRules:
    """What was said about how a text file is to be read."""

    null: tuple[str, ...] = ()
    """Texts that mean a missing value besides blank, outer spaces off."""
    categories: frozenset[str] = frozenset()
    encoding: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    header: bool = True
    zone: str | None = None
    """That of times which have none, or only their distance from UTC."""

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise UsageError(
                f"The sign of decimals is {quoted(self.decimal)}; it is a point or a comma.", code="decimal-sign"
            )
        if self.date_format is not None:
            pattern(self.date_format)


@dataclass(frozen=True)
class Inspected:
    """How a column is read, what is worth saying about it, and whether all its numbers are whole."""

    reading: ColumnReading
    remarks: tuple[ColumnRemark, ...] = ()
    whole: bool = False


def inspected(
    name: str, survey: ColumnSurvey, rules: TextRules, role: str | None, *, semicolons: bool = False
) -> Inspected:
    """Return how a column is read. DataError where it has a role that its values cannot be read for.

    `semicolons` says that they delimit the values, which leaves the comma free for decimals.
    """
    column = _TextColumn(name, survey, rules, role, semicolons)
    total = survey.rows - survey.missing.total()
    if name in rules.categories:
        return Inspected(ColumnReading(Kind.CATEGORY, rules.null))
    if not total:
        return Inspected(ColumnReading(Kind.NUMBER, _words(survey)), whole=True)
    enough = _MOST * total
    if survey.booleans >= enough:
        failing = Counter({text: rows for text, rows in survey.others.items() if text.lower() not in ("true", "false")})
        failing.update({text: 1 for samples in survey.samples.values() for text in samples})
        return column.read(ColumnReading(Kind.BOOLEAN), "boolean", total - survey.booleans, failing)
    times = max((count.read for count in (survey.times or {}).values()), default=0)
    if times >= enough:
        return _times(column, total)
    half = total / 2
    # In another unit here and there they are numbers too, though none can be read beside the others.
    if survey.numbers >= enough or (survey.numbers >= half and survey.written.total() >= enough):
        return _numbers(column, total)
    remarks: list[ColumnRemark] = []
    if survey.dated >= enough:
        rows, examples = Counter[str](), dict[str, str]()
        for text, count in survey.others.items():
            shape = re.sub(r"\d", "0", re.sub(r"[^\W\d_]+", "a", text))
            rows[shape] += count
            examples.setdefault(shape, text)
        shown = [examples[shape] for shape, _ in rows.most_common(3)]
        note = Note(Code.FORMS_OF_TIMES, {"column": name, "examples": shown})
        remarks.append(ColumnRemark(name, True, note, flag("--drop", name)))
    elif survey.numbers >= half:
        texts = sorted(survey.others, key=lambda text: (-survey.others[text], text))
        values = {"column": name, "numbers": survey.numbers, "of": total, "texts": texts[:_STRAY_TEXTS]}
        typed = len(texts) <= _MOST_TYPED and survey.written.total() == survey.numbers
        change = flag("--null", *texts) if typed else flag("--drop", name)
        remarks.append(ColumnRemark(name, True, Note(Code.SOME_NUMBERS, values), change if role is None else None))
    return Inspected(ColumnReading(Kind.CATEGORY, rules.null), tuple(remarks))


@dataclass(frozen=True)
class _TextColumn:
    name: str
    survey: ColumnSurvey
    rules: TextRules
    role: str | None
    semicolons: bool

    def read(
        self, reading: ColumnReading, kind: str, failed: int, failing: Mapping[str, int], *more: Note
    ) -> Inspected:
        """Return a reading with the remarks on missing and stray texts; left out where the others are not strays."""
        survey, name = self.survey, self.name
        total = survey.rows - survey.missing.total()
        strays = failed <= _STRAY * total and len(failing) <= _STRAY_TEXTS
        if failed and not (strays and not any(map(_DIGIT.search, failing))):
            texts = sorted(failing, key=lambda text: (-failing[text], text))
            note = Note(
                Code.UNREADABLE_TEXTS,
                {"column": name, "kind": kind, "texts": texts[:_STRAY_TEXTS], "rows": failed, "of": total},
            )
            return self.left_out(note, "csv-mixed-column", *self._remedies(kind, texts))
        notes = list(more)
        if survey.missing:
            said = {**({"": survey.empty} if survey.empty else {}), **survey.missing}
            rows = sum(said.values())
            notes.append(Note(Code.MISSING_TEXTS, {"column": name, "kind": kind, "texts": said, "rows": rows}))
        if failed:
            notes.append(Note(Code.STRAY_TEXTS, {"column": name, "kind": kind, "texts": dict(failing), "rows": failed}))
        null = (*_words(survey), *sorted(failing)) if failed else _words(survey)
        known = replace(reading, null=tuple(dict.fromkeys((*self.rules.null, *null))))
        # A target's numbers as classes are no way out, and other roles need numbers or times.
        change = flag("--categories", name) if self.role in (None, "group") else None
        return Inspected(known, tuple(ColumnRemark(name, True, note, change) for note in notes), survey.integers)

    def _remedies(self, kind: str, texts: list[str]) -> list[str]:
        """Return flags that let the column be read whatever texts are no values, some of them or all."""
        if self.role in (None, "group"):
            return [flag("--null", *texts) if len(texts) <= _MOST_TYPED else flag("--categories", self.name)]
        typed = [flag("--null", *texts)] if len(texts) <= _STRAY_TEXTS else []
        # Each number would be a class: only whole ones may be codes. Other roles need numbers or times.
        codes = self.role == "target" and (kind == "boolean" or (kind == "number" and self.survey.integers))
        return [*typed, flag("--categories", self.name)] if codes else typed

    def left_out(self, note: Note, code: str, *changes: str) -> Inspected:
        """Return the column as texts that are not used; DataError where its role needs values."""
        if self.role is not None:
            said = str(note).replace(" was left out: ", ": ", 1)
            remedy = f"Add {' or '.join(changes)}, or correct the column." if changes else "Correct the column."
            raise DataError(f"The {self.role} column cannot be read. {said} {remedy}", code=code)
        return Inspected(
            ColumnReading(Kind.CATEGORY, self.rules.null), (ColumnRemark(self.name, False, note, changes[0]),)
        )


def _words(survey: ColumnSurvey) -> tuple[str, ...]:
    return tuple(sorted(text for text in survey.missing if text.strip()))


def _numbers(column: _TextColumn, total: int) -> Inspected:
    survey, rules, name = column.survey, column.rules, column.name
    examples = [text for samples in survey.samples.values() for text in samples]
    others = total - survey.numbers
    codes = survey.leading_zeros and survey.signless == survey.written.total()
    if codes and column.role in (None, "target", "group"):
        example = next((text for text in examples if text.startswith("0") and len(text) > 1), examples[0])
        note = Note(Code.LEADING_ZEROS, {"column": name, "example": example})
        reading = ColumnReading(Kind.CATEGORY, tuple(dict.fromkeys((*rules.null, *_words(survey)))))
        return Inspected(reading, (ColumnRemark(name, True, note, None),))
    # As many digits after a letter, or too many such texts to be mistakes.
    digits = {sum(map(str.isdigit, text)) for text in (*examples, *survey.others)}
    lettered = survey.codes == others and survey.signless == survey.numbers and len(digits) == 1 and min(digits) > 3
    mixed = survey.mixed == others and (others > _STRAY * total or len(survey.others) > _STRAY_TEXTS)
    # A letter after a measured value is a remark on it; codes with a point begin with one, as E849.0 does.
    fractions = sum(rows for key, rows in survey.written.items() if key[0].startswith("point"))
    mixed = mixed and (2 * fractions <= survey.numbers or all(text[0].isalpha() for text in survey.others))
    coded = not survey.signed and survey.affixes == ("", "") and (lettered or mixed)
    if others and coded and column.role in (None, "group"):
        note = Note(Code.MIXED_CODES, {"column": name, "examples": [*examples[:2], *sorted(survey.others)[:2]]})
        return Inspected(ColumnReading(Kind.CATEGORY, rules.null), (ColumnRemark(name, True, note, None),))
    if survey.long is not None:
        note = Note(Code.LONG_INTEGERS, {"column": name, "example": survey.long})
        return column.left_out(note, "integer-too-large", flag("--categories", name), flag("--drop", name))
    affixes = tuple(affix for affix in survey.affixes if affix)
    shapes = {key[0]: rows for key, rows in survey.written.items() if key[1:] == survey.affixes}
    shown = [text for key, texts in survey.samples.items() if key[1:] == survey.affixes for text in texts]
    style = style_of(shapes, affixes, rules.decimal, column.semicolons)
    if style is None:
        example = next(iter(survey.samples["either", *survey.affixes]))
        point, comma = (_value(example, NumberStyle(*signs, affixes)) for signs in ((".", ","), (",", "")))
        note = Note(Code.COMMA_BEFORE_THREE, {"column": name, "example": example, "point": point, "comma": comma})
        return column.left_out(note, "csv-decimal-comma", "--decimal=.", "--decimal=,")
    failing = Counter(survey.others)
    failed = total - survey.written.total()
    for key, rows in survey.written.items():
        unread = [text for text in survey.samples.get(key, []) if _value(text, style) is None]
        if unread or key[1:] != survey.affixes or key[0] in UNREAD[style.decimal]:
            failed += rows
            failing.update(dict.fromkeys(unread or survey.samples.get(key, []), 1))
    more = []
    written = survey.negative
    if style != NumberStyle():
        shown.sort(key=lambda text: _value(text, NumberStyle()) == _value(text, style))
        written = next(text for text in shown if _value(text, style) is not None)
    if written is not None and (value := _value(written, style)) is not None:
        more.append(Note(Code.WRITTEN_NUMBERS, {"column": name, "example": written, "value": value}))
    reading = ColumnReading(Kind.NUMBER, (), style.decimal, style.thousands, style.affixes)
    return column.read(reading, "number", failed, failing, *more)


def _value(text: str, style: NumberStyle) -> Any:
    return numbers(pa.array([text]), style)[0].as_py()


def _times(column: _TextColumn, total: int) -> Inspected:
    survey, rules, name = column.survey, column.rules, column.name
    times = survey.times or {}
    most = max(count.read for count in times.values())
    best = [form for form, count in times.items() if count.read == most]
    given = rules.date_format
    form = next(
        (each for each in best if given is not None and (each == given or each.startswith(f"{given} "))), best[0]
    )
    clocks = form in CLOCK_FORMS
    texts = list(survey.others)
    read = (seconds_of_day if clocks else moments)(pa.array(texts, pa.string()), form)
    example = next((text for text, value in zip(texts, read, strict=True) if value.is_valid), None)
    orders = {_order(each): each for each in reversed(best)}
    if len(orders) > 1 and form not in (given, f"{given} {form.partition(' ')[2]}"):
        note = Note(Code.ORDER_OF_DATE, {"column": name, "example": example, "forms": list(reversed(orders.values()))})
        return column.left_out(note, "date-order", *(flag("--date-format", each) for each in reversed(orders.values())))
    # Of a given form that has a zone every time has one.
    zoned = survey.zoned if form == ISO else times[form].read if "%z" in form else 0
    if 0 < zoned < times[form].read and rules.zone is None:
        note = Note(Code.ZONES_MIXED, {"column": name, "zoned": zoned, "zoneless": times[form].read - zoned})
        return column.left_out(note, "time-zones-mixed", flag("--drop", name))
    more = []
    if clocks and example is not None:
        seconds = read[texts.index(example)].as_py()
        more.append(Note(Code.TIMES_OF_DAY, {"column": name, "example": example, "seconds": seconds}))
    elif form != ISO and example is not None:
        more.append(Note(Code.WRITTEN_TIMES, {"column": name, "example": example, "form": form}))
    failing = Counter(times[form].failing)
    failing.update({text: 1 for samples in survey.samples.values() for text in samples})
    written = None if form == ISO else form
    if clocks:
        return column.read(ColumnReading(Kind.NUMBER, times=written), "number", total - most, failing, *more)
    stored = None if not zoned else min(survey.offsets) if len(survey.offsets) == 1 else "UTC"
    plain = stored_reading(Kind.TIMESTAMP, (), stored, rules.zone)
    found = column.read(replace(plain, times=written), "time", total - most, failing, *more)
    if rules.zone is None and len(survey.offsets) > 1 and found.reading.kind is Kind.TIMESTAMP:
        note = Note(Code.OFFSETS_MIXED, {"column": name, "offsets": sorted(survey.offsets)})
        return Inspected(found.reading, (*found.remarks, ColumnRemark(name, False, note, flag("--zone", "UTC"))))
    return found


def _order(form: str) -> str:
    """Return the order of year, month and day in a form of times."""
    return "Ymd" if form == ISO else "".join(re.findall("%([Yymdb])", form))
