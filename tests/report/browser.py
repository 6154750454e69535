"""A real browser over its debugging pipe: what a page asks for, what it complains of, and how wide it is."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
PATIENCE = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)

# The browser reads descriptor 3 and writes 4, whatever the numbers were here; the first copies are out of their way.
_LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for wanted, end in zip((3, 4), ends):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Look:
    """What one look at a page found; widths and heights in CSS pixels."""

    complaints: list[str]
    requests: list[str]
    scroll_width: int
    overlapping: int
    background: str


def installed() -> str | None:
    """Return the path of a browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running browser; commands go in and answers and events come out, one JSON text each, ended by a zero byte."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **parameters: object) -> Any:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        """Return once an event has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(until - time.monotonic(), 0.0))
            part = os.read(self._answers, 65536) if ready else b""
            assert part, "the browser does not answer"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextlib.contextmanager
def opened(program: str, folder: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it."""
    its_input, commands = os.pipe()
    answers, its_output = os.pipe()
    given = (str(its_input), str(its_output))
    arguments = [sys.executable, "-c", _LAUNCHER, *given, program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(
        arguments, pass_fds=(its_input, its_output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(its_input)
        os.close(its_output)
        try:
            yield Browser(commands, answers)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            os.close(commands)
            os.close(answers)


def look(browser: Browser, page: Path, width: int, scheme: str = "light", picture: Path | None = None) -> Look:
    """Open a page at a width in CSS pixels and report; `scheme` is what the reader prefers, light or dark."""
    target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
    session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Log", "Runtime", "Network", "Page"):
        browser.ask(f"{domain}.enable", session)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", session, **size)
    browser.ask("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
    address = page.resolve().as_uri()
    browser.events.clear()  # those of the empty page
    browser.ask("Page.navigate", session, url=address)
    browser.wait_for("Page.loadEventFired")

    def evaluate(expression: str) -> Any:
        return browser.ask("Runtime.evaluate", session, expression=expression, returnByValue=True)["result"].get(
            "value"
        )

    # All that folds away is unfolded: it must fit as well.
    evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = Look(
        complaints=[],
        requests=[],
        scroll_width=evaluate("document.documentElement.scrollWidth"),
        overlapping=evaluate(_OVERLAPPING),
        background=evaluate("getComputedStyle(document.body).backgroundColor"),
    )
    if picture is not None:
        _take_picture(browser, session, picture)
    for event in browser.events:
        given = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent" and given["request"]["url"] != address:
            found.requests.append(given["request"]["url"])
        if event.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            found.complaints.append(json.dumps(given))
    browser.ask("Target.closeTarget", targetId=target)
    return found


# Names and figures of a forest, or labels of an axis, that lie on each other; labels that leave the page.
_OVERLAPPING = """(() => {
  let count = 0;
  for (const row of document.querySelectorAll('.forest li')) {
    const name = row.querySelector('.name').getBoundingClientRect();
    const shown = row.querySelector('.shown').getBoundingClientRect();
    const across = name.right > shown.left + 1, down = name.bottom > shown.top + 1 && shown.bottom > name.top + 1;
    if (name.height && across && down) count++;
  }
  for (const figure of document.querySelectorAll('svg')) {
    const boxes = [...figure.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    boxes.forEach((a, at) => boxes.slice(at + 1).forEach(b => {
      if (a.width && a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3) count++;
    }));
  }
  for (const text of document.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect();
    if (box.width && (box.left < 0 || box.right > document.documentElement.clientWidth)) count++;
  }
  return count;
})()"""


def _take_picture(browser: Browser, session: str, picture: Path) -> None:
    size = browser.ask("Page.getLayoutMetrics", session)["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = browser.ask("Page.captureScreenshot", session, captureBeyondViewport=True, clip=clip)
    picture.write_bytes(base64.b64decode(shot["data"]))
