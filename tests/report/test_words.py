from __future__ import annotations

import unicodedata
from decimal import Decimal

import numpy as np
import pytest

from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.numbers import (
    at_most,
    duration,
    listed,
    percent,
    plain,
    rounded_down,
    rounded_up,
    small_share,
)
from batchlearn.report.figures.scales import Tick, apart, exact_scale, powers, scale
from batchlearn.report.values import clean, short, with_interval


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\u2013"),
        (0.0, "0"),
        (1234.5, "1,234"),
        (0.01234, "0.0123"),
        (-0.5, "\u22120.5"),
        (3.61e-12, "3.6 \u00d7 10⁻¹²"),
        (-2.0e12, "\u22122.0 \u00d7 10¹²"),
        (1.0, "1"),
    ],
)
def test_a_number_keeps_the_digits_that_count(value: float | None, shown: str) -> None:
    assert plain(value) == shown


def test_a_bound_is_never_rounded_down() -> None:
    rng = np.random.default_rng(5)
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    for value in map(float, 10.0 ** rng.uniform(-20.0, 8.0, 2000)):
        shown = at_most(value).replace(",", "").replace(" \u00d7 10", "e").translate(superscripts)
        assert value * (1.0 - 1e-9) <= float(shown) <= 1.11 * value


@pytest.mark.parametrize("digits", [2, 3])
def test_a_bound_in_few_digits_is_still_one(digits: int) -> None:
    rng = np.random.default_rng(0)
    for bound in map(float, 10.0 ** rng.uniform(-300.0, 300.0, 500)):
        up, down = (f"{of(bound, digits):.{digits - 1}e}" for of in (rounded_up, rounded_down))
        assert Decimal(down) <= Decimal(bound) <= Decimal(up)
        assert Decimal(up) - Decimal(down) <= Decimal(bound) * Decimal(10) ** (1 - digits)


@pytest.mark.parametrize("bound", [0.0, 0.25, 96.0, float("inf")])
def test_a_bound_that_needs_no_more_digits_stays(bound: float) -> None:
    assert rounded_up(bound) == bound == rounded_down(bound)


def test_small_shares_are_bounds_as_well() -> None:
    assert small_share(9.9e-10) == "less than a billionth"
    assert small_share(1.1e-9) == "less than a millionth"
    assert small_share(0.0411) == "up to 4.2\u00a0%"


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0 %"),
        (0.0004, "less than 0.1 %"),
        (0.0123, "1.2 %"),
        (0.41, "41 %"),
        (0.9999, "more than 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_not_rounded_to_nothing_or_to_all(share: float, shown: str) -> None:
    assert percent(share).replace("\u00a0", " ") == shown


def test_times_and_lists_read_as_sentences() -> None:
    assert [duration(seconds) for seconds in (0.42, 59.7, 200.0, 7500.0)] == [
        "0.4 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_figure_has_the_decimals_that_its_interval_deserves() -> None:
    assert with_interval(Estimate(0.32361, 0.31206, 0.33216)) == "0.324 (0.312 to 0.332)"
    assert with_interval(Estimate(0.32361, None, None)) == "0.3236"
    assert with_interval(Estimate(1234.4, 1200.0, 1300.0)) == "1,234 (1,200 to 1,300)"


def test_a_long_name_is_cut_where_it_is_recognised() -> None:
    assert short("x" * 120) == "x" * 120
    assert short("x" * 121) == "x" * 119 + "…"


def test_reordering_and_control_characters_are_shown() -> None:
    assert clean("a\u202eb\x07\ud800\n") == "a\\u202eb\\u0007\\ud800 "
    assert clean("é 漢字 👩\u200d👧") == "é 漢字 👩\u200d👧"
    steering = ("Cc", "Cs", "Zl", "Zp"), ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
    for sign in map(chr, range(0x110000)):
        steers = unicodedata.category(sign) in steering[0] or unicodedata.bidirectional(sign) in steering[1]
        assert (clean(sign) != sign) == (steers or sign in "\u061c\u200e\u200f"), hex(ord(sign))


def test_a_scale_keeps_order_and_marks_round_values_inside() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        values = sorted(map(float, rng.normal(size=5) * 10.0 ** rng.uniform(-9.0, 9.0)))
        axis = scale(values)
        places = [axis.place(value) for value in values]
        assert places == sorted(places)
        assert 0.0 < places[0] <= places[-1] < 100.0
        ticks = axis.ticks()
        assert 2 <= len(ticks) <= 12
        assert len({tick.label for tick in ticks}) == len(ticks)
        assert all(0.0 <= tick.at <= 100.0 for tick in ticks)


def test_marks_lie_where_their_labels_say() -> None:
    axis = exact_scale(0.0, 50.0)
    assert [(tick.at, tick.label) for tick in axis.ticks()] == [(at * 20.0, str(at * 10)) for at in range(6)]
    logarithmic = powers([1e-9, 0.5])
    assert logarithmic is not None
    assert logarithmic.place(1e-9) == 0.0
    assert logarithmic.place(1.0) == 100.0
    assert {(tick.at, tick.label) for tick in logarithmic.ticks()} >= {(100.0, "1")}
    assert powers([0.0, -1.0]) is None


def test_labels_that_would_touch_are_left_out() -> None:
    ticks = [Tick(10.0 * at, "100,000") for at in range(11)]
    kept = apart(ticks, 200.0)
    assert kept[0] == ticks[0]
    assert [tick.at for tick in kept] == [0.0, 40.0, 70.0, 100.0]
    assert apart(ticks, 2000.0) == tuple(ticks)
