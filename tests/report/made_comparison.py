"""A result as `compare --json` prints it, made by formula; `name` gives each text that comes from data."""

from __future__ import annotations

from typing import Any

from tests.report.made import Name, certificate, harmless

CONTENDERS = (("full batch", "full"), ("mini-batch 32", "32"), ("mini-batch 128", "128"), ("online", "1"))


def comparison(name: Name | None = None) -> dict[str, Any]:
    """Return a result with every part that the page can show."""
    name = name or harmless()
    return {
        "format_version": 1,
        "table": name(),
        "target": name(),
        "loss": "logistic",
        "rows": 39_074,
        "coefficients": 109,
        "budget": {"passes": 10.0, "seconds": 2.0},
        "optimum": {
            "called": "certified optimum",
            "objective": 0.315073,
            "certificate": certificate(),
            "null_objective": 0.5499,
            "solver": "newton-cholesky",
            "passes": 12,
            "seconds": 1.1,
        },
        "good_enough": 1.1e-3,
        "sampling_loss": 1.1e-3,
        "contenders": [contender(at, *given) for at, given in enumerate(CONTENDERS)],
        "critical_batch": critical_batch(),
        "learning_rate": {
            "solver": "sgd",
            "batch_size": 128,
            "passes": 1.0,
            "tried": [{"rate": 10.0**at, "excess_loss": None if at == 2 else 0.1 / (at + 3)} for at in range(-2, 3)],
        },
        "recommendation": {
            "contender": "full batch",
            "reason": f"It is quick, says {name()}.",
            "changes": [f"Another {name()}.", "More rows."],
        },
        "seconds": 61.5,
        "notes": [name(), "Terms enter as they are."],
        "report": name(),
    }


def contender(at: int, name: str, regime: str) -> dict[str, Any]:
    """Return one contender; the first is at the optimum, each later one farther from it."""
    excess = 0.0 if at == 0 else 10.0 ** (at - 6)
    curve = [
        {
            "passes": 1.6**k - 1.0,
            "seconds": 0.1 * k * (at + 1),
            "bytes": 1000 * k,
            "excess_loss": 0.2348 * 0.1**k + excess,
        }
        for k in range(6)
    ]
    difference = {"value": 0.001 * at, "low": 0.001 * at - 0.0015, "high": 0.001 * at + 0.0015}
    return {
        "name": name,
        "regime": regime,
        "solver": "newton-cholesky",
        "passes": curve[-1]["passes"],
        "rows_read": 390_740,
        "seconds": curve[-1]["seconds"],
        "bytes_read": 46_888_800,
        "excess_loss": excess,
        "excess_low": excess,
        "excess_high": excess + 3.7e-12,
        "ended": "passes",
        "diverged": False,
        "held_out": {
            "metric": "log_loss",
            "rows": 9768,
            "value": 0.3236,
            "low": 0.31,
            "high": 0.34,
            "difference": difference,
        },
        "spread_over_seeds": {"low": 0.5 * excess, "high": 2.0 * excess, "seeds": 1 if at == 0 else 3},
        "stored_order": None
        if at == 0
        else {"excess_loss": 10.0 * excess, "passes": 9.0, "seconds": 2.0, "better_than_start": True},
        "memory": {"rows": 4_688_880 if at == 0 else 120_000, "working": 8_553_132},
        "curve": curve,
    }


def critical_batch() -> dict[str, Any]:
    """Return a prediction and a measurement of the batch size."""
    places = (("start", 0.2348, 37.1, 65.4), ("on the way", 1.2e-3, 4406.8, 33_089.8), ("optimum", 0.0, 2e13, None))
    return {
        "predicted": 33_089.8,
        "measured": 2048,
        "noise": [
            {
                "where": where,
                "excess_loss": excess,
                "trace": 4.4,
                "critical_batch_plain": plain,
                "trace_preconditioned": 85.0,
                "critical_batch_preconditioned": fitting,
            }
            for where, excess, plain, fitting in places
        ],
        "measurement": {
            "passes": 4.96,
            "negligible": 1.1e-5,
            "sizes": [
                {"batch_size": 2 ** (5 + 2 * at), "excess_loss": value, "low": 0.5 * value, "high": 2.0 * value}
                for at, value in enumerate((2.8e-7, 4.3e-7, 6.1e-7, 1.08e-5, 1.3e-2))
            ],
        },
    }
