"""From terms to penalties: each kind of term has its own, at the place of its coefficients."""

from __future__ import annotations

import numpy as np
import pytest

from batchlearn.data.bins import BinTerm, NumberTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, PairTerm
from batchlearn.objectives.penalties.smoothing import differences, product, squares
from batchlearn.selection.terms import encoding_penalty, encoding_terms
from batchlearn.tables.columns import Kind

NUMBER = NumberTerm("n", 0.0, 1.0, -1.0, 1.0, missing_share=0.1)
BINS = BinTerm("x", (0.0, 1.0), -1.0, 2.0, missing=True)
LEVELS = LevelTerm("c", ("a", "b"), rare=True)
HOURS = CalendarTerm("when", "hour", (1, 2, 3, 4))
PAIR = PairTerm(BINS, LEVELS)
KINDS = {"n": Kind.NUMBER, "x": Kind.NUMBER, "c": Kind.CATEGORY, "when": Kind.TIMESTAMP}
ENCODING = Encoding((NUMBER,), (BINS, LEVELS, HOURS, PAIR), KINDS, {})


def test_every_term_has_the_penalty_of_its_kind() -> None:
    terms = encoding_terms(ENCODING)
    assert list(terms) == ["n", "x", "c", "hour(when)", "x x c"]
    expected = {
        "n": squares(2),
        "x": differences(3, 1),
        "c": squares(3),
        "hour(when)": differences(4, cyclic=True),
        "x x c": product(differences(3, 1), squares(3)),
    }
    for name, unit in expected.items():
        assert np.array_equal(terms[name].unit.matrix, unit.matrix)
        assert terms[name].unit.rank == unit.rank


def test_the_terms_cover_every_coefficient_but_the_intercept_once() -> None:
    parts = [term.part for term in encoding_terms(ENCODING).values()]
    covered = [index for part in parts for index in range(part.start, part.stop)]
    assert covered == list(range(1, ENCODING.layout.size))
    for name, term in encoding_terms(ENCODING).items():
        column = name.split(" x ")[0].removeprefix("hour(").removesuffix(")")
        assert all(column in shown for shown in ENCODING.names[term.part])


def test_a_term_whose_strength_was_not_chosen_has_a_total_strength_of_one() -> None:
    penalty = encoding_penalty(ENCODING, {"n": 5.0, "hour(when)": 7.0}, None).over(100.0)
    assert penalty.strengths[0] == 0.0
    assert penalty.strengths[1:3] == pytest.approx([0.05, 0.05])
    blocks = {part.start: block for part, block in penalty.blocks}
    terms = encoding_terms(ENCODING)
    assert penalty.strengths[terms["c"].part] == pytest.approx([0.01] * 3)
    hours = differences(4, cyclic=True)
    assert hours.centre is not None
    assert blocks[terms["hour(when)"].part.start] == pytest.approx(0.07 * hours.matrix + hours.centre)
    unit = terms["x x c"].unit
    assert unit.centre is not None
    assert blocks[terms["x x c"].part.start] == pytest.approx(0.01 * unit.matrix + unit.centre)


def test_without_strengths_a_given_alpha_is_per_row_and_else_one_is_in_total() -> None:
    size = ENCODING.layout.size
    for rows in (10.0, 1000.0):
        assert encoding_penalty(ENCODING, {}, 0.5).over(rows).strengths == pytest.approx([0.0, *[0.5] * (size - 1)])
        assert encoding_penalty(ENCODING, {}, None).over(rows).strengths == pytest.approx(
            [0.0, *[1 / rows] * (size - 1)]
        )
    two = encoding_penalty(ENCODING, {"n": 5.0}, None, outputs=2).over(50.0)
    assert two.diagonal == pytest.approx(np.tile(encoding_penalty(ENCODING, {"n": 5.0}, None).over(50.0).diagonal, 2))
