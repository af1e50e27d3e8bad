"""How the pages of the course are executed: one look for their pictures, and mathematics that needs no network."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx_gallery.scrapers import matplotlib_scraper

INK, SECOND, THIRD, FOURTH, SOFT = "#1b4f72", "#b9770e", "#7d3c98", "#1e8449", "#a0a0a0"
LOOK = {
    "axes.edgecolor": SOFT,
    "axes.grid": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.figsize": (7.2, 3.2),
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "gradstep",
}


def look(_gallery_conf, _file):
    """Give every page the same look, before it runs."""
    import matplotlib as mpl  # noqa: PLC0415 - after Sphinx-Gallery has chosen the backend

    mpl.rcParams.update(LOOK, **{"axes.prop_cycle": mpl.cycler(color=[INK, SECOND, THIRD, FOURTH])})


def picture(block, block_vars, gallery_conf):
    """Keep pictures as lines and letters, sharp at any size; their titles are their alternative text.

    Each is a link to itself alone, where a reader on a telephone can enlarge it.
    """
    rst = matplotlib_scraper(block, block_vars, gallery_conf, format="svg", metadata={"Date": None})
    rst = re.sub(r"\.\. image-sg:: (\S*/(\S+))", r".. image:: \1\n   :target: ../_images/\2", rst)
    return re.sub(r" +:srcset: .*\n", "", rst)


def mathjax(folder: Path) -> str:
    """Copy MathJax out of the installed package that carries it, and return its path below the folder."""
    package = find_spec("mathjax")
    assert package is not None and package.origin is not None  # noqa: S101, PT018 - of the extra `docs`
    file = Path(package.origin).parent / "static" / "mathjax" / "es5" / "tex-svg.js"  # with its letters in it
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)
    return file.name
