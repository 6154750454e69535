"""The compiled pass over a chunk against its NumPy twin: they agree within what the certificate charges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels import native
from batchlearn.kernels.design import Block, Columns, Floats, Layout, absolute, linear_predictor, rows_of, squared
from batchlearn.kernels.rounding import accumulated, predictor_error
from batchlearn.kernels.sums import bundled_groups, summed_predictors, transposed_product
from batchlearn.objectives.losses import LogisticLoss, Loss, SquaredLoss
from batchlearn.objectives.losses.log_link import GammaLoss, PoissonLoss
from batchlearn.statistics.passes import compiled_pass
from batchlearn.statistics.rounding import AnchoredTotal, RoundingTotal
from batchlearn.statistics.totals import ExtendedGradientTotal, GradientTotal, HessianTotal, ValueTotal

pytestmark = pytest.mark.skipif(not native.built(), reason="the kernels are not compiled here")
compiled: Any = native.compiled()

LOSSES: tuple[Loss, ...] = (SquaredLoss(), LogisticLoss(), PoissonLoss(), GammaLoss())


def chunk_of(
    rng: np.random.Generator,
    loss: Loss,
    layout: Layout,
    rows: int,
    stored: NDArray[Any],
    weighted: int,
    *,
    shifted: bool,
    kind: type[np.floating[Any]] = np.float64,
) -> Chunk:
    """Make rows whose weights are none (0), of any size (1), or also zero (2); `kind`: of sparse entries."""
    fitting: list[type[np.integer[Any]]] = [np.int16, np.uint16, np.uint32, np.int64]
    fitting += [np.uint8] if max(layout.groups, default=0) < 256 else []
    code_type = fitting[rng.integers(len(fitting))]
    codes = [rng.integers(0, levels + 1, rows) for levels in layout.groups]
    weight = None if weighted == 0 else rng.uniform(0.1, 3.0, rows) * (1 if weighted == 1 else rng.random(rows) < 0.7)
    label = {
        "squared": rng.normal(size=rows) * 100.0,
        "logistic": (rng.random(rows) < 0.3).astype(np.float64),
        "poisson": rng.poisson(1.5, rows).astype(np.float64),
        "gamma": rng.gamma(2.0, 3.0, rows),
        "softmax": rng.integers(0, loss.outputs + 1, rows).astype(np.float64),
    }[loss.name]
    kept = StoredChunk(
        stored,
        np.array(codes, dtype=code_type).reshape(len(layout.groups), rows),
        label,
        weight,
        rng.normal(size=rows) if shifted else None,
        sparse_part(rng, rows, layout.sparse, kind) if layout.sparse else None,
    )
    factors = (
        np.exp2(rng.integers(-80, 80, layout.sparse)) if rng.random() < 0.2 else rng.uniform(0.5, 3.0, layout.sparse)
    )
    if kept.sparse is not None:
        kept.sparse.data *= factors[kept.sparse.indices].astype(kind)
    scale = np.exp2(rng.integers(-3, 4, layout.dense)) if rng.random() < 0.5 else rng.uniform(0.5, 3.0, layout.dense)
    sparse_scale = factors if layout.sparse else None
    return MemoryRows(layout, (kept,), rng.normal(size=layout.dense), scale, sparse_scale).read(kept)


def sparse_part(rng: np.random.Generator, rows: int, columns: int, kind: type[np.floating[Any]]) -> Any:
    """Make entries of which some rows have none and some many, with indices of 4 or 8 bytes."""
    filled = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < rng.uniform(0.0, 0.6, (rows, 1)))
    part = csr_array(filled.astype(kind))
    if rng.random() < 0.3:
        part.indices, part.indptr = part.indices.astype(np.int64), part.indptr.astype(np.int64)
    return part


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Loss, Chunk, Floats]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, loss = draw(st.integers(1, 1200)), draw(st.sampled_from(LOSSES))
    columns = draw(st.sampled_from([0, 1, 2, 5, 8, 19, 70, 200]))
    groups = tuple(draw(st.lists(st.sampled_from([1, 2, 7, 300]), max_size=4)))
    sparse = draw(st.sampled_from([0, 0, 1, 6, 40]))
    layout = Layout(draw(st.booleans()) or columns + len(groups) == 0, columns, groups, sparse)
    kind: type[np.floating[Any]] = np.float32 if draw(st.booleans()) else np.float64
    order: Literal["C", "F"] = "C" if draw(st.booleans()) else "F"
    table = np.asarray(rng.normal(size=(rows, columns)) * 2.0, dtype=kind, order=order)
    if draw(st.booleans()):  # every other row and column of a larger one
        wide = np.zeros((2 * rows, 2 * columns), dtype=kind, order=order)
        wide[::2, ::2] = table
        table = wide[::2, ::2]
    chunk = chunk_of(rng, loss, layout, rows, table.T, draw(st.integers(0, 2)), shifted=draw(st.booleans()), kind=kind)
    return loss, chunk, rng.normal(size=layout.size) * 0.1


@given(chunks())
def test_predictors_have_the_bits_of_a_prediction(case: tuple[Loss, Chunk, Floats]) -> None:
    _, chunk, w = case
    layout, block = chunk.layout, chunk.block
    for changed in (block, absolute(block), squared(block)):
        found, twin = summed_predictors(layout, changed, w), linear_predictor(layout, changed, w)
        if layout.sparse:  # whose products are added in another order
            sizes = linear_predictor(layout, absolute(changed), np.abs(w))
            assert np.all(np.abs(found - twin) <= 2.0 * predictor_error(layout, 1, sizes))
        else:
            np.testing.assert_array_equal(found, twin)


@given(chunks())
def test_a_pass_agrees_with_its_twin_within_what_is_charged(case: tuple[Loss, Chunk, Floats]) -> None:
    loss, chunk, w = case
    length = len(chunk.label) + 1
    hessian, rounded = HessianTotal(loss), RoundingTotal(loss, length)
    found, rounding = hessian(chunk, w), rounded(chunk, w)
    value, gradient = ValueTotal(loss)(chunk, w), GradientTotal(loss)(chunk, w)
    with native.numpy_serves():
        twin, twins_rounding = hessian(chunk, w), rounded(chunk, w)
    assert np.all(np.abs(found.gradient - twin.gradient) <= 2.0 * twins_rounding.error)
    assert value[0] == gradient[0] == pytest.approx(twin.value, rel=1e-11, abs=1e-300)
    assert found.smallest == pytest.approx(twin.smallest, rel=1e-12)
    if chunk.layout.sparse:  # whose Gram matrices are SciPy's, and whose predictors are added up in two orders
        assert rounding.smallest == pytest.approx(twin.smallest, rel=1e-12)
        assert np.all(np.abs(found.gradient - gradient[1]) <= 2.0 * twins_rounding.error)
    else:
        assert found.value == value[0]
        assert found.smallest == rounding.smallest
        np.testing.assert_array_equal(found.gradient, gradient[1])
    root = np.sqrt(np.diagonal(twin.grams[0]))
    charged = 2.0 * (accumulated(length + 20) + np.expm1(rounding.growth)) * np.outer(root, root)
    assert np.all(np.triu(np.abs(found.grams[0] - twin.grams[0]) - charged) <= 1e-300)
    for one, other in zip(rounding, twins_rounding, strict=True):
        agree(one, other)


def agree(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12 * np.max(np.abs(other), initial=0.0))


@pytest.mark.parametrize("columns", [8, 9, 15, 16, 28, 33, 100])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_whose_columns_lie_next_to_each_other_say_what_their_twin_says(columns: int, kind: type[Any]) -> None:
    rng = np.random.default_rng(columns)
    for rows, loss, weighted in zip((1, 7, 8, 9, 100, 600), LOSSES + LOSSES, (0, 1, 2, 0, 2, 1), strict=False):
        # Of a wider matrix: the next row does not follow on the last column.
        stored = np.asarray(rng.normal(size=(rows, columns + 3)) * 2.0, dtype=kind)[:, :columns]
        chunk = chunk_of(rng, loss, Layout(bool(rows % 2), columns), rows, stored.T, weighted, shifted=rows % 3 == 0)
        scale, intercept = np.exp2(rng.integers(-3, 4, columns)), chunk.layout.intercept
        exact = Columns(chunk.block.stored, rng.normal(size=columns), scale, intercept)
        chunk = chunk._replace(block=Block(exact, chunk.block.codes))
        w = rng.normal(size=chunk.layout.size) * 0.1
        statistics: tuple[Callable[[Chunk, Floats], Any], ...] = (
            AnchoredTotal(loss, rows + 1, w * 0.9, rng.uniform(0.1, 2.0, len(w))),
            RoundingTotal(loss, rows + 1),
            HessianTotal(loss),
        )
        found = [statistic(chunk, w) for statistic in statistics]
        with native.numpy_serves():
            twins = [statistic(chunk, w) for statistic in statistics]
        np.testing.assert_array_equal(found[0].gradient, found[2].gradient)
        np.testing.assert_array_equal(found[0].error, AnchoredTotal(loss, rows + 1, w, w)(chunk, w).error)
        for one, other in zip(found, twins, strict=True):
            for ours, theirs in zip(one, other, strict=True):
                agree(np.triu(ours[0]), np.triu(theirs[0])) if np.ndim(ours) == 3 else agree(ours, theirs)


def test_many_small_groups_are_counted_in_bundles_and_say_the_same() -> None:
    rng, loss, layout = np.random.default_rng(5), LogisticLoss(), Layout(True, 2, (2, 3, 2, 70, 3, 2, 4, 5, 2, 3, 2, 2))
    chunk = chunk_of(rng, loss, layout, 700, rng.normal(size=(2, 700)), 2, shifted=True)
    w = rng.normal(size=layout.size) * 0.3
    assert 1 < len(bundled_groups(layout)) < 6
    found = compiled_pass(loss, chunk, w, gram=True)
    assert found is not None
    assert found.gram is not None
    value, gradient = GradientTotal(loss)(chunk, w)
    with native.numpy_serves():
        (twin,) = HessianTotal(loss)(chunk, w).grams
    assert found.value == pytest.approx(value, rel=1e-13)
    assert found.gradient == pytest.approx(gradient, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(np.triu(found.gram), np.triu(twin), rtol=1e-12, atol=1e-12)


@given(chunks())
def test_a_point_near_an_anchor_is_that_of_the_twin(case: tuple[Loss, Chunk, Floats]) -> None:
    loss, chunk, w = case
    rng = np.random.default_rng(len(chunk.label))
    anchor = w + rng.normal(size=len(w)) * 0.01
    statistic = AnchoredTotal(loss, len(chunk.label) + 1, anchor, rng.uniform(0.1, 2.0, len(w)))
    found = statistic(chunk, w)
    with native.numpy_serves():
        twin = statistic(chunk, w)
    assert np.all(np.abs(found.gradient - twin.gradient) <= 2.0 * twin.error)
    for name in ("value", "reach", "error", "predictor", "smallest", "spread"):
        agree(getattr(found, name), getattr(twin, name))
    counted = chunk.weight > 0.0
    change = linear_predictor(chunk.layout, chunk.block, w - anchor)[counted]
    # Either may add up in an order of its own: `Objective.near` charges a drift with twice the error of a predictor.
    assert abs(found.reach - np.abs(change).max(initial=0.0)) <= 2.0 * twin.predictor


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_gradient_is_as_near_to_that_of_more_digits_as_is_charged(loss: Loss) -> None:
    rng = np.random.default_rng(5)
    for rows, columns, scale in ((3, 2, 1.0), (700, 9, 1.0), (5000, 3, 6.0), (300, 250, 1.0)):
        stored = rng.normal(size=(rows, columns)).T * scale
        chunk = chunk_of(rng, loss, Layout(True, columns), rows, stored, 1, shifted=True)
        w = rng.normal(size=columns + 1) / np.sqrt(columns)
        done = compiled_pass(loss, chunk, w, length=rows + 1)
        assert done is not None
        assert done.gradient is not None
        assert done.error is not None
        (exact,) = ExtendedGradientTotal(loss)(chunk, w)
        off = np.abs(done.gradient - exact).astype(np.float64)
        assert np.all(off <= done.error)
        assert np.all(done.error <= 1e-6 * (1.0 + np.abs(done.gradient).max()))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_gradient_of_sparse_columns_is_as_near_as_is_charged(loss: Loss, kind: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(15)
    layout = Layout(True, 2, (), 30)
    chunk = chunk_of(rng, loss, layout, 900, rng.normal(size=(2, 900)), 2, shifted=True, kind=kind)
    w = rng.normal(size=layout.size) / 6.0
    done = compiled_pass(loss, chunk, w, length=901, centre=True)
    assert done is not None
    assert done.gradient is not None
    assert done.error is not None
    assert done.centre is not None
    assert done.magnitude is not None
    filled = np.vstack([chunk.block.dense, chunk.block.sparse.toarray().T])
    whole = chunk._replace(layout=Layout(True, 32), block=Block(filled, chunk.block.codes))
    (exact,) = ExtendedGradientTotal(loss)(whole, w)
    off = np.abs(done.gradient - exact).astype(np.float64)
    assert np.all(off <= done.error)
    assert np.all(done.error <= 1e-6 * (1.0 + np.abs(done.gradient).max()))
    dense = compiled_pass(loss, whole, w, length=901, centre=True)
    assert dense is not None
    agree(done.centre, dense.centre)
    agree(done.magnitude, dense.magnitude)


@pytest.mark.parametrize("sparse", [0, 25])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_instruction_set_gives_the_same_gradient(loss: Loss, sparse: int) -> None:
    rng = np.random.default_rng(6)
    stored = rng.normal(size=(777, 37)).astype(np.float32).T
    chunk = chunk_of(rng, loss, Layout(True, 37, (3, 9), sparse), 777, stored, 2, shifted=True)
    w, highest, found = rng.normal(size=chunk.layout.size) * 0.1, compiled.level(), []
    try:
        for level in range(2, highest + 1):
            compiled.use_level(level)
            done = compiled_pass(loss, chunk, w, direction=w[::-1], gram=not sparse, length=778, centre=sparse > 0)
            assert done is not None
            found.append(done)
    finally:
        compiled.use_level(highest)
    for other in found[1:]:
        for name, ours, theirs in zip(other._fields, other, found[0], strict=True):
            if name == "gram" and ours is not None:  # whose products are fused with their sums where the processor can
                one, two = np.triu(np.asarray(ours)), np.triu(np.asarray(theirs))
                np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
            else:
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("sparse", [0, 30])
def test_a_row_has_the_same_predictor_in_every_cut(sparse: int) -> None:
    rng = np.random.default_rng(7)
    stored = rng.normal(size=(1000, 11)).astype(np.float32)
    layout, loss = Layout(True, 11, (4, 300), sparse), LogisticLoss()
    chunk = chunk_of(rng, loss, layout, 1000, stored.T, 0, shifted=False)
    w = rng.normal(size=layout.size)
    whole = summed_predictors(layout, chunk.block, w)
    if not sparse:
        np.testing.assert_array_equal(whole, linear_predictor(layout, chunk.block, w))
    for length in range(1, 71):
        for start in (0, 13, 512 - length // 2, 1000 - length):
            found = summed_predictors(layout, rows_of(chunk.block, start, start + length), w)
            np.testing.assert_array_equal(found, whole[start : start + length])


def test_the_largest_change_along_a_direction_is_that_of_rows_that_count() -> None:
    rng = np.random.default_rng(8)
    loss, layout = PoissonLoss(), Layout(True, 3, (2,))
    chunk = chunk_of(rng, loss, layout, 600, rng.normal(size=(3, 600)), 2, shifted=False)
    direction = rng.normal(size=layout.size)
    done = compiled_pass(loss, chunk, np.zeros(layout.size), direction=direction)
    assert done is not None
    change = linear_predictor(layout, chunk.block, direction)
    assert done.reach == np.abs(change[chunk.weight > 0.0]).max()
    assert done.reach < np.abs(change).max() or np.argmax(np.abs(change)) in np.flatnonzero(chunk.weight)


def test_codes_beyond_the_levels_touch_nothing_outside() -> None:
    rng = np.random.default_rng(9)
    stored = rng.normal(size=(2, 40))
    codes = np.full((1, 40), 250, dtype=np.uint8)
    rows = compiled.Rows(stored, np.zeros(2), np.ones(2), True, 0, codes, np.array([5]))
    gram, total = np.zeros((9, 9)), np.empty(8)
    rows.gram(np.ones(40), gram)
    rows.transposed(np.ones(40), total)
    assert not gram[3:8].any()
    assert not total[3:].any()


def rows_of_no_columns(count: int) -> Any:
    nothing, codes = np.empty((0, count)), np.empty((0, count), dtype=np.uint8)
    return compiled.Rows(nothing, np.empty(0), np.empty(0), True, 0, codes, np.empty(0, dtype=np.int64))


def test_sparse_columns_beyond_the_last_touch_nothing_outside() -> None:
    rows = rows_of_no_columns(3)
    indices = np.array([0, 5, -1, 1, 2**31 - 1], dtype=np.int32)
    rows.set_sparse(np.array([0, 2, 4, 5], dtype=np.int32), indices, np.ones(5), 2, None, 0)
    eta, total = np.empty(3), np.empty(3)
    rows.predictors(np.array([1.0, 10.0, 100.0]), eta)
    rows.transposed(np.array([1.0, 2.0, 3.0]), total)
    np.testing.assert_array_equal(eta, [11.0, 101.0, 1.0])
    np.testing.assert_array_equal(total, [6.0, 1.0, 2.0])


def test_sparse_arrays_that_do_not_fit_are_refused() -> None:
    rows = rows_of_no_columns(2)
    pointers, indices, values = np.array([0, 1, 2]), np.array([0, 1]), np.ones(2)
    for arrays in (
        (np.array([0, 1]), indices, values, 2, None, 0),
        (np.array([0, 2, 1]), indices, values, 2, None, 0),
        (np.array([0, 1, 3]), indices, values, 2, None, 0),
        (np.array([-1, 1, 2]), indices, values, 2, None, 0),
        (pointers, indices[:1], values, 2, None, 0),
        (pointers.astype(np.int32), indices, values, 2, None, 0),
        (pointers, indices, values.astype(np.int64), 2, None, 0),
        (pointers, indices, values, 2, np.ones(3), 0),
        (pointers, indices, values, 2, None, 3),
    ):
        with pytest.raises(ValueError, match=r"number|float|entries"):
            rows.set_sparse(*arrays)


def test_arrays_of_other_shapes_are_refused() -> None:
    stored, codes, levels = np.zeros((2, 5)), np.zeros((1, 5), dtype=np.uint8), np.array([3])
    rows = compiled.Rows(stored, np.zeros(2), np.ones(2), True, 0, codes, levels)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: rows.predictors(np.zeros(5), np.empty(5)),
        lambda: rows.predictors(np.zeros(6), np.empty(4)),
        lambda: rows.transposed(np.zeros(4), np.empty(6)),
        lambda: rows.gram(np.zeros(5), np.empty((6, 6))),
        lambda: compiled.Rows(stored, np.zeros(3), np.ones(2), True, 0, codes, levels),
        lambda: compiled.Rows(stored, np.zeros(2), np.ones(2), True, 0, codes[:, :4], levels),
        lambda: compiled.Rows(stored.astype(np.int64), np.zeros(2), np.ones(2), True, 0, codes, levels),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"number|place|shift|codes|float"):
            call()


def test_products_use_rows_as_they_are_stored() -> None:
    rng = np.random.default_rng(10)
    stored = rng.normal(size=(100, 4)).astype(np.float32).T
    chunk = chunk_of(rng, SquaredLoss(), Layout(True, 4), 100, stored, 0, shifted=False)
    transposed_product(chunk.layout, chunk.block, np.ones(100))
    GradientTotal(SquaredLoss())(chunk, np.zeros(5))
    assert "dense" not in vars(chunk.block), "no copy in float64 was made"
    chunk = chunk_of(rng, SquaredLoss(), Layout(True, 0, (), 4), 100, np.empty((0, 100)), 0, shifted=False)
    for block in (chunk.block, absolute(chunk.block), squared(chunk.block)):
        summed_predictors(chunk.layout, block, np.ones(5))
        transposed_product(chunk.layout, block, np.ones(100))
        assert "sparse" not in vars(block), "entries were not copied"


@pytest.mark.parametrize("columns", [0, 1, 7, 8, 9, 15, 17])
def test_some_columns_of_a_wider_table_are_read_row_by_row(columns: int) -> None:
    table = np.random.default_rng(11).normal(size=(700, 40)).astype(np.float32)
    chunk = chunk_of(np.random.default_rng(12), SquaredLoss(), Layout(True, 40), 700, table.T, 0, shifted=False)
    layout = Layout(True, columns)
    block = Block(Columns(table.T[:columns], np.zeros(columns), np.ones(columns), True), chunk.block.codes)
    w = np.arange(columns + 1.0)
    np.testing.assert_array_equal(summed_predictors(layout, block, w), linear_predictor(layout, block, w))
