"""Free text as words and word pairs: sparse columns of zeros and ones.

A word is a run of letters and digits (Unicode's, as Python's `\\w` without the underscore) of a text that is normalised
to NFKC and case-folded; a pair is a word and the one after it, whatever stands between them. Text without spaces
between words, such as Chinese, is one word up to the next punctuation mark. What is in many rows has a column of its
own, and the rest, with all that training never saw, share columns by a hash (Weinberger et al. 2009).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.artifacts.checks import Checked
from batchlearn.errors import quoted
from batchlearn.tables.columns import Kind

_WORD = re.compile(r"[^\W_]+")
# Words and pairs whose bucket is remembered: a batch after the other asks for the same ones.
_REMEMBERED = 1_000_000
LONGEST_WORD = 64
"""Characters of a word or pair that a model knows by name, at most."""
NO_WORDS = "(no words)"


def words(text: str) -> list[str]:
    """Return the words of a text in order."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def words_and_pairs(text: str) -> set[str]:
    """Return the different words of a text, and each two that follow each other with a space between them."""
    found = words(text)
    return {*found, *map(" ".join, pairwise(found))}


def has_words(array: pa.DictionaryArray) -> NDArray[np.bool_]:
    """Return which rows have a text with a word in it."""
    found = np.asarray([*(bool(words(text or "")) for text in array.dictionary.to_pylist()), False])
    return np.asarray(found[pc.fill_null(array.indices, len(array.dictionary)).to_numpy(zero_copy_only=False)])


def bucket_of(token: str, buckets: int) -> int:
    """Return the column of a word or pair: BLAKE2b of its UTF-8, the first 8 bytes modulo the number of buckets."""
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


class Entries(NamedTuple):
    """Columns in which rows have a one, row after row in ascending order, and how many each row has, (rows,)."""

    columns: NDArray[np.int32]
    counts: NDArray[np.intp]


@dataclass(frozen=True)
class TextTerm:
    """Free text: a column for each frequent word or pair, one for each bucket of the others, and one for no words.

    A column is 1 in rows whose text has it, or anything in the bucket, and else 0. The last one, for rows without a
    word, is there where training had such rows.
    """

    column: str
    words: tuple[str, ...]  # and pairs, those in most rows of training first
    buckets: Annotated[int, Checked(ge=0, le=1 << 20)] = 0
    missing: bool = False
    reads: ClassVar = (Kind.CATEGORY,)

    def __post_init__(self) -> None:
        if len(set(self.words)) != len(self.words):
            raise ValueError(f"the words of {quoted(self.column)} are not distinct")
        odd = [word for word in self.words if len(word) > LONGEST_WORD or word not in words_and_pairs(word)]
        if odd:
            raise ValueError(f"{quoted(odd[0])} is no word or pair of words of a text")

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.words) + self.buckets + self.missing

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The words, and what the other columns are called."""
        return (*self.words, *(f"(hash {k})" for k in range(self.buckets)), *[NO_WORDS] * self.missing)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        return tuple(f"{self.column} has {label}" for label in self.labels)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _hashed(self) -> dict[str, int]:
        return {}

    def _columns(self, text: str) -> list[int]:
        tokens, places, hashed = words_and_pairs(text), self._place, self._hashed
        if not tokens:
            return [self.width - 1] if self.missing else []
        found = {places[token] for token in tokens if token in places}
        for token in tokens if self.buckets else ():
            if token not in places:
                if len(hashed) > _REMEMBERED:
                    hashed.clear()
                if token not in hashed:
                    hashed[token] = len(self.words) + bucket_of(token, self.buckets)
                found.add(hashed[token])
        return sorted(found)

    def encode(self, array: pa.DictionaryArray) -> Entries:
        """Return the columns of the rows; a missing text has no words."""
        # Each text once, and none that no row holds: a batch that was filtered keeps its dictionary.
        codes = pc.fill_null(array.indices, len(array.dictionary)).to_numpy(zero_copy_only=False)
        used, place = np.unique(codes, return_inverse=True)
        texts = [*array.dictionary.take(pa.array(used[used < len(array.dictionary)])).to_pylist(), ""][: len(used)]
        found = [self._columns(text or "") for text in texts]
        sizes = np.asarray([len(own) for own in found], dtype=np.intp)
        flat = np.asarray([column for own in found for column in own], dtype=np.int32)
        counts = sizes[place] if len(used) else np.zeros(0, dtype=np.intp)
        starts = np.repeat((np.cumsum(sizes) - sizes)[place], counts) if len(used) else np.zeros(0, dtype=np.intp)
        within = np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Entries(flat[starts + within], counts)


def sparse_rows(terms: Sequence[TextTerm], batch: pa.RecordBatch) -> Any:
    """Return the columns of texts, those of one term beside those of the next: a CSR array of ones, (rows, columns)."""
    # Imported here: only a model of text needs SciPy to predict.
    from scipy.sparse import csr_array

    columns, owners, first = list[NDArray[np.int32]](), list[NDArray[np.intp]](), 0
    for term in terms:
        entries = term.encode(batch.column(term.column))
        columns.append(entries.columns + np.int32(first))
        owners.append(np.repeat(np.arange(batch.num_rows), entries.counts))
        first += term.width
    row = np.concatenate(owners)
    # Stable: a row's columns stay in the order of the terms, ascending.
    order = np.argsort(row, kind="stable")
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=batch.num_rows))]).astype(np.int32)
    indices = np.concatenate(columns)[order]
    return csr_array((np.ones(len(indices)), indices, pointers), shape=(batch.num_rows, first))


def token_counts(texts: Iterable[str]) -> Counter[str]:
    """Return in how many of the texts each word and each pair occurs."""
    counts = Counter[str]()
    for text in texts:
        counts.update(words_and_pairs(text))
    return counts
