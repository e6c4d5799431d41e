"""How Sphinx builds these pages: ``python -m sphinx -W -n -b html docs build/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

# the diagrams are drawn by a module beside this file
sys.path.insert(0, str(Path(__file__).parent))

import codeexec_magic

project = "codeexec-magic"
author = "the codeexec-magic authors"
release = version = codeexec_magic.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "diagrams"]
exclude_patterns = ["_build", "notebooks/README.md"]
root_doc = "index"

# the notebooks are shown with the outputs they were stored with; nbval checks those outputs in a suite of its own
nb_execution_mode = "off"
# text that the notebooks saved beside a widget is shown instead of the widget, which needs a kernel
suppress_warnings = [
    "mystnb.unknown_mime_type",  # one notebook shows JSON, which a page without a kernel cannot unfold
]
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
nitpicky = True
# the build needs no network, so names of other projects have nothing to link to
nitpick_ignore_regex = [
    (r"py:.*", r"(?!codeexec_magic|worker).*"),
    # modules that the API page does not show
    (r"py:.*", r"codeexec_magic\.(store|request|display|magics|panel|local|connection|limits|settings|values)(\..*)?"),
    (r"py:.*", r"worker\..*"),
]

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["diagrams.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
