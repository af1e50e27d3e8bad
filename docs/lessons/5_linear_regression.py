r"""
5. Linear regression
====================

A linear model predicts a number by a weighted sum of other numbers. This page fits one in three ways: by solving
equations, by stepping down the gradient, and by `gradstep.fit`, which steps too and then proves how near it came.
Each formula stands beside the call that computes it.

On the way it answers four questions. Why squares? What can go wrong with the equations? Why does the textbook method
stop short of the answer, and stand still on raw columns? And how do you know that a fit is right?

The data
--------

A **data set** is a table of examples. The bundled one holds diamonds, one a row.
"""

import numpy as np

import gradstep as gs

X, y, names = gs.load_diamonds()
print("X", X.shape, " y", y.shape)
for name, value in zip(names[:3], X[0, :3], strict=True):
    print(f"{name:>6} of the first diamond: {value}")
print(f" price of the first diamond: {y[0]} dollars")

# %%
# .. list-table::
#    :header-rows: 1
#
#    * - In machine learning
#      - In this library
#      - Among the diamonds
#    * - data set
#      - table, :math:`X` and :math:`y`
#      - all diamonds with their prices
#    * - sample, example
#      - row, :math:`x_i^\top`
#      - one diamond
#    * - feature
#      - column of :math:`X`, with entries :math:`x_{ij}`
#      - the weights of all diamonds in carats
#    * - label, target
#      - response, :math:`y_i`
#      - the price of one diamond in dollars
#    * - weights, bias
#      - coefficients :math:`w`, intercept :math:`b`
#      - dollars for one more carat, and so on
#
# Here :math:`n` counts the rows and :math:`d` the columns. Rows are counted by :math:`i`, columns by :math:`j`.
#
# The model
# ---------
#
# The prediction for row :math:`i` is its **score** :math:`z_i`. On the left it is a sum for each row. On the right it
# is one product of a matrix and a vector for all rows, with :math:`\mathbf 1` the vector of ones:
#
# .. math::
#
#    z_i = \sum_{j=1}^{d} w_j x_{ij} + b
#    \;\Longleftrightarrow\;
#    z = X w + b \mathbf{1}
#
# Take a model made up by hand: 7,000 dollars a carat, less 1,000. Sum, product and `gradstep.textbook.linear` agree.

w, b = np.zeros(len(names)), -1000.0
w[names.index("carat")] = 7000.0
by_sum = [sum(w[j] * X[i, j] for j in range(len(w))) + b for i in range(3)]
by_product = X[:3] @ w + b * np.ones(3)
np.allclose(by_sum, by_product), gs.textbook.linear(X[:3], w, b)

# %%
# The squared loss
# ----------------
#
# A **loss** says how bad a prediction is. The **objective** is its mean over all rows, and fitting means to make that
# as small as possible:
#
# .. math::
#
#    \begin{aligned}
#    \ell(z, y) &= \tfrac12 (z - y)^2 \\
#    L(w, b) &= \frac1n \sum_{i=1}^{n} \ell(x_i^\top w + b,\; y_i)
#    \end{aligned}
#
# The half cancels the 2 of the derivative, so that the slope of the loss in :math:`z` is the error :math:`z - y`.
# From here on we use the textbook's example, because we know what it was made with: :math:`w = (2, -3.4)`,
# :math:`b = 4.2`, and Gaussian noise of standard deviation :math:`\sigma = 0.01`.

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
z = gs.textbook.linear(X, [2.0, -3.4], 4.2)
by_formula = np.mean((z - y) ** 2) / 2
# (): this loss has no parameters.
by_library = np.mean([gs.squared().value(*pair, ()) for pair in zip(z, y, strict=True)])
print(f"{by_formula:.6e}  {by_library:.6e}")

# %%
# Why squares: the likelihood of Gaussian noise
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# Suppose that each response is its score :math:`z_i = x_i^\top w + b` plus Gaussian noise, independent from row to
# row:
#
# .. math::
#
#    \begin{aligned}
#    y_i &= z_i + \varepsilon_i, \quad \varepsilon_i \sim \mathcal N(0, \sigma^2) \\
#    p(y_i) &= \frac{1}{\sqrt{2 \pi \sigma^2}}
#       \exp\!\Big( -\frac{(y_i - z_i)^2}{2 \sigma^2} \Big)
#    \end{aligned}
#
# The **likelihood** of :math:`w` and :math:`b` is the density of the responses that were observed, as a function of
# :math:`w` and :math:`b`. Rows are independent, so it is a product, and its logarithm a sum:
#
# .. math::
#
#    \begin{aligned}
#    & \log \prod_{i=1}^{n} p(y_i) \\
#    &= -\frac n2 \log(2 \pi \sigma^2) - \frac{1}{2 \sigma^2} \sum_{i=1}^{n} (y_i - z_i)^2 \\
#    &= -\frac n2 \log(2 \pi \sigma^2) - \frac{n}{\sigma^2} \, L(w, b)
#    \end{aligned}
#
# The first term has neither :math:`w` nor :math:`b` in it. The second is the loss times a negative number. So the
# coefficients of **maximum likelihood** are those of least squares, whatever :math:`\sigma` is.
#
# Now the same in numbers, over a grid of :math:`(w_1, w_2)`. For each pair the intercept is at its optimum, which is
# :math:`b = \bar y - \bar x^\top w`, bars being means over the rows. SciPy computes the density, and knows nothing of
# our loss.

from scipy.stats import norm


def residuals(w1, w2):
    """Return y - x'w - b, b at its optimum, for each pair of the grid and each row."""
    W = np.stack(np.meshgrid(w1, w2), axis=-1)
    return (y - y.mean()) - W @ (X - X.mean(axis=0)).T


sigma, n = 0.01, len(y)
off = np.linspace(-1.5e-3, 1.5e-3, 61)
r = residuals(2.0 + off, -3.4 + off)
loss = np.mean(r**2, axis=-1) / 2
log_likelihood = norm.logpdf(r, scale=sigma).sum(axis=-1)
affine = -n / 2 * np.log(2 * np.pi * sigma**2) - n / sigma**2 * loss
print("the same grid point:", loss.argmin() == log_likelihood.argmax())
print("affine in the loss: ", np.allclose(log_likelihood, affine, rtol=1e-10, atol=0))

# %%
# Side by side. Each line on the left is a line on the right, at the level that the formula gives for it. The mark is
# the best point of both grids.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, sharey=True)
relative = np.exp(log_likelihood - log_likelihood.max())
levels = np.array([0.01, 0.05, 0.2, 0.4, 0.6, 0.8])
same = np.sort(loss.min() - sigma**2 / n * np.log(levels))
pictures = (
    ("Likelihood: a peak, of height 1 here", relative, levels),
    ("Loss (millionths): a bowl of the same lines", 1e6 * loss, 1e6 * same),
)
row, column = np.unravel_index(loss.argmin(), loss.shape)
for ax, (title, surface, levels) in zip(axes, pictures, strict=True):
    lines = ax.contour(1e3 * off, 1e3 * off, surface, levels=levels, colors="C0")
    ax.clabel(lines, fontsize=7, fmt="%.2f")
    ax.plot(1e3 * off[column], 1e3 * off[row], "k+", markersize=10)
    ax.set(title=title, xlabel="$w_1 - 2$ (thousandths)")
axes[0].set_ylabel("$w_2 + 3.4$ (thousandths)")

# %%
# Another noise gives another loss by the same two lines: Laplace's density
# :math:`\frac{1}{2s} e^{-|\varepsilon| / s}` has the log likelihood
# :math:`-n \log(2s) - \frac1s \sum_i |y_i - z_i|`, and so asks for the least **absolute** loss, which is
# `gradstep.quantile` at level one half, up to a factor of two.
#
# The closed form
# ---------------
#
# Let :math:`A = (X \;\; \mathbf 1)` carry a column of ones and :math:`\theta = (w, b)`. At the least objective the
# gradient vanishes:
#
# .. math::
#
#    \begin{aligned}
#    \nabla L(\theta) &= \frac1n A^\top (A \theta - y) = 0 \\
#    \Longleftrightarrow \quad A^\top A \, \theta &= A^\top y
#    \end{aligned}
#
# These are the **normal equations**. For centred columns and responses they read :math:`X^\top X w = X^\top y`.
# :func:`scipy.linalg.lstsq` and `gradstep.closed_form` find the same :math:`\theta` by an orthogonal factorisation of
# the table, without forming :math:`A^\top A`.

import scipy.linalg

A = np.column_stack([X, np.ones(n)])
by_normal_equations = np.linalg.solve(A.T @ A, A.T @ y)
by_lstsq = scipy.linalg.lstsq(A, y)[0]
exact = gs.closed_form(X, y)
best = np.array([*exact.coef, exact.intercept])
np.round([by_normal_equations, by_lstsq, best], 8)

# %%
# What can go wrong: digits
# ~~~~~~~~~~~~~~~~~~~~~~~~~
#
# The **condition** :math:`\kappa` of a matrix is its largest singular value over its smallest. An answer computed in
# float64, which holds some 16 decimal digits, may lose :math:`\log_{10} \kappa` of them, and more where residuals are
# large. The normal equations work with :math:`A^\top A`, and
#
# .. math::
#
#    \kappa(A^\top A) = \kappa(A)^2,
#
# so they may lose twice as many. To count digits we need the truth. Two columns of whole numbers give it: Cramer's
# rule in Python's integers and fractions has no rounding at all.

from fractions import Fraction


def truth(table, response):
    """Solve the normal equations of two columns of whole numbers exactly."""
    table, response = table.astype(object), response.astype(object)  # Python's integers
    (p, q), (_, s) = table.T @ table
    f, g = table.T @ response
    det = p * s - q * q
    return np.array([Fraction(f * s - g * q, det), Fraction(g * p - f * q, det)], float)


# %%
# The columns are :math:`s u` and :math:`s u + v`. The larger :math:`s` is, the more they are alike.

rng = np.random.default_rng(0)
u, v, noise = rng.integers(-100, 101, (3, 200))
print("right digits by:  normal equations  lstsq  closed_form  gs.fit")
for s in 10 ** np.array([0, 2, 4, 6, 7]):
    whole = np.column_stack([s * u, s * u + v])
    T, t = whole.astype(float), (whole.sum(axis=1) + noise).astype(float)
    found = [
        np.linalg.solve(T.T @ T, T.T @ t),
        scipy.linalg.lstsq(T, t)[0],
        gs.closed_form(T, t, intercept=False).coef,
        gs.fit(T, t, intercept=False).coef,
    ]
    right = truth(whole, whole.sum(axis=1) + noise)
    error = [np.abs(w / right - 1).max() for w in found]
    digits = [max(0.0, -np.log10(max(e, 2.0**-53))) for e in error]
    row = "condition {:.0e}: {:16.0f} {:6.0f} {:12.0f} {:7.0f}"
    print(row.format(np.linalg.cond(T), *digits))

# %%
# The normal equations lose about twice the digits of the condition, until hardly any is left. Orthogonal
# factorisations lose them once. `gradstep.fit` takes the gradient in twice the precision of float64 and corrects by
# it, so that on small tables the condition costs nothing that can be seen here.
#
# What can go wrong: dependence
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# If a column is a combination of others, :math:`A^\top A` is singular: infinitely many coefficients do equally well.
# Code that solves the equations regardless returns one of them, or rounding noise. The library takes the least norm
# in columns brought to one scale, and names the column.

C = np.column_stack([X, X[:, 0] + X[:, 1]])
dependent = gs.fit(C, y)
certificate = dependent.certificate
print("rank", certificate.rank, "of 3, dependent:", certificate.dependent)
print("as the closed form says:", gs.closed_form(C, y).dependent)
print("the same predictions:", np.allclose(dependent.predict(C), A @ best))

# %%
# What can go wrong: memory
# ~~~~~~~~~~~~~~~~~~~~~~~~~
#
# :func:`scipy.linalg.lstsq` and `gradstep.closed_form` factorise a float64 copy of the table, of some
# :math:`8 n (d + 1)` bytes. It grows with the number of rows. A batch of :math:`|\mathcal B|` rows does not.

d, billion = 23, 10**9
print(f"a billion rows like the diamonds: {8 * billion * (d + 1) / 2**30:.0f} GiB")
print(f"a batch of 1,024 of them:         {8 * 1024 * (d + 1) / 2**10:.0f} KiB")

# %%
# Gradient descent
# ----------------
#
# The other way is to start anywhere and to walk downhill. The gradient is what the closed form sets to
# zero. `gradstep.textbook.gradient` returns it in two parts, for :math:`w` and :math:`b`:
#
# .. math::
#
#    \begin{aligned}
#    \nabla_w L &= \frac1n X^\top (X w + b \mathbf 1 - y) \\
#    \partial_b L &= \frac1n \mathbf 1^\top (X w + b \mathbf 1 - y)
#    \end{aligned}

w, b = np.array([1.0, 1.0]), 0.5
dw, db = gs.textbook.gradient(X, y, w, b)
error = X @ w + b - y
np.allclose(dw, X.T @ error / n), np.allclose(db, error.mean())

# %%
# **Gradient descent** multiplies it by a **step** :math:`\eta`, also called the learning rate, and subtracts:
# :math:`w \leftarrow w - \eta \nabla_w L`. Each step reads all rows. **Minibatch stochastic gradient descent**, SGD,
# reads a few rows :math:`\mathcal B`, the **batch**, and takes their mean for the mean of all:
#
# .. math::
#
#    \begin{aligned}
#    w &\leftarrow w - \frac{\eta}{|\mathcal B|} \sum_{i \in \mathcal B} x_i (x_i^\top w + b - y_i) \\
#    b &\leftarrow b - \frac{\eta}{|\mathcal B|} \sum_{i \in \mathcal B} (x_i^\top w + b - y_i)
#    \end{aligned}
#
# When every row was read once, an **epoch** has ended, and the rows are shuffled anew. By hand, with batches of ten:

w, b = np.zeros(2), 0.0
for epoch in range(3):
    for rows, responses in gs.textbook.minibatches(X, y, 10, epoch=epoch):
        dw, db = gs.textbook.gradient(rows, responses, w, b)
        w, b = gs.textbook.sgd_step((w, b), (dw, db), 0.03)
w.round(4), round(b, 4)

# %%
# The same in one call. Not nearly the same: every bit is equal.

fit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3)
assert np.array_equal(fit.coef, w)
assert fit.intercept == b
np.array_equal(fit.coef, w), fit.intercept == b

# %%
# How far is that from the least-squares answer :math:`\theta^*`? The unit of ``fit.check`` is the **standard error**,
# SE, the standard deviation that an estimate has because of the noise. With :math:`\sigma` that of the residuals,
# ``residual_sd``: the root of their sum of squares over :math:`n` less the number of coefficients, the intercept
# counted,
#
# .. math::
#
#    \text{distance} = \frac{\lVert A (\theta - \theta^*) \rVert}{\sigma}
#
# A linear combination :math:`a^\top \theta` has the standard error :math:`\sigma \sqrt{a^\top (A^\top A)^{-1} a}`,
# and by the inequality of Cauchy and Schwarz none is further from its exact value than so many of its own:
#
# .. math::
#
#    \begin{aligned}
#    & |a^\top (\theta - \theta^*)| \\
#    & \quad \le \sqrt{a^\top (A^\top A)^{-1} a} \;\, \lVert A (\theta - \theta^*) \rVert
#    \end{aligned}

from textwrap import fill  # breaks long lines

theta = np.array([*fit.coef, fit.intercept])
by_formula = np.linalg.norm(A @ (theta - best)) / exact.residual_sd
print(f"by the formula {by_formula:.4f}, by the library {fit.check.distance:.4f}")
print(fill(fit.check.verdict))

# %%
# Why it stops short
# ~~~~~~~~~~~~~~~~~~
#
# The coefficients look right, and yet more passes with this step would not end at the answer. At :math:`\theta^*` the
# gradient of all rows is zero. The gradient of ten of them is not:

at_best = [
    gs.textbook.gradient(rows, responses, exact.coef, exact.intercept)[0]
    for rows, responses in gs.textbook.minibatches(X, y, 10)
]
print("mean is zero:", np.allclose(np.mean(at_best, axis=0), 0, atol=1e-12))
print("standard deviation:", np.std(at_best, axis=0).round(5))

# %%
# So each step throws the coefficients off again, by :math:`\eta` times that noise, and they hover about the answer.
# The next page works out the law of this motion. Smaller steps and larger batches hover closer. A step that decays,
# with the average of the path, comes far closer. The step of :math:`t` is here :math:`0.1 / \sqrt{1 + 0.01\, t}`:

settled = gs.fit(
    X,
    y,
    step=gs.power_decay(0.1, decay=0.01),
    batch_size=10,
    epochs=50,
    solver=gs.sgd(average=True),
)
print(fill(settled.check.verdict))

# %%
# The learning rate
# -----------------
#
# For gradient descent the squared loss can be solved by hand. With :math:`H = \frac1n A^\top A` the gradient is
# :math:`H (\theta - \theta^*)`, and so
#
# .. math::
#
#    \theta_t - \theta^* = (I - \eta H)^t \, (\theta_0 - \theta^*)
#
# In the direction of an eigenvector of :math:`H` with eigenvalue :math:`\lambda`, each step multiplies the distance
# by :math:`1 - \eta \lambda`. Of independent columns it shrinks in all if :math:`0 < \eta < 2 / \lambda_{\max}`,
# and with a larger step it grows in one. Batches
# have a lower limit, because a row may be much larger than the mean. With :math:`u = (x, 1)` a row, and batches drawn
# with replacement, steps are surely stable in mean square below
#
# .. math::
#
#    \begin{gathered}
#    \eta_{\max} = \frac{2 |\mathcal B|}{c + (|\mathcal B| - 1) \lambda_{\max}} \\
#    \mathbb E\big[ \lVert u \rVert^2 u u^\top \big] \preceq c H
#    \end{gathered}
#
# with the smallest such number :math:`c`, where :math:`\preceq` says that the right side less the left has no
# negative eigenvalue. Steps somewhat above may be stable too. When a fit diverges, `gradstep.Diverged` names this
# step. A batch of all rows leaves nothing to chance, so that the limit is :math:`2 / \lambda_{\max}`:

try:
    gs.fit(X, y, step=2.0, batch_size=n, epochs=50)
except gs.Diverged as problem:
    print(fill(str(problem)))
    largest = problem.largest_stable_step
steepest = np.linalg.eigvalsh(A.T @ A / n)[-1]
print(f"2 / lambda_max = {2 / steepest:.4f}, named {largest:.4f}")

# %%
# To draw paths we write the loop once more, and keep every point of it.


def walk(X, y, step, batch_size, epochs):
    """Return (w, b) before the first step and after each."""
    w, b = np.zeros(X.shape[1]), 0.0
    path = [[*w, b]]
    for epoch in range(epochs):
        for batch in gs.textbook.minibatches(X, y, batch_size, epoch=epoch):
            downhill = gs.textbook.gradient(*batch, w, b)
            w, b = gs.textbook.sgd_step((w, b), downhill, step)
            path.append([*w, b])
    return np.array(path)


fig, ax = plt.subplots()
steps = {0.02: "too small", 0.5: "good", 1.85: "overshoots, shrinks", 2.0: "too large"}
for (step, said), style in zip(steps.items(), ["-", "--", "-.", ":"], strict=True):
    path = walk(X, y, step, n, 60)
    objective = np.mean((path @ A.T - y) ** 2, axis=1) / 2
    ax.semilogy(objective, style, label=f"{step}: {said}")
ax.axhline(exact.objective, color="0.6", linewidth=1, label="closed form")
ax.set(title="A step that is too small is slow, one that is too large diverges")
ax.set(xlabel="steps of all rows", ylabel="objective (units of y squared)")
ax.set_ylim(1e-5, 1e8)
ax.legend(ncols=2)

# %%
# The batch size
# --------------
#
# An epoch of :math:`n` rows makes :math:`n / |\mathcal B|` steps. Small batches make many noisy ones, large batches
# few quiet ones. With one step size and ten epochs each:

fig, ax = plt.subplots()
for size, style in zip([1, 10, 100, 1000], ["-", "--", "-.", ":"], strict=True):
    path = walk(X, y, 0.1, size, 10)
    some = np.arange(0, len(path), max(1, len(path) // 100))
    distance = np.linalg.norm((path[some] - best) @ A.T, axis=1) / exact.residual_sd
    label = f"batch {size}: {len(path) - 1:,} steps"
    ax.semilogy(some * size / n, distance, style, marker=".", markersize=4, label=label)
ax.set(title="Small batches arrive soon and stay noisy, large ones come later")
ax.set(xlabel="epochs", ylabel="distance (standard errors)", ylim=(0.1, 1e6))
ax.legend(loc="upper right", ncols=2)

# %%
# A batch of one row arrives within the first epoch, and then hovers farther away than a batch of ten. A batch of a
# hundred comes later and ends nearest. A batch of all rows has taken ten steps at the end and is still on its way.
# Each epoch reads as many rows, whatever the batch.
#
# The path over the loss
# ~~~~~~~~~~~~~~~~~~~~~~
#
# Seen from above, the loss is a bowl (the intercept again at its optimum for each point). Gradient descent walks
# straight down, because these two columns have nearly equal spread and hardly depend on each other. Minibatch SGD
# goes the same way in a zigzag.

w1, w2 = np.linspace(-3.5, 7.5, 61), np.linspace(-4.6, 0.6, 41)
bowl = np.mean(residuals(w1, w2) ** 2, axis=-1) / 2
fig, ax = plt.subplots()
ax.contour(w1, w2, bowl, levels=np.geomspace(0.05, 20, 9), colors="0.75", linewidths=1)
walks = {"gradient descent": (n, 30, "o-"), "minibatch SGD, batch 2": (2, 1, "s--")}
for said, (size, epochs, style) in walks.items():
    path = walk(X, y, 0.15, size, epochs)[:31]
    ax.plot(path[:, 0], path[:, 1], style, markersize=3, linewidth=1, label=said)
ax.plot(*exact.coef, "k*", markersize=9, label="least squares")
ax.set(title="Thirty steps from the origin: one path is smooth, one is noisy")
ax.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal")
ax.legend()

# %%
# Why it fails on raw columns
# ---------------------------
#
# The largest stable step is set by the largest eigenvalue. The flattest direction then shrinks by a factor of
# :math:`1 - \eta \lambda_{\min}` a step, which is close to one where :math:`\lambda_{\max} / \lambda_{\min}` is
# large. Different units are one cause: below, one column is six times as large as the other. **Standardising**
# columns (subtract the mean, divide by the standard deviation) removes that cause. It does not remove the other one,
# columns that depend on each other.

P = rng.standard_normal((500, 2))
P = np.linalg.qr(P - P.mean(axis=0))[0] * np.sqrt(500)  # standardised, uncorrelated
mixed = P @ [[1.0, 0.95], [0.0, np.sqrt(1 - 0.95**2)]]  # standardised, correlated
tables = {
    "Raw, units differ:\na narrow valley": P * [1.0, 6.0],
    "Standardised:\na round bowl": P,
    "Standardised, dependent:\nnarrow again": mixed,
}

# %%
# Gradient descent takes twenty steps of 0.85 times the largest stable size, towards :math:`w = (2, -1)`.

fig, axes = plt.subplots(1, 3, sharey=True)
grid1, grid2 = np.linspace(-0.8, 4.0, 61), np.linspace(-3.0, 1.8, 61)
for ax, (title, T) in zip(axes, tables.items(), strict=True):
    end, H = np.array([2.0, -1.0]), T.T @ T / len(T)
    values = np.linalg.eigvalsh(H)
    path = walk(T, T @ end, 0.85 * 2 / values[-1], len(T), 20)[:, :2]
    away = np.stack(np.meshgrid(grid1, grid2), axis=-1) - end
    bowl = np.einsum("abi,ij,abj->ab", away, H, away) / 2
    levels = end @ H @ end / 2 * np.array([0.01, 0.1, 0.4, 1.0])
    ax.contour(grid1, grid2, bowl, levels=levels, colors="0.7")
    ax.plot(path[:, 0], path[:, 1], "o-", markersize=3, linewidth=1)
    ax.plot(*end, "k*", markersize=8)
    ax.set(title=title, xlabel="$w_1$", aspect="equal")
    left = np.linalg.norm(path[-1] - end) / np.linalg.norm(end)
    ratio = values[-1] / values[0]
    print(f"eigenvalues {ratio:4.1f} : 1, share of the distance left {left:.4f}")
axes[0].set_ylabel("$w_2$")

# %%
# The diamonds have both troubles. We take half of the largest stable step, which we learn from a fit that diverges.


def by_steps(table):
    """Return half of the largest stable step, and how far 20 epochs of it come."""
    try:
        gs.fit(table, y, step=1e3, batch_size=64, epochs=1)
    except gs.Diverged as problem:
        step = problem.largest_stable_step / 2
    return step, gs.fit(table, y, step=step, batch_size=64, epochs=20).check.distance


X, y, names = gs.load_diamonds()
Z = (X - X.mean(axis=0)) / X.std(axis=0)
for said, table in (("raw", X), ("standardised", Z)):
    step, distance = by_steps(table)
    print(f"{said:>12}: step {step:.2g}, {distance:.0f} standard errors away")

# %%
# Standard columns come nearer, and are still far away: they leave the dependence, and the noise of the batches.
#
# What the library does about it
# ------------------------------
#
# The default needs no step and no standardising. One pass makes a **sketch**, a few thousand sums of rows with random
# signs. Its triangular factor :math:`R` has :math:`R^\top R \approx X^\top X` (of centred columns), and steps are
# taken in the coordinates :math:`u = R w`, where the bowl is nearly round:
#
# .. math::
#
#    \begin{gathered}
#    w \leftarrow w - \eta \, R^{-1} R^{-\top} g \\
#    R^{-\top} X^\top X R^{-1} \approx I
#    \end{gathered}
#
# Here :math:`g` is :math:`n` times the gradient of a batch, less its noise at a point, the anchor, where the gradient
# of all rows is known. One step size fits every direction, and the noise vanishes as the anchor nears the answer.
# :doc:`/default` tells it step by step.
#
# Printing a fit shows its report, here with its long lines broken, and without what is of one machine: the lines on
# time and on what another solver would cost.

fit = gs.fit(X, y)
for line in str(fit).splitlines():
    if not line.lstrip().startswith(("cost", "seconds")):
        print(fill(line, 70, subsequent_indent=" " * 15))

# %%
# .. list-table::
#    :header-rows: 1
#
#    * - Line
#      - What it says, and where it is kept
#    * - method
#      - The solver, the rows of a batch (chosen by the fit), the seed of all that is random, the device.
#        ``fit.solver``, ``fit.batch_size``
#    * - objective
#      - :math:`L` at these coefficients; the share of the variance that they explain; what was read, in passes and
#        rows. ``fit.objective``, ``fit.r2``, ``fit.passes``
#    * - cost
#      - Appears where a model of the costs finds another solver cheaper; left out above. ``fit.cost``
#    * - certificate
#      - How many standard errors any linear combination of the coefficients may be off, at most; in brackets what
#        float64 alone would promise. Below: whether the bound is exact or probable, and then for which share of
#        seeds it may fail; how far the objective is above its least, at most. ``fit.certificate``
#    * - rank
#      - How many columns are independent; the condition of the columns, centred and scaled.
#        ``fit.certificate.rank``
#    * - check
#      - The distance measured from the closed form, where that is affordable. ``fit.check``
#    * - stop
#      - Why the fit ended. ``fit.stop``
#    * - seconds
#      - Wall time of the whole call, check included; left out above. ``fit.seconds``
#    * - coef, intercept
#      - The first eight coefficients, in dollars per unit of their column, and the intercept. ``fit.coef``,
#        ``fit.intercept``
#
# The certificate does not use the closed form. To see that, we switch the check off, ask for a millionth of a
# standard error, and keep the coefficients of each round through a callback. Only afterwards we measure true
# distances.

places = []
callbacks = [lambda progress: places.append((progress.coef, progress.intercept))]
fit = gs.fit(X, y, tol=1e-6, check=False, callbacks=callbacks)
exact = gs.closed_form(X, y)
true = np.array([exact.distance(*place)[0] for place in places])
print("a check:", fit.check, " rounds:", len(true))
print("the bound holds in each:", np.all(true <= fit.history.bound))

# %%
# On the left the objective over the rounds, by `gradstep.plots.learning_curve`: after two rounds it looks like the
# closed form's and says no more. On the right the bound goes on telling how near the coefficients are.

fig, axes = plt.subplots(1, 2)
gs.plots.learning_curve(fit, exact, ax=axes[0])
axes[0].lines[0].set_color("C0")
axes[0].set(title="The objective is soon flat", xlabel="round")
passes = fit.history.passes
axes[1].semilogy(passes, fit.history.bound, "o-", markersize=4, label="certified bound")
axes[1].semilogy(passes, true, "s--", markersize=4, label="true distance")
axes[1].set(title="The bound falls on, above the truth", xlabel="passes over the rows")
axes[1].set_ylabel("standard errors")
axes[1].legend()

# %%
# Evaluate on new rows
# --------------------
#
# The certificate says that this is the least-squares answer for these rows. It does not say that the model is good.
# For that, predict rows that the fit has not seen. A fifth is held out at random. The unit of the root mean squared
# error is a dollar, and
#
# .. math::
#
#    R^2 = 1 - \frac{\sum_i (y_i - z_i)^2}{\sum_i (y_i - \bar y)^2},
#
# with the sums over the new rows, and :math:`\bar y` the mean of the old ones: what one would predict without
# columns.

order = rng.permutation(len(y))
new, old = order[: len(y) // 5], order[len(y) // 5 :]
fit = gs.fit(X[old], y[old])
z = fit.predict(X[new])
rmse = np.sqrt(np.mean((y[new] - z) ** 2))
r2 = 1 - np.sum((y[new] - z) ** 2) / np.sum((y[new] - y[old].mean()) ** 2)
old_rmse = np.sqrt(2 * fit.objective)
print(f"old rows: root mean squared error {old_rmse:.0f}, R2 {fit.r2:.3f}")
print(f"new rows: root mean squared error {rmse:.0f}, R2 {r2:.3f}")
print(f"new rows with a negative predicted price: {np.mean(z < 0):.1%}")

# %%
# New rows do as well as old ones, since there are far more rows than columns. And yet some predicted prices are
# negative: prices do not follow a straight line. No certificate of the coefficients can see that. A look at
# predictions can.
#
# Exercises
# ---------
#
# 1. How many steps does ``gs.fit(X, y, step=0.01, batch_size=64, epochs=7)`` take on 1,000 rows? Count them.
# 2. Take one step of gradient descent by hand, of size 0.1 from :math:`w = (0, 0)`, :math:`b = 0`, on the rows
#    :math:`(1, 2)` and :math:`(3, 4)` with responses 5 and 11. Then check it.
# 3. Which :math:`\sigma^2` maximises the likelihood of the textbook example at the least-squares coefficients? Why is
#    it not the square of ``residual_sd``?
# 4. Two standardised columns have the correlation 0.99, and no intercept is fitted. How many steps of size
#    :math:`1 / \lambda_{\max}` does gradient descent take until the flat direction is at most a thousandth of what it
#    was?
# 5. The noise of row :math:`i` has a standard deviation :math:`\sigma_i` of its own. Which objective does maximum
#    likelihood make least? (``gs.fit`` takes ``sample_weight``.) Fit ``y = [1, 2, 4, 8]`` on ``x = [0, 1, 2, 3]``
#    with :math:`\sigma = (1, 1, 1, 10)`.
# 6. A bound of :math:`B` standard errors holds for any linear combination. Show on all diamonds that no single
#    coefficient of the default fit is further from its exact value than :math:`B` times its standard error.
#
# Answers
# -------
#
# **Exercise 1.** An epoch has :math:`\lceil 1000 / 64 \rceil` batches, of which the last is smaller.

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
batches = gs.textbook.minibatches
answer_1 = sum(len(list(batches(X, y, 64, epoch=epoch))) for epoch in range(7))
print(answer_1)

# %%
# **Exercise 2.** At zero the errors are :math:`-5` and :math:`-11`, so :math:`\nabla_w = \frac12 (-5 (1, 2) - 11 (3,
# 4))` and :math:`\partial_b = -8`. The step subtracts a tenth of that.

start = np.zeros(2), 0.0
downhill = gs.textbook.gradient([[1.0, 2.0], [3.0, 4.0]], [5.0, 11.0], *start)
w, b = gs.textbook.sgd_step(start, downhill, 0.1)
answer_2 = np.array([*w, b])
print(answer_2)

# %%
# **Exercise 3.** The derivative of :math:`-\frac n2 \log \sigma^2 - n L / \sigma^2` in :math:`\sigma^2` vanishes at
# :math:`\sigma^2 = 2 L`, the mean squared residual. ``residual_sd`` divides the sum of squares by :math:`n - 3`, the
# degrees of freedom that two coefficients and an intercept leave, and so is unbiased in the square.

exact = gs.closed_form(X, y)
answer_3 = 2 * exact.objective
print(f"{answer_3:.4e}, and {exact.residual_sd**2:.4e}")

# %%
# **Exercise 4.** The eigenvalues of :math:`H` are :math:`1 \pm 0.99`. A step multiplies the flat direction by
# :math:`1 - 0.01 / 1.99`.

factor = 1 - (1 - 0.99) / (1 + 0.99)
answer_4 = int(np.ceil(np.log(1e-3) / np.log(factor)))
print(answer_4)

# %%
# **Exercise 5.** The exponents add to :math:`-\sum_i (y_i - z_i)^2 / (2 \sigma_i^2)`: squares weighted by
# :math:`1 / \sigma_i^2`. The fourth row, with its large noise, hardly counts.

x, t = np.arange(4.0), np.array([1.0, 2.0, 4.0, 8.0])
weight = 1 / np.array([1.0, 1.0, 1.0, 10.0]) ** 2
fit = gs.fit(x[:, np.newaxis], t, sample_weight=weight)
answer_5 = np.array([*fit.coef, fit.intercept])
print(answer_5.round(4))

# %%
# **Exercise 6.** A single coefficient is the linear combination with one 1. The largest distance in its own standard
# error is below the bound.

X, y, names = gs.load_diamonds()
fit, exact = gs.fit(X, y), gs.closed_form(X, y)
answer_6 = np.max(np.abs(fit.coef - exact.coef) / exact.standard_errors)
print(f"{answer_6:.1e} at most, bound {fit.certificate.bound:.1e}")

# %%
# The next page, :doc:`/course/6_markov_chain`, follows the coefficients as they hover about the answer.
#
# Sources
# -------
#
# - A\. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge University Press 2023, section
#   3.1 for the model, the analytic solution, minibatch SGD and the normal distribution; section 3.3 for the example.
# - T\. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2nd edition, Springer 2009,
#   section 3.2, for standard errors and the variance of the residuals.
# - G\. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition, Johns Hopkins University Press 2013, section
#   5.3, and N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, SIAM 2002, chapter 20, for
#   the condition of least squares and of the normal equations.
# - P\. Jain, S. M. Kakade, R. Kidambi, P. Netrapalli and A. Sidford, Parallelizing stochastic gradient descent for
#   least squares regression, *Journal of Machine Learning Research* 18 (2018), section 3, for the largest stable
#   step.
# - L\. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
#   (2018) 223-311, section 4, for SGD with a fixed and with a decaying step.
# - B\. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, *SIAM Journal on Control
#   and Optimization* 30 (1992) 838-855, for the average of the path.
# - H\. Wickham, *ggplot2: Elegant Graphics for Data Analysis*, Springer 2016, for the diamonds.

# %%
# Of a script, this shows the pictures.

plt.show()
