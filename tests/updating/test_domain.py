"""The domain against rows written out."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array
from tests.updating.made import design, joined, one_chunk

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Layout
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal

LAYOUT = Layout(True, 2, (3, 2))


def rows(rng: np.random.Generator, count: int = 30) -> MemoryRows:
    codes = np.stack([rng.integers(0, 3, count), rng.integers(0, 3, count)])
    weight = rng.random(count) * (rng.random(count) < 0.8)
    return one_chunk(LAYOUT, rng.normal(size=(2, count)), codes, np.zeros(count), weight)


def domain_of(some: MemoryRows) -> Domain:
    return Domain(some.layout, DomainParts(*some.total(DomainTotal(), np.zeros(some.layout.size))))


def test_reach_is_the_largest_over_the_box_and_covers_every_row() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        some, step = rows(rng), rng.normal(size=LAYOUT.size)
        domain = domain_of(some)
        counted = np.concatenate([c.weight for c in some.chunks if c.weight is not None]) > 0.0
        X = design(some)[counted]
        levels = [sorted({tuple(row) for row in X[:, part]}) for part in LAYOUT.group_slices]
        box = [
            np.concatenate([[1.0], ends, *cells])
            for ends in itertools.product(*zip(X[:, 1:3].min(axis=0), X[:, 1:3].max(axis=0), strict=True))
            for cells in itertools.product(*levels)
        ]
        truth = np.abs(np.asarray(box) @ step).max()
        assert truth <= domain.reach(step) <= truth * (1.0 + 1e-12)
        assert np.abs(X @ step).max() <= domain.reach(step)
        assert (np.abs(X) @ np.abs(step)).max() <= domain.size(step) <= (np.abs(box) @ np.abs(step)).max() * (1 + 1e-12)
        truth = (np.asarray(box) ** 2 @ step**2).max()
        assert truth <= domain.square(step**2) <= truth * (1.0 + 1e-12)


def test_a_widened_domain_is_that_of_both() -> None:
    rng = np.random.default_rng(1)
    first, second = rows(rng), rows(rng)
    both, widened = domain_of(joined(first, second)), domain_of(first).widened(domain_of(second))
    for a, b in zip(both.parts, widened.parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_an_unseen_level_and_a_row_without_weight_move_nothing() -> None:
    codes = np.array([[0, 1, 2], [0, 0, 0]])
    some = one_chunk(
        LAYOUT, np.array([[1.0, 1.0, 1e9], [0.0, 0.0, 0.0]]), codes, np.zeros(3), np.array([1.0, 1.0, 0.0])
    )
    step = np.array([0.0, 1.0, 0.0, 0.5, 0.25, 1e9, 0.0, 1e9])
    np.testing.assert_allclose(domain_of(some).reach(step), 1.5)


def test_sparse_columns_have_a_range_that_holds_zero() -> None:
    some = one_chunk(Layout(True, 0, (), 2), np.zeros((0, 2)), np.zeros((0, 2), dtype=int), np.zeros(2))
    filled = csr_array(np.array([[2.0, -1.0], [3.0, 0.0]]))
    some = replace(some, chunks=(replace(some.chunks[0], sparse=filled),))
    np.testing.assert_allclose(domain_of(some).reach(np.array([0.0, 1.0, 1.0])), 3.0)
    np.testing.assert_allclose(domain_of(some).reach(np.array([-1.0, 0.0, 1.0])), 2.0)
