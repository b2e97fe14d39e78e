"""Configuration of Sphinx. Pages under ``docs/generated`` are written from the code and the configs at every build."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from reference_pages import write_pages  # noqa: E402

import rsmoe  # noqa: E402
from rsmoe.checks import ranges  # noqa: E402
from rsmoe.settings import types  # noqa: E402

warnings.filterwarnings("ignore")  # of the libraries that autodoc imports
write_pages(HERE / "generated")

project = "rsmoe"
author = "The rsmoe authors"
copyright = "The rsmoe authors, Apache-2.0"
version = release = rsmoe.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated/extension_example.md"]  # the latter is part of how_to/extend.md
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "attrs_inline", "attrs_block"]

smartquotes_action = "D"  # dashes alone: quotes belong to commands
default_role = "py:obj"  # `rsmoe.data.Sample` in a docstring becomes a link where the name is documented
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {  # `Positive` as it is written, not what it stands for
    name: f"{module.__name__}.{name}" for module in (ranges, types) for name in vars(module) if name[:1].isupper()
}
add_module_names = False
autodoc_default_options = {"show-inheritance": True, "special-members": "__call__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes as fields: no second entry for those that are documented where they are set
python_maximum_signature_line_length = 88
suppress_warnings = [
    "ref.python",  # `width` is an attribute of many classes: an annotation that names one of them is ambiguous
]

html_theme = "furo"
html_title = f"rsmoe {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "font-stack": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, 'SF Mono', 'DejaVu Sans Mono', monospace",
        "color-brand-primary": "#0b5d8f",
        "color-brand-content": "#0b5d8f",
    },
    "dark_css_variables": {"color-brand-primary": "#6cb6e0", "color-brand-content": "#6cb6e0"},
}


def setup(app: Any) -> None:
    """Docstrings write `Sample`s: docutils wants a word to end where its mark ends."""
    app.connect("autodoc-process-docstring", _part_plurals)


def _part_plurals(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [re.sub(r"(?<!`)(`[^`\n]+`)(?=[a-z])", r"\1\\ ", line) for line in lines]
