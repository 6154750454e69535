from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.browser import Browser, installed, look, opened
from tests.report.made import complete, hostile, minimal, shapes
from tests.report.made_comparison import comparison
from tests.report.retraining.test_backtest_page import hostile as hostile_backtest
from tests.report.retraining.test_backtest_page import turned
from tests.report.retraining.test_turn_page import halted, judged_turn
from tests.report.test_page import page

from batchlearn.formatting.notes import Code, Note
from batchlearn.report.comparison.page import comparison_page
from batchlearn.report.page import page as page_of
from batchlearn.report.retraining.turn import turn_page
from batchlearn.retraining.shell.turn import CycleResult

NARROW, WIDE = 400, 1280
PAGES = ["complete", "minimal", "hostile", "comparison", "hostile comparison", "turn", "halted turn", "hostile turn"]
PAGES += ["backtest", "hostile backtest"]


def turn(result: CycleResult, target: str = "bought") -> str:
    return turn_page(result, target, "2026-02-03T00:00:00Z", "ann")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser; where none is installed the tests are skipped, but fail where CI is set: there it has to be."""
    program = installed()
    if program is None:
        assert not os.environ.get("CI"), "no chromium is installed; .ci/run installs it"
        pytest.skip("no chromium is installed")
    with opened(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {
        "complete": page(complete()),
        "minimal": page(minimal(), []),
        "hostile": page(complete(hostile()), shapes(hostile())),
    }
    written |= {
        "comparison": comparison_page(comparison()),
        "hostile comparison": comparison_page(comparison(hostile())),
    }
    written |= {"backtest": page_of(turned()), "hostile backtest": page_of(hostile_backtest())}
    long = Note(Code.RECORDED, {"text": "an_unbroken_name_" * 20})
    written |= {"turn": turn(judged_turn("not enough evidence")), "halted turn": turn(halted())}
    written |= {"hostile turn": turn(judged_turn(notes=(long,), alarms=(long,)), "an_unbroken_name_" * 20)}
    for name, text in written.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_fits_asks_for_nothing_and_has_no_error(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    found = look(browser, pages[name], width)
    assert found.complaints == []
    assert found.requests == []
    assert found.scroll_width <= width
    assert found.overlapping == 0


def test_the_page_follows_the_colours_that_the_reader_prefers(browser: Browser, pages: dict[str, Path]) -> None:
    light, dark = (look(browser, pages["complete"], WIDE, scheme).background for scheme in ("light", "dark"))
    assert light == "rgb(250, 249, 247)"
    assert dark == "rgb(19, 21, 25)"


def test_the_browser_would_see_a_request_and_an_error(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    bad = '<img src="missing.png"><script>console.error("seen")</script><svg><text x="-50">x</text></svg>'
    page.write_text(f"{bad}<pre>{'wide ' * 200}</pre>")
    found = look(browser, page, NARROW)
    assert found.scroll_width > NARROW
    assert len(found.requests) == 1
    assert any("seen" in one for one in found.complaints)
    assert found.overlapping == 1
