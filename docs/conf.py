"""The documentation: ``make docs`` builds it, and needs no network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "flask_bokeh"
author = "The flask_bokeh developers"
copyright = "The flask_bokeh developers"
release = version = version_of("flask-bokeh")

extensions = ["myst_parser", "sphinx.ext.autodoc", "diagrams", "markdown_pages"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# The names of other packages are not looked up: that would need the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(bokeh|collections|flask|markupsafe|pathlib|tornado)\..*"),
    (r"py:(class|exc)", r"((typing|types)\..*|(Runtime|Value|Type|Lookup|Timeout)Error|[a-z]+|F)"),
    (r"py:class", r"(Document|Flask|IOLoop|Markup|Model)"),
    (r"py:class", r"flask_bokeh\.(errors\.RefusedError|extension\.F)"),
    (r"py:class", r"flask_bokeh\.security\.arguments\.Arguments"),
]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "flask_bokeh"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1d4ed8",
        "color-brand-content": "#1d4ed8",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab4ff",
        "color-brand-content": "#8ab4ff",
    },
}
pygments_style = "default"
pygments_dark_style = "github-dark"
