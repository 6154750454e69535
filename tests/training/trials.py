"""Random small problems of every kind a certificate must survive, and the check of one certificate by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp
from scipy.sparse import csr_array
from tests.objectives.oracle import Oracle, exact

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.errors import BatchlearnError
from batchlearn.kernels.design import Floats, Layout, linear_predictor
from batchlearn.models.links import INVERSE_LINKS
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.losses.log_link import TweedieLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Certificate, Units, certify

_EARLY_STEPS = 4
_STEPS = 60


@dataclass(frozen=True)
class Draft:
    """A problem before its labels: plain arrays, all rows together."""

    dense: np.ndarray[Any, Any]  # (columns, n)
    codes: np.ndarray[Any, Any]  # (groups, n)
    levels: tuple[int, ...]
    weight: Floats | None
    offset: Floats | None
    sparse: Any
    shift: Floats
    scale: Floats
    strength: float
    intercept: bool


@dataclass(frozen=True)
class Trial:
    """One random problem with the name of its kind."""

    family: str
    loss: str
    objective: Objective
    rows: MemoryRows
    units: Units


class Verdict(NamedTuple):
    """What the oracle says about one certificate."""

    family: str
    loss: str
    point: str
    certified: bool
    violations: tuple[str, ...]
    tightness: float  # the bound on the loss over the true gap; nan near the floor
    reason: str | None


def plain(rng: np.random.Generator) -> Draft:
    n, columns = int(rng.integers(8, 25)), int(rng.integers(1, 5))
    return Draft(
        dense=rng.normal(size=(columns, n)),
        codes=np.zeros((0, n), dtype=np.int32),
        levels=(),
        weight=None,
        offset=None,
        sparse=None,
        shift=np.zeros(columns),
        scale=np.ones(columns),
        strength=float(10.0 ** rng.uniform(-4, 0)),
        intercept=bool(rng.random() < 0.7),
    )


def weighted(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    n = draft.dense.shape[1]
    return replace(draft, weight=rng.uniform(0.1, 10.0, n) * (rng.random(n) < 0.9), offset=rng.normal(size=n))


def wild_weights(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    return replace(draft, weight=10.0 ** rng.uniform(-12, 12, draft.dense.shape[1]))


def grouped(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    levels = tuple(int(k) for k in rng.integers(1, 4, int(rng.integers(1, 3))))
    codes = np.stack([rng.integers(0, k + 1, draft.dense.shape[1]) for k in levels]).astype(np.int32)
    columns = int(rng.integers(0, 3))
    dense = draft.dense[:columns]
    return replace(
        draft, codes=codes, levels=levels, dense=dense, shift=draft.shift[: len(dense)], scale=draft.scale[: len(dense)]
    )


def sparse(rng: np.random.Generator) -> Draft:
    draft = grouped(rng)
    n = draft.dense.shape[1]
    filled = rng.normal(size=(n, int(rng.integers(1, 4)))) * (rng.random((n, 1)) < 0.6)
    return replace(draft, sparse=csr_array(filled))


def single_precision(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    return replace(draft, dense=(draft.dense * 100.0 + 3.0).astype(np.float32), scale=draft.scale * 100.0)


def wide(rng: np.random.Generator) -> Draft:
    n, columns = int(rng.integers(1, 5)), int(rng.integers(3, 7))
    draft = replace(plain(rng), shift=np.zeros(columns), scale=np.ones(columns))
    return replace(draft, dense=rng.normal(size=(columns, n)), codes=np.zeros((0, n), dtype=np.int32))


def duplicated(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    copies = np.concatenate([draft.dense, draft.dense[:2]])
    return replace(
        draft,
        dense=copies,
        shift=np.zeros(len(copies)),
        scale=np.ones(len(copies)),
        strength=float(10.0 ** rng.uniform(-8, 0)),
    )


def scaled(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    sizes = 10.0 ** rng.uniform(-8, 8, len(draft.dense))
    kept = sizes if rng.random() < 0.5 else np.ones(len(sizes))
    return replace(draft, dense=draft.dense * sizes[:, None], scale=kept)


def shifted(rng: np.random.Generator) -> Draft:
    draft = plain(rng)
    dense = draft.dense + 10.0 ** rng.uniform(0, 8, (len(draft.dense), 1))
    known = rng.random() < 0.6
    return replace(draft, dense=dense, shift=dense.mean(axis=1) if known else draft.shift)


def faint_penalty(rng: np.random.Generator) -> Draft:
    return replace(plain(rng), strength=float(10.0 ** rng.uniform(-12, -4)))


def everything(rng: np.random.Generator) -> Draft:
    draft = sparse(rng)
    n, columns = draft.dense.shape[1], len(draft.dense)
    sizes = 10.0 ** rng.uniform(-4, 4, columns)
    dense = (draft.dense + 10.0 ** rng.uniform(0, 3, (columns, 1))) * sizes[:, None]
    return replace(
        draft,
        dense=dense,
        shift=dense.mean(axis=1),
        scale=sizes,
        weight=10.0 ** rng.uniform(-3, 3, n),
        offset=rng.normal(size=n),
        strength=float(10.0 ** rng.uniform(-8, 0)),
    )


FAMILIES: dict[str, Callable[[np.random.Generator], Draft]] = {
    draw.__name__: draw
    for draw in (
        plain,
        weighted,
        wild_weights,
        grouped,
        sparse,
        single_precision,
        wide,
        duplicated,
        scaled,
        shifted,
        faint_penalty,
        everything,
    )
}


def chunks_of(draft: Draft, label: Floats, cuts: list[int]) -> tuple[StoredChunk, ...]:
    """Cut the rows of a draft into chunks."""
    edges = [0, *cuts, len(label)]
    return tuple(
        StoredChunk(
            draft.dense[:, a:b],
            draft.codes[:, a:b],
            label[a:b],
            None if draft.weight is None else draft.weight[a:b],
            None if draft.offset is None else draft.offset[a:b],
            None if draft.sparse is None else draft.sparse[a:b],
        )
        for a, b in pairwise(edges)
        if b > a
    )


def amounts(rng: np.random.Generator, loss: str, mean: Floats, shape: float = 2.0) -> Floats:
    """Draw amounts with these means: gamma ones, or Poisson sums of gamma ones, about one each."""
    number = np.ones(len(mean)) if loss == "gamma" else rng.poisson(np.sqrt(mean))
    size = mean if loss == "gamma" else np.sqrt(mean)
    return np.asarray(np.where(number > 0, rng.gamma(shape * np.maximum(number, 1.0), size / shape), 0.0))


def labels(rng: np.random.Generator, loss: str, draft: Draft) -> Floats:
    """Draw labels that a model with these columns could have made."""
    n = draft.dense.shape[1]
    z: Floats = (draft.dense - draft.shift[:, None]) / draft.scale[:, None]
    size = np.sqrt(np.mean(z**2, axis=1, keepdims=True))
    signal = (rng.normal(size=len(z)) @ (z / np.where(size > 0, size, 1.0))) if len(z) else np.zeros(n)
    eta: Floats = np.clip(signal, -4.0, 4.0)
    if loss == "squared":
        return np.asarray((eta + rng.normal(size=n)) * 10.0 ** rng.uniform(-3, 6), dtype=np.float64)
    if loss == "poisson":
        return np.asarray(rng.poisson(np.exp(eta) * 10.0 ** rng.uniform(-0.5, 3)), dtype=np.float64)
    if loss in ("gamma", "tweedie"):
        shape = 10.0 ** rng.uniform(-1, 2)  # amounts from all but nothing to all but sure
        return np.asarray(amounts(rng, loss, np.exp(eta), shape) * 10.0 ** rng.uniform(-3, 6))
    label: Floats = np.asarray(rng.random(n) < 1.0 / (1.0 + np.exp(-eta)), dtype=np.float64)
    label[0], label[-1] = 0.0, float(n > 1)
    return label


def dense_rows(
    X: np.ndarray[Any, Any],
    label: Floats,
    weight: Floats | None = None,
    offset: Floats | None = None,
    intercept: bool = True,
    chunk: int = 1 << 20,
) -> MemoryRows:
    """Return rows with plain dense columns, X of shape (n, columns), `chunk` rows at a time."""
    n, columns = X.shape
    draft = Draft(
        dense=np.ascontiguousarray(X.T),
        codes=np.zeros((0, n), dtype=np.int32),
        levels=(),
        weight=weight,
        offset=offset,
        sparse=None,
        shift=np.zeros(columns),
        scale=np.ones(columns),
        strength=0.0,
        intercept=intercept,
    )
    cuts = list(range(chunk, n, chunk))
    return MemoryRows(Layout(intercept, columns), chunks_of(draft, label, cuts), draft.shift, draft.scale)


def random_trial(rng: np.random.Generator, family: str, loss: str) -> Trial:
    """Draw a problem of one kind."""
    draft = FAMILIES[family](rng)
    n = draft.dense.shape[1]
    label = labels(rng, loss, draft)
    if loss in ("poisson", "tweedie"):
        label[0] += 1.0
    if loss == "gamma":
        label = np.maximum(label, 1e-290)
    cuts = sorted({int(k) for k in rng.integers(1, max(n, 2), int(rng.integers(0, 3)))})
    sparse_columns = 0 if draft.sparse is None else draft.sparse.shape[1]
    one_class = len(set(label[(np.ones(n) if draft.weight is None else draft.weight) > 0])) < 2
    layout = Layout(draft.intercept and not one_class, len(draft.dense), draft.levels, sparse_columns)
    rows = MemoryRows(layout, chunks_of(draft, label, cuts), draft.shift, draft.scale)
    if draft.sparse is not None and rng.random() < 0.5:
        rows = replace(rows, sparse_scale=rng.uniform(0.5, 2.0, sparse_columns))
    strengths = np.full(layout.size, draft.strength)
    strengths[: int(layout.intercept)] = 0.0
    scale = np.ones(layout.size)
    scale[layout.lead - len(draft.dense) : layout.lead] = draft.scale
    shift = np.zeros(layout.size)
    shift[layout.lead - len(draft.dense) : layout.lead] = draft.shift / draft.scale
    units = Units(scale, shift if layout.intercept else None)
    one = TweedieLoss(float(rng.uniform(1.02, 1.98))) if loss == "tweedie" else LOSSES[loss]
    return Trial(family, loss, Objective(one, Quadratic(strengths)), rows, units)


def points(trial: Trial, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Yield points of different quality: the start, early steps, the end, and the end disturbed."""
    objective, rows = trial.objective, trial.rows
    start = objective.null_parameters(rows)
    yield "start", start
    previous = float("inf")
    try:
        state = Newton().start(objective, rows, start)
        for number in range(_STEPS):
            previous = state.decrement
            state = Newton().step(objective, rows, state)
            if number < _EARLY_STEPS:
                yield f"step {number + 1}", state.parameters
            if state.decrement > 0.5 * previous and state.decrement < 1e-6 * (1.0 + abs(state.expansion.value)):
                break
    except NotPositiveDefinite:
        return
    yield "end", state.parameters
    for size in 10.0 ** rng.uniform(-16, 0, 2):
        yield "disturbed", state.parameters * (1.0 + size * rng.normal(size=len(state.parameters)))


def returned(trial: Trial, parameters: Floats) -> Floats:
    """Return the predictions of the rows with weight as floats, as a model returns them."""
    chunks = [trial.rows.read(chunk) for chunk in trial.rows.chunks]
    etas = [linear_predictor(c.layout, c.block, parameters) + c.offset for c in chunks]
    counted = np.concatenate([c.weight for c in chunks]) > 0.0
    return INVERSE_LINKS[trial.objective.loss.name](np.concatenate(etas)[counted])


def check(trial: Trial, certificate: Certificate, parameters: Floats, oracle: Oracle, optimum: list[Any]) -> Verdict:
    """Compare every number of a certificate with the truth."""
    w = exact(parameters)
    gap = oracle.gap(w, optimum)
    units = trial.units
    change = [a - b for a, b in zip(w, optimum, strict=True)]
    moved = [abs(c) / mp.mpf(float(s)) for c, s in zip(change, units.scale, strict=True)]
    if units.shift is not None:
        moved[0] = abs(change[0] - mp.fdot(exact(units.shift[1:]), change[1:]))
    there, best = oracle.predictors(w), oracle.predictors(optimum)
    answers = [abs(oracle.response(a) - oracle.response(b)) for a, b in zip(there, best, strict=True)]
    floats = returned(trial, parameters)
    answers += [abs(mp.mpf(float(a)) - oracle.response(b)) for a, b in zip(floats, best, strict=True)]
    truth = {"loss_bound": gap, "coefficient_bound": max(moved), "prediction_bound": max(answers)}
    violations = []
    for name, value in truth.items():
        bound = getattr(certificate, name)
        if bound is not None and mp.mpf(bound) < value:
            violations.append(f"{name} {bound!r} < {mp.nstr(value, 17)}")
    assert certificate.loss_bound is not None
    assert certificate.floor is not None
    near_floor = certificate.loss_bound < 100.0 * certificate.floor or gap <= 0
    tightness = float("nan") if near_floor else float(mp.mpf(certificate.loss_bound) / gap)
    return Verdict(trial.family, trial.loss, "", True, tuple(violations), tightness, None)


def judge(trial: Trial, rng: np.random.Generator) -> list[Verdict]:
    """Certify one problem at points of different quality and let the oracle judge each certificate."""
    found: list[tuple[str, Floats, Certificate]] = []
    for point, parameters in points(trial, rng):
        certificate = certify(trial.objective, trial.rows, parameters, trial.units).certificate
        found.append((point, parameters, certificate))
    certified = [parameters for _, parameters, certificate in found if certificate.certified]
    verdicts = []
    if certified:
        oracle = Oracle.of(trial.objective, trial.rows)
        optimum = oracle.optimum(certified[-1])
    for point, parameters, certificate in found:
        if certificate.certified:
            verdict = check(trial, certificate, parameters, oracle, optimum)._replace(point=point)
        else:
            verdict = Verdict(trial.family, trial.loss, point, False, (), float("nan"), str(certificate.reason))
        verdicts.append(verdict)
    if not any(point == "end" for point, _, _ in found):
        verdicts.append(Verdict(trial.family, trial.loss, "end", False, (), float("nan"), "no factor on the way"))
    return verdicts


def judge_numbered(number: int, seed: int) -> list[Verdict]:
    """Judge one problem; numbers go through losses and families in turn."""
    rng = np.random.default_rng((seed, number))
    family, loss = list(FAMILIES)[number // len(LOSSES) % len(FAMILIES)], list(LOSSES)[number % len(LOSSES)]
    try:
        return judge(random_trial(rng, family, loss), rng)
    except BatchlearnError as refusal:
        return [Verdict(family, loss, "end", False, (), float("nan"), refusal.message)]


def run_trials(trials: int, seed: int) -> list[Verdict]:
    """Judge this many problems."""
    return [verdict for number in range(trials) for verdict in judge_numbered(number, seed)]
