"""The bracket: what training again would gain, at least and at most, before paying for it.

For the rows that came (or went, or decayed) since a version was trained: the objective over all rows falls by at
least `lower` if it is trained again, and by at most `upper` where that is proved, else by about `upper`, and then it is
called an estimate. Rung 1 reads the new rows alone; each further rung reads all rows once.

A gain is positive even where nothing changed: more rows from the same world give tr(H^-1 G) / 2 (1/n - 1/N) on
average, with H the Hessian and G the mean outer product of row gradients. `gain_over_null` is the ratio to that.
Whether the gain helps on later rows is another question: `later_gain` estimates it by leaving out days of the new rows,
for rows that are like them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.numbers import rounded_down, rounded_up
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Penalty
from batchlearn.statistics.objective import Objective
from batchlearn.updating.bound_from_totals import bound_from_totals
from batchlearn.updating.later_gain import FEWEST_CLUSTERS, LaterGain, later_gain
from batchlearn.updating.refine import refine
from batchlearn.updating.sufficient_statistics import SufficientStatistics, totals_at
from batchlearn.updating.update import Update, UpdateResult

# Readings of all rows that a training from scratch takes, and how much more than ours each of them costs.
_SCRATCH_READINGS = 10.0


@dataclass(frozen=True)
class Change:
    """What happened to the rows since the version was trained.

    added: rows that came, in the version's own encoding. removed: rows among the old ones that went. decay: what each
    old row's weight is multiplied by, above 0 and at most 1. times: when each row that came was seen, (rows,), as dates
    (datetime64[D]) or numbers: rows of one time share what happened then; without them rows are independent.
    """

    added: Rows | None
    removed: Rows | None = None
    decay: float = 1.0
    times: NDArray[np.generic] | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.decay <= 1.0:
            raise UsageError(
                f"The decay is {self.decay!r}; it needs to be above 0 and at most 1, such as 0.5.", code="decay-range"
            )
        rows = 0 if self.added is None else len(self.added)
        if self.times is not None and len(self.times) != rows:
            raise UsageError(
                f"There are {len(self.times):,} times for {rows:,} rows that came; give one a row, or none.",
                code="times-of-rows",
            )


@dataclass(frozen=True)
class Recent:
    """The bracket of the objective in which old rows weigh less: what a policy that looks at recent rows should see."""

    decay: float
    lower: float
    upper: float
    upper_is_proved: bool
    gain_over_null: float | None


@dataclass(frozen=True)
class Bracket:
    """What training again would gain. `prediction_shift` is of the linear predictor of any old or new row.

    It is a bound where `upper_is_proved`, else how far the step moves rows; `response_shift` is the same of a
    probability or mean, where that is bounded. Seconds and rows of a retrain are a forecast from this reading.
    """

    lower: float
    upper: float
    upper_is_proved: bool
    rung: int
    rows: int
    """Different rows that were read, for whatever purpose."""
    prediction_shift: float
    response_shift: float | None
    rows_read: int
    seconds: float
    gain_over_null: float | None
    null_gain: float
    later_gain: LaterGain | None
    retrain_rows: int
    retrain_seconds: float | None
    recent: Recent | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the bracket as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        most = (
            f"at most {rounded_up(self.upper, 3):.3g}"
            if self.upper_is_proved
            else f"about {self.upper:.3g} (an estimate)"
        )
        ratio = "" if self.gain_over_null is None else f", {self.gain_over_null:.2g} times that of an unchanged world"
        if self.recent is not None and self.recent.gain_over_null is not None:
            ratio += f" ({self.recent.gain_over_null:.2g} with old rows at {self.recent.decay:g} of their weight)"
        moved = "no prediction moves" if self.upper_is_proved else "the step moves no prediction"
        later = "" if self.later_gain is None else f" {_later_sentence(self.later_gain)}"
        return (
            f"Training again gains at least {rounded_down(self.lower, 3):.3g} and {most}{ratio}; {moved} by more than "
            f"{rounded_up(self.prediction_shift, 3):.3g} (linear predictor). Rung {self.rung}: {self.rows:,} rows, "
            f"{self.rows_read:,} readings of a row in {self.seconds:.2f} s.{later}"
        )


@dataclass(frozen=True)
class BracketResult:
    """A bracket with the update that it came from."""

    bracket: Bracket
    reached: UpdateResult
    update: Update


def bracket(
    kept: SufficientStatistics,
    change: Change,
    penalty: Penalty,
    *,
    all_rows: Callable[[], Rows] | None = None,
    recent: float | None = None,
) -> BracketResult:
    """Bracket the gain of training again; climb the ladder where rung 1 is not two-sided and all rows can be read.

    `penalty` is that of any number of rows: the version's own. `all_rows` gives the rows of the new objective (old rows
    that stay, decayed as stated, and the new ones) in the version's encoding. `recent` asks for a second bracket in
    which old rows weigh that much. DataError where rows do not fit the kept totals, CertificateError where the rows
    that remain have no factored Hessian.
    """
    began = time.perf_counter()
    change = replace(change, added=_checked(kept, change.added), removed=_checked(kept, change.removed))
    base, removed = remaining(kept, change), len(change.removed) if change.removed is not None else 0
    update = update_of(base, change.added, penalty)
    reached, rung, rows = bound_from_totals(update), 1, base.rows
    fresh = 0 if change.added is None else len(change.added)
    different, read = removed + fresh, removed
    if reached.upper is None and all_rows is not None:
        everything = all_rows()
        reached, passes = refine(update, reached, everything)
        rung = 1 + passes
        read += passes * len(everything)
        different = removed + len(everything)
    window, more = (None, 0) if recent is None else _recent(kept, base, change, penalty, recent)
    later, again = later_gain(update, reached.optimum, change.times)
    seconds = time.perf_counter() - began
    null = _null_gain(kept, update, change)
    upper = reached.estimate if reached.upper is None else reached.upper
    left = 0.0 if reached.proof.bounds is None else reached.proof.bounds.radius * reached.proof.kappa
    shift = (reached.reach + left) * (1.0 + 1e-12)
    found = Bracket(
        lower=reached.lower,
        upper=upper,
        upper_is_proved=reached.upper is not None,
        rung=rung,
        rows=different,
        prediction_shift=shift,
        response_shift=response_shift(update.objective.loss.name, shift),
        rows_read=read + (reached.readings + more + again) * fresh,
        seconds=seconds,
        gain_over_null=_ratio(reached, null),
        null_gain=null,
        later_gain=later,
        retrain_rows=rows + fresh,
        retrain_seconds=_SCRATCH_READINGS * update.seconds * (rows + fresh) / fresh if fresh else None,
        recent=window,
    )
    return BracketResult(found, reached, update)


def update_of(base: SufficientStatistics, added: Rows | None, penalty: Penalty) -> Update:
    """Return the update of the rows that stay by new ones, of the objective over both."""
    weight = base.totals.weight + (0.0 if added is None else added.total_weight)
    return Update.of(base, added, Objective(LOSSES[base.loss], penalty.over(weight)))


def _checked(kept: SufficientStatistics, rows: Rows | None) -> Rows | None:
    if rows is None or len(rows) == 0:
        return None  # an empty change is none
    if rows.layout != kept.layout:
        raise DataError(
            f"The rows have {rows.layout.size} coefficients in another layout than the {kept.layout.size} of the kept "
            "totals. Encode them with the version's own encoding.",
            code="rows-of-another-layout",
        )
    return rows


def remaining(kept: SufficientStatistics, change: Change) -> SufficientStatistics:
    """Return the totals of the old rows that stay, as they weigh now."""
    left, removed = kept, change.removed
    if removed is not None:
        third = kept.totals.third is not None
        totals, domain = totals_at(LOSSES[kept.loss], removed, kept.parameters, third)
        more = domain.parts.counts > kept.domain.parts.counts
        wide = domain.parts.low < kept.domain.parts.low, domain.parts.high > kept.domain.parts.high
        if np.any(more) or np.any(wide) or not totals.weight < kept.totals.weight or len(removed) >= kept.rows:
            raise DataError(
                f"{len(removed):,} rows are to be removed that cannot all be among the {kept.rows:,} kept ones, or "
                "nothing would remain. Remove only rows that the version was trained on.",
                code="removed-not-kept",
            )
        left = kept.without(totals, len(removed))
    return left if change.decay == 1.0 else left.decayed(change.decay)


def _recent(
    kept: SufficientStatistics, base: SufficientStatistics, change: Change, penalty: Penalty, decay: float
) -> tuple[Recent, int]:
    lesser = replace(change, decay=change.decay * decay)
    update = update_of(base.decayed(decay), change.added, penalty)
    reached = bound_from_totals(update)
    null = _null_gain(kept, update, lesser)
    proved = reached.upper is not None
    upper = reached.estimate if reached.upper is None else reached.upper
    return Recent(decay, reached.lower, upper, proved, _ratio(reached, null)), reached.readings


def _null_gain(kept: SufficientStatistics, update: Update, change: Change) -> float:
    """Return what the same change would gain on average if all rows came from one world.

    With S the summed outer products of old row gradients, w0 their optimum, rho the decay, r = sum of squared weights
    over that of the old rows, and k = (added - rho removed weight) / n, the gradient at w0 over the rows of the new
    objective has covariance (r_added + rho^2 r_removed + k^2 + 2 k rho r_removed) S: the noise of the rows that came
    and went, and that of w0. The gain is half its trace in the metric of the new Hessian, (n / N) times the kept one.
    """
    n, rho = kept.reference_weight, change.decay
    squares = kept.scatter.squares
    came = _squares(change.added) / squares
    went = rho * rho * _squares(change.removed) / squares
    gone = 0.0 if change.removed is None else change.removed.total_weight
    k = (update.fresh.weight - rho * gone) / n
    factor = came + went + k * k + 2.0 * k * went / rho
    return 0.5 * factor * kept.scatter.trace * n / update.weight**2


def _squares(rows: Rows | None) -> float:
    return 0.0 if rows is None else rows.squared_weight


def _ratio(reached: UpdateResult, null: float) -> float | None:
    """Return the best known gain over the null one."""
    gain = reached.estimate if reached.upper is None else 0.5 * (reached.lower + reached.upper)
    return gain / null if null > 0.0 else None


def response_shift(loss: str, shift: float) -> float | None:
    """Return how far a response moves, at most, when its linear predictor moves by `shift`; None without a bound."""
    if loss == "squared":
        return shift
    # The logistic response moves most where it crosses one half in the middle: tanh(shift / 4).
    return min(math.tanh(0.25 * shift) * (1.0 + 1e-12), 1.0) if loss == "logistic" else None


def _later_sentence(gain: LaterGain) -> str:
    """Say what later rows gain, and over how many days, times or rows that is known."""
    said = f"On later rows like the new ones about {gain.value:.3g} a row"
    over = f"over {gain.clusters:,} {gain.cluster}{'' if gain.clusters == 1 else 's'}"
    if gain.low is None or gain.high is None:
        return f"{said}, an estimate {over} without interval, which takes {FEWEST_CLUSTERS} or more of like size."
    return f"{said} ({gain.low:.3g} to {gain.high:.3g} {over})."
