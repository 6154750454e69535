"""Terms and their descriptions: there and back again, and nothing that no encoding could have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, GroupTerm, LevelTerm, NumberTerm
from batchlearn.data.pairs import PairTerm, group_key
from batchlearn.models.schema import EncodingSchema
from batchlearn.models.term_schema import GroupSchema, NumberSchema, describe_group

BINS = BinTerm("x", (-1.5, 0.1, 5e-324 + 0.2, 1e300), -2.0, 1e301, missing=True)
LEVELS = LevelTerm("c", ("b", "a", "(rare)"), rare=True, missing=True)
HASHED = LevelTerm("d", ("b", "a"), buckets=3, reference="z")
HOURS = CalendarTerm("when", "hour", (0, 4, 23), missing=True)
DAYS = CalendarTerm("when", "weekday", (0, 6), reference=3)
GROUPS: list[GroupTerm] = [BINS, LEVELS, HASHED, HOURS, DAYS, PairTerm(BINS, LEVELS), PairTerm(HOURS, DAYS)]
GROUP: TypeAdapter[Any] = TypeAdapter(GroupSchema)


def parsed(description: dict[str, Any]) -> Any:
    """Parse a description as it is read from a file: as text."""
    return GROUP.validate_python(json.loads(json.dumps(description)))


@pytest.mark.parametrize("group", GROUPS, ids=group_key)
def test_a_group_comes_back_as_it_was(group: GroupTerm) -> None:
    schema = parsed(describe_group(group))
    assert schema.term() == group
    assert schema.width == len(group.names)
    assert schema.key == group_key(group)
    assert {column for column, _ in schema.serves} == set(group.columns)


def test_a_number_comes_back_as_it_was() -> None:
    for share in (0.0, 0.25):
        term = NumberTerm("n", 1.0, 2.0, -3.0, 4.0, share)
        schema = NumberSchema.model_validate(vars(term))
        assert schema.term() == term
        assert schema.width == len(term.names)


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
        (PairTerm(BINS, LEVELS), {"first": describe_group(LEVELS)}),
        (PairTerm(BINS, LEVELS), {"first": describe_group(PairTerm(BINS, LEVELS))}),
        (PairTerm(BINS, LEVELS), {"second": None}),
        (PairTerm(HOURS, DAYS), {"second": describe_group(HOURS)}),
    ],
)
def test_what_no_encoding_could_have_is_refused(group: GroupTerm, change: dict[str, Any]) -> None:
    description = describe_group(group)
    assert parsed(description)
    with pytest.raises(ValidationError):
        parsed({**description, **change})


@pytest.mark.parametrize("edge", [float("nan"), float("inf"), float("-inf")])
def test_an_edge_is_a_finite_number(edge: float) -> None:
    with pytest.raises(ValidationError):
        GROUP.validate_python({**describe_group(BINS), "edges": [edge]})


def encoding(groups: list[GroupTerm], kinds: dict[str, str]) -> EncodingSchema:
    described = [describe_group(group) for group in groups]
    return EncodingSchema.model_validate({"numbers": [], "groups": described, "kinds": kinds, "left_out": {}})


def test_every_term_that_reads_a_column_is_for_its_kind() -> None:
    kinds = {"x": "number", "c": "category"}
    found = encoding([BINS, LEVELS, PairTerm(BINS, LEVELS)], kinds)
    assert found.coefficients == 1 + 6 + 5 + 30
    category = LevelTerm("x", ("a", "b"))
    # The pair's last word on a column is not the only one.
    for pair in (PairTerm(category, LEVELS), PairTerm(LEVELS, category), PairTerm(HOURS, BINS)):
        with pytest.raises(ValidationError):
            encoding([BINS, LEVELS, pair], kinds)
        with pytest.raises(ValidationError):
            encoding([pair, BINS, LEVELS], kinds)


def test_two_terms_of_one_name_are_refused() -> None:
    kinds = {"x": "number", "c": "category"}
    with pytest.raises(ValidationError, match="not distinct"):
        encoding([BINS, LEVELS, PairTerm(BINS, LEVELS), PairTerm(BINS, LEVELS)], kinds)


def test_a_group_of_another_kind_has_no_description() -> None:
    class Other:
        columns = ("x",)

    other: Any = Other()
    with pytest.raises(TypeError, match="Other"):
        describe_group(other)
