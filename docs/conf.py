"""How Sphinx builds these pages: python -m sphinx -W -b html docs build/docs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "batchlearn"
author = "the batchlearn developers"
copyright = "the batchlearn developers"

extensions = ["myst_parser"]
myst_heading_anchors = 2

html_theme = "furo"
html_title = "batchlearn"
html_show_sphinx = False
html_copy_source = False

_ABOVE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+[A-Z]+\.md\)")


def unlink_what_is_no_page(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Keep the words of links to the repository's own files, such as LOG.md: they lie beside docs and are no pages."""
    source[0] = _ABOVE.sub(r"\1", source[0])


def setup(app: Sphinx) -> None:
    """Change pages on their way into Sphinx."""
    app.connect("source-read", unlink_what_is_no_page)
