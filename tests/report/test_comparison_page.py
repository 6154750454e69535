from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from tests.report.made import PAYLOADS, harmless, hostile
from tests.report.made_comparison import comparison
from tests.report.reading import Reading
from tests.report.test_page import NUMBERS, OTHER_TYPES, drawn_well, found, paths, replaced

from batchlearn.report.comparison.page import comparison_page

QUESTIONS = (
    "What did mini-batch cost me?",
    "Would online do?",
    "What batch size does this data want?",
    "What changes in production with each?",
    "What would change the recommendation?",
)


def contender(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one contender of a result."""
    (one,) = (one for one in result["contenders"] if one["name"] == name)
    assert isinstance(one, dict)
    return one


# --- content --------------------------------------------------------------------------------------------------------


def test_a_complete_page_has_every_section_and_answers_with_its_figures() -> None:
    reading = Reading(comparison_page(comparison()))
    wanted = {"verdict", "curves", "contenders", "noise", "sensitivity", "notes", "answers"}
    assert wanted <= set(reading.values("id"))
    for sentence in (
        *QUESTIONS,
        "The certified optimum",
        "Excess loss by pass",
        "Excess loss by second",
        "Excess loss by byte",
        "Cost and quality",
        "Mini-batch 128 ended 0.0001 above the optimum, 9.1 % of what is good enough, after 9.49 passes and 1.5 s.",
        "Full batch ended at most 3.7 \u00d7 10⁻¹² above it after 9.49 passes and 0.5 s.",
        "(95 % interval 0.0005 to 0.0035), so it is known to be worse there.",
        "Predicted from the gradient noise: 65 at the start, 33,090 on the way, all rows at the optimum.",
        "Measured: batches of up to 2,048 rows lost nothing in 4.96 passes",
        "the order matters: 5 times what the worst seed leaves",
        "diverged",
        "full batch (newton cholesky)",
    ):
        assert sentence in reading.text, sentence


def test_prediction_and_measurement_are_both_there_and_told_apart() -> None:
    result = comparison()
    text = Reading(comparison_page(result)).text
    assert "The two answer different questions" in text
    result["critical_batch"]["measured"] = None
    text = Reading(comparison_page(result)).text
    assert "No size was measured" in text
    assert "33,090 on the way" in text
    assert "Measured: batches" not in text


def test_links_lead_to_sections_of_the_page() -> None:
    for result in (comparison(), {}):
        reading = Reading(comparison_page(result))
        links = reading.values("href")
        assert {link.removeprefix("#") for link in links} <= set(reading.values("id"))
        assert len(set(reading.values("id"))) == len(reading.values("id"))


def test_the_figures_are_drawn_in_a_colour_for_each_contender() -> None:
    page = comparison_page(comparison())
    assert drawn_well(page)
    for at in range(1, 5):
        assert page.count(f'class="line series{at}"') == 3
        assert page.count(f'class="dot series{at}"') > 10


def test_an_empty_result_is_a_page_that_claims_nothing() -> None:
    text = Reading(comparison_page({})).text
    assert "Nothing to recommend" in text
    assert "The best known" in text
    assert "certified optimum" not in text
    assert text.count("Not measured") >= 3


def test_without_a_certificate_distances_are_from_the_best_known() -> None:
    result = comparison()
    result["optimum"]["certificate"] = {"status": "not certified", "reason": "of a reason", "loss_bound": None}
    for one in result["contenders"]:
        one["excess_high"] = None
    text = Reading(comparison_page(result)).text
    assert "It is not proved to be the lowest there is: of a reason." in text
    assert "0.0001 above the best known" in text


@pytest.mark.parametrize(
    ("excess", "difference", "answer"),
    [
        (1e-4, (-0.001, 0.001), "Yes."),
        (1e-2, (-0.001, 0.001), "Yes, as far as held-out rows tell."),
        (1e-2, (0.001, 0.003), "Not on this budget."),
        (1e-4, (0.001, 0.003), "Not on this budget."),
    ],
)
def test_whether_online_would_do(excess: float, difference: tuple[float, float], answer: str) -> None:
    result = comparison()
    one = contender(result, "online")
    one["excess_loss"] = excess
    one["held_out"]["difference"] = {"value": sum(difference) / 2, "low": difference[0], "high": difference[1]}
    assert f"Would online do? {answer}" in Reading(comparison_page(result)).text


def test_a_contender_that_diverged_is_said_to_have() -> None:
    result = comparison()
    for name in ("online", "mini-batch 128"):
        contender(result, name).update(diverged=True, excess_loss=None, excess_high=None)
    text = Reading(comparison_page(result)).text
    assert "No: it diverged" in text
    assert "It diverged" in text
    assert "overflowed" in text
    contender(result, "online")["stored_order"] = None
    assert Reading(comparison_page(result)).text.count("overflowed") == text.count("overflowed") + 1


def test_an_order_that_misleads_is_said_to() -> None:
    result = comparison()
    contender(result, "online")["stored_order"] = {"excess_loss": 99.0, "better_than_start": False}
    text = Reading(comparison_page(result)).text
    assert "it ended 99 above, worse than the mean alone." in text
    assert "the order decides" in text
    assert "the order decides" not in Reading(comparison_page(comparison())).text


def test_a_difference_too_small_to_matter_is_no_worse() -> None:
    result = comparison()
    contender(result, "online")["held_out"]["difference"] = {"value": 2e-6, "low": 1e-6, "high": 3e-6}
    assert "(95 % interval 0.000001 to 0.000003), too little to matter." in Reading(
        comparison_page(result)
    ).text.replace("1 \u00d7 10⁻⁶", "0.000001").replace("3 \u00d7 10⁻⁶", "0.000003")


# --- whatever comes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", range(2))
def test_any_part_may_be_missing_or_of_another_type(run: int) -> None:
    result = comparison()
    for number, at in enumerate(paths(result)):
        value = OTHER_TYPES[(number + run * 4) % len(OTHER_TYPES)]
        assert drawn_well(comparison_page(replaced(result, at, value))), (at, value)


@pytest.mark.parametrize("part", sorted(comparison()))
def test_any_part_may_be_absent_or_none(part: str) -> None:
    result = comparison()
    without = {key: value for key, value in result.items() if key != part}
    assert comparison_page(without) == comparison_page({**result, part: None})


@pytest.mark.parametrize("run", range(2))
def test_any_number_may_be_extreme(run: int) -> None:
    result = comparison()
    places = [at for at in paths(result) if isinstance(found(result, at), int | float)]
    for number, at in enumerate(places):
        value = NUMBERS[(number + run * 4) % len(NUMBERS)]
        page = comparison_page(replaced(result, at, value))
        assert drawn_well(page), (at, value)
        assert not re.search(r"\b(nan|inf)\b", page, re.IGNORECASE), (at, value)


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 7))
def test_no_name_adds_an_element_or_an_attribute(start: int) -> None:
    expected = Reading(comparison_page(comparison(harmless())))
    attacked = Reading(comparison_page(comparison(hostile(start))))
    assert attacked.elements == expected.elements
    assert attacked.declarations == expected.declarations == []


def test_the_page_runs_nothing_and_asks_for_nothing() -> None:
    page = comparison_page(comparison())
    reading = Reading(page)
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in reading.elements}
    attributes = {name for _, names in reading.elements for name in names}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"src", "style", "srcset"})
    assert not re.search(r"https?://|//[a-z]|@import|url\(", page)


def test_the_same_result_gives_the_same_page_and_is_left_alone() -> None:
    result = comparison()
    before = copy.deepcopy(result)
    assert comparison_page(result) == comparison_page(result)
    assert result == before
