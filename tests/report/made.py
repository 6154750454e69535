"""Results as `train --json` prints them, made by formula: complete ones, and ones with every name given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any

import numpy as np

Name = Callable[[], str]


def harmless() -> Name:
    """Give a new plain name at each call."""
    numbers: Iterator[int] = count(1)
    # Longer than a label of an axis can be, as the payloads are: how many labels fit must not differ.
    return lambda: f"harmless name {next(numbers)}"


def hostile(start: int = 0) -> Name:
    """Give the next of the payloads at each call, with a number that keeps names apart."""
    payloads, numbers = cycle(PAYLOADS[start:] + PAYLOADS[:start]), count(1)
    return lambda: f"{next(payloads)}{next(numbers)}"


_ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<iframe src='https://example.org'></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    "<link rel=stylesheet href=//example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<style>*{display:none}</style>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;script&#62;",
    "{{ 7 * 7 }}{% raw %}${alert(1)}\x00\u202e\ud800",
)
_BREAKOUTS = ("", '">', "'>", "</title></style></script>", "--><![CDATA[]]></svg></text>")
PAYLOADS = [f"{breakout}{attack}" for breakout in _BREAKOUTS for attack in _ATTACKS]


def complete(name: Name | None = None) -> dict[str, Any]:
    """Return a result with every part that a page can show; `name` gives each text that comes from data."""
    name = name or harmless()
    return {
        "format_version": 1,
        "rows": {"read": 1500, "used": 1350, "unlabelled": 100, "rejected": {name(): 50}},
        "coefficients": 34,
        "seed": 0,
        "certificate": certificate(),
        "status": "the bound is within the tolerance",
        "objective": 0.3165,
        "null_objective": 0.5503,
        "alpha": 2.0e-5,
        "loss": "logistic",
        "solver": "newton-cholesky",
        "passes": 10,
        "seconds": 1.5,
        "encoding": "additive",
        "structure": structure(name),
        "evaluation": evaluation(name),
        "notes": [f"{name()} was left out: it is constant", name()],
        "trace": trace(),
        "shapes": shapes(name),
        "worst_rows": [worst_row(name, 17 + at) for at in range(5)],
        "facts": facts(name),
        "table": name(),
        "target": name(),
        "time": name(),
        "classes": [name(), name()],
        "model": name(),
    }


def worst_row(name: Name, row: int) -> dict[str, Any]:
    term = name()
    return {
        "row": row,
        "label": 0.0,
        "response": 0.9,
        "loss": 6.9,
        "values": {name(): "2020-01-01 00:00:00", term: "1.0", name(): name()},
        "pushed": [{"term": term, "effect": 2.5}, {"term": name(), "effect": -0.5}],
    }


def facts(name: Name) -> dict[str, Any]:
    first, second = name(), name()
    shares = {"rows": 1350, "mean": None, "low": None, "high": None}
    return {
        "repeated_rows": 270,
        "split": {
            "by": "time", "how": name(), "early": 1080, "late": 270,
            "first": "2020-01-01", "until": "2020-08-31", "from": "2020-09-01", "last": "2020-12-31",
        },
        "judged": {"coefficients": 30, "passes": 9},
        "labels": {
            part: {**shares, "shares": {first: 1.0 - share, second: share}}
            for part, share in (("all", 0.08), ("early", 0.07), ("late", 0.12))
        },
        "neighbours": {
            "measure": "share", "tied": 0.9, "by_chance": 0.55, "alike": 0.92, "alike_tied": 0.95, "alike_untied": 0.5,
        },
        "columns": [column(name()) | {"telling": [telling(name)]}, column(name())],
        "seconds": {"reading": 0.1, "choosing": 0.8, "judging": 0.4, "fitting": 0.2},
    }  # fmt: skip


def column(name: str) -> dict[str, Any]:
    return {
        "column": name,
        "kind": "number",
        "rows": 1350,
        "missing": 400,
        "left_out": None,
        "low": -6.0,
        "per_cent_1": 1.0,
        "median": 5.0,
        "per_cent_99": 9.0,
        "high": 5400.0,
        "below_zero": 1,
        "telling": [],
    }


def telling(name: Name) -> dict[str, Any]:
    return {"level": name(), "rows": 200, "class": name(), "share": 0.995, "share_of_all": 0.08}


def certificate() -> dict[str, Any]:
    return {
        "status": "certified",
        "reason": None,
        "method": "second order, exact leverages",
        "loss_bound": 3.61e-12,
        "coefficient_bound": 6.8e-4,
        "prediction_bound": 1.09e-4,
        "floor": 1.7e-19,
        "rows": 1350,
    }


def estimate(value: float, reach: float) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def evaluation(name: Name) -> dict[str, Any]:
    responses = np.linspace(0.05, 0.95, 10)
    return {
        "rows": 270,
        "metrics": {"log_loss": estimate(0.324, 0.01), "auc": estimate(0.904, 0.006), name(): estimate(0.5, 0.1)},
        "baselines": {
            "constant": {"log_loss": estimate(0.552, 0.01), "auc": estimate(0.5, 0.0)},
            name(): {"log_loss": estimate(0.401, 0.01)},
        },
        "leave_one_out": {"log_loss": estimate(0.29, 0.005), "rows": 1080},
        "drift": {**estimate(0.034, 0.02), "side": "worse"},
        "calibration": {
            "bins": [
                {"mean_response": p, "mean_label": p + 0.1, "rows": 27, "low": p + 0.05, "high": p + 0.15}
                for p in map(float, responses)
            ],
            "expected_calibration_error": 0.1,
            "observed_over_expected": 1.2,
            "slope": 0.9,
            "intercept": 0.1,
        },
        "slices": [one_slice(name(), name(), 0.4 - 0.01 * at) for at in range(10)],
        "unseen_classes": {name(): 3},
        "cuts": [
            {
                "threshold": threshold, "flagged": 60, "share": estimate(0.22, 0.02),
                "precision": estimate(0.7, 0.05), "recall": estimate(0.6, 0.05),
            }
            for threshold in (0.07, 0.5)
        ],
        "decision": {
            "costs": {"false_positive": 1.0, "false_negative": 9.0},
            "threshold": 0.1,
            "cost": estimate(0.31, 0.02),
            "always_no": estimate(1.2, 0.1),
            "always_yes": estimate(0.87, 0.03),
            "saved": estimate(0.56, 0.04),
            "share_of_yes": 0.22,
            "best_on_these_rows": {"threshold": 0.08, "cost": 0.305},
        },
        "notes": [name()],
    }  # fmt: skip


def one_slice(column: str, level: str, difference: float) -> dict[str, Any]:
    return {
        "column": column,
        "level": level,
        "rows": 60,
        "mean_loss": 0.324 + difference,
        "overall": 0.324,
        "difference": difference,
        "low": difference - 0.05,
        "high": difference + 0.05,
        "share_of_loss": 0.5,
        "mean_label": 0.6,
        "mean_response": 0.5,
    }


def structure(name: Name) -> dict[str, Any]:
    return {
        "encoding": "additive",
        "pairs": [name()],
        "strengths": {name(): 12.0, name(): 0.5},
        "alternatives": [
            {"name": name(), "loss": 0.318, "coefficients": 20, "degrees_of_freedom": 19.0, "seconds": 0.4},
            {
                "name": "additive, 1 pairs",
                "chosen": True,
                "loss": 0.286,
                "coefficients": 34,
                "degrees_of_freedom": 25.0,
                "seconds": 1.1,
            },
        ],
    }


def trace() -> list[dict[str, Any]]:
    return [
        {
            "passes": step + 1,
            "value": 0.3165 + 0.2338 * math.exp(-2.0 * step),
            "bound": None if step < 3 else 10.0 ** (1 - 2 * step),
            "seconds": 0.1 * step,
        }
        for step in range(7)
    ]


def shapes(name: Name) -> list[dict[str, Any]]:
    """One term of each kind; the one of numbers moves predictions least."""
    edges = [18.0, 25.0, 31.0, 40.0, 52.0]
    return [
        term(name(), "number", [name()], [0.01], low=0.0, high=4.0),
        term(name(), "bins", [name() for _ in range(7)], [-2.0, -1.0, 0.0, 1.0, 1.5, 2.0, 0.3], edges, 17.0, 90.0),
        term(name(), "category", [name() for _ in range(30)], [0.05 * at for at in range(30)]),
        term(name(), "calendar", [name() for _ in range(24)], [math.sin(at / 4.0) for at in range(24)]),
        {
            **term(f"{name()} x {name()}", "pair", [name() for _ in range(6)], [-0.3, 0.0, 0.3, 0.1, -0.1, 0.2]),
            "first": [name(), name()],
            "second": [name(), name(), name()],
        },
    ]


def term(
    column: str,
    kind: str,
    names: list[str],
    effect: list[float],
    edges: list[float] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    return {
        "column": column,
        "kind": kind,
        "names": names,
        "edges": edges,
        "low": low,
        "high": high,
        "effect": effect,
        "standard_error": [0.1] * len(effect),
        "rows": [5, *(100 + at for at in range(1, len(effect)))],
        "deviation": 0.25 * (max(effect) - min(effect)) or 0.05,
    }
