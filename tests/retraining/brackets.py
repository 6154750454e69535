"""One random change of rows, bracketed, and what 60-digit arithmetic says about it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from mpmath import mp
from tests.objectives.oracle import Oracle, exact
from tests.updating.made import Made, fitted, joined, kept_of, lighter, made, made_with_pairs

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.retraining.bracket import BracketResult, Change, bracket
from batchlearn.training.certificate import Units, certify
from batchlearn.updating.sufficient_statistics import SufficientStatistics

KINDS = ("added", "removed", "decayed", "window")
MODELS = {"ridge": made, "pairs": made_with_pairs}


class Trial(NamedTuple):
    """A version's kept totals, a change, and the rows of the objective after it."""

    problem: Made
    kept: SufficientStatistics
    change: Change
    after: MemoryRows


class Truth(NamedTuple):
    """The gain and the optimum in 60 digits."""

    gain: Any
    optimum: list[Any]
    oracle: Oracle


def trial(seed: int, loss: str, kind: str, size: int = 60, model: str = "ridge") -> Trial:
    """Draw a problem and change its rows."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    problem = MODELS[model](rng, loss, float(10.0 ** rng.uniform(-1, 1)))
    old, gone = problem.rows(rng, size), problem.rows(rng, int(rng.integers(1, 6)))
    new = problem.rows(rng, int(rng.integers(1, 12)), drift=float(10.0 ** rng.uniform(-3, 0)))
    decay = float(rng.uniform(0.3, 1.0)) if kind in ("decayed", "window") else 1.0
    with_gone = kind in ("removed", "window")
    kept = kept_of(problem, joined(old, gone) if with_gone else old)
    added = None if kind == "removed" else new
    stay = lighter(old, decay) if decay != 1.0 else old
    after = stay if added is None else joined(stay, new)
    return Trial(problem, kept, Change(added, gone if with_gone else None, decay), after)


def answer(one: Trial, climbing: bool) -> BracketResult:
    """Bracket the change; `climbing` says whether all rows may be read."""
    return bracket(one.kept, one.change, one.problem.penalty, all_rows=(lambda: one.after) if climbing else None)


def truth(one: Trial) -> Truth:
    """Return the exact gain of training again."""
    objective = one.problem.objective(one.after.total_weight)
    oracle = Oracle.of(objective, one.after)
    optimum = oracle.optimum(fitted(objective, one.after))
    return Truth(oracle.value(exact(one.kept.parameters)) - oracle.value(optimum), optimum, oracle)


def violations(one: Trial, found: BracketResult, true: Truth) -> list[str]:
    """Return what was said and is not so."""
    said, reached = found.bracket, found.reached
    wrong = [] if said.lower <= true.gain else [f"lower {said.lower} above {mp.nstr(true.gain, 5)}"]
    if said.upper_is_proved and said.upper < true.gain:
        wrong.append(f"upper {said.upper} below {mp.nstr(true.gain, 5)}")
    if reached.proof.bounds is not None:
        here = exact(reached.parameters)
        gap = true.oracle.value(here) - true.oracle.value(true.optimum)
        if gap > reached.proof.bounds.loss:
            wrong.append(f"loss bound {reached.proof.bounds.loss} below {mp.nstr(gap, 5)}")
        # What verifying the updated model from all rows would find.
        objective = one.problem.objective(one.after.total_weight)
        again = certify(objective, one.after, reached.parameters, Units.plain(len(here))).certificate
        if again.loss_bound is None or again.loss_bound > reached.proof.bounds.loss * 1.01 + (again.floor or 0.0):
            wrong.append(f"loss bound {reached.proof.bounds.loss}, and verified is {again.loss_bound}")
        move = _largest_move(true, here)
        if move > reached.proof.bounds.radius * reached.proof.kappa * (1.0 + 1e-12):
            wrong.append("a prediction moves further than C3")
        if _largest_move(true, exact(one.kept.parameters)) > said.prediction_shift:
            wrong.append("a prediction moves further than the shift")
    return wrong


def _largest_move(true: Truth, here: list[Any]) -> Any:
    step = [a - b for a, b in zip(here, true.optimum, strict=True)]
    return max(abs(mp.fdot(row, step)) for row in true.oracle.design)


def parameters_of(one: Trial) -> Floats:
    """Return the optimum after the change in double precision."""
    return fitted(one.problem.objective(one.after.total_weight), one.after)
