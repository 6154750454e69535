"""From values to one HTML file that needs nothing else: no script, no request, every name escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from batchlearn.report.values import clean


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return a page as HTML: a template of `report/templates` with its content and the one style of all pages."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _environment().get_template(template).render(style=style, style_hash=digest, **content)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("batchlearn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: object) -> object:
    # Markup and outlines are ours; a plain text may be, or hold, a name from the data.
    return clean(value) if type(value) is str else value


@cache
def _style() -> str:
    return (files("batchlearn.report") / "templates" / "style.css").read_text(encoding="utf-8")
