"""From values to one HTML file that needs nothing else: no script, no request, every name escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from batchlearn.report.document import Page
from batchlearn.report.values import clean


def render(page: Page) -> str:
    """Return a page as HTML, in the one style of all pages."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(page=page, style=style, style_hash=digest)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("batchlearn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    # A macro that is imported, or called by another one, knows no more than the environment does.
    environment.globals["kind_of"] = lambda block: type(block).__name__
    return environment.get_template("document.html")


def _finalize(value: object) -> object:
    # Markup and outlines are ours; a plain text may be, or hold, a name from the data.
    return clean(value) if type(value) is str else value


@cache
def _style() -> str:
    return (files("batchlearn.report") / "templates" / "style.css").read_text(encoding="utf-8")
