from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from tests.report.made import (
    PAYLOADS,
    changed,
    complete,
    estimate,
    harmless,
    hostile,
    minimal,
    model,
    predicting,
    shapes,
    term,
)
from tests.report.reading import Reading

from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import in_ascii
from batchlearn.models.shapes import Shape
from batchlearn.report.document import Document
from batchlearn.report.terminal import printed
from batchlearn.report.training.brief import show_evaluation
from batchlearn.report.training.page import training_page
from batchlearn.report.training.quality import decision, metric_table
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Step

LARGEST_PAGE = 3_000_000
NUMBERS = (math.nan, math.inf, -1e308, 1e308, 5e-324, 0.0, -1.0)


def page(fit: Fit, terms: list[Shape] | None = None) -> str:
    """Return the page of a fit with terms of each kind, saved somewhere."""
    return training_page(fit, "models/late-1", shapes() if terms is None else terms)


def parts(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the place of every value inside a result, of lists and tuples the first entry only."""
    if at:
        yield at, value
    inside: Iterator[tuple[Any, Any]] = iter(())
    if is_dataclass(value) and not isinstance(value, type):
        inside = ((field.name, getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, dict):
        inside = ((key, one) for key, one in value.items() if "." not in key)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        inside = zip(value._fields, value, strict=True)
    elif isinstance(value, tuple | list):
        inside = ((0, one) for one in value[:1])
    for key, one in inside:
        yield from parts(one, f"{at}.{key}" if at else str(key))


def optional(fit: Fit) -> Iterator[tuple[str, bool]]:
    """Yield the place of every field of a result, with whether its type says that it may be None."""
    whole = dict(parts(fit))
    for at in whole:
        above, _, name = at.rpartition(".")
        holder = whole[above] if above else fit
        if is_dataclass(holder) or hasattr(holder, "_fields"):
            yield at, type(None) in get_args(get_type_hints(type(holder)).get(name))


def drawn_well(drawn: str) -> bool:
    """Whether every coordinate is a finite number or a per cent."""
    coordinates = re.findall(r'\s(?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', drawn)
    outlines = re.findall(r'\sd="([^"]*)"', drawn)
    number = r"-?\d+(\.\d+)?(e-?\d+)?"
    return all(re.fullmatch(rf"{number}%?", one) for one in coordinates) and all(
        re.fullmatch(rf"M({number} {number}L?)+Z?", one) for one in outlines
    )


# --- content --------------------------------------------------------------------------------------------------------


def test_a_complete_page_has_every_section_and_says_what_the_figures_say() -> None:
    reading = Reading(page(complete()))
    wanted = {"verdict", "rows", "proof", "scores", "drift", "calibration", "slices", "terms", "worst", "choice"}
    assert {*wanted, "notes", "answers"} <= set(reading.values("id"))
    for sentence in (
        "Yes, and it is proved",
        "at most 3.7 \u00d7 10⁻¹² above the lowest",
        "less than a billionth of what training has gained over the mean",
        "no prediction for a training row would differ by more than 0.011 percentage points",
        "Its log loss on 270 held-out rows is 0.324 (95 % interval 0.314 to 0.334).",
        "the model's is 41 % lower",
        "1,500 rows were read",
        "10 of 10 groups",
        "what happened is 1.20 times what was predicted: too low",
        "How much of that is drift cannot be told",
        "trained on the first 1,080 rows by",
        "(2020-01-01 to 2020-08-31) and scored on the last 270 (2020-09-01 to 2020-12-31). The model delivered then "
        "learned from all 1,350.",
        "of all rows: 7.0 % in those the judged model learned from, 12 % in those held out.",
        "The fit on all rows read them 10 times: 7 to train, as drawn here",
        "Where the time went: of 1.5 s, 0.1 s reading, 0.8 s choosing what to fit",
        "above 50 % 60 (22 %) 70 % (65 % to 75 %) 60 % (55 % to 65 %)",
        "above a probability of 0.1: a wrong harmless name",
        "It decides so for 22 % of the held-out rows.",
        "by this threshold 0.310 0.290 to 0.330",
        "best for these very rows, 0.08: optimistic 0.305",
    ):
        assert sentence in reading.text, sentence


def test_a_terminal_and_a_page_are_of_the_same_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    fit, document = complete(), Document()
    assert fit.evaluation is not None
    show_evaluation(document, fit.evaluation, fit.model.target)
    text, reading = " ".join(printed(document).split()), Reading(page(fit))
    decided = decision(fit.evaluation, fit.model.target)
    assert decided is not None
    for said in (decided[0], *(cell for row in decided[1].rows for cell in row)):
        assert " ".join(said.split()) in reading.text
        assert in_ascii(said) in text
    # Each leaves out the columns that the other has: short names and leave-one-out, or what a metric is.
    found = metric_table(fit.evaluation)
    places, names = found.without(found.page_only).header, found.without(found.terminal_only).header
    assert ("leave-one-out" in places, "leave-one-out" in names) == (True, False)
    assert ("what it is" in places, "what it is" in names) == (False, True)
    assert set(reading.values("data-label")) >= set(names[1:])
    assert "leave-one-out" in text


def test_the_page_says_whether_intervals_count_what_a_penalty_took_away() -> None:
    fit = complete()
    assert fit.structure.strengths
    assert "what the penalty took away" in page(fit)
    alike = page(changed(fit, "structure.strengths", {}))
    assert "what the penalty took away" not in alike
    assert "the penalty taken as given" in alike


def test_a_fit_that_began_at_its_end_says_how_often_it_read_the_rows() -> None:
    fit = complete()
    begun = replace(fit, trace=(fit.trace[-1]._replace(passes=1),), passes=4)
    assert "read them 4 times: 1 to train, the others to prove the end." in Reading(page(begun)).text


def test_every_link_leads_to_a_section_of_the_page() -> None:
    left_out = Note(Code.LEFT_OUT, {"column": "x", "reason": "y"})
    sliceless = changed(complete(), "evaluation.slices", ())
    for fit in (complete(), minimal(), replace(minimal(), notes=(left_out,)), sliceless):
        reading = Reading(page(fit))
        links = reading.values("href")
        assert {link.removeprefix("#") for link in links} <= set(reading.values("id"))
        assert all(link.startswith("#") for link in links)
        assert len(set(reading.values("id"))) == len(reading.values("id"))


def test_the_figures_of_a_complete_page_are_drawn() -> None:
    drawn = page(complete())
    assert drawn_well(drawn)
    assert drawn.count("<circle") > 50
    assert drawn.count("<path") >= 6
    assert not drawn_well(drawn.replace('cx="', 'cx="nan', 1))


def test_a_result_without_proof_and_scores_is_a_page_that_claims_nothing() -> None:
    text = Reading(page(minimal(), [])).text
    assert "Not proved" in text
    assert "Not measured" in text
    assert "Yes" not in text
    assert "Better" not in text


@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson", "huber"])
def test_every_loss_has_a_page(loss: str) -> None:
    fit = complete() if loss == "logistic" else predicting(complete(), "late", loss=loss)
    if loss != "logistic":
        fit = changed(changed(fit, "evaluation.decision", None), "evaluation.cuts", ())
        fit = changed(fit, "evaluation.metrics", {"mae": estimate(0.324, 0.01)})
    reading = Reading(page(fit))
    assert ("percentage points" in reading.text) == (loss == "logistic")


# --- whatever comes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["summary", "evaluation", "evaluation.calibration", "evaluation.leave_one_out"])
@pytest.mark.parametrize("whole", [complete(), minimal()], ids=["complete", "minimal"])
def test_what_is_not_known_is_left_out(whole: Fit, part: str) -> None:
    if whole.evaluation is not None or "." not in part:
        assert drawn_well(page(changed(whole, part, None)))


def test_any_part_that_may_be_missing_is_left_out() -> None:
    fit = complete()
    skipped = ("recipe", "model", "structure.rules")
    tried = [at for at, may_lack in optional(fit) if may_lack and not at.startswith(skipped)]
    assert len(tried) > 40
    for at in tried:
        assert drawn_well(page(changed(fit, at, None))), at


@pytest.mark.parametrize("run", range(2))
def test_any_number_may_be_extreme(run: int) -> None:
    fit = complete()
    skipped: tuple[str, ...] = ("recipe", "model", "structure.rules", "structure.pairs", "notes", "evaluation.notes")
    # Of these the value itself says what may be: costs refuse such numbers.
    skipped += ("evaluation.decision.costs",)
    places = [at for at, one in parts(fit) if isinstance(one, float) and not at.startswith(skipped)]
    assert len(places) > 60
    for number, at in enumerate(places):
        value = NUMBERS[(number + run * 4) % len(NUMBERS)]
        drawn = page(changed(fit, at, value))
        assert drawn_well(drawn), (at, value)
        assert not re.search(r"\b(nan|inf)\b", drawn, re.IGNORECASE), (at, value)


def test_effects_may_all_be_extreme_or_equal() -> None:
    for effect in ([1e308, -1e308, 1e308], [0.0] * 3, [5.0] * 3, [1e-300, 0.0, -1e-300]):
        for kind in ("bins", "calendar", "category"):
            ends: dict[str, Any] = {"edges": (1.0, 2.0), "low": 0.0, "high": 1e308, "standard_error": np.array(effect)}
            assert drawn_well(page(complete(), [term("x", kind, list("abc"), effect, **ends)]))


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 7))
def test_no_name_adds_an_element_or_an_attribute(start: int) -> None:
    expected, attacked = (
        Reading(page(complete(name()), shapes(name()))) for name in (harmless, lambda: hostile(start))
    )
    assert attacked.elements == expected.elements
    assert attacked.declarations == expected.declarations == []
    kept = {"class", "href", "id", "content"}
    assert [a for a in attacked.attributes if a[1] in kept] == [a for a in expected.attributes if a[1] in kept]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_payload_is_shown_as_text(payload: str) -> None:
    note = Note(Code.LEFT_OUT, {"column": payload, "reason": "it is constant"})
    fit = replace(complete(), model=model(payload, ("no", "yes"), None), notes=(note,))
    drawn = page(fit)
    shown = payload.replace("\x00", "\\u0000").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert Reading(drawn).text.count(" ".join(shown.split())) >= 2
    assert drawn.encode("utf-8")


def test_the_page_runs_nothing_and_asks_for_nothing() -> None:
    drawn = page(complete())
    reading = Reading(drawn)
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in reading.elements}
    attributes = {name for _, names in reading.elements for name in names}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"src", "style", "srcset"})
    assert not re.search(r"https?://|//[a-z]|@import|url\(", drawn)


def test_the_policy_of_the_page_allows_its_own_style_alone() -> None:
    drawn = page(complete())
    style = re.search(r"<style>(.*)</style>", drawn, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policies = [value for value in Reading(drawn).values("content") if "default-src" in value]
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]


def test_a_large_result_stays_below_three_megabytes() -> None:
    fit = complete()
    names, effects = [f"level {at}" * 40 for at in range(64)], [0.1 * at for at in range(64)]
    wide = [*shapes(), term("wide", "category", names, effects)]
    many = [replace(shape, term=f"column {at}") for at in range(20) for shape in wide]
    trace = tuple(Step(at, 1.0 / (1 + at), None, None, 0.1) for at in range(20_000))
    note = Note(Code.LEFT_OUT, {"column": "x", "reason": "y"})
    long = Note(Code.TINY_NUMBERS, {"columns": ["a very long note " * 10_000]})
    drawn = page(replace(fit, trace=trace, notes=(note, *[long] * 20)), many)
    assert 100_000 < len(drawn.encode()) < LARGEST_PAGE


def test_the_same_result_gives_the_same_page() -> None:
    assert page(complete()) == page(complete())
