"""Terms and their descriptions: there and back again, and nothing that no encoding could have."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from tests.models.made import GOLDEN

from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.data.bins import BinTerm, NumberTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, GroupTerm, LevelTerm, PairTerm
from batchlearn.data.text import TextTerm
from batchlearn.models.files import load
from batchlearn.models.schema import describe, parse_schema

BINS = BinTerm("x", (-1.5, 0.1, 5e-324 + 0.2, 1e300), -2.0, 1e301, missing=True)
LEVELS = LevelTerm("c", ("b", "a", "(rare)"), rare=True, missing=True)
HASHED = LevelTerm("d", ("b", "a"), buckets=3, reference="z")
HOURS = CalendarTerm("when", "hour", (0, 4, 23), missing=True)
DAYS = CalendarTerm("when", "weekday", (0, 6), reference=3)
GROUPS: list[GroupTerm] = [BINS, LEVELS, HASHED, HOURS, DAYS, PairTerm(BINS, LEVELS), PairTerm(HOURS, DAYS)]
KINDS = {"x": "number", "c": "category", "d": "category", "when": "timestamp"}
WHOLE = describe(load(GOLDEN), {})


def parsed(
    groups: list[Any], kinds: dict[str, str], numbers: tuple[Any, ...] = (), texts: tuple[Any, ...] = ()
) -> Encoding:
    """Parse the terms of a model as they are read from a file: as text."""
    encoding = {"numbers": numbers, "groups": groups, "kinds": kinds, "left_out": {}, "texts": texts, "zones": {}}
    return parse_schema(parse(dump({**WHOLE, "encoding": encoding}))).encoding


def parsed_group(description: dict[str, Any], columns: tuple[str, ...]) -> GroupTerm:
    return parsed([description], {name: KINDS[name] for name in columns}).groups[0]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.key)
def test_a_group_comes_back_as_it_was(group: GroupTerm) -> None:
    found = parsed_group(asdict(group), group.columns)
    assert found == group
    assert type(found) is type(group)
    assert found.width == len(found.names)
    assert next(iter(asdict(group))) == "kind"


def test_a_number_comes_back_as_it_was() -> None:
    for share in (0.0, 0.25):
        term = NumberTerm("n", 1.0, 2.0, -3.0, 4.0, share)
        (found,) = parsed([], {"n": "boolean"}, (asdict(term),)).numbers
        assert found == term
        assert found.width == len(term.names)


TEXT = TextTerm("t", ("called", "called twice"), buckets=3, missing=True)


def test_a_text_comes_back_as_it_was() -> None:
    (found,) = parsed([], {"t": "category"}, texts=(asdict(TEXT),)).texts
    assert found == TEXT
    assert found.width == len(found.names) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"words": ["called", "called"]},
        {"words": ["Called"]},
        {"words": [1]},
        {"buckets": -1},
        {"buckets": 1 << 21},
        {"missing": 1},
        {"extra": 0},
        {"column": "a\nb"},
    ],
)
def test_what_no_text_could_have_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parsed([], {change.get("column", "t"): "category"}, texts=({**asdict(TEXT), **change},))


def test_a_text_is_not_of_numbers_and_no_column_has_two_terms() -> None:
    with pytest.raises(Malformed, match="is a number"):
        parsed([], {"t": "number"}, texts=(asdict(TEXT),))
    with pytest.raises(Malformed, match="not distinct"):
        parsed([asdict(LevelTerm("t", ("a", "b")))], {"t": "category"}, texts=(asdict(TEXT),))


@pytest.mark.parametrize(
    ("group", "change"),
    [
        (BINS, {"edges": []}),
        (BINS, {"edges": [1.0, 1.0]}),
        (BINS, {"edges": [2.0, 1.0]}),
        (BINS, {"edges": ["1"]}),
        (BINS, {"edges": [float(k) for k in range(4097)]}),
        (BINS, {"low": 3.0, "high": 2.0}),
        (BINS, {"column": "a\nb"}),
        (BINS, {"missing": 1}),
        (BINS, {"kind": "pair"}),
        (BINS, {"extra": 0}),
        (LEVELS, {"levels": ["a", "a"]}),
        (LEVELS, {"reference": "a"}),
        (LEVELS, {"buckets": 2}),
        (HASHED, {"buckets": -1}),
        (HASHED, {"buckets": 1 << 21}),
        (HOURS, {"values": [24]}),
        (HOURS, {"values": [-1]}),
        (HOURS, {"values": [1, 1]}),
        (HOURS, {"reference": 4}),
        (HOURS, {"part": "minute"}),
        (PairTerm(BINS, LEVELS), {"first": asdict(LEVELS)}),
        (PairTerm(BINS, LEVELS), {"first": asdict(PairTerm(BINS, LEVELS))}),
        (PairTerm(BINS, LEVELS), {"second": None}),
        (PairTerm(HOURS, DAYS), {"second": asdict(HOURS)}),
    ],
)
def test_what_no_encoding_could_have_is_refused(group: GroupTerm, change: dict[str, Any]) -> None:
    assert parsed_group(asdict(group), group.columns) == group
    kinds = {change.get("column", name): KINDS[name] for name in group.columns}
    with pytest.raises(Malformed):
        parsed([{**asdict(group), **change}], kinds)


@pytest.mark.parametrize("edge", [float("nan"), float("inf"), float("-inf")])
def test_an_edge_is_a_finite_number(edge: float) -> None:
    encoding = {"numbers": [], "groups": [{**asdict(BINS), "edges": [edge]}], "kinds": {"x": "number"}, "left_out": {}}
    with pytest.raises(Malformed, match="finite"):
        parse_schema({**WHOLE, "encoding": encoding})


def encoding(groups: list[GroupTerm], kinds: dict[str, str]) -> Encoding:
    return parsed([asdict(group) for group in groups], kinds)


def test_every_term_that_reads_a_column_is_for_its_kind() -> None:
    kinds = {"x": "number", "c": "category"}
    found = encoding([BINS, LEVELS, PairTerm(BINS, LEVELS)], kinds)
    assert found.layout.size == 1 + 6 + 5 + 30
    category = LevelTerm("x", ("a", "b"))
    # The pair's last word on a column is not the only one.
    for pair in (PairTerm(category, LEVELS), PairTerm(LEVELS, category), PairTerm(HOURS, BINS)):
        with pytest.raises(Malformed):
            encoding([BINS, LEVELS, pair], kinds)
        with pytest.raises(Malformed):
            encoding([pair, BINS, LEVELS], kinds)


def test_two_terms_of_one_name_are_refused() -> None:
    kinds = {"x": "number", "c": "category"}
    with pytest.raises(Malformed, match="not distinct"):
        encoding([BINS, LEVELS, PairTerm(BINS, LEVELS), PairTerm(BINS, LEVELS)], kinds)


def test_floats_come_back_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2**64, 40_000, dtype=np.uint64).view(np.float64)
    edges = np.unique(drawn[np.isfinite(drawn)])
    for some in np.array_split(edges, len(edges) // 4000 + 1):
        found = parsed_group(asdict(BinTerm("x", tuple(some.tolist()), 0.0, 1.0)), ("x",))
        assert isinstance(found, BinTerm)
        assert np.asarray(found.edges).tobytes() == some.tobytes()
