"""Build of the documentation. It needs no network, and its pages fetch nothing from elsewhere."""

import re
import sys
import zlib
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _course
import _formulas
import _gpu
import _speed

_formulas.write(Path(__file__).parent / "formulas")
_gpu.write(Path(__file__).parent / "measured")
_speed.write(Path(__file__).parent / "measured")

project = "gradstep"
author = "The gradstep developers"
copyright = author
release = version = installed("gradstep")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "lessons", "measured"]
default_role = "py:obj"  # a name in single backticks is a link
myst_heading_anchors = 3

_made = Path(__file__).parent / "_build" / "made"  # what is served beside _static
mathjax_path = _course.mathjax(_made)
# No menu: its other renderers and its speech would be fetched one by one.
mathjax3_config = {"options": {"enableMenu": False}}

# Each page of the course is a script in lessons/, run from top to bottom.
sphinx_gallery_conf = {
    "examples_dirs": "lessons",
    "gallery_dirs": "course",
    "filename_pattern": r"/\d_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("_course.picture",),
    "reset_modules": ("matplotlib", "_course.look"),
    "capture_repr": ("__repr__",),
    "ignore_repr_types": r"matplotlib|NoneType",
    "abort_on_example_error": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "download_all_examples": False,
    "copyfile_regex": r"index\.rst",  # the page of the pages, written by hand
}

nitpicky = True
nitpick_ignore: list[tuple[str, str]] = []  # every name in single backticks has a page


def _inventory(name: str) -> str:
    """Make the file that Sphinx reads, `objects.inv`, of the readable list inventories/NAME.txt, and return its path.

    A list is an inventory of version 2 before its compression: four lines of header, then a line an object, `name
    domain:role priority address title`. A `$` that ends an address stands for the name, and a title of `-` is the name.
    """
    here = Path(__file__).parent
    lines = (here / "inventories" / f"{name}.txt").read_bytes().splitlines(keepends=True)
    made = here / "_build" / "inventories" / f"{name}.inv"
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(b"".join(lines[:4]) + zlib.compress(b"".join(lines[4:])))
    return str(made)


# Links to other projects: their public addresses, and our own lists of the few objects that we link to.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", _inventory("python")),
    "numpy": ("https://numpy.org/doc/stable", _inventory("numpy")),
    "scipy": ("https://docs.scipy.org/doc/scipy", _inventory("scipy")),
    "matplotlib": ("https://matplotlib.org/stable", _inventory("matplotlib")),
}

autosummary_generate = True
# Some file systems do not tell `fit` from `Fit`.
autosummary_filename_map = {"gradstep.Fit": "gradstep.Fit-class"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings give types and shapes in words
toc_object_entries_show_parents = "hide"

numpydoc_show_class_members = False  # the templates in _templates/ do
numpydoc_xref_param_type = True
numpydoc_xref_ignore = {
    "or", "of", "default", "optional", "matplotlib", "n", "d", "k", "m", "p", "q", "batch", "device", "distribution",
    "context", "frozen", "manager", "outcome", "size", "state", "states", "steps",
}  # fmt: skip
numpydoc_xref_aliases = {
    "bool": ":class:`python:bool`",
    "mapping": ":class:`mapping <python:collections.abc.Mapping>`",
    "Fraction": ":class:`python:fractions.Fraction`",
    "callable": ":func:`callable <python:callable>`",
    "Loss": "gradstep.Loss",
    "Penalty": "gradstep.Penalty",
    "Schedule": "gradstep.Schedule",
    "Sgd": "gradstep.Sgd",
    "Law": "gradstep.textbook.Law",
    "LawCheck": "gradstep.textbook.LawCheck",
    "Fit": "gradstep.Fit",
    "ClosedForm": "gradstep.ClosedForm",
    "GradientCheck": "gradstep.textbook.GradientCheck",
    "squared": "gradstep.squared",
    "SampleSpace": "gradstep.textbook.SampleSpace",
    "Event": "gradstep.textbook.Event",
    "Joint": "gradstep.textbook.Joint",
    "NormalInverseGamma": "gradstep.textbook.NormalInverseGamma",
    "Axes": "matplotlib.axes.Axes",
}

# Every check but two: a summary often says all there is to say, and See Also only repeats the page's own links.
numpydoc_validation_checks = {"all", "ES01", "SA01"}
# Checks that a docstring need not pass where it matches.
numpydoc_validation_overrides = {
    # Results and exceptions describe their attributes; a caller never constructs them.
    "PR01": [r"(?m)^Attributes\n-+$"],
    "RT01": [r"(?m)^Yields\n-+$"],
    # What takes no parameters and returns nothing, such as a property, needs no example.
    "EX01": [r"(?ms)\A(?!.*^(Parameters|Returns|Yields)\n-+$)"],
}
numpydoc_validation_exclude = {
    # A caller never constructs one; its members are sentences themselves.
    r"^gradstep\.Stop$",
}

html_theme = "pydata_sphinx_theme"
html_title = "gradstep"
html_static_path = ["_static", str(_made)]
html_css_files = ["gradstep.css"]
html_favicon = "_static/gradstep.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_copy_source = False
html_domain_indices = False
html_show_copyright = False
html_sidebars = {"index": [], "notation": [], "changelog": [], "contributing": []}
html_theme_options = {
    "logo": {"text": f"gradstep {release}"},
    "footer_start": ["sphinx-version"],
    "footer_end": ["theme-version"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
}


def _signature(_app, what, _name, obj, _options, signature, returns):
    """Show no constructor where a docstring describes none."""
    if signature and what in {"class", "exception"} and not re.search(r"(?m)^ *Parameters$", obj.__doc__ or ""):
        return "", returns
    return None


def _initials(_app, _what, _name, _obj, _options, lines):
    """Keep a line such as "G. H. Golub and ..." from being read as item G of a list."""
    lines[:] = [re.sub(r"^([A-Z])\. ", r"\1\\. ", line) for line in lines]


def setup(app):
    """Connect what this file adds to Sphinx."""
    # numpydoc listens at the usual priority, 500. Of signatures the first answer counts.
    app.connect("autodoc-process-signature", _signature, priority=400)
    app.connect("autodoc-process-docstring", _initials, priority=600)
