"""How often policies that watch for change fire where nothing changes, how often where something does, and how soon.

    python benchmarks/policy_trials.py [--series 1000] [--only decay] [--write]

Each series is shuffled, so that nothing changes in it; then the same series is given a shift, of the size that its row
names, from the middle on. A policy is asked at every look, as in production, and has fired when it first says retrain.
Exits with 1 where one fires without a change in more series than a true rate of 5 % would give in one of twenty runs
(62 of 1,000), or with the shift in less than 80 %. The gain has a multiple and no stated rate; it is held to the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.updating.made import Made, kept_of, some

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.kernels.design import Floats, Layout
from batchlearn.retraining.bracket import Bracket, Change, bracket
from batchlearn.retraining.policies import Losses, Policy, Samples, Situation
from batchlearn.retraining.policies.detection import Decay, Drift
from batchlearn.retraining.policies.worth import WhenGainExceeds
from batchlearn.updating.sufficient_statistics import SufficientStatistics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "policies.md"
RATE, FOUND, LOOKS = 0.05, 0.8, 20
LEARNED, SERIES_ROWS = 4_000, 4_000


class Arrived(NamedTuple):
    """The rows of a series that have come by a look, as evidence."""

    rows: int  # of the series
    loss: Floats
    reference: pa.Table
    recent: pa.Table
    kept: SufficientStatistics | None = None
    added: MemoryRows | None = None
    problem: Made | None = None

    def losses(self, versions: int = 1) -> tuple[Losses, ...]:  # noqa: ARG002 - there is one
        seen = np.arange(1.0, self.rows + 1.0)
        return (Losses(0.0, LEARNED, seen, seen, self.loss[: self.rows]),)

    def samples(self) -> Samples:
        return Samples(self.reference, self.recent.slice(0, self.rows))

    def bracket(self) -> Bracket:
        assert self.kept is not None
        assert self.added is not None
        assert self.problem is not None
        added = some(self.added, np.arange(self.rows))
        return bracket(self.kept, Change(added), self.problem.penalty).bracket


class Watch(NamedTuple):
    """A policy, the shift, and what makes a series with a shift or without; evidence by the rows that have come."""

    policy: Policy
    shift: str
    series: Callable[[np.random.Generator, bool], Arrived]


def losses(size: float) -> Callable[[np.random.Generator, bool], Arrived]:
    """Skewed losses that drift before they are shuffled; the shift adds so many of their standard deviations."""

    def series(rng: np.random.Generator, shifted: bool) -> Arrived:
        loss = rng.gamma(0.7, size=SERIES_ROWS) * np.linspace(1.0, 2.0, SERIES_ROWS)
        rng.shuffle(loss)
        loss[SERIES_ROWS // 2 :] += shifted * size * loss.std()
        empty = pa.table({})
        return Arrived(SERIES_ROWS, loss, empty, empty)

    return series


def columns(size: float) -> Callable[[np.random.Generator, bool], Arrived]:
    """Five numbers, of which one is skewed and one half missing, and twelve levels; one number moves by the size."""

    def series(rng: np.random.Generator, shifted: bool) -> Arrived:
        rows = LEARNED + SERIES_ROWS
        numbers = rng.normal(size=(5, rows))
        numbers[1] = np.exp(numbers[1])
        numbers[2, rng.random(rows) < 0.5] = np.nan
        numbers[0, LEARNED + SERIES_ROWS // 2 :] += shifted * size
        levels = pa.array([f"level {one}" for one in rng.geometric(0.3, rows).clip(1, 12)]).dictionary_encode()
        made = {f"x{k}": pa.array(column, from_pandas=True) for k, column in enumerate(numbers)}
        whole = pa.table({**made, "level": levels})
        return Arrived(SERIES_ROWS, np.zeros(0), whole.slice(0, LEARNED), whole.slice(LEARNED))

    return series


def effects(size: float) -> Callable[[np.random.Generator, bool], Arrived]:
    """Two classes by five numbers and six levels; one effect moves by the size."""

    def series(rng: np.random.Generator, shifted: bool) -> Arrived:
        layout = Layout(True, 5, (6,))
        problem = Made("logistic", layout, 0.4 * rng.normal(size=layout.size), 1.0, weighted=False)
        old, new = problem.rows(rng, LEARNED), problem.rows(rng, SERIES_ROWS)
        moved = problem.truth.copy()
        moved[1] += size
        if shifted:
            after = replace(problem, truth=moved).rows(rng, SERIES_ROWS)
            half, (first,), (second,) = SERIES_ROWS // 2, new.chunks, after.chunks
            first.label[half:], first.dense[:, half:], first.codes[:, half:] = (
                second.label[half:], second.dense[:, half:], second.codes[:, half:],
            )  # fmt: skip
        return Arrived(SERIES_ROWS, np.zeros(0), pa.table({}), pa.table({}), kept_of(problem, old), new, problem)

    return series


WATCHES = {
    "decay": Watch(Decay(RATE), "losses rise by half a standard deviation of a row's", losses(0.5)),
    "psi": Watch(Drift("psi", RATE), "one of six columns moves by half its standard deviation", columns(0.5)),
    "ks": Watch(Drift("ks", RATE), "one of six columns moves by half its standard deviation", columns(0.5)),
    "classifier": Watch(
        Drift("classifier", RATE), "one of six columns moves by three quarters of its standard deviation", columns(0.75)
    ),
    "gain": Watch(WhenGainExceeds(3.0), "one of 12 effects moves by 0.8", effects(0.8)),
}


def fires(policy: Policy, arrived: Arrived) -> int | None:
    """Return the rows of a series that had come when the policy first fired; None where it never does."""
    looks = [SERIES_ROWS * k // LOOKS for k in range(1, LOOKS + 1)]
    # The odds of a watch are the largest there ever were: a look that does not fire had none before it that did.
    if not isinstance(policy, WhenGainExceeds) and not _due(policy, arrived, looks[-1]):
        return None
    return next((rows for rows in looks if _due(policy, arrived, rows)), None)


def _due(policy: Policy, arrived: Arrived, rows: int) -> bool:
    evidence = arrived._replace(rows=rows)
    return policy.decide(Situation(float(rows), 0.0, rows, False, learned=LEARNED, evidence=evidence)).retrain


def trial(name: str, count: int) -> tuple[str, bool]:
    """Return the row of a policy for the table, and whether it keeps what is stated."""
    watch, false, delays, early = WATCHES[name], 0, list[int](), 0
    began = time.perf_counter()
    for seed in range(count):
        false += fires(watch.policy, watch.series(np.random.default_rng(seed), False)) is not None
        fired = fires(watch.policy, watch.series(np.random.default_rng(seed), True))
        early += fired is not None and fired <= SERIES_ROWS // 2
        if fired is not None and fired > SERIES_ROWS // 2:
            delays.append(fired - SERIES_ROWS // 2)
    allowed = int(binom.ppf(0.95, count, RATE))
    delay = f"{np.median(delays):,.0f}" if delays else "-"
    row = f"| `{watch.policy}` | {false:,} of {count:,} | {watch.shift} | {len(delays):,} of {count:,} | {delay} |"
    print(row, f"  {time.perf_counter() - began:.0f} s, at most {allowed}, fired before the shift {early}", flush=True)
    return row, false <= allowed and len(delays) >= FOUND * count


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=list(WATCHES), choices=list(WATCHES))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with one_blas_thread():
        found = [trial(name, arguments.series) for name in arguments.only]
    if arguments.write:
        begin, end = "<!-- trials -->\n", "<!-- end of trials -->"
        head = (
            "| policy | fired without a change | shift | fired after it | median rows from it |\n" + "|---" * 5 + "|\n"
        )
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(begin)[0], page.split(end)[1]
        PAGE.write_text(
            before + begin + head + "\n".join(row for row, _ in found) + "\n" + end + after, encoding="utf-8"
        )
    return 0 if all(kept for _, kept in found) else 1


if __name__ == "__main__":
    sys.exit(main())
