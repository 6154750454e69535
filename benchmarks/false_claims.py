"""Who says "converged" and is not, over a grid of problems, contenders and tolerances; nothing is timed.

    python benchmarks/false_claims.py [--rows 3000]

Problems, contenders and what a false claim is are those of `rivals.py`: an answer that came back without a warning, or
said that it had converged, and is more than 1e-3 (relative) above the optimum. Every tolerance of the ladder is asked
for, also below the one that suffices. All runs in one process. The exit status is 1 where this package claims falsely.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from made_problems import MADE, objective, optimum
from optimum_rivals import OPTIMUM_RIVALS, takers
from rivals import FALSE_ABOVE, LADDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000, help="of each problem; columns as in the small ones, or 500")
    rows, own = parser.parse_args().rows, 0
    problems = [name for name, made in MADE.items() if made.kind == "optimum"]
    print(f"{rows:,} rows, {len(LADDER)} tolerances\n{'':50s} {'claims':>6s} {'false':>6s}")
    for problem in problems:
        made = MADE[problem]
        data = made.make(rows, min(made.small[1], 500), np.random.default_rng(0))
        best = optimum(data, made.loss)
        for name in takers(made.loss, data):
            false = claimed = 0
            for tolerance in LADDER:
                answer = OPTIMUM_RIVALS[name].fit(data, made.loss, tolerance)
                gap = objective(data, made.loss, answer.coefficients, answer.intercept) / best - 1.0
                claimed += answer.claims is True
                false += answer.claims is True and not gap <= FALSE_ABOVE
            print(f"{problem:14s} {name:35s} {claimed:6d} {false:6d}", flush=True)
            own += false if name == "batchlearn" else 0
    sys.exit(1 if own else 0)


if __name__ == "__main__":
    main()
