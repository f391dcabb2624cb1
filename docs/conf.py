"""How Sphinx builds these pages: `make docs`, without a network.

What follows from the code, the pages of losses, modules and commands, is written into ``generated/`` first.
Another folder of pages, built with ``-c docs``, is built as it is.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generating import docstrings, mathml  # noqa: E402

project = "goal-analysis"
copyright = "its authors"
version = release = version_of("goal-analysis")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["built", "generating", "generated/executed"]
default_role = "py:obj"
highlight_language = "none"
suppress_warnings = ["ref.python"]  # several modules have a `name`; a link then goes to one of them

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_cache_path = str(HERE / "generated" / "executed")
nb_render_markdown_format = "myst"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # a page without a kernel has no sliders, and nothing to load for them

autodoc_default_options = {"no-value": True}
autodoc_mock_imports = ["ray"]  # the one engine that the pages do not install
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and types stand in the docstrings
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "goal-analysis"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_js_files = ["sorting.js"]
html_copy_source = False
html_show_sourcelink = False


def setup(app) -> None:
    """Write what is generated, and register what Sphinx lacks: formulas without a script, and in docstrings."""
    if Path(app.srcdir) == HERE:
        from generating.notebook_pages import run_notebooks
        from generating.writing_pages import write_pages

        write_pages(HERE / "generated")
        run_notebooks(HERE / "generated" / "notebooks", Path(nb_execution_cache_path), nb_execution_timeout)
    mathml.setup(app)
    docstrings.setup(app)
