"""Free text as words and pairs: what a word is, where it stands in a row, and which words have their own column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.profile import TextProfile
from batchlearn.data.text import TextTerm, bucket_of, words, words_and_pairs
from batchlearn.errors import UsageError
from batchlearn.tables.columns import Column, Kind

TERM = TextTerm("note", ("called", "called twice", "no"), buckets=4, missing=True)
COLUMN = Column("note", Kind.CATEGORY, "string")


def texts(values: Sequence[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def dense(term: TextTerm, values: Sequence[str | None]) -> np.ndarray:
    """Return the columns of the rows written out, as an encoding makes them."""
    batch = pa.record_batch([texts(values)], names=["note"])
    encoding = Encoding((), (), {"note": Kind.CATEGORY}, {}, (term,))
    return np.asarray(encoding.encode_texts(batch).toarray())


def profiled(values: Sequence[str | None], lots: Any = None, cuts: Sequence[int] = ()) -> TextProfile:
    profile, drawn = TextProfile(), np.asarray(lots if lots is not None else range(len(values)), dtype=np.uint64)
    for a, b in pairwise([0, *cuts, len(values)]):
        profile.update(texts(values[a:b]), np.ones(b - a), drawn[a:b])
    return profile


def fitted(values: Sequence[str | None], **rules: Any) -> Encoding:
    return fit_encoding([COLUMN], {"note": profiled(values)}, EncodingRules(**rules), None)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Braund, Mr. Owen Harris", ["braund", "mr", "owen", "harris"]),
        ("don't re-open_it", ["don", "t", "re", "open", "it"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("cafe\u0301 Ⅷ ﬁne", ["café", "viii", "fine"]),
        ("день 12,5", ["день", "12", "5"]),
        ("東京、大阪", ["東京", "大阪"]),
        (" \t\n ... ", []),
        ("", []),
    ],
)
def test_a_word_is_a_run_of_letters_and_digits(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_pair_is_a_word_and_the_next_one() -> None:
    assert words_and_pairs("Never, never called") == {"never", "called", "never never", "never called"}
    assert words_and_pairs("once") == {"once"}


def test_buckets_are_the_same_on_every_machine() -> None:
    assert [bucket_of(token, 256) for token in ("refund", "asked for", "ü", "")] == [217, 222, 55, 180]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_has_a_one_for_each_of_its_words() -> None:
    found = dense(TERM, ["Called twice, called", "no", "zebra", None, "...", "no"])
    expected = np.zeros((6, 8))
    expected[0, [0, 1]] = 1.0  # called, called twice
    for token in ("twice", "twice called"):
        expected[0, 3 + bucket_of(token, 4)] = 1.0
    expected[[1, 5], 2] = 1.0
    expected[2, 3 + bucket_of("zebra", 4)] = 1.0
    expected[[3, 4], 7] = 1.0  # no words
    np.testing.assert_array_equal(found, expected)


def test_without_buckets_other_words_have_no_column_and_without_missing_neither_have_empty_texts() -> None:
    bare = TextTerm("note", ("called", "no"))
    np.testing.assert_array_equal(dense(bare, ["zebra", None, "no called"]), [[0, 0], [0, 0], [1, 1]])


def test_a_row_is_the_same_in_every_batch() -> None:
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(["called", "twice", "no", "x", "y"], rng.integers(0, 6))) or None for _ in range(60)]
    whole = dense(TERM, rows)
    for a, b in pairwise([0, 1, 2, 17, 60]):
        np.testing.assert_array_equal(dense(TERM, rows[a:b]), whole[a:b])
    array = texts(rows)
    kept = array.filter(pa.array(np.arange(60) % 3 == 0))  # its dictionary has texts that no row holds any more
    entries = TERM.encode(kept)
    assert entries.counts.tolist() == [int(row.sum()) for row in whole[::3]]
    assert entries.columns.tolist() == [int(k) for row in whole[::3] for k in np.flatnonzero(row)]


def test_no_rows_have_no_entries() -> None:
    assert dense(TERM, []).shape == (0, 8)


def test_two_texts_stand_side_by_side() -> None:
    other = TextTerm("title", ("no", "yes"))
    encoding = Encoding((), (), {"note": Kind.CATEGORY, "title": Kind.CATEGORY}, {}, (TERM, other))
    batch = pa.record_batch([texts(["no", None]), texts(["Yes", "no yes"])], names=["note", "title"])
    found = encoding.encode_texts(batch)
    np.testing.assert_array_equal(found.toarray(), [[0, 0, 1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]])
    assert found.has_canonical_format
    assert encoding.text_slices == (slice(1, 9), slice(9, 11))
    assert encoding.names[3] == "note has no"
    assert encoding.names[8] == "note has (no words)"
    assert len(encoding.names) == encoding.layout.size == 11


@pytest.mark.parametrize(
    "listed", [("no", "no"), ("Called",), ("called  twice",), ("a b c",), ("",), ("x" * 65,), ("a-b",)]
)
def test_what_is_no_word_has_no_column(listed: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"distinct|no word"):
        TextTerm("note", listed)


# --- profile and fit --------------------------------------------------------------------------------------------------


def test_a_profile_does_not_depend_on_batches_or_order() -> None:
    rng = np.random.default_rng(1)
    rows = [None if k % 9 == 0 else " ".join(rng.choice(["a", "b", "c", "d"], 3)) for k in range(200)]
    lots = rng.permutation(200)
    whole = profiled(rows, lots)
    order = rng.permutation(200)
    turned = profiled([rows[k] for k in order], lots[order], cuts=(7, 100))
    merged = profiled(rows[:50], lots[:50]).merge(profiled(rows[50:], lots[50:]))
    assert whole.repeated == turned.repeated == merged.repeated
    assert (whole.rows, whole.missing, whole.wordless) == (200, 23, 23)
    assert (merged.rows, merged.missing, merged.wordless) == (200, 23, 23)
    counts = {token: sum(token in words_and_pairs(row or "") for row in rows) for token in ("a", "b c", "d")}
    assert {token: rows for token, rows in whole.repeated if token in counts} == counts


def test_words_of_enough_rows_have_a_column_and_the_others_share_buckets() -> None:
    rows = ["red car"] * 12 + ["red bus"] * 11 + ["blue van"] * 3 + ["grey boat"]
    (term,) = fitted(rows).texts
    assert term.words == ("red", "car", "red car", "bus", "red bus")
    # "blue", "van" and "blue van" come more than once.
    assert (term.buckets, term.missing) == (4, False)
    (capped,) = fitted(rows, text_words=2, text_buckets=3).texts
    assert (capped.words, capped.buckets) == (("red", "car"), 3)


def test_rows_without_a_word_have_a_column_where_training_had_some() -> None:
    (term,) = fitted(["red car"] * 12 + [None, "?"]).texts
    assert term.missing
    assert (term.width, term.buckets) == (4, 0)


def test_texts_that_say_nothing_are_left_out_with_the_reason() -> None:
    assert fitted([None, "...", "-"]).left_out == {"note": "no row has a word in it"}
    assert fitted(["one", "two", "three"]).left_out == {"note": "no two rows have a word in common"}


def test_a_word_too_long_for_a_name_shares_a_bucket() -> None:
    (term,) = fitted([f"{'x' * 65} short"] * 12).texts
    assert term.words == ("short",)
    assert term.buckets == 2


@pytest.mark.parametrize("rules", [{"text_words": 0}, {"text_buckets": -1}, {"text_words": 1 << 21}])
def test_rules_for_text_are_checked(rules: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="text_words"):
        EncodingRules(**rules)
