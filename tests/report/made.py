"""Fits made by formula: complete ones, and ones with every name given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, cycle
from typing import Any, TypeVar

import numpy as np

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import Encoding, PairTerm
from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import RowCounts
from batchlearn.data.split import SplitKind
from batchlearn.data.target import Target
from batchlearn.evaluation.calibration import Calibration, ReliabilityBin
from batchlearn.evaluation.decision import Cut, DecisionCosts
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.report import Evaluation, LaterDifference, LeaveOneOut, WorstRow
from batchlearn.evaluation.slices import Slice
from batchlearn.formatting.notes import Code, Note, recorded
from batchlearn.formatting.rejections import Rejection
from batchlearn.models.decision import Costs
from batchlearn.models.linear import LinearModel
from batchlearn.models.shapes import Shape
from batchlearn.selection.structure import Alternative, Structure
from batchlearn.tables.table import Roles
from batchlearn.training.certificate import Certificate, Proved
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status, Step
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import ColumnSummary, DataSummary, JudgedFit, Spread
from batchlearn.training.summary.labels import LabelSummary, NeighbourSummary, SplitSummary
from batchlearn.training.summary.levels import LeakingLevel

Name = Callable[[], str]
Result = TypeVar("Result")


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


def changed(value: Result, at: str, to: Any) -> Result:
    """Return a frozen value with the field at a path, as "evaluation.calibration.slope", set to another value.

    A number in the path is the place in a tuple or a list, any other word a field or the key of a mapping.
    """
    result: Result = _changed(value, at, to)
    return result


def _changed(value: Any, at: str, to: Any) -> Any:
    first, _, rest = at.partition(".")
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        place = int(first)
        inside = _changed(value[place], rest, to) if rest else to
        return type(value)([*value[:place], inside, *value[place + 1 :]])
    if isinstance(value, dict):
        return {**value, first: _changed(value[first], rest, to) if rest else to}
    inside = _changed(getattr(value, first), rest, to) if rest else to
    return value._replace(**{first: inside}) if hasattr(value, "_fields") else replace(value, **{first: inside})


def complete(name: Name | None = None) -> Fit:
    """Return a fit with every part that a page can show; `name` gives each text that comes from data."""
    name = name or harmless()
    return Fit(
        model=model(name(), (name(), name()), name()),
        certificate=certificate(),
        status=Status.TOLERANCE,
        structure=structure(name),
        recipe=Recipe(),
        alpha=2.0e-5,
        rows=RowCounts(1500, 1350, 100, {Rejection.EXCLUDED: 10, Rejection.NO_WEIGHT: 40}),
        objective=0.3165,
        null_objective=0.5503,
        solver="newton-cholesky",
        trace=trace(),
        passes=10,
        seconds=1.5,
        evaluation=evaluation(name),
        notes=(
            Note(Code.LEFT_OUT, {"column": name(), "reason": "it is constant"}),
            Note(Code.TINY_NUMBERS, {"columns": [name()]}),
        ),
        summary=summary(name),
    )


def minimal() -> Fit:
    """Return a fit of which nothing is proved, nothing was held out and nothing is known beside the model."""
    refused = Certificate(Proved.NOT_CERTIFIED, recorded("nobody asked"), None, None, None, None, None, 1350, None)
    return replace(
        complete(),
        certificate=refused,
        status=Status.REFUSED,
        structure=Structure(EncodingRules()),
        trace=(),
        evaluation=None,
        notes=(),
        summary=None,
    )


def model(column: str, classes: tuple[Any, ...], time: str | None, loss: str = "logistic") -> LinearModel:
    """Return a model of 34 coefficients; the terms of a page are made apart from it."""
    target = Target(column, loss, classes)
    return LinearModel(Encoding((), (), {}, {}), target, Roles(time=time), 0.5, np.zeros(34))


def predicting(fit: Fit, column: str, *classes: Any, loss: str = "logistic") -> Fit:
    """Return the fit as one of another target."""
    return replace(fit, model=model(column, classes, fit.model.roles.time, loss))


def worst_row(name: Name, row: int) -> WorstRow:
    term = name()
    return WorstRow(
        row=row,
        label=0.0,
        response=0.9,
        loss=6.9,
        pushed=((term, 2.5), (name(), -0.5)),
        values={name(): "2020-01-01 00:00:00", term: "1.0", name(): name()},
    )


def summary(name: Name) -> DataSummary:
    first, second = name(), name()
    return DataSummary(
        repeated_rows=270,
        split=SplitSummary(
            SplitKind.TIME, 1080, 270, False,
            ("2020-01-01", "2020-08-31"), ("2020-09-01", "2020-12-31"),
        ),
        judged=JudgedFit(coefficients=30, passes=9),
        labels={
            part: LabelSummary(1350, shares={first: 1.0 - share, second: share})
            for part, share in (("all", 0.08), ("early", 0.07), ("late", 0.12))
        },
        neighbours=NeighbourSummary("share", 0.9, 0.55, 0.92, 0.95, 0.5),
        columns=[replace(column(name()), leaking=(leaking(name),)), column(name())],
        seconds={"reading": 0.1, "choosing": 0.8, "judging": 0.4, "fitting": 0.2},
    )  # fmt: skip


def column(name: str) -> ColumnSummary:
    return ColumnSummary(name, "number", 1350, 400, None, None, Spread(-6.0, 1.0, 5.0, 9.0, 5400.0, 1))


def leaking(name: Name) -> LeakingLevel:
    return LeakingLevel(name(), 200, name(), 0.995, 0.08)


def certificate() -> Certificate:
    return Certificate(
        status=Proved.CERTIFIED,
        reason=None,
        method="second order, exact leverages",
        loss_bound=3.61e-12,
        coefficient_bound=6.8e-4,
        prediction_bound=1.09e-4,
        floor=1.7e-19,
        rows=1350,
        fingerprint=None,
    )


def estimate(value: float, reach: float) -> Estimate:
    return Estimate(value, value - reach, value + reach)


def evaluation(name: Name) -> Evaluation:
    responses = map(float, np.linspace(0.05, 0.95, 10))
    return Evaluation(
        rows=270,
        metrics={"log_loss": estimate(0.324, 0.01), "auc": estimate(0.904, 0.006), name(): estimate(0.5, 0.1)},
        baselines={
            "constant": {"log_loss": estimate(0.552, 0.01), "auc": estimate(0.5, 0.0)},
            name(): {"log_loss": estimate(0.401, 0.01)},
        },
        leave_one_out=LeaveOneOut("log_loss", estimate(0.29, 0.005), 1080),
        drift=LaterDifference(0.034, 0.014, 0.054),
        calibration=Calibration(
            tuple(ReliabilityBin(p, p + 0.1, 27, p + 0.05, p + 0.15) for p in responses), 0.1, 1.2, 0.9, 0.1
        ),
        slices=tuple(one_slice(name(), name(), 0.4 - 0.01 * at) for at in range(10)),
        unseen_classes={name(): 3},
        cuts=tuple(
            Cut(threshold, 60, estimate(0.22, 0.02), estimate(0.7, 0.05), estimate(0.6, 0.05))
            for threshold in (0.07, 0.5)
        ),
        decision=DecisionCosts(
            costs=Costs(1.0, 9.0),
            cost=estimate(0.31, 0.02),
            always_no=estimate(1.2, 0.1),
            always_yes=estimate(0.87, 0.03),
            saved=estimate(0.56, 0.04),
            share_of_yes=0.22,
            best_threshold=0.08,
            best_cost=0.305,
        ),
        notes=(Note(Code.CLASSES_NEVER_SEEN, {"rows": 3, "of": 270, "classes": {name(): 3}, "loss": 34.5}),),
        worst_rows=[worst_row(name, 17 + at) for at in range(5)],
    )


def one_slice(column: str, level: str, difference: float) -> Slice:
    return Slice(
        column=column,
        level=level,
        rows=60,
        mean_loss=0.324 + difference,
        overall=0.324,
        difference=difference,
        low=difference - 0.05,
        high=difference + 0.05,
        share_of_loss=0.5,
        mean_label=0.6,
        mean_response=0.5,
    )


def structure(name: Name) -> Structure:
    return Structure(
        rules=EncodingRules(additive=True),
        pairs=(PairTerm(*(BinTerm(name(), (1.0,), 0.0, 2.0) for _ in range(2))),),
        strengths={name(): 12.0, name(): 0.5},
        alternatives=(
            Alternative(None, 0, 0.318, 20, 19.0, 0.4),
            Alternative(64, 1, 0.286, 34, 25.0, 1.1, chosen=True),
        ),
    )


def trace() -> tuple[Step, ...]:
    return tuple(
        Step(
            passes=step + 1,
            value=0.3165 + 0.2338 * math.exp(-2.0 * step),
            decrement=None,
            bound=None if step < 3 else 10.0 ** (1 - 2 * step),
            seconds=0.1 * step,
        )
        for step in range(7)
    )


def shapes(name: Name | None = None) -> list[Shape]:
    """One term of each kind; the one of numbers moves predictions least."""
    name = name or harmless()
    edges = (18.0, 25.0, 31.0, 40.0, 52.0)
    bins, pair = [-2.0, -1.0, 0.0, 1.0, 1.5, 2.0, 0.3], [-0.3, 0.0, 0.3, 0.1, -0.1, 0.2]
    return [
        term(name(), "number", [name()], [0.01], low=0.0, high=4.0),
        term(name(), "bins", [name() for _ in bins], bins, edges=edges, low=17.0, high=90.0),
        term(name(), "category", [name() for _ in range(30)], [0.05 * at for at in range(30)]),
        term(name(), "calendar", [name() for _ in range(24)], [math.sin(at / 4.0) for at in range(24)]),
        term(
            f"{name()} x {name()}", "pair", [name() for _ in pair], pair,
            pair=((name(), (name(), name())), (name(), (name(), name(), name()))),
        ),
    ]  # fmt: skip


def term(column: str, kind: str, names: list[str], effect: list[float], **more: Any) -> Shape:
    """Return a term, with rows of its levels, deviation and errors unless given otherwise."""
    size = float(np.clip(max(effect), -1e308, 1e308) / 2 - np.clip(min(effect), -1e308, 1e308) / 2)
    given: dict[str, Any] = {
        "standard_error": np.full(len(effect), 0.1),
        "spread": 2.0 * size,
        "rows": (5, *(100 + at for at in range(1, len(effect)))),
        "deviation": 0.5 * size or 0.05,
    }
    return Shape(column, kind, tuple(names), tuple(names), np.array(effect), **(given | more))
