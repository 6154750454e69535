from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from tests.report.made import PAYLOADS, changed, harmless, hostile
from tests.report.made_comparison import comparison, ended_at, judged_as, stored_as, without_certificate
from tests.report.reading import Reading
from tests.report.test_page import NUMBERS, drawn_well

from batchlearn.comparison.outcome import Comparison
from batchlearn.evaluation.intervals import Estimate
from batchlearn.report.comparison.page import comparison_page

QUESTIONS = (
    "What did mini-batch cost me?",
    "Would online do?",
    "What batch size does this data want?",
    "What changes in production with each?",
    "What would change the recommendation?",
)


def bare() -> Comparison:
    """Return a comparison in which nobody took part and nothing was proved or measured."""
    return replace(without_certificate(comparison()), outcomes=(), measured=None, rates=None, notes=())


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
    text = Reading(comparison_page(replace(result, measured=None))).text
    assert "No size was measured" in text
    assert "33,090 on the way" in text
    assert "Measured: batches" not in text


def test_links_lead_to_sections_of_the_page() -> None:
    for result in (comparison(), bare()):
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


def test_a_result_without_contenders_is_a_page_that_claims_nothing() -> None:
    text = Reading(comparison_page(bare())).text
    assert "The best known" in text
    assert "certified optimum" not in text
    assert text.count("Not measured") >= 2
    assert "No contender took part." in text


def test_without_a_certificate_distances_are_from_the_best_known() -> None:
    text = Reading(comparison_page(without_certificate(comparison()))).text
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
    found = Estimate(sum(difference) / 2, *difference)
    result = judged_as(ended_at(comparison(), "online", excess), "online", found)
    assert f"Would online do? {answer}" in Reading(comparison_page(result)).text


def test_a_contender_that_diverged_is_said_to_have() -> None:
    result = ended_at(ended_at(comparison(), "online", math.inf), "mini-batch 128", math.inf)
    text = Reading(comparison_page(result)).text
    assert "No: it diverged" in text
    assert "It diverged" in text
    assert "overflowed" in text
    again = Reading(comparison_page(stored_as(result, "online", None))).text
    assert again.count("overflowed") == text.count("overflowed") + 1


def test_an_order_that_misleads_is_said_to() -> None:
    text = Reading(comparison_page(stored_as(comparison(), "online", 99.0))).text
    assert "it ended 99 above, worse than the mean alone." in text
    assert "the order decides" in text
    assert "the order decides" not in Reading(comparison_page(comparison())).text


def test_a_difference_too_small_to_matter_is_no_worse() -> None:
    result = judged_as(comparison(), "online", Estimate(2e-6, 1e-6, 3e-6))
    assert "(95 % interval 0.000001 to 0.000003), too little to matter." in Reading(
        comparison_page(result)
    ).text.replace("1 \u00d7 10⁻⁶", "0.000001").replace("3 \u00d7 10⁻⁶", "0.000003")


# --- whatever comes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["measured", "rates", "outcomes.1.held_out", "outcomes.1.stored"])
def test_what_was_not_tried_is_left_out(part: str) -> None:
    assert drawn_well(comparison_page(changed(comparison(), part, None)))


@pytest.mark.parametrize("value", NUMBERS)
def test_any_number_may_be_extreme(value: float) -> None:
    last = "outcomes.1.runs.1.points"
    places = [f"{last}.5.value", f"{last}.5.passes", f"{last}.5.seconds", f"{last}.2.value", "seconds"]
    places += [f"outcomes.1.held_out.difference.{end}" for end in ("value", "low", "high")]
    places += ["outcomes.1.held_out.score.value", "measured.sizes.1", "rates.tried.0", "noise.0.excess_loss"]
    places += ["noise.0.plain.trace", "noise.1.preconditioned.gradient_square", "benchmark.optimum.value"]
    whole = {"measured.sizes.1": (128, value, value, value), "rates.tried.0": (value, value)}
    for at in places:
        page = comparison_page(changed(comparison(), at, whole.get(at, value)))
        assert drawn_well(page), at
        assert not re.search(r"\b(nan|inf)\b", page, re.IGNORECASE), at


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


def test_the_same_result_gives_the_same_page() -> None:
    assert comparison_page(comparison()) == comparison_page(comparison())
