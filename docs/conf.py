"""Builds the site: `python -m sphinx -W -b html docs docs/_build/html`.

Nothing is loaded from the network when a page is read: the theme uses the fonts of the
system, the search runs on an index that is part of the site, and equations are MathML.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "jrnn"
author = "The authors of jrnn"
html_title = "jrnn"
html_theme = "furo"
pygments_dark_style = "github-dark"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "docstrings",
    "public_names",
    "notebook_pages",
]
exclude_patterns = ["_build", "_ext"]
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the notebooks keep their outputs
nb_ipywidgets_js = {}  # no widget is used, and these would come from a network
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 80
add_module_names = False
napoleon_use_rtype = False
toc_object_entries = True
toc_object_entries_show_parents = "hide"
suppress_warnings = ["config.cache"]
