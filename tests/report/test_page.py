from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.report.made import PAYLOADS, complete, harmless, hostile
from tests.report.reading import Reading

from batchlearn.report.page import training_page

LARGEST_PAGE = 3_000_000
NUMBERS = (float("nan"), float("inf"), -1e308, 1e308, 5e-324, 0.0, -1.0, 10**400, True)
OTHER_TYPES: tuple[object, ...] = (None, "text", 3, [], {}, [None], [{}], {"": None})
COORDINATES = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"}


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value inside a result, of lists the first entry only."""
    if at:
        yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, one in inside:
        yield from paths(one, (*at, key))


def found(result: dict[str, Any], at: tuple[Any, ...]) -> object:
    inside: Any = result
    for key in at:
        inside = inside[key]
    return inside


def replaced(result: dict[str, Any], at: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(result)
    inside: Any = found(changed, at[:-1])
    inside[at[-1]] = value
    return changed


def drawn_well(page: str) -> bool:
    """Whether every coordinate is a finite number or a per cent."""
    coordinates = re.findall(r'\s(?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', page)
    outlines = re.findall(r'\sd="([^"]*)"', page)
    number = r"-?\d+(\.\d+)?(e-?\d+)?"
    return all(re.fullmatch(rf"{number}%?", one) for one in coordinates) and all(
        re.fullmatch(rf"M({number} {number}L?)+Z?", one) for one in outlines
    )


# --- content --------------------------------------------------------------------------------------------------------


def test_a_complete_page_has_every_section_and_says_what_the_figures_say() -> None:
    reading = Reading(training_page(complete()))
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


def test_the_page_says_whether_intervals_count_what_a_penalty_took_away() -> None:
    given = complete()
    assert given["structure"]["strengths"]
    assert "what the penalty took away" in training_page(given)
    given = replaced(given, ("structure", "strengths"), {})
    assert "what the penalty took away" not in training_page(given)
    assert "the penalty taken as given" in training_page(given)


def test_every_link_leads_to_a_section_of_the_page() -> None:
    for result in (complete(), {}, {"notes": ["x was left out: y"], "evaluation": {"slices": []}}):
        reading = Reading(training_page(result))
        links = reading.values("href")
        assert {link.removeprefix("#") for link in links} <= set(reading.values("id"))
        assert all(link.startswith("#") for link in links)
        assert len(set(reading.values("id"))) == len(reading.values("id"))


def test_the_figures_of_a_complete_page_are_drawn() -> None:
    page = training_page(complete())
    assert drawn_well(page)
    assert page.count("<circle") > 50
    assert page.count("<path") >= 6
    assert not drawn_well(page.replace('cx="', 'cx="nan', 1))


def test_an_empty_result_is_a_page_that_claims_nothing() -> None:
    text = Reading(training_page({})).text
    assert "Not proved" in text
    assert "Not measured" in text
    assert "Yes" not in text
    assert "Better" not in text


@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson", "huber", None])
def test_every_loss_has_a_page(loss: str | None) -> None:
    reading = Reading(training_page({**complete(), "loss": loss}))
    assert ("percentage points" in reading.text) == (loss == "logistic")


# --- whatever comes -------------------------------------------------------------------------------------------------


# Every value at every place takes a minute: each place gets another value in each of these runs.
@pytest.mark.parametrize("run", range(2))
def test_any_part_may_be_missing_or_of_another_type(run: int) -> None:
    result = complete()
    for number, at in enumerate(paths(result)):
        value = OTHER_TYPES[(number + run * 4) % len(OTHER_TYPES)]
        assert drawn_well(training_page(replaced(result, at, value))), (at, value)


@pytest.mark.parametrize("part", sorted(complete()))
def test_any_part_may_be_absent_or_none(part: str) -> None:
    result = complete()
    without = {key: value for key, value in result.items() if key != part}
    assert training_page(without) == training_page({**result, part: None})


@pytest.mark.parametrize("run", range(2))
def test_any_number_may_be_extreme(run: int) -> None:
    result = complete()
    places = [at for at in paths(result) if isinstance(found(result, at), int | float)]
    for number, at in enumerate(places):
        value = NUMBERS[(number + run * 4) % len(NUMBERS)]
        page = training_page(replaced(result, at, value))
        assert drawn_well(page), (at, value)
        assert not re.search(r"\b(nan|inf)\b", page, re.IGNORECASE), (at, value)


def test_effects_may_all_be_extreme_or_equal() -> None:
    shape: dict[str, object]
    for effect in ([1e308, -1e308, 1e308], [0.0] * 3, [5.0] * 3, [1e-300, 0.0, -1e-300]):
        for kind in ("bins", "calendar", "category", "pair"):
            shape = {"column": "x", "kind": kind, "names": list("abc"), "effect": effect, "standard_error": effect}
            shape |= {"edges": [1.0, 2.0], "low": 0.0, "high": 1e308, "first": ["a"], "second": list("abc")}
            assert drawn_well(training_page({"shapes": [shape]}))


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 7))
def test_no_name_adds_an_element_or_an_attribute(start: int) -> None:
    expected, attacked = Reading(training_page(complete(harmless()))), Reading(training_page(complete(hostile(start))))
    assert attacked.elements == expected.elements
    assert attacked.declarations == expected.declarations == []
    kept = {"class", "href", "id", "content"}
    assert [a for a in attacked.attributes if a[1] in kept] == [a for a in expected.attributes if a[1] in kept]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_payload_is_shown_as_text(payload: str) -> None:
    page = training_page({**complete(), "target": payload, "notes": [payload]})
    shown = payload.replace("\x00", "\\u0000").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert Reading(page).text.count(" ".join(shown.split())) >= 2
    assert page.encode("utf-8")


def test_the_page_runs_nothing_and_asks_for_nothing() -> None:
    page = training_page(complete())
    reading = Reading(page)
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in reading.elements}
    attributes = {name for _, names in reading.elements for name in names}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"src", "style", "srcset"})
    assert not re.search(r"https?://|//[a-z]|@import|url\(", page)


def test_the_policy_of_the_page_allows_its_own_style_alone() -> None:
    page = training_page(complete())
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policies = [value for value in Reading(page).values("content") if "default-src" in value]
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]


def test_a_large_result_stays_below_three_megabytes() -> None:
    result = complete()
    wide = {**result["shapes"][2], "names": [f"level {at}" * 40 for at in range(64)]}
    wide |= {"effect": [0.1 * at for at in range(64)], "standard_error": [0.1] * 64}
    result["shapes"] = [{**shape, "column": f"column {at}"} for at in range(20) for shape in (*result["shapes"], wide)]
    result["trace"] = [{**result["trace"][-1], "passes": at, "value": 1.0 / (1 + at)} for at in range(20_000)]
    result["notes"] = ["a very long note " * 10_000] * 20
    assert 100_000 < len(training_page(result).encode()) < LARGEST_PAGE


def test_the_same_result_gives_the_same_page() -> None:
    assert training_page(complete()) == training_page(complete())
