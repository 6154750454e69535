"""Certificates of random small problems against 60-digit arithmetic, by the thousand.

    python benchmarks/certificate_trials.py --trials 10000

prints, for each family of problems: certificates judged, bounds below the truth (must be 0; the exit status is 1
otherwise), the share of solved problems that was refused, and the loss bound over the true gap away from the floor that
rounding leaves (median and largest). Beside so many problems of certificates, half as many (`--returned`) are of what
estimators and trained models return as floats, at the end of a fit, on columns that are hard on floats; their last two
columns are the bound on predictions over the true distance of the returned ones, where all of it is rounding.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tests.training.certificate.returned import KINDS, TABLES, judge_returned
from tests.training.trials import FAMILIES, Verdict, judge_numbered

_BATCH = 36


def run(trials: int, returned: int, seed: int, processes: int) -> list[Verdict]:
    with ProcessPoolExecutor(processes) as pool:
        answers = [
            *pool.map(partial(judge_numbered, seed=seed), range(trials), chunksize=_BATCH),
            *pool.map(partial(judge_returned, seed=seed), range(returned), chunksize=_BATCH),
        ]
        return [verdict for answer in answers for verdict in answer]


def line(name: str, verdicts: list[Verdict]) -> str:
    certified = [verdict for verdict in verdicts if verdict.certified]
    solved = [verdict for verdict in verdicts if verdict.point in ("end", "outside")]
    refused = sum(not verdict.certified for verdict in solved)
    tightness = [verdict.tightness for verdict in certified if np.isfinite(verdict.tightness)]
    wrong = sum(bool(verdict.violations) for verdict in certified)
    return (
        f"{name:17} {len(certified):8} {wrong:6} {refused:8} of {len(solved):5} ({refused / max(len(solved), 1):6.2%})"
        f" {np.median(tightness) if tightness else float('nan'):9.4f} {max(tightness, default=float('nan')):9.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge certificates by 60-digit arithmetic.")
    parser.add_argument("--trials", type=int, default=720)
    parser.add_argument("--returned", type=int, default=None, help="problems of what is returned: half of the trials")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.perf_counter()
    returned = options.trials // 2 if options.returned is None else options.returned
    verdicts = run(options.trials, returned, options.seed, options.processes)
    print(f"{'family':17} {'judged':>8} {'wrong':>6} {'refused once solved':>26} {'median':>9} {'largest':>9}")
    for family in [*FAMILIES, *KINDS, *TABLES]:
        print(line(family, [verdict for verdict in verdicts if verdict.family == family]))
    # Of what is returned the last two columns are of another bound.
    print(line("all", [v if v.family in FAMILIES else v._replace(tightness=np.nan) for v in verdicts]))
    wrong = [verdict for verdict in verdicts if verdict.violations]
    for verdict in wrong[:20]:
        print(f"  {verdict.family}, {verdict.loss}, {verdict.point}: {'; '.join(verdict.violations)}")
    seconds = time.perf_counter() - began
    print(f"{options.trials} problems and {returned} of what is returned, seed {options.seed}, {seconds:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
