"""What the texts of a column are, counted over the whole file: one pass, with a pass of Arrow's where it can judge."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.tables.columns import EXACT_INTEGER
from batchlearn.tables.readings import all_finite
from batchlearn.tables.text.numbers import PLAIN, SHAPES, WRITTEN, rewritten
from batchlearn.tables.text.times import CLOCK_FORMS, FORMS, ISO, MONTH, OFFSET, ZONED, moments, pattern, seconds_of_day

MISSING_WORDS = frozenset(
    (
        *("na", "n/a", "#n/a", "n.a.", "#na", "<na>", "nan", "nil", "none", "null", "(null)", "#null!", "\\n"),
        *("#div/0!", "#ref!", "#value!", "#name?", "#num!"),
        *("missing", "unknown", "?", "-", "--", "."),
    )
)
"""What people and programs write where there is no value, in small letters."""
MOST_TEXTS = 1000
_SHOWN = 20
_FEW = 50
_ENOUGH = 1000
_CODE = r"^[A-Za-z]{1,4}[-_]?\d{2,}$"
_MIXED = r"^[A-Za-z0-9_.-]*(?:[A-Za-z][-_.]?\d|\d[-_.]?[A-Za-z])[A-Za-z0-9_.-]*$"
_DATED = re.compile(r"\d[-/.: ,]|\dT\d|[A-Za-z]{3,9}\.?[- ]\d")
_LIKE_DATE = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}[-/]\d{1,2}[-/]\d\d"
    rf"|\d{{1,4}}[-/., ]+{MONTH}[-/., ]+\d{{2,4}}|{MONTH}[-/., ]+\d{{1,4}}(?:,? \d{{4}})?"
)
_LIKE_CLOCK = r"\d{1,3}:\d\d(?::\d\d)?(?:[.,]\d+)?(?: ?[AaPp]\.?[Mm]\.?)?"
_LIKE_TIME = rf"^(?:(?:{_LIKE_DATE})(?:(?:[T ]|, ){_LIKE_CLOCK}.*)?|{_LIKE_CLOCK})$"
_NUMBER = re.compile(PLAIN)
_MOMENT = re.compile(r"^\d{4}-\d\d-\d\d")
_FIELD = re.compile("%.")
_POINT = ord(".")
_Flags = NDArray[np.bool_]
_Counts = NDArray[np.int64]


@dataclass
class FormCount:
    """Of how many values a form of times reads, and some that it does not."""

    read: int = 0
    failed: int = 0
    failing: Counter[str] = field(default_factory=Counter)


class ColumnSurvey:
    """Counts of one column's texts; `add` takes in the next of them, of which empty ones are null."""

    def __init__(self, null: frozenset[str] = frozenset(), form: str | None = None, *, is_time: bool = False) -> None:
        self.null = null
        self.form = form
        """A form of times that was given: it is tried beside the others."""
        self.is_time = is_time and form is not None
        """Whether numbers of that form are times: 20240131 is one of %Y%m%d."""
        self.rows = 0
        """Rows with some text, spaces alone among them."""
        self.empty = 0
        self.missing: Counter[str] = Counter()
        """Words that stand for no value, those that were given and texts of spaces alone."""
        self.leading_zeros = 0
        self.signless = 0
        """Whole numbers of digits alone, or with an exponent that has no sign: so a code may look, 00012e3."""
        self.signed = False
        """Whether a number has a sign or an exponent."""
        self.integers = True
        """Whether every number that was read in passing is whole."""
        self.long: str | None = None
        """A whole number that float64 would round."""
        self.written: Counter[tuple[str, str, str]] = Counter()
        """Numbers by shape, prefix and suffix."""
        self.negative: str | None = None
        """A number in brackets or with a minus sign of print."""
        self.samples: dict[tuple[str, str, str], list[str]] = {}
        """Some texts of each, where they were looked at one by one."""
        self.times: dict[str, FormCount] | None = None
        self.zoned = 0
        self.offsets: set[str] = set()
        """Distances from UTC that times have: UTC, +02:00."""
        self.dated = 0
        """Rows that look like dates or times, of any form."""
        self.booleans = 0
        self.codes = 0
        self.mixed = 0
        self.others: Counter[str] = Counter()
        """Texts that are no number, up to so many."""
        self.other_rows = 0
        self.is_text = False
        """Whether so few of the first texts are numbers or times that the column is of neither."""

    def add(self, texts: pa.Array) -> None:
        """Take in the next texts."""
        self.empty += texts.null_count
        values = texts.drop_null() if texts.null_count else texts
        if not len(values):
            return
        self.rows += len(values)
        if self.is_text:
            self.other_rows += len(values)
            return
        if self.is_time and self.rows == len(values):
            self.is_time = bool(re.match(pattern(self.form or ISO), values[0].as_py().strip()))
        if self.is_time or not (self._add_numbers(values) or self._add_moments(values)):
            self._add_texts(values)
            enough = self.rows >= _ENOUGH
            total = self.rows - self.missing.total()
            self.is_text = enough and 2 * max(self.best, self.dated) < total

    def take_out(self, text: str | None) -> None:
        """Forget one text that no reading reads: it is in no row after all."""
        text = (text or "").strip()
        if self.others[text] == 1:
            del self.others[text]
            for count in (self.times or {}).values():
                count.failed -= count.failing.pop(text, 0)
            self.rows -= 1
            self.other_rows -= 1

    @property
    def affixes(self) -> tuple[str, str]:
        """What stands before and after most numbers."""
        rows = Counter[tuple[str, str]]()
        for (_, before, after), count in self.written.items():
            rows[before, after] += count
        return rows.most_common(1)[0][0] if rows else ("", "")

    @property
    def numbers(self) -> int:
        """Rows with a number, of those with the same affixes as most."""
        affixes = self.affixes
        return sum(rows for key, rows in self.written.items() if key[1:] == affixes)

    @property
    def best(self) -> int:
        """Rows that the best of the readings would read."""
        times = max((count.read for count in (self.times or {}).values()), default=0)
        return max(self.numbers, times, self.booleans)

    def _add_numbers(self, values: pa.Array) -> bool:
        """Count numbers as programs write them; False where not all values are."""
        if not _NUMBER.match(values[0].as_py()):
            return False
        try:
            numbers = values.cast(pa.float64())
        except pa.ArrowInvalid:
            return False
        bounds = pc.min_max(numbers)
        largest = max(-bounds["min"].as_py(), bounds["max"].as_py())
        if not all_finite(numbers) or largest >= EXACT_INTEGER:
            return False
        count = len(values)
        _, offsets, characters = values.buffers()
        ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + count + 1]
        text = np.frombuffer(characters, np.uint8)
        starts, lengths = ends[:-1], np.diff(ends)
        zero = (text[starts] == ord("0")) & (lengths > 1)
        if zero.any() and np.any((text[starts[zero] + 1] >= ord("0")) & (text[starts[zero] + 1] <= ord("9"))):
            return False
        if self.null and pc.any(pc.is_in(values, pa.array(sorted(self.null), pa.string()))).as_py():
            return False
        within = text[ends[0] : ends[-1]]
        # Bytes below "0" wrap round, so that one comparison finds them too.
        others = within[within - ord("0") > 9]
        digits = not len(others)
        self.signless += count if np.all((others == ord("e")) | (others == ord("E"))) else 0
        self.signed = self.signed or bool(
            np.any(others > ord("9")) or np.any((others == ord("+")) | (others == ord("-")))
        )
        points = 0 if digits else int(np.count_nonzero(within == _POINT))
        if points:
            before = np.count_nonzero(text[ends[1:] - 4] == _POINT) if lengths.min() > 4 else 0
            grouped = before == points and largest < 1000 and bounds["min"].as_py() >= 1
            key = ("point before three" if grouped else "point", "", "")
            few = values.slice(0, _FEW).to_pylist() if key not in self.samples else []
            self._note(key, points, [text for text in few if "." in text][:_SHOWN])
            self.integers = self.integers and bool(pc.all(pc.equal(pc.floor(numbers), numbers)).as_py())
        if count - points:
            self._note(("whole", "", ""), count - points, [])
        return True

    def _add_moments(self, values: pa.Array) -> bool:
        """Count times in ISO 8601; False where not all values are, and of one sort."""
        if not _MOMENT.match(values[0].as_py()):
            return False
        for zone in (None, "UTC"):
            try:
                values.cast(pa.timestamp("us", zone))
            except pa.ArrowInvalid:
                continue
            self.times = self.times or {ISO: FormCount()}
            for form, count in self.times.items():
                if form == ISO:
                    count.read += len(values)
                else:
                    count.failed += len(values)
            self.zoned += len(values) if zone else 0
            self._add_offsets(values if zone else values.slice(0, 0))
            self.other_rows += len(values)
            self.dated += len(values)
            return True
        return False

    def _add_texts(self, values: pa.Array) -> None:
        encoded = values.dictionary_encode()
        rows = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
        texts = pc.utf8_trim_whitespace(encoded.dictionary)
        lowered = pc.utf8_lower(texts)
        known = pc.is_in(lowered, pa.array(sorted(MISSING_WORDS | {""})))
        missing = pc.or_(known, pc.is_in(texts, pa.array(sorted(self.null), pa.string())))
        for text, count in _counted(encoded.dictionary, rows, np.asarray(missing)).items():
            self.missing[text.strip() or text] += count
        kept = ~np.asarray(missing)
        texts, rows = texts.filter(pa.array(kept)), rows[kept]
        if not self.is_time:
            number = self._add_plain(texts, rows) | self._add_written(texts, rows)
            texts, rows = texts.filter(pa.array(~number)), rows[~number]
        if not len(texts):
            return
        self.other_rows += int(rows.sum())
        if len(self.others) < MOST_TEXTS:
            self.others.update(_counted(texts, rows, np.arange(len(texts)) < MOST_TEXTS))
        self.booleans += int(rows[np.asarray(pc.is_in(pc.utf8_lower(texts), pa.array(["false", "true"])))].sum())
        self.codes += int(rows[np.asarray(pc.match_substring_regex(texts, _CODE))].sum())
        self.mixed += int(rows[np.asarray(pc.match_substring_regex(texts, _MIXED))].sum())
        self.dated += int(rows[np.asarray(pc.match_substring_regex(texts, _LIKE_TIME))].sum())
        self._add_times(texts, rows)

    def _add_plain(self, texts: pa.Array, rows: _Counts) -> _Flags:
        """Count numbers as programs write them; return which texts are."""
        plain = np.asarray(pc.match_substring_regex(texts, PLAIN))
        digits = plain & np.asarray(pc.match_substring_regex(texts, r"^\d+(?:[eE]\d+)?$"))
        self.signless += int(rows[digits].sum())
        self.signed = self.signed or bool(
            pc.any(pc.match_substring_regex(texts.filter(pa.array(plain)), "[-+eE]")).as_py()
        )
        self.leading_zeros += int(rows[digits & np.asarray(pc.match_substring_regex(texts, r"^0\d"))].sum())
        long = pc.match_substring_regex(texts, r"^[+-]?\d{16,}$")
        for text in texts.filter(long).to_pylist() if self.long is None else ():
            if abs(int(text)) > EXACT_INTEGER:
                self.long = text
                break
        core = pc.replace_substring_regex(texts, r"^[+-]|[eE].*$", "")
        before = plain & np.asarray(pc.match_substring_regex(core, SHAPES["point before three"]))
        point = plain & ~before & np.asarray(pc.match_substring(texts, "."))
        whole = plain & ~before & ~point
        # An exponent may hide a fraction.
        self.integers = self.integers and not np.any(
            plain & ~np.asarray(pc.match_substring_regex(texts, r"^[+-]?\d+$"))
        )
        for shape, which in (("point before three", before), ("point", point), ("whole", whole)):
            if which.any():
                self._note((shape, "", ""), int(rows[which].sum()), _first(texts, which))
        return plain

    def _add_written(self, texts: pa.Array, rows: _Counts) -> _Flags:
        """Count numbers with separators, currencies or units; return which texts are."""
        others = np.asarray(pc.invert(pc.match_substring_regex(texts, PLAIN)))
        bare = rewritten(texts)
        some = np.asarray(pc.match_substring_regex(bare, WRITTEN)) & others
        found = np.zeros(len(texts), bool)
        if not some.any():
            return found
        places = np.flatnonzero(some)
        taken = texts.filter(pa.array(some))
        parts = pc.extract_regex(bare.filter(pa.array(some)), WRITTEN)
        core = pc.struct_field(parts, "core")
        prefix, suffix = (pc.utf8_trim_whitespace(pc.struct_field(parts, name)) for name in ("prefix", "suffix"))
        left = np.ones(len(taken), bool)
        for shape, expression in SHAPES.items():
            fits = left & np.asarray(pc.match_substring_regex(core, expression))
            left &= ~fits
            found[places[fits]] = True
            if not fits.any():
                continue
            where = pa.array(fits)
            affixes = pc.binary_join_element_wise(prefix.filter(where), suffix.filter(where), "\0").dictionary_encode()
            codes = affixes.indices.to_numpy()
            counts = np.bincount(codes, weights=rows[places[fits]])
            for code, pair in enumerate(affixes.dictionary.to_pylist()):
                before, after = pair.split("\0")
                self._note((shape, before, after), int(counts[code]), _first(taken.filter(where), codes == code))
        self.integers = self.integers and not found.any()
        changed = found & np.asarray(pc.not_equal(bare, texts))
        if self.negative is None and changed.any():
            self.negative = _first(texts, changed)[0]
        return found

    def _note(self, key: tuple[str, str, str], rows: int, texts: list[str]) -> None:
        if key not in self.written and len(self.written) >= MOST_TEXTS:
            key = ("whole", "?", "?")
        self.written[key] += rows
        samples = self.samples.setdefault(key, [])
        samples += texts[: _SHOWN - len(samples)]

    def _add_times(self, texts: pa.Array, rows: _Counts) -> None:
        """Count, for each form of times that the first texts have, how many values it reads."""
        if self.times is None:
            few = [text for text in texts.slice(0, _FEW).to_pylist() if self.is_time or _DATED.search(text)]
            signs = set("".join(few))
            likely = [form for form in (*FORMS, *CLOCK_FORMS) if form == ISO or signs.issuperset(_FIELD.sub("", form))]
            forms = (*((self.form,) if self.form else ()), *likely)
            fitting = [
                form for form in forms if 2 * sum(bool(re.match(pattern(form), text)) for text in few) > len(few)
            ]
            if not few:
                return
            earlier = self.other_rows - int(rows.sum())
            self.times = {form: FormCount(failed=earlier) for form in fitting}
        for form, count in list(self.times.items()):
            read = _is_time(texts, form)
            count.read += int(rows[read].sum())
            count.failed += int(rows[~read].sum())
            for text, repeats in _counted(texts, rows, ~read).items():
                if len(count.failing) < _SHOWN or text in count.failing:
                    count.failing[text] += repeats
            if count.failed > count.read:
                del self.times[form]
            elif form == ISO:
                zoned = read & np.asarray(pc.match_substring_regex(texts, ZONED))
                self.zoned += int(rows[zoned].sum())
                self._add_offsets(texts.filter(pa.array(zoned)))
            elif "%z" in form:
                self._add_offsets(texts.filter(pa.array(read)))

    def _add_offsets(self, texts: pa.Array) -> None:
        """Note the distances from UTC that texts end in."""
        ends = pc.struct_field(pc.extract_regex(texts, OFFSET), "offset").drop_null().unique().to_pylist()
        self.offsets.update(
            "UTC" if end.strip("+-0:") in ("", "Z", "UTC", "GMT") else f"{end[:3]}:{end[-2:]}" for end in ends
        )


def _is_time(texts: pa.Array, form: str) -> _Flags:
    if form in CLOCK_FORMS:
        return np.asarray(seconds_of_day(texts, form).is_valid())
    read = np.asarray(moments(texts, form).is_valid())
    return read | np.asarray(moments(texts, form, zoned=True).is_valid()) if form == ISO else read


def _counted(texts: pa.Array, rows: _Counts, which: _Flags) -> Mapping[str, int]:
    """Return some of the texts with the rows of each, at most so many as are ever kept."""
    places = np.flatnonzero(which)[:MOST_TEXTS]
    counts: Counter[str] = Counter()
    for text, count in zip(texts.take(pa.array(places)).to_pylist(), rows[places].tolist(), strict=True):
        counts[text] += count
    return counts


def _first(texts: pa.Array, which: _Flags) -> list[str]:
    found: list[str] = texts.take(pa.array(np.flatnonzero(which)[:_SHOWN])).to_pylist()
    return found
