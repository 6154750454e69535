"""Products with blocks of rows against the same products with the design matrix written out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from batchlearn.kernels import bundles as kernels_bundles
from batchlearn.kernels import design, native, sums
from batchlearn.kernels.bundles import bundles
from batchlearn.kernels.design import (
    Block,
    Columns,
    Floats,
    Layout,
    absolute,
    linear_predictor,
    quadratic_form,
    squared,
)
from batchlearn.kernels.sums import (
    quadratic_forms_of_rows,
    summed_predictors,
    symmetric,
    transposed_product,
    transposed_products,
    weighted_gram,
    weighted_grams,
    with_absolute,
)


@pytest.fixture(params=["compiled", "NumPy"], autouse=True, scope="module")
def serving(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ask everything of the compiled kernels and of their twins."""
    if request.param == "compiled":
        if not native.built():
            pytest.skip("the kernels are not compiled here")
        yield
        return
    with native.numpy_serves():
        yield


class Case(NamedTuple):
    layout: Layout
    block: Block
    X: Floats  # (m, coefficients), written out
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    seed, rows = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 12))
    levels = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    layout = Layout(draw(st.booleans()), draw(st.integers(0, 3)), levels, draw(st.integers(0, 3)))
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(layout.lead, rows))
    dense[: int(layout.intercept)] = 1.0
    kind = draw(st.sampled_from([np.uint8, np.int16, np.uint32, np.int64]))
    codes = np.array([rng.integers(0, k + 1, rows) for k in levels], dtype=kind).reshape(len(levels), rows)
    filled = rng.normal(size=(rows, layout.sparse)) * (rng.random((rows, layout.sparse)) < 0.5)
    indicators = [np.eye(k + 1)[row][:, :-1] for k, row in zip(levels, codes, strict=True)]
    X = np.concatenate([dense.T, *indicators, filled], axis=1)
    return Case(layout, Block(dense, codes, csr_array(filled) if layout.sparse else None), X, seed)


def close(found: Floats, expected: Floats) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(cases())
def test_products_are_those_of_the_matrix(case: Case) -> None:
    layout, block, X, seed = case
    rng = np.random.default_rng(seed + 1)
    w, v = rng.normal(size=layout.size), rng.normal(size=len(X))
    assert X.shape[1] == layout.size
    close(linear_predictor(layout, block, w), X @ w)
    close(transposed_product(layout, block, v), X.T @ v)
    close(linear_predictor(layout, absolute(block), w), np.abs(X) @ w)
    close(transposed_product(layout, squared(block), v), (X**2).T @ v)


@given(cases())
def test_the_gram_is_that_of_the_matrix(case: Case) -> None:
    layout, block, X, seed = case
    v = np.random.default_rng(seed + 1).uniform(0.0, 3.0, len(X))
    close(symmetric(weighted_gram(layout, block, v)), X.T @ (X * v[:, None]))


@pytest.mark.parametrize("outputs", [1, 3])
@given(case=cases())
def test_products_of_several_outputs_are_those_of_each(outputs: int, case: Case) -> None:
    layout, block, X, seed = case
    rng = np.random.default_rng(seed + 1)
    w, v = rng.normal(size=(outputs, layout.size)), rng.normal(size=(outputs, len(X)))
    if outputs > 1 and layout.size:
        close(summed_predictors(layout, block, w.ravel()), w @ X.T)
    totals = transposed_products(layout, block, v).reshape(outputs, -1)
    close(totals, v @ X)
    close(with_absolute(layout, block, totals, v), v @ np.abs(X))


# Each group alone, some in bundles, all in one.
BUNDLED = pytest.mark.parametrize("cells", [1, 100, 1_000_000])


@BUNDLED
@given(case=cases())
def test_grams_of_several_values_are_those_of_each(cells: int, case: Case) -> None:
    layout, block, X, seed = case
    values = np.random.default_rng(seed + 1).uniform(0.0, 3.0, (3, len(X)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels_bundles, "_FEWEST_CELLS", cells)
        patch.setattr(sums, "_ROWS_AT_ONCE", 5)
        patch.setattr(sums, "_WORTH_PAIRS", 1)
        patch.setattr(kernels_bundles, "_CELLS_TOGETHER", cells)
        grams = weighted_grams(layout, block, values)
    for gram, own in zip(grams, values, strict=True):
        close(symmetric(gram), X.T @ (X * own[:, None]))


@BUNDLED
@given(case=cases())
def test_quadratic_forms_are_those_of_the_matrix(cells: int, case: Case) -> None:
    layout, block, X, seed = case
    root = np.random.default_rng(seed + 1).normal(size=(layout.size, layout.size))
    matrix = root + root.T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels_bundles, "_FEWEST_CELLS", cells)
        for forms, given in ((quadratic_form, matrix), (quadratic_forms_of_rows, np.pad(matrix, (0, 1)))):
            close(forms(layout, block, given), np.einsum("ia,ab,ib->i", X, matrix, X))


def test_a_quadratic_form_and_a_sum_have_the_same_bits_wherever_rows_are_cut() -> None:
    rng = np.random.default_rng(4)
    layout, rows = Layout(True, 2, (2, 3, 4, 5, 6, 70)), 1_100
    codes = np.stack([rng.integers(0, levels + 1, rows) for levels in layout.groups]).astype(np.uint8)
    block = Block(np.vstack([np.ones(rows), rng.normal(size=(2, rows))]), codes)
    root = rng.normal(size=(layout.size, layout.size))
    padded = np.pad(root @ root.T, (0, 1))
    whole = quadratic_forms_of_rows(layout, block, padded)
    for length in (1, 7, 8, 70, 513):
        parts = [design.rows_of(block, start, start + length) for start in range(0, rows, length)]
        if native.compiled() is not None:
            found = [quadratic_forms_of_rows(layout, part, padded) for part in parts]
            assert np.concatenate(found).tobytes() == whole.tobytes()
    # Tables of several groups are added to together, one row after the other in each.
    values = rng.uniform(size=rows)
    total = transposed_product(layout, block, values)[layout.lead :]
    by_hand = [np.bincount(own, values, levels + 1)[:-1] for own, levels in zip(codes, layout.groups, strict=True)]
    assert total.tobytes() == np.concatenate(by_hand).tobytes()


def test_bundles_hold_every_group_once_and_no_more_cells_than_asked_for() -> None:
    levels = (24, 7, 8, 9, 20, 59, 59, 8, 300, 1)
    for rows in (1, 5_000, 20_000, 1_000_000):
        found = bundles(levels, rows)
        assert sorted(group for bundle in found for group in bundle.groups) == list(range(len(levels)))
        for bundle in found:
            assert bundle.levels == tuple(levels[group] for group in bundle.groups)
            assert bundle.cells == np.prod([count + 1 for count in bundle.levels])
            assert len(bundle.groups) == 1 or bundle.cells**2 <= max(rows, 4096)
    assert len(bundles(levels, 20_000)) < len(levels)
    assert bundles((), 100) == ()


@given(cases())
def test_the_terms_are_the_most_entries_a_row_can_have(case: Case) -> None:
    assert np.count_nonzero(case.X, axis=1).max() <= case.layout.terms


def test_a_sparse_form_does_not_depend_on_how_many_rows_are_taken_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    layout = Layout(True, 1, (2,), 3)
    dense, codes = np.vstack([np.ones(50), rng.normal(size=50)]), rng.integers(0, 3, (1, 50))
    block = Block(dense, codes, csr_array(rng.normal(size=(50, 3)) * (rng.random((50, 3)) < 0.5)))
    root = rng.normal(size=(7, 7))
    whole = quadratic_form(layout, block, root @ root.T)
    monkeypatch.setattr(design, "_SPARSE_ROWS", 7)
    close(quadratic_form(layout, block, root @ root.T), whole)


def test_a_predictor_has_the_same_bits_in_any_block() -> None:
    rng = np.random.default_rng(2)
    layout, dense, codes = Layout(True, 5, (4,)), rng.normal(size=(6, 200)), rng.integers(0, 5, (1, 200))
    w = rng.normal(size=layout.size)
    whole = linear_predictor(layout, Block(dense, codes), w)
    for start in (0, 3, 199):
        part = linear_predictor(layout, Block(dense[:, start : start + 17], codes[:, start : start + 17]), w)
        np.testing.assert_array_equal(part, whole[start : start + 17])


def test_columns_are_shifted_and_scaled_in_double_precision() -> None:
    stored = np.array([[16777216.0, 16777218.0], [1.0, 3.0]], dtype=np.float32)
    columns = Columns(stored, np.array([16777215.5, 1.0]), np.array([0.5, 4.0]), True)
    block = columns.standardised()
    assert block.dtype == np.float64
    np.testing.assert_array_equal(block, [[1.0, 1.0], [1.0, 5.0], [0.0, 0.5]])


def test_slices_stand_in_order() -> None:
    layout = Layout(True, 2, (3, 1), 4)
    assert layout.lead == 3
    assert layout.group_slices == (slice(3, 6), slice(6, 7))
    assert layout.sparse_slice == slice(7, 11)
    assert layout.size == 11
    assert layout.terms == 9
