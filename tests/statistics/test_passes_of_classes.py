"""The compiled pass of several classes against its NumPy twin: they agree within what the certificate charges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.statistics.test_passes import chunk_of

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels import native
from batchlearn.kernels.design import Block, Floats, Layout, quadratic_forms, rows_of
from batchlearn.kernels.sums import output_forms, output_triangles
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.statistics.lower_bound import largest_square
from batchlearn.statistics.passes import compiled_pass
from batchlearn.statistics.rounding import AnchoredTotal, RoundingTotal
from batchlearn.statistics.totals import GradientTotal, HessianTotal, ValueTotal

pytestmark = pytest.mark.skipif(not native.built(), reason="the kernels are not compiled here")
compiled: Any = native.compiled()


@st.composite
def chunks(draw: st.DrawFn) -> tuple[SoftmaxLoss, Chunk, Floats]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, loss = draw(st.integers(1, 700)), SoftmaxLoss(draw(st.sampled_from([3, 4, 7, 8, 9, 17, 32])))
    columns = draw(st.sampled_from([0, 1, 2, 7, 8, 19, 70]))
    groups = tuple(draw(st.lists(st.sampled_from([1, 2, 7, 300]), max_size=4)))
    layout = Layout(draw(st.booleans()) or columns + len(groups) == 0, columns, groups)
    kind: type[np.floating[Any]] = np.float32 if draw(st.booleans()) else np.float64
    order: Literal["C", "F"] = "C" if draw(st.booleans()) else "F"
    table = np.asarray(rng.normal(size=(rows, columns)) * 2.0, dtype=kind, order=order)
    chunk = chunk_of(rng, loss, layout, rows, table.T, draw(st.integers(0, 2)), shifted=False)
    return loss, chunk, rng.normal(size=layout.size * loss.outputs) * draw(st.sampled_from([0.0, 0.1, 3.0]))


@given(chunks(), st.integers(0, 2**32 - 1))
def test_a_pass_agrees_with_its_twin_within_what_is_charged(case: tuple[SoftmaxLoss, Chunk, Floats], seed: int) -> None:
    loss, chunk, w = case
    rng, length = np.random.default_rng(seed), len(chunk.label) + 1
    anchored = AnchoredTotal(loss, length, w + 0.1 * rng.normal(size=len(w)), rng.uniform(0.1, 2.0, len(w)))
    assert compiled_pass(loss, chunk, w) is not None
    found, gradient, hessian = anchored(chunk, w), GradientTotal(loss)(chunk, w), HessianTotal(loss)(chunk, w)
    with native.numpy_serves():
        assert compiled_pass(loss, chunk, w) is None
        twin = anchored(chunk, w)
    assert found.value == gradient[0] == hessian.value == ValueTotal(loss)(chunk, w)[0]
    assert found.value == pytest.approx(twin.value, rel=1e-11, abs=1e-300)
    np.testing.assert_array_equal(found.gradient, gradient[1])
    np.testing.assert_array_equal(found.gradient, hessian.gradient)
    assert np.all(np.abs(found.gradient - twin.gradient) <= 2.0 * twin.error)
    # Sums of classes are charged one by one, and not as the contrast that they make.
    assert np.all(found.error >= twin.error * (1.0 - 1e-9))
    assert np.all(found.error <= twin.error.reshape(loss.outputs, -1).sum(axis=0).max() * 4.0 * loss.classes)
    assert found.smallest == hessian.smallest == pytest.approx(twin.smallest, rel=1e-9)
    assert found.reach == pytest.approx(twin.reach, rel=1e-9, abs=1e-12)
    assert found.predictor == pytest.approx(twin.predictor, rel=1e-9)
    assert found.spread == pytest.approx(twin.spread, rel=1e-9)


@pytest.mark.parametrize(("columns", "groups"), [(11, (5, 40)), (0, (3, 300)), (33, ())])
def test_a_row_has_the_same_bits_in_every_cut(columns: int, groups: tuple[int, ...]) -> None:
    rng, loss, rows = np.random.default_rng(0), SoftmaxLoss(9), 70
    layout = Layout(True, columns, groups)
    table = rng.normal(size=(rows, columns)).astype(np.float32)
    chunk = chunk_of(rng, loss, layout, rows, table.T, 1, shifted=False)
    w = rng.normal(size=layout.size * loss.outputs)
    alone = [GradientTotal(loss)(_some(chunk, row, row + 1, row), w) for row in range(rows)]
    for cut in range(1, rows + 1):
        for row in {0, cut // 2, cut - 1}:
            value, gradient = GradientTotal(loss)(_some(chunk, 0, cut, row), w)
            assert value == alone[row][0]
            np.testing.assert_array_equal(gradient, alone[row][1])


def _some(chunk: Chunk, start: int, stop: int, counted: int) -> Chunk:
    """Return rows of a chunk of which one counts."""
    weight = np.where(np.arange(start, stop) == counted, chunk.weight[counted], 0.0)
    return chunk._replace(block=rows_of(chunk.block, start, stop), label=chunk.label[start:stop], weight=weight)


def test_every_instruction_set_gives_the_same_bits() -> None:
    rng, loss = np.random.default_rng(1), SoftmaxLoss(11)
    layout = Layout(True, 21, (7, 30))
    chunk = chunk_of(rng, loss, layout, 500, rng.normal(size=(500, 21)).T, 2, shifted=False)
    w = rng.normal(size=layout.size * loss.outputs)
    anchored = AnchoredTotal(loss, 501, 0.9 * w, np.ones(len(w)))
    found = anchored(chunk, w)
    try:
        for level in range(2, compiled.level()):
            compiled.use_level(level)
            for one, other in zip(found, anchored(chunk, w), strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        compiled.use_level(_HIGHEST)


_HIGHEST = compiled.level() if native.built() else 0


def test_what_is_all_but_certain_keeps_its_digits() -> None:
    loss, layout = SoftmaxLoss(4), Layout(True, 0)
    chunk = chunk_of(np.random.default_rng(2), loss, layout, 9, np.zeros((0, 9)), 0, shifted=False)
    for size in (0.0, 1.0, 30.0, 60.0, 700.0, 5000.0):
        w = size * np.array([0.3, -0.2, 1.0])
        found = GradientTotal(loss)(chunk, w)
        with native.numpy_serves():
            twin = GradientTotal(loss)(chunk, w)
        assert found[0] == pytest.approx(twin[0], rel=1e-13)
        np.testing.assert_allclose(found[1], twin[1], rtol=1e-11, atol=1e-300)
    sure = chunk._replace(label=np.full(9, 3.0))
    for size in (40.0, 60.0, 500.0):
        found = GradientTotal(loss)(sure, np.array([0.0, 0.0, size]))
        with native.numpy_serves():
            twin = GradientTotal(loss)(sure, np.array([0.0, 0.0, size]))
        assert 0.0 < found[0] < 1e-14
        assert found[0] == pytest.approx(twin[0], rel=1e-13)
        np.testing.assert_allclose(found[1], twin[1], rtol=1e-11, atol=1e-15 * np.abs(twin[1]).max())


def test_a_row_without_weight_has_no_say_and_an_overflow_is_seen() -> None:
    rng, loss, layout = np.random.default_rng(3), SoftmaxLoss(3), Layout(True, 2)
    table = rng.normal(size=(20, 2))
    table[7] = 1e308
    chunk = chunk_of(rng, loss, layout, 20, table.T, 1, shifted=False)
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(GradientTotal(loss)(chunk, np.full(6, 1e3))[0])
    without = chunk._replace(weight=np.where(np.arange(20) == 7, 0.0, chunk.weight))
    value, gradient = GradientTotal(loss)(without, np.full(6, 0.5))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_classes_beyond_the_most_offsets_and_sparse_columns_go_through_numpy() -> None:
    rng, layout = np.random.default_rng(4), Layout(True, 3)
    for classes, shifted, sparse in ((33, False, 0), (4, True, 0), (4, False, 5)):
        loss = SoftmaxLoss(classes)
        own = replace(layout, sparse=sparse)
        chunk = chunk_of(rng, loss, own, 50, rng.normal(size=(50, 3)).T, 1, shifted=shifted)
        w = rng.normal(size=own.size * loss.outputs)
        assert compiled_pass(loss, chunk, w) is None
        assert np.all(np.isfinite(GradientTotal(loss)(chunk, w)[1]))


@given(chunks(), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_forms_of_outputs_are_those_of_the_matrix(
    case: tuple[SoftmaxLoss, Chunk, Floats], outputs: int, seed: int
) -> None:
    _, chunk, _ = case
    layout, block = chunk.layout, rows_of(chunk.block, 0, 40)
    root = np.random.default_rng(seed).normal(size=(outputs * layout.size, 3))
    found = output_forms(layout, block, output_triangles(layout.size, root @ root.T), outputs)
    assert found is not None
    twin = quadratic_forms(layout, Block(block.given, block.codes), root @ root.T)
    size = np.sqrt(np.einsum("aam->am", twin))
    assert np.all(np.abs(found - twin) <= 1e-12 * (1e-300 + size[:, None] * size) + 1e-12 * np.abs(root).max() ** 2)


def test_no_difference_of_two_classes_is_longer_than_the_largest_square() -> None:
    rng, loss, layout = np.random.default_rng(5), SoftmaxLoss(4), Layout(True, 2, (3,))
    stored = StoredChunk(rng.normal(size=(30, 2)).T, rng.integers(0, 4, (1, 30)).astype(np.uint8), np.zeros(30))
    rows = MemoryRows(layout, (stored,), np.zeros(2), np.ones(2))
    block = rows.read(stored).block
    design = np.concatenate([block.dense, np.eye(4)[:, block.codes[0]][:3]]).T
    diagonal = rng.uniform(0.5, 2.0, layout.size * loss.outputs)
    between = np.einsum("ap,md->pmad", loss.contrasts, design).reshape(-1, len(diagonal))
    longest = float(np.sum((between / diagonal) ** 2, axis=1).max())
    assert longest <= largest_square(rows, loss, diagonal) <= 4.0 * longest


def test_rounding_without_a_centre_is_charged_as_with_one() -> None:
    rng, loss, layout = np.random.default_rng(6), SoftmaxLoss(5), Layout(True, 9, (4, 6))
    chunk = chunk_of(rng, loss, layout, 200, rng.normal(size=(200, 9)).T, 1, shifted=False)
    w = rng.normal(size=layout.size * loss.outputs)
    found, twin = RoundingTotal(loss, 201, centred=False)(chunk, w), RoundingTotal(loss, 201)(chunk, w)
    assert found.centre.shape == found.magnitude.shape == (0, layout.size)
    assert found.growth == pytest.approx(twin.growth, rel=1e-9)
    assert found.smallest == pytest.approx(twin.smallest, rel=1e-9)
    assert np.all(found.error >= twin.error * (1.0 - 1e-9))
    with native.numpy_serves():
        np.testing.assert_array_equal(RoundingTotal(loss, 201, centred=False)(chunk, w).error, twin.error)
