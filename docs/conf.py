"""How Sphinx builds these pages: python -m sphinx -W -b html docs build/docs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "batchlearn"
author = "the batchlearn developers"
copyright = "the batchlearn developers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 2

# Docstrings name a thing by one pair of backquotes, as the Markdown beside them does.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Without it a name that ends in an underscore, as those of fitted estimators, loses it.
strip_signature_backslash = True
# Types stand beside the arguments, from the signatures: a docstring does not repeat them.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {name: name for name in ("Floats", "Regime")}
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

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
