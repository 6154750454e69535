"""Cut points: atoms stand alone, no more bins than asked for, every value on the side where it was counted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlearn.data.bins import MISSING_BIN, BinTerm, _ends, cut_points
from batchlearn.kernels.design import Floats

SMALLEST = 5e-324


def codes_of(values: Floats, edges: tuple[float, ...]) -> list[int]:
    term = BinTerm("x", edges, float(values.min()), float(values.max()))
    return [int(code) for code in term.encode(pa.array(values))]


finite = st.floats(allow_nan=False, allow_infinity=False)
few = st.sampled_from([-1.0, -SMALLEST, -0.0, 0.0, SMALLEST, 1e-310, 0.1, np.nextafter(0.1, 1.0), 1.0, 1.7e308])


@settings(max_examples=150, deadline=None)
@given(values=st.lists(finite | few, min_size=1, max_size=60), bins=st.integers(2, 12))
def test_edges_ascend_are_few_and_keep_the_order_of_the_values(values: list[float], bins: int) -> None:
    numbers = np.asarray(values)
    edges = cut_points(numbers, bins)
    distinct = np.unique(numbers)
    assert len(edges) <= bins - 1
    assert len(edges) >= min(len(distinct) - 1, 1)
    assert list(edges) == sorted(set(edges))
    if edges:
        codes = codes_of(distinct, edges)
        assert codes == sorted(codes)
        assert set(codes) == set(range(len(edges) + 1))  # no bin is empty
        if len(distinct) <= bins:
            assert len(set(codes)) == len(distinct)


def test_a_column_of_one_value_has_no_edge() -> None:
    assert cut_points(np.full(9, 3.0), 8) == ()
    assert cut_points(np.empty(0), 8) == ()


@pytest.mark.parametrize("first", [1.0, 0.1, 1e300, -1.0, 0.0, SMALLEST, -SMALLEST, 3 * SMALLEST, 2.0**-1022])
def test_neighbouring_floats_are_told_apart(first: float) -> None:
    second = np.nextafter(first, np.inf)
    edges = cut_points(np.asarray([second, first, first, second]), 8)
    assert codes_of(np.asarray([first, second]), edges) == [0, 1]


def test_an_edge_is_half_way_where_a_float_lies_between() -> None:
    assert cut_points(np.asarray([1.0, 2.0, 4.0]), 8) == (1.5, 3.0)
    assert list(cut_points(np.asarray([1.7e308, 1.6e308]), 8)) == pytest.approx([1.65e308])


def test_an_atom_has_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(5000), rng.normal(size=5000), np.full(1500, 0.7)])
    edges = cut_points(values, 16)
    codes = np.asarray(codes_of(values, edges))
    for atom in (0.0, 0.7):
        assert set(values[codes == codes[values == atom][0]]) == {atom}
    assert len(edges) <= 15
    rest = np.bincount(codes[(values != 0.0) & (values != 0.7)])
    assert rest.max() <= 2 * 5000 / 14


def test_atoms_with_values_between_them_make_no_more_bins_than_asked_for() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([np.repeat(np.arange(1.0, 40.0), 2000), rng.uniform(0.0, 40.0, 8000)])
    for bins in (4, 40, 64, 78):
        edges = cut_points(values, bins)
        assert len(edges) <= bins - 1
    codes = np.asarray(codes_of(values, cut_points(values, 64)))
    # Only the smallest bins merge: each atom still makes up nine tenths of the bin it is in.
    for atom in range(1, 40):
        members = values[codes == codes[values == atom][0]]
        assert np.mean(members == atom) > 0.85


def test_values_without_atoms_are_cut_into_equal_parts() -> None:
    values = np.random.default_rng(2).normal(size=20_000)
    edges = cut_points(values, 64)
    counts = np.bincount(codes_of(values, edges))
    assert len(counts) in (63, 64)
    assert counts.max() <= 1.05 * 20_000 / 64


@settings(max_examples=300)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=40), st.integers(2, 20))
def test_bins_end_where_a_walk_over_the_values_ends_them(rows: list[int], bins: int) -> None:
    counts = np.asarray(rows)
    atom = counts >= counts.sum() / bins
    share = float(counts[~atom].sum()) / max(bins - int(atom.sum()), 1)
    walked, held = [], 0
    for place in range(len(counts) - 1):
        held += 0 if atom[place] else rows[place]
        if atom[place] or held >= share or atom[place + 1]:
            walked.append(place)
            held = 0
    assert _ends(counts, atom, share).tolist() == walked


def test_codes_say_where_a_value_stands_and_missing_ones_come_last() -> None:
    term = BinTerm("x", (0.0, 1.5), -1.0, 2.0, missing=True)
    array = pa.array([-9.0, 0.0, 0.1, 1.5, 1.6, np.inf, -np.inf, None, float("nan")])
    assert term.encode(array).tolist() == [0, 0, 1, 1, 2, 2, 0, 3, 3]
    assert term.names == ("x <= 0", "0 < x <= 1.5", "x > 1.5", f"x = {MISSING_BIN}")
    assert term.labels == ("\u2264 0", "\u2264 1.5", "> 1.5", MISSING_BIN)
    assert BinTerm("x", (-2.0, 0.0), -9.0, 9.0).labels == ("\u2264 \u22122", "\u2264 0", "> 0")
    assert term.ordered == 3
    assert term.columns == ("x",)


def test_a_missing_value_that_training_never_met_has_no_level() -> None:
    term = BinTerm("x", (0.0,), -1.0, 2.0)
    assert term.encode(pa.array([None, 1.0])).tolist() == [len(term.names), 1]


@pytest.mark.parametrize("array", [pa.array([True, False, None]), pa.array([1, 0, None], pa.int64())])
def test_booleans_and_whole_numbers_are_numbers(array: pa.Array) -> None:
    assert BinTerm("x", (0.5,), 0.0, 1.0, missing=True).encode(array).tolist() == [1, 0, 2]


def test_names_have_as_many_digits_as_tell_them_apart() -> None:
    close = (1.0, float(np.nextafter(1.0, 2.0)), 1.0 + 1e-8)
    names = BinTerm("x", close, 0.0, 2.0).names
    assert len(set(names)) == 4
    assert BinTerm("x", (0.1, 0.2), 0.0, 2.0).names[1] == "0.1 < x <= 0.2"


@pytest.mark.parametrize("edges", [1, 7, 32, 33])
@pytest.mark.parametrize("rows", [999, 1000])
def test_a_code_is_the_number_of_edges_below_the_value(edges: int, rows: int) -> None:
    rng = np.random.default_rng(edges)
    cut = np.sort(rng.normal(size=edges))
    values = np.concatenate([rng.normal(size=rows - edges - 4), cut, [np.inf, -np.inf, np.nan, 0.0]])
    codes = BinTerm("x", tuple(cut), -1.0, 1.0, missing=True).encode(pa.array(values))
    assert codes.dtype == np.intp
    assert codes.tolist() == [edges + 1 if np.isnan(value) else int((cut < value).sum()) for value in values]
