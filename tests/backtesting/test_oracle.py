"""The oracle's frontier: no way through the matrix lies below it, and each of its ways is one."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchlearn.backtesting.oracle import BestPath, best_paths, frontier
from batchlearn.kernels.design import Floats


class Trial(NamedTuple):
    """Models of some edges, one or two each, and what each costs at each of the times."""

    decided: Floats
    live: Floats
    cost: Floats  # (models, times)

    def cost_of(self, path: tuple[int, ...]) -> float | None:
        """Return what a way costs, None where one is decided on before the one before is live."""
        total = 0.0
        for here, there in itertools.pairwise(path):
            if not (self.live[here] <= self.decided[there] and self.decided[here] < self.decided[there]):
                return None
            total += self.between(here, self.live[there])
        return total + self.between(path[-1], np.inf)

    def between(self, model: int, until: float) -> float:
        """Return what a model costs from when it is live until a time."""
        times = np.arange(self.cost.shape[1])
        return float(self.cost[model, (times > self.live[model]) & (times <= until)].sum())

    def paths(self) -> list[BestPath]:
        """Return the ways that the oracle finds."""
        count = len(self.decided)
        serving = np.array([[self.between(one, self.live[other]) for other in range(count)] for one in range(count)])
        ending = np.array([self.between(one, np.inf) for one in range(count)])
        return best_paths(self.decided, self.live, serving, ending)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """Draw up to eight models on a scale of twelve times."""
    count = draw(st.integers(1, 8))
    decided = np.sort(draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    decided = np.concatenate([[0], decided[1:] + 1]).astype(np.float64)
    lasting = np.array(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5]), min_size=count, max_size=count)))
    values = st.lists(st.integers(0, 50), min_size=12, max_size=12)
    cost = np.array([draw(values) for _ in range(count)], dtype=np.float64)
    return Trial(decided, decided + lasting, cost)


@given(trials())
def test_no_way_is_cheaper_and_each_best_way_is_one(trial: Trial) -> None:
    found = {path.retrains: path for path in trial.paths()}
    others = range(1, len(trial.decided))
    for retrains in range(len(trial.decided)):
        ways = [(0, *path) for path in itertools.combinations(others, retrains)]
        costs = [cost for path in ways if (cost := trial.cost_of(path)) is not None]
        assert (retrains in found) == bool(costs)
        if costs:
            assert found[retrains].cost == min(costs)
            assert trial.cost_of(found[retrains].nodes) == min(costs)


@given(trials())
def test_the_frontier_falls_with_each_retrain(trial: Trial) -> None:
    found = frontier(trial.paths())
    assert found[0].retrains == 0
    assert all(one.cost > other.cost and one.retrains < other.retrains for one, other in itertools.pairwise(found))
