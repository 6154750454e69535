"""What `partial_fit` keeps: a learner that goes on row by row, however the rows are cut into calls.

Rows are learned in blocks that follow from row numbers alone. A call's last, unfinished block is kept: the answer
includes it, and the next call learns it again together with its own rows, so that the bits do not depend on the calls.
Columns are shifted by the first row and scaled by the first difference from it, so that their units do not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.errors import UsageError
from batchlearn.estimators.settings import EstimatorSettings
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels import native
from batchlearn.kernels.design import Block, Columns, Floats, Layout, SparseColumns, squared
from batchlearn.kernels.native.epochs import Compiled, Strengths, Turns, follow_diagonal, follow_newton, learned_rows
from batchlearn.kernels.normalised import NormalisedState
from batchlearn.kernels.online.diagonal import STRENGTH, DiagonalState
from batchlearn.kernels.online.newton import BLOCK
from batchlearn.kernels.single_rows import padded, unpadded
from batchlearn.kernels.sums import transposed_product, transposed_products
from batchlearn.kernels.window_mean import WindowMean
from batchlearn.objectives.factor import Factor
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.batches import compiled_loss
from batchlearn.solvers.online.diagonal import DiagonalNewton
from batchlearn.solvers.online.newton import FAINT, MOST_COEFFICIENTS, OnlineNewton, OnlineState
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import predictor, weighted_slope
from batchlearn.training.certificate import Certificate, Proved
from batchlearn.training.matrix import Matrix, row_weights

# Coefficients whose penalty is brought up to date after a block, in turn.
_IN_TURN = 8
# What one of their payments has to be, as a share of its coefficient.
_LEAST_PAYMENT = 1e-6
# Rows a coefficient, up to which the prior of a learner's first rows stays whole.
_WHOLE_PRIOR = 8
_State = OnlineState | DiagonalState | NormalisedState


@dataclass(frozen=True)
class Learner:
    """The state after whole blocks, and the rows of the unfinished one; arrays over columns are (columns,).

    Columns stand in the order of the layout, dense ones first: `order` says which of the matrix each is.
    """

    loss: Loss
    alpha: float
    layout: Layout
    shift: Floats
    scale: Floats
    seen: NDArray[np.bool_]  # columns that have their scale
    order: NDArray[np.intp]
    state: _State
    pending: tuple[Any, Floats, Floats] | None = None  # values, labels, weights
    weight: float = 0.0  # of the rows learned
    paid: Floats | None = None  # (d,): the weight up to which each coefficient's penalty is in the state
    turn: int = 0
    in_order: bool = True  # whether `order` leaves the columns where they are
    prior: Floats | None = None  # (columns,): precision that is in the curvature at first
    blocks: int = 0  # of rows learned


def begin(loss: Loss, alpha: float, values: Any, intercept: bool) -> Learner:
    """Return the learner before its first row; `values` (n, columns) holds at least that."""
    columns = values.shape[1]
    sparse, loss = issparse(values), _curved(loss)
    layout = Layout(intercept, 0 if sparse else columns, (), columns if sparse else 0)
    shift = np.asarray(values[0], dtype=np.float64).copy() if intercept and not sparse else np.zeros(columns)
    size, outputs = layout.size, loss.outputs
    state: _State
    prior = None
    if outputs == 1 and size <= MOST_COEFFICIENTS:
        state = OnlineState(np.zeros(size), np.eye(size) / FAINT, np.zeros(size), FAINT * np.eye(size))
        # First rows of such a loss can be told apart without error, and others would be predicted as if for sure.
        prior = np.zeros(columns) if loss.self_concordance > 0.0 else None
    else:
        empty = MemoryRows(layout, (), np.zeros(layout.dense), np.ones(layout.dense))
        objective, start = Objective(loss, Quadratic(np.zeros(outputs * size))), np.zeros(outputs * size)
        plan, solver = ReadingPlan(1, 16 * BLOCK, 1.0, 0), DiagonalNewton() if outputs == 1 else NormalisedGradient()
        state = solver.start(objective, empty, start, plan)
    # The others know no units of columns: there is nothing to scale.
    seen = np.full(columns, not isinstance(state, OnlineState))
    scale, order = np.ones(columns), np.arange(columns)
    return Learner(loss, alpha, layout, shift, scale, seen, order, state, paid=np.zeros(size), prior=prior)


def go_on(loss: Loss, alpha: float, matrix: Matrix, parameters: Floats, factor: Factor | None) -> Learner | None:
    """Return the learner that knows what a certified batch fit knows; None without a matrix of its curvature.

    That of several outputs goes on from the point with steps as short as if it had learned the rows one by one.
    """
    size, weight = matrix.rows.layout.size, matrix.weight
    state: _State
    if loss.outputs > 1:
        largest, squares, lengths, slopes, curvatures = matrix.rows.total(_StepTotal(loss), parameters)
        unit = np.where(largest > 0.0, largest, 1.0)
        ratio = weight / matrix.rows.total_weight
        sums = padded((squares.reshape(-1, size) * (ratio / unit) ** 2).ravel(), loss.outputs)
        point, norm = padded(parameters, loss.outputs), float(lengths @ (1.0 / unit**2))
        mean = WindowMean.start(point, BLOCK)
        own = norm * ratio, float(slopes) * ratio, float(curvatures) * ratio
        state = NormalisedState(point, mean, sums, np.append(largest, 1.0), weight, *own)
    elif factor is None or size > MOST_COEFFICIENTS:
        return None
    else:
        state = OnlineState(parameters, factor.inverse_hessian / weight, np.zeros(size), np.zeros((size, size)))
    seen = np.ones(len(matrix.scale), dtype=bool)
    paid = np.full(size, weight)
    layout, order = matrix.rows.layout, matrix.order
    in_order = bool(np.all(np.diff(order) == 1))
    scales = matrix.shift, matrix.scale, seen, order
    return Learner(_curved(loss), alpha, layout, *scales, state, weight=weight, paid=paid, in_order=in_order)


@dataclass(frozen=True)
class _StepTotal:
    """What normalised updates keep of rows, all learned at one point.

    Of each coefficient the largest size of its column, (d,); of each output's the squared gradients of the rows, (d,);
    the columns' squares; and of the predictors squared slopes and curvatures.
    """

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.add, np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Any, ...]:
        """Return the chunk's totals."""
        layout, squares, eta = chunk.layout, squared(chunk.block), predictor(chunk, parameters)
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        largest = squares.dense.max(axis=1)
        if layout.sparse:
            largest = np.append(largest, squares.sparse.max(axis=0).toarray().ravel())
        # Along all predictors at once, as the row loop measures it.
        along = zip(self.loss.curvatures(eta, chunk.label), self.loss.contrasts.T, strict=True)
        curvature = sum(float(curve @ chunk.weight) * float(contrast.sum()) ** 2 for curve, contrast in along)
        return (
            np.sqrt(largest),
            transposed_products(layout, squares, slope**2),
            transposed_product(layout, squares, chunk.weight),
            np.sum(slope**2 / chunk.weight),
            curvature / self.loss.outputs,
        )


def _curved(loss: Loss) -> Loss:
    """Return the loss with curvature wherever a row is: one beyond a corner would teach an inverse Hessian nothing."""
    return loss if loss.corners is None else loss.corners.majorised


def learn(learner: Learner, values: Any, label: Floats, weight: Floats | None) -> tuple[Learner, Floats]:
    """Learn rows; return the learner and the parameters inside (d,) after all rows so far."""
    if weight is None:
        weight = np.ones(len(label))
    else:
        counted = weight > 0.0
        values, label, weight = values[counted], label[counted], weight[counted]
    learner = _scaled(learner, values)
    if not isinstance(learner.state, OnlineState):  # no blocks: cutting a stretch changes no bit
        learner = _learned(learner, values, label, weight)
        return learner, unpadded(learner.state.parameters)
    pieces, rest = [(values, label, weight)], None
    if learner.pending is not None:
        # The unfinished block is filled up apart: nothing else is copied.
        old, missing = learner.pending, slice(0, BLOCK - len(learner.pending[1]))
        both = [old[0], values[missing]]
        begun = vstack(both, format="csr") if issparse(values) else np.concatenate(both)
        pieces = [(begun, np.append(old[1], label[missing]), np.append(old[2], weight[missing]))]
        pieces.append((values[missing.stop :], label[missing.stop :], weight[missing.stop :]))
    for piece in pieces:
        if len(piece[1]):
            learner, rest = _blocks_learned(learner, *piece)
    learner = replace(learner, pending=rest)
    shown = learner if rest is None else _learned(learner, *rest)
    return learner, shown.state.parameters.copy()


def _blocks_learned(learner: Learner, values: Any, label: Floats, weight: Floats) -> tuple[Learner, Any]:
    """Learn the whole blocks of rows, which begin with one; return the learner and the rows of an unfinished one."""
    if learner.blocks == 0 and learner.prior is not None:
        learner = _with_prior(learner, values[:BLOCK])
    whole = len(label) // BLOCK * BLOCK
    fast = compiled_loss(learner.loss) is not None and native.compiled() is not None
    first = 0
    while first < whole:
        # The prior fades where the number of blocks is a power of four.
        bits = learner.blocks.bit_length()
        till_faded = whole if learner.prior is None else (1 << bits + bits % 2) - learner.blocks
        part = slice(first, min(first + (till_faded if fast else 1) * BLOCK, whole))
        learner = _learned(learner, values[part], label[part], weight[part], in_turn=fast)
        learner = learner if fast else _turned(learner)
        learner = _faded(replace(learner, blocks=learner.blocks + (part.stop - first) // BLOCK))
        first = part.stop
    rest = values[whole:].copy(), label[whole:].copy(), weight[whole:].copy()
    return learner, rest if len(rest[1]) else None


def _with_prior(learner: Learner, values: Any) -> Learner:
    """Return a learner that has learned nothing with the prior that its first rows have: that of `DiagonalNewton`."""
    dense = values.toarray() if issparse(values) else np.asarray(values, dtype=np.float64)
    squares = ((dense - learner.shift) / learner.scale) ** 2
    counts = np.count_nonzero(squares, axis=0)
    # A column that none of them fills will have a scale of what it holds first.
    sizes = np.where(counts > 0, squares.sum(axis=0) / np.maximum(counts, 1), 1.0)
    prior = STRENGTH * (counts.sum() / len(dense)) * sizes
    curvature = np.append(np.full(int(learner.layout.intercept), FAINT), FAINT + prior)
    assert isinstance(learner.state, OnlineState)
    return replace(learner, state=replace(learner.state, inverse=np.diag(1.0 / curvature)), prior=prior)


def _faded(learner: Learner) -> Learner:
    """Take from the prior what the number of rows no longer needs: in the end the objective is the penalised one."""
    state, count = learner.state, learner.blocks
    if learner.prior is None or count & (count - 1) or not count.bit_length() % 2 or not isinstance(state, OnlineState):
        return learner
    gone = (_share_of_prior(learner, count // 4) - _share_of_prior(learner, count)) * learner.prior
    if not gone.any():
        return learner
    gone = np.append(np.zeros(int(learner.layout.intercept)), gone)
    # (P^-1 - D)^-1; D P is below a half, for the curvature has at least twice the prior that goes.
    inverse = np.linalg.solve(np.eye(len(gone)) - state.inverse * gone, state.inverse)
    inverse = 0.5 * (inverse + inverse.T)
    parameters = state.parameters + inverse @ (gone * state.parameters)
    return replace(learner, state=replace(state, parameters=parameters, inverse=inverse))


def _share_of_prior(learner: Learner, blocks: int) -> float:
    """Return what is left of the prior after so many blocks: all for eight rows a coefficient, then less and less."""
    return min(1.0, _WHOLE_PRIOR * learner.layout.size / max(blocks * BLOCK, 1))


def delivered(learner: Learner, parameters: Floats) -> tuple[Floats, Floats]:
    """Return coefficients (outputs, columns) and intercepts (outputs,) in the units of the columns."""
    lead, outputs = int(learner.layout.intercept), parameters.reshape(-1, learner.layout.size)
    coefficients = outputs[:, lead:] / learner.scale
    intercepts = outputs[:, 0] - coefficients @ learner.shift if lead else np.zeros(len(outputs))
    if not learner.in_order:
        coefficients[:, learner.order] = coefficients.copy()
    return coefficients, intercepts


def _scaled(learner: Learner, values: Any) -> Learner:
    """Give each column the size of its first value that differs from the shift, as a power of two."""
    if learner.seen.all():
        return learner
    scale, seen = learner.scale.copy(), learner.seen.copy()
    for rows in (values[:BLOCK], values):  # most columns have theirs among the first rows
        new = np.flatnonzero(~seen)
        if not len(new):
            break
        part = rows[:, new].toarray() if issparse(rows) else np.asarray(rows[:, new], dtype=np.float64)
        distance = np.abs(part - learner.shift[new])
        met = distance > 0.0
        first = distance[np.argmax(met, axis=0), np.arange(len(new))]
        scale[new] = np.where(first > 0.0, np.exp2(np.rint(np.log2(np.where(first > 0.0, first, 1.0)))), 1.0)
        seen[new] = met.any(axis=0)
    return replace(learner, scale=scale, seen=seen)


def _learned(learner: Learner, values: Any, label: Floats, weight: Floats, *, in_turn: bool = False) -> Learner:
    """Learn rows; `in_turn`, which compiled loops alone can do: the penalty is brought up to date after each block."""
    dense, sparse, count = values, None, learner.layout.dense
    if issparse(values):
        # Of columns in their own order nothing is copied.
        plain = count == 0 and learner.in_order
        dense = np.empty((len(label), 0)) if plain else values[:, learner.order[:count]].toarray()
        sparse = values if plain else values[:, learner.order[count:]]
    codes = np.empty((0, len(label)), dtype=np.uint8)
    fast = _compiled(learner, dense.T, codes, sparse, label, weight)
    if fast is not None:
        return _learned_compiled(learner, fast, float(weight.sum()), in_turn=in_turn)
    chunk = StoredChunk(dense.T, codes, label, weight, sparse=sparse)
    shift, scale = learner.shift[:count], learner.scale[:count]
    rows = MemoryRows(learner.layout, (chunk,), shift, scale, sparse_scale=learner.scale[count:])
    objective = Objective(learner.loss, Quadratic(_strengths(learner)))
    state: _State
    if isinstance(learner.state, OnlineState):
        state = OnlineNewton().step(objective, rows, learner.state)
    elif isinstance(learner.state, DiagonalState):
        state = DiagonalNewton().step(objective, rows, learner.state)
    else:
        state = NormalisedGradient().step(objective, rows, learner.state)
    return replace(learner, state=state, weight=learner.weight + float(weight.sum()))


def _compiled(learner: Learner, dense: Any, codes: Any, sparse: Any, label: Floats, weight: Floats) -> Compiled | None:
    kind, layout, count = compiled_loss(learner.loss), learner.layout, learner.layout.dense
    if kind is None or isinstance(learner.state, NormalisedState):
        return None
    columns = Columns(dense, learner.shift[:count], learner.scale[:count], layout.intercept)
    # Where a diagonal serves all scales are one.
    factor = None if isinstance(learner.state, DiagonalState) else 1.0 / learner.scale[count:]
    sparse = None if sparse is None else SparseColumns(sparse, factor)
    rows = learned_rows(layout, Block(columns, codes, sparse), label, weight, None)
    return None if rows is None else Compiled(rows, None, len(label), layout.lead, *kind)


def _learned_compiled(learner: Learner, fast: Compiled, weight: float, *, in_turn: bool) -> Learner:
    state, strengths = learner.state, _strengths(learner)
    if isinstance(state, DiagonalState):
        state, _ = follow_diagonal(fast, Strengths(strengths, ()), state)
        return replace(learner, state=state, weight=learner.weight + weight)
    assert isinstance(state, OnlineState)
    turns = None
    if in_turn and learner.alpha > 0.0 and learner.paid is not None:
        turns = Turns(strengths, learner.paid, learner.weight, learner.turn, _IN_TURN, _LEAST_PAYMENT)
    parameters, inverse, _, turns = follow_newton(fast, state.parameters, state.inverse, turns, BLOCK)
    state = replace(state, parameters=parameters, inverse=inverse)
    paid, turn = (learner.paid, learner.turn) if turns is None else (turns.paid, turns.turn)
    return replace(learner, state=state, weight=learner.weight + weight, paid=paid, turn=turn)


def _strengths(learner: Learner) -> Floats:
    strengths = learner.alpha / learner.scale**2
    strengths = np.append(0.0, strengths) if learner.layout.intercept else strengths
    return np.tile(strengths, learner.loss.outputs)


def _turned(learner: Learner) -> Learner:
    """Bring the penalty of a few coefficients up to date: it is read in turns, as the rows are, and as exactly."""
    state, paid = learner.state, learner.paid
    if learner.alpha == 0.0 or paid is None or not isinstance(state, OnlineState):
        return learner
    lead, size = int(learner.layout.intercept), learner.layout.size
    columns = size - lead
    places = lead + (learner.turn * _IN_TURN + np.arange(min(_IN_TURN, columns))) % max(columns, 1)
    precision = _strengths(learner)[places] * (learner.weight - paid[places])
    if not np.any(precision * np.diagonal(state.inverse)[places] > _LEAST_PAYMENT):
        return replace(learner, turn=learner.turn + 1)
    inner = np.eye(len(places)) + precision[:, None] * state.inverse[np.ix_(places, places)]
    gain = np.linalg.solve(inner, precision[:, None] * state.inverse[places])  # (places, d)
    parameters = state.parameters - state.parameters[places] @ gain
    inverse = state.inverse - state.inverse[:, places] @ gain
    paid = paid.copy()
    paid[places] = learner.weight
    state = replace(state, parameters=parameters, inverse=0.5 * (inverse + inverse.T))
    return replace(learner, state=state, paid=paid, turn=learner.turn + 1)


def learn_rows(
    estimator: Any, settings: EstimatorSettings, values: Any, label: Floats, sample_weight: Any
) -> tuple[Floats, Floats]:
    """Learn checked rows; return coefficients (outputs, columns) and intercepts (outputs,), without a certificate.

    The estimator keeps the learner.
    """
    loss = settings.loss
    loss.check_labels(label)
    weight = row_weights(sample_weight, len(label))
    learner: Learner | None = getattr(estimator, "_learner", None)
    if learner is None:
        if hasattr(estimator, "coef_"):
            raise UsageError(
                f"This estimator was fitted by fit() and has no curvature to go on from: partial_fit after fit needs "
                f"at most {MOST_COEFFICIENTS} coefficients and a certificate with a factor. Fit all rows again, or "
                "begin with partial_fit on a new estimator.",
                code="partial-fit-start",
            )
        if settings.standardize:
            raise UsageError(
                "A penalty per standard deviation needs all rows first. Call fit before partial_fit, or set "
                "standardize=False.",
                code="partial-fit-standardize",
            )
        counted = values if weight is None else values[weight > 0.0]
        learner = begin(loss, settings.alpha, counted, settings.intercept)
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        learner, parameters = learn(learner, values, label, weight)
    estimator._learner, estimator.n_iter_, estimator.objective_ = learner, 1, math.nan
    rows = int(learner.weight) + (0 if learner.pending is None else len(learner.pending[1]))
    reason = Note(Code.ROWS_NOT_KEPT)
    estimator.certificate_ = Certificate(Proved.NOT_CERTIFIED, reason, None, None, None, None, None, rows, None)
    return delivered(learner, parameters)
