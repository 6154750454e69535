"""How Sphinx builds these pages: python -m sphinx -W -b html docs build/docs."""

from __future__ import annotations

project = "batchlearn"
author = "the batchlearn developers"
copyright = "the batchlearn developers"  # noqa: A001 - Sphinx asks for this name

extensions = ["myst_parser"]
# Links to the files of the repository that are no pages.
myst_url_schemes = {"http": None, "https": None}
myst_heading_anchors = 2

html_theme = "furo"
html_title = "batchlearn"
# Nothing is fetched when a page is opened, and nothing is written that says when or where it was built.
html_show_sphinx = False
html_copy_source = False
