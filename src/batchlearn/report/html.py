"""From values to one HTML file that needs nothing else: no script, no request, every name escaped."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from batchlearn.report.document import Page
from batchlearn.report.values import clean


def _finalize(value: object) -> object:
    # Markup and outlines are ours; a plain text may be, or hold, a name from the data.
    return clean(value) if type(value) is str else value


_ENVIRONMENT = Environment(
    loader=PackageLoader("batchlearn.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_finalize,
)
# A macro that is imported, or called by another one, knows no more than the environment does.
_ENVIRONMENT.globals["kind_of"] = lambda block: type(block).__name__
# Compiled where this is imported, which is beside a training.
_FIGURES, _DOCUMENT = map(_ENVIRONMENT.get_template, ("figures.html", "document.html"))
_STYLE = (files("batchlearn.report") / "templates" / "style.css").read_text(encoding="utf-8")


def render(page: Page) -> str:
    """Return a page as HTML, in the one style of all pages."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return _DOCUMENT.render(page=page, style=_STYLE, style_hash=digest)
