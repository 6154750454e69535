"""The oracle: the cheapest way through the matrix, found by a dynamic programme that knows every later loss.

What a model costs until the next one goes live is a sum over rows, so the best way to go on from a model does not
depend on how it was come by. The frontier holds, for each number of retrains, the lowest cost that any policy over the
same models could have had; no such policy lies below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Floats


class BestPath(NamedTuple):
    """The cheapest way with some number of retrains: what it costs, and its models, the first included."""

    retrains: int
    cost: float
    nodes: tuple[int, ...]


def best_paths(decided: Floats, live: Floats, serving: Floats, ending: Floats) -> list[BestPath]:
    """Return the cheapest way for each number of retrains, 0 and more, as far as more are possible.

    Models are in the order in which they were decided on, (models,), and the first is where everyone begins; each goes
    `live` some time later. `serving` (models, models) is what the first costs until the second goes live, `ending`
    (models,) what it costs until the end. One may follow another that is live by then and that was decided on before:
    while a training is under way no policy is asked.
    """
    may_follow = (live[:, None] <= decided[None, :]) & (decided[:, None] < decided[None, :])
    step = np.where(may_follow, serving, np.inf)
    cost, following = [np.asarray(ending, dtype=np.float64)], list[NDArray[np.intp]]()
    while len(cost) < len(decided):
        ways = step + cost[-1][None, :]  # of one more retrain before what was cheapest so far
        following.append(np.argmin(ways, axis=1))
        cost.append(ways[np.arange(len(decided)), following[-1]])
        if not np.isfinite(cost[-1][0]):
            cost.pop()
            break
    found = []
    for retrains, costs in enumerate(cost):
        nodes = [0]
        for left in range(retrains, 0, -1):
            nodes.append(int(following[left - 1][nodes[-1]]))
        found.append(BestPath(retrains, float(costs[0]), tuple(nodes)))
    return found


def frontier(paths: Sequence[BestPath]) -> list[BestPath]:
    """Return the ways that are cheaper than all with fewer retrains."""
    found: list[BestPath] = []
    for path in paths:
        if not found or path.cost < found[-1].cost:
            found.append(path)
    return found
