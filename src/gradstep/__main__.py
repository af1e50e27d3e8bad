"""`python -m gradstep`: the main job on the textbook example and on a real table, in plain words."""

import argparse
import textwrap
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np

import gradstep as gs
from gradstep.textbook import make_linear

PATIENT_EPOCHS = 600


def textbook_example() -> tuple[gs.Fit, gs.ClosedForm]:
    """Fit 1,000 drawn rows with nothing to tune, then by three epochs of minibatch SGD, and say how it went."""
    w, b = [2.0, -3.4], 4.2
    X, y = make_linear(w, b, 1000, noise=0.01)
    print("1. The textbook example: 1,000 rows of y = X w + b + noise of 0.01, nothing to tune\n")
    _report(gs.fit(X, y))
    print("\n   The same as the textbooks do it: minibatches of 10, learning rate 0.03, 3 epochs\n")
    fit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3, solver=gs.sgd(exact_objective=True))
    exact = gs.closed_form(X, y)
    for epoch, objective in zip(fit.history.epoch, fit.history.exact_objective, strict=True):
        print(f"   epoch {epoch}   loss {objective:.8f}")
    print("\n                  truth    estimate   scipy.linalg")
    for name, truth, estimate, closed in (
        *zip(("w[0]", "w[1]"), w, fit.coef, exact.coef, strict=True),
        ("b", b, fit.intercept, exact.intercept),
    ):
        print(f"   {name:9}{truth:11.4f}{estimate:12.6f}{closed:15.6f}")
    _verdict(fit)
    print("\n   The same with all rows in each step: learning rate 0.5, 30 epochs")
    _verdict(gs.fit(X, y, step=0.5, batch_size=len(X), epochs=30))
    return fit, exact


def real_table() -> tuple[gs.Fit, gs.ClosedForm]:
    """Fit the diamond prices on standardised columns, briefly and patiently, and check both."""
    X, y, names = gs.load_diamonds()
    print(f"\n2. A real table: the prices of {len(X):,} diamonds on {X.shape[1]} columns, raw, nothing to tune\n")
    _report(gs.fit(X, y))
    print("\n   With a step, each column standardised: minibatches of 64, learning rate 0.01, 20 epochs\n")
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    brief = gs.fit(Z, y, step=0.01, batch_size=64, epochs=20, solver=gs.sgd(exact_objective=True))
    for epoch, objective in zip(brief.history.epoch, brief.history.exact_objective, strict=True):
        print(f"   epoch {epoch:2d}   objective {objective:14,.1f}")
    _verdict(brief)

    print(f"\n   With patience: minibatches of 8,192, learning rate 0.1, {PATIENT_EPOCHS} epochs\n")
    fit = gs.fit(Z, y, step=0.1, batch_size=8192, epochs=PATIENT_EPOCHS, solver=gs.sgd(exact_objective=True))
    for i in np.unique(np.geomspace(1, PATIENT_EPOCHS, 8).astype(int)) - 1:
        print(f"   epoch {fit.history.epoch[i]:3d}   objective {fit.history.exact_objective[i]:14,.1f}")
    exact = gs.closed_form(Z, y)
    print(f"   closed form objective {exact.objective:14,.1f}\n")
    print("   coefficient per standard deviation     SGD   scipy.linalg   standard error")
    rows = zip((*names, "intercept"), (*fit.coef, fit.intercept), (*exact.coef, exact.intercept),
               (*exact.standard_errors, exact.intercept_standard_error), strict=True)  # fmt: skip
    for name, estimate, closed, error in rows:
        print(f"   {name:28}{estimate:14,.2f}{closed:15,.2f}{error:17,.2f}")
    print("\n   With a step that stays the same the noise of the batches stays too: this is about as near as it comes.")
    _verdict(fit)
    return fit, exact


def picture(path: Path, shown: list[tuple[str, gs.Fit, gs.ClosedForm]]) -> None:
    """Draw the learning curves side by side into a file, where matplotlib is installed."""
    if find_spec("matplotlib") is None:
        print('\nNo picture: matplotlib is not installed; the extra "plot" brings it.')
        return
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 4), layout="constrained")
    for ax, (title, fit, exact) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        gs.plots.learning_curve(fit, exact, ax).set_title(title)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        print(f"\nNo picture: {path} cannot be written ({error.strerror}); name another file with --picture.")
        return
    print(f"\nPicture of both learning curves: {path}")


def main(arguments: list[str] | None = None) -> None:
    """Run the main job."""
    parser = argparse.ArgumentParser(prog="python -m gradstep", description=main.__doc__)
    parser.add_argument(
        "--picture", type=Path, default=Path("gradstep-demo.png"), help="file for the picture (%(default)s)"
    )
    path = parser.parse_args(arguments).picture
    began = perf_counter()
    print(f"gradstep {gs.__version__}: linear models by minibatch SGD, checked against closed-form least squares\n")
    example, table = textbook_example(), real_table()
    picture(path, [("textbook example", *example), ("diamond prices", *table)])
    print(f"\nAll of it took {perf_counter() - began:.1f} seconds, compilation of the kernel included.")


def _report(fit: gs.Fit) -> None:
    print(textwrap.indent(str(fit), "   "))


def _verdict(fit: gs.Fit) -> None:
    assert fit.check is not None  # noqa: S101 - both tables are small enough for check="auto"
    print(
        f"\n   Objective {fit.check.objective_gap:.1e} (relative) above the least possible; {fit.seconds:.2f} seconds."
    )
    print(textwrap.fill(fit.check.verdict, 100, initial_indent="   ", subsequent_indent="   "))


if __name__ == "__main__":
    main()
