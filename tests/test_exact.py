"""The exact solver gives the certified digits, any columns, and says how near it is."""

import json
from pathlib import Path

import numpy as np
import pytest

import gradstep as gs

DATA = Path(__file__).parent / "data"

# Correct digits of the worst coefficient. Filip is given with its powers as float64 holds them: nobody gets more.
DIGITS = {
    "Norris": 13.9, "Pontius": 13.3, "NoInt1": 14.5, "NoInt2": 14.5, "Longley": 14.4, "Wampler1": 13, "Wampler2": 13,
    "Wampler3": 13, "Wampler4": 11.5, "Wampler5": 9.3, "Filip": 7.4,
}  # fmt: skip


def nist(name):
    data = json.loads((DATA / f"{name}.json").read_text())
    X = np.array(data["X"], dtype=float)
    if data["polynomial_degree"]:
        X = X ** np.arange(1, data["polynomial_degree"] + 1)
    return X, np.array(data["y"], dtype=float), data


@pytest.mark.parametrize("name", DIGITS)
def test_certified_digits(name):
    X, y, data = nist(name)
    # NIST's sets without an intercept are fitted without one; everything else is left to `fit`.
    fit = gs.fit(X, y, solver="exact") if data["intercept"] else gs.fit(X, y, solver="exact", intercept=False)
    found = np.append(fit.intercept, fit.coef) if data["intercept"] else fit.coef
    assert -np.log10(np.max(np.abs(found / np.array(data["certified_coef"]) - 1)) + 1e-17) >= DIGITS[name]
    certificate = fit.certificate
    assert certificate.kind == "exact"
    assert certificate.rank == X.shape[1]
    assert certificate.failure_probability == 0
    if data["certified_resid_sd"] == 0:
        assert certificate.residual_sd < 1e-9
    else:
        assert certificate.residual_sd == pytest.approx(data["certified_resid_sd"], rel=1e-10)
    assert fit.r2 == pytest.approx(data["certified_r2"], rel=1e-10)
    assert fit.check.agrees
