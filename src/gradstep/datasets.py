"""The bundled table."""

from __future__ import annotations

import csv
import gzip
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

_NUMBERS = ("carat", "depth", "table", "x", "y", "z")
# From worst to best, as the trade grades them. The first grade of each is the one that the others are compared with.
_GRADES = {
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": ("J", "I", "H", "G", "F", "E", "D"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}


def load_diamonds() -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Load the prices of 53,940 round-cut diamonds with their attributes.

    Six numbers (weight in carats, total depth and table width in percent, length, width and depth in millimetres) and
    three gradings as 0/1 columns, one for each grade but the worst (cut Fair, color J, clarity I1), which would be a
    linear combination of the others and the intercept. The rows are as published: some lengths are 0 or mistyped.

    Returns
    -------
    X : ndarray, (53940, 23)
        Attributes, float64.
    y : ndarray, (53940,)
        Price in US dollars.
    feature_names : list of str
        Names of the columns of X, such as ``"carat"`` and ``"cut=Ideal"``.

    References
    ----------
    H. Wickham, *ggplot2: Elegant Graphics for Data Analysis*, Springer 2016: data set ``diamonds``. The R package
    ggplot2 is under the MIT licence.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y, feature_names = gs.load_diamonds()
    >>> X.shape, float(y[0]), feature_names[:2], feature_names[-1]
    ((53940, 23), 326.0, ['carat', 'depth'], 'clarity=IF')
    """
    with (files("gradstep") / "data" / "diamonds.csv.gz").open("rb") as packed, gzip.open(packed, "rt") as text:
        header, *records = csv.reader(text)
    columns = dict(zip(header, zip(*records, strict=True), strict=True))
    X = [np.array(columns[name], dtype=float) for name in _NUMBERS]
    names = list(_NUMBERS)
    for grading, grades in _GRADES.items():
        given = np.array(columns[grading])
        X += [(given == grade).astype(float) for grade in grades[1:]]
        names += [f"{grading}={grade}" for grade in grades[1:]]
    return np.column_stack(X), np.array(columns["price"], dtype=float), names
