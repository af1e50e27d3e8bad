# ruff: noqa: ARG001, ARG005 - a formula takes (z, y, p), whether it needs them or not
r"""
3. Calculus
===========

A fit asks one question again and again: if a coefficient moved a little, would the loss fall? The **derivative** is
the answer. This page goes from the derivative of a function of one number to the gradient of a loss over a whole
table. Each formula stands beside code that computes it, and each gradient is confirmed by numerical differentiation,
most of them with `gradstep.check_gradient`.

The letters are those of :doc:`/notation`: a table :math:`X` has :math:`n` rows and :math:`d` columns, :math:`y` is
the response, :math:`w` the coefficients, :math:`b` the intercept, :math:`z = Xw + b\mathbf{1}` the scores.

The derivative is a limit
-------------------------

A function :math:`f` changes by :math:`f(x + h) - f(x)` when :math:`x` moves by :math:`h`. The **difference quotient**
is the change per unit of :math:`h`, and the derivative is its limit:

.. math::

    f'(x) = \lim_{h \to 0} \frac{f(x + h) - f(x)}{h}

For :math:`f(x) = x^3` the quotient can be worked out, and the limit can be read off:

.. math::

    \begin{aligned}
    \frac{(x + h)^3 - x^3}{h} &= 3x^2 + 3xh + h^2 \\
    &\to 3x^2 \quad \text{as } h \to 0
    \end{aligned}
"""

import numpy as np


def cube(x):
    return x * x * x


x = 1.3
for h in (1.0, 0.1, 0.01, 0.001):
    print(f"h = {h:<5}  quotient {(cube(x + h) - cube(x)) / h:.6f}")
print(f"the limit, 3 x^2:  {3 * x**2:.6f}")

# %%
# The quotient above looks forward only. The **central difference** looks both ways, and its error is of second order
# in :math:`h`, because the terms in :math:`h` cancel:
#
# .. math::
#
#     \frac{(x + h)^3 - (x - h)^3}{2h} = 3x^2 + h^2
#
# What an approximation leaves out is its **truncation error**: :math:`3xh + h^2` forward, :math:`h^2` central. Here
# are both errors as :math:`h` falls, in powers of two, so that :math:`x + h` itself is not rounded.

h = 2.0 ** -np.arange(1, 50)
forward = np.abs((cube(x + h) - cube(x)) / h - 3 * x**2)
central = np.abs((cube(x + h) - cube(x - h)) / (2 * h) - 3 * x**2)
for i in range(0, 49, 6):
    print(f"h = 2^-{i + 1:<2}   forward {forward[i]:.0e}   central {central[i]:.0e}")

# %%
# Below some :math:`h` both grow again. A float64 number has 53 binary digits, so each of the two products in ``cube``
# is rounded by a share of at most :math:`\varepsilon / 2` with :math:`\varepsilon = 2^{-52}`, and their result by
# about :math:`\varepsilon`. The difference of two values keeps these roundings while it shrinks itself, and the
# division by :math:`h` enlarges them: the **rounding error** is at most about :math:`2 \varepsilon f / h` forward and
# :math:`\varepsilon f / h` central. The two kinds together bound what was measured.

import matplotlib.pyplot as plt

eps = np.finfo(np.float64).eps
bounds = {
    "forward": 3 * x * h + h**2 + 2 * eps * cube(x + h) / h,
    "central": h**2 + eps * cube(x + h) / h,
}
fig, ax = plt.subplots()
for name, error, mark, line in (
    ("forward", forward, "o", "--"),
    ("central", central, "s", ":"),
):
    (drawn,) = ax.loglog(h, error, mark, markersize=3.5, label=f"{name}, measured")
    ax.loglog(h, bounds[name], line, color=drawn.get_color(), label=f"{name}, bound")
    print(f"every {name} error is within its bound:", np.all(error <= bounds[name]))
ax.set_xlabel("step h")
ax.set_ylabel("absolute error")
ax.set_title("The error falls with h until rounding lifts it again")
ax.legend(ncols=2)

# %%
# The best :math:`h` is where the two kinds balance. For :math:`x` near 1, setting the derivative of
# :math:`3xh + 2 \varepsilon x^3 / h` to zero puts it near :math:`\sqrt{\varepsilon}`, and that of
# :math:`h^2 + \varepsilon x^3 / h` near :math:`\sqrt[3]{\varepsilon}`. There the central difference is better by
# several digits.

for name, bound in bounds.items():
    print(f"{name}: least bound {bound.min():.0e}, at h = {h[bound.argmin()]:.0e}")
print(f"root of eps {np.sqrt(eps):.0e}, cube root of eps {np.cbrt(eps):.0e}")

# %%
# `gradstep.check_gradient` takes central differences with a step of that kind: a cube root of the rounding, in units
# that suit the coefficient at hand.
#
# Rules
# -----
#
# The limit need not be taken each time. With :math:`u` and :math:`v` functions of :math:`x`, and :math:`\alpha` a
# number:
#
# .. list-table::
#     :header-rows: 1
#
#     * - rule
#       - function
#       - derivative
#     * - sum
#       - :math:`\alpha u + v`
#       - :math:`\alpha u' + v'`
#     * - product
#       - :math:`u v`
#       - :math:`u' v + u v'`
#     * - quotient
#       - :math:`u / v`
#       - :math:`(u' v - u v') / v^2`
#     * - chain
#       - :math:`v(u(x))`
#       - :math:`v'(u(x))\, u'(x)`
#
# Each is tried with :math:`u = x^2` and :math:`v = e^x`, for which :math:`u' = 2x` and :math:`v' = e^x`.

u, v = np.square, np.exp
rules = {
    "sum": (lambda t: 3 * u(t) + v(t), 3 * (2 * x) + v(x)),
    "product": (lambda t: u(t) * v(t), 2 * x * v(x) + u(x) * v(x)),
    "quotient": (lambda t: u(t) / v(t), (2 * x * v(x) - u(x) * v(x)) / v(x) ** 2),
    "chain": (lambda t: v(u(t)), v(u(x)) * 2 * x),
}
step = np.cbrt(eps)
for rule, (f, derivative) in rules.items():
    quotient = (f(x + step) - f(x - step)) / (2 * step)
    print(f"{rule:<9} {derivative:9.6f}   central difference {quotient:9.6f}")

# %%
# A derivative is the slope of the **tangent**, the line that meets the curve at a point and has its direction there:
# :math:`f(x) + f'(x)(t - x)` as a function of :math:`t`. A loss of the library carries its derivative with it: its
# ``value`` is the function of the score :math:`z`, its ``slope`` the derivative. The logistic loss of a response of 0
# is :math:`\log(1 + e^z)`, and its slope is :math:`1 / (1 + e^{-z})`.

import gradstep as gs

logistic = gs.logistic()
z = np.linspace(-4.0, 4.0, 81)
fig, ax = plt.subplots()
ax.plot(z, [logistic.value(t, 0.0, ()) for t in z], label="value, log(1 + exp(z))")
for at, line in ((-1.0, "--"), (1.5, ":")):
    height, slope = logistic.value(at, 0.0, ()), logistic.slope(at, 0.0, ())
    ax.plot(z, height + slope * (z - at), line, label=f"tangent, slope {slope:.2f}")
    ax.plot(at, height, "ko", markersize=4)
ax.set_xlabel("score z")
ax.set_ylabel("loss")
ax.set_title("Each tangent touches the curve and stays below it")
ax.legend()

# %%
# A differentiable function is **convex** when it lies above all its tangents; with kinks, subgradients (below) take
# their place. All losses that the library brings are convex in the score, and so their mean over a table is convex in
# the coefficients. That is why a place where all its derivatives are zero is a minimum.
#
# Partial derivatives and the gradient
# ------------------------------------
#
# Let :math:`J` be a function of :math:`w = (w_1, \dots, w_d)`. The **partial derivative**
# :math:`\partial J / \partial w_j` is the derivative in :math:`w_j` with the other entries held still. The
# **gradient** is the vector of all of them:
#
# .. math::
#
#     \nabla J(w) = \begin{pmatrix}
#     \partial J / \partial w_1 & \cdots & \partial J / \partial w_d \end{pmatrix}^\top
#
# The example is the squared loss of a table of two columns, :math:`J(w) = \frac{1}{2n} \lVert Xw - y \rVert^2`.
# `gradstep.textbook.gradient` returns its gradient, and central differences in one entry at a time agree.

rng = np.random.default_rng(0)
X2 = rng.standard_normal((200, 2)) @ [[1.0, 0.7], [0.0, 0.7]]
y2 = X2 @ [2.0, -1.0] + 0.5 * rng.standard_normal(200)


def objective(w):
    return np.square(X2 @ w - y2).mean() / 2


w = np.array([0.5, 0.5])
g, _ = gs.textbook.gradient(X2, y2, w)
for j, e in enumerate(step * np.eye(2)):
    quotient = (objective(w + e) - objective(w - e)) / (2 * step)
    print(f"dJ/dw_{j + 1} = {g[j]:.6f}, numerically {quotient:.6f}")

# %%
# Move from :math:`w` along a direction :math:`u` of length 1. The rate at which :math:`J` changes is the
# **directional derivative**, which the chain rule below turns into a product with the gradient:
#
# .. math::
#
#     \begin{aligned}
#     \frac{d}{dt} J(w + t u) \Big|_{t = 0}
#     &= \sum_j \frac{\partial J}{\partial w_j} u_j \\
#     &= u^\top \nabla J(w) \\
#     &= \lVert \nabla J(w) \rVert \cos \theta
#     \end{aligned}
#
# where :math:`\theta` is the angle between :math:`u` and the gradient. Three facts follow. The rate is largest,
# :math:`\lVert \nabla J \rVert`, along the gradient. It is smallest, :math:`-\lVert \nabla J \rVert`, against it:
# **the negative gradient is the steepest way down**. And it is zero at a right angle to the gradient. Along a
# contour, where :math:`J` keeps its value, the rate is zero too; so the gradient stands at a right angle to the
# contour.

angle = np.radians(np.arange(360))
around = np.column_stack((np.cos(angle), np.sin(angle)))
ahead, back = (np.array([objective(w + t * u) for u in around]) for t in (step, -step))
rates = (ahead - back) / (2 * step)
length = np.linalg.norm(g)
print("measured rates are u'g:", np.allclose(rates, around @ g, atol=1e-8))
print("steepest of 360:", around[rates.argmin()].round(2))
print("-g / |g|:       ", (-g / length).round(2))
print(f"its rate {rates.min():.4f}, -|g| = {-length:.4f}")

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.6), width_ratios=(3, 2))
w1, w2 = np.meshgrid(np.linspace(0.0, 4.0, 41), np.linspace(-3.0, 1.0, 41))
heights = np.square(X2 @ [w1.ravel(), w2.ravel()] - y2[:, np.newaxis]).mean(axis=0) / 2
points = [(0.5, -0.5), (1.2, -2.2), (2.6, -2.0), (3.2, -0.9), (2.4, 0.2), (1.2, 0.4)]
levels = sorted(map(objective, points))
left.contour(w1, w2, heights.reshape(w1.shape), levels, colors="#a0a0a0", linewidths=1)
downhill = [-gs.textbook.gradient(X2, y2, p)[0] for p in points]
same_units = {"angles": "xy", "scale_units": "xy", "scale": 2, "width": 0.008}
left.quiver(*np.transpose(points), *np.transpose(downhill), color="C1", **same_units)
left.plot(*np.linalg.lstsq(X2, y2)[0], "kx", label="minimum")
left.legend(loc="lower left", fontsize=8)
left.set(aspect="equal", xlabel="coefficient w1", ylabel="coefficient w2")
left.set_title("Negative gradients cross contours\nof J at right angles")
right.plot(rates)
right.axhline(0.0, color="#a0a0a0", linewidth=1)
right.plot(rates.argmin(), rates.min(), "o", color="C1", label="steepest way down")
right.set(xlabel="direction of u, degrees", ylabel="directional derivative of J")
right.set_title("The rate of J is a cosine\nof the direction")
right.legend(loc="upper right", fontsize=8)

# %%
# The picture also shows what the negative gradient does not do: in general it does not point at the minimum, the
# cross. The second derivative, below, supplies what is missing.
#
# The chain rule in several variables
# -----------------------------------
#
# Let :math:`f` depend on :math:`u_1, \dots, u_m`, and each :math:`u_i` on :math:`x`. A small move of :math:`x_j`
# moves every :math:`u_i`, and each passes its share on. The shares add:
#
# .. math::
#
#     \frac{\partial f}{\partial x_j}
#     = \sum_{i=1}^{m} \frac{\partial f}{\partial u_i} \frac{\partial u_i}{\partial x_j}
#
# With one :math:`u` and one :math:`x` it is the chain rule of the table above. An example with two of each is
# :math:`f = u_1 e^{u_2}`, :math:`u_1 = x_1 x_2`, :math:`u_2 = x_1 - x_2^2`:

x1, x2 = 0.8, 0.6


def f(x1, x2):
    return x1 * x2 * np.exp(x1 - x2**2)


u1, u2 = x1 * x2, x1 - x2**2
f_u1, f_u2 = np.exp(u2), u1 * np.exp(u2)
print(f"by the rule    {f_u1 * x2 + f_u2 * 1:.6f}  {f_u1 * x1 + f_u2 * (-2 * x2):.6f}")
in_x1 = (f(x1 + step, x2) - f(x1 - step, x2)) / (2 * step)
in_x2 = (f(x1, x2 + step) - f(x1, x2 - step)) / (2 * step)
print(f"by differences {in_x1:.6f}  {in_x2:.6f}")

# %%
# Derivatives of matrices: two layouts
# ------------------------------------
#
# Where :math:`f` has several entries, or :math:`x` has, the partial derivatives fill a table, and there are two ways
# to lay it out. In **numerator layout** the entries of :math:`f`, the numerator of :math:`\partial f / \partial x`,
# run down the rows. In **denominator layout** the entries of :math:`x` do. Each is the transpose of the other.
# Vectors are columns, :math:`x \in \mathbb{R}^d`, :math:`f \in \mathbb{R}^m`, :math:`t` is a number, and :math:`W` is
# a matrix of shape :math:`(d, k)`.
#
# .. list-table::
#     :header-rows: 1
#
#     * - derivative
#       - numerator layout
#       - denominator layout
#     * - scalar by vector, :math:`\partial f / \partial x`
#       - :math:`(1, d)`
#       - :math:`(d, 1)`
#     * - vector by scalar, :math:`\partial f / \partial t`
#       - :math:`(m, 1)`
#       - :math:`(1, m)`
#     * - vector by vector, :math:`\partial f / \partial x`
#       - :math:`(m, d)`
#       - :math:`(d, m)`
#     * - scalar by matrix, :math:`\partial f / \partial W`
#       - :math:`(k, d)`
#       - :math:`(d, k)`
#
# The numerator layout of vector by vector is the **Jacobian matrix**. The denominator layout of scalar by vector or
# by matrix has the shape of what one differentiates by, so that :math:`w - \eta\, \partial J / \partial w` makes
# sense as it stands; `gradstep.textbook.gradient` uses it. A few lines take any of the four by central differences:


def jacobian(f, x, layout="denominator"):
    x = np.asarray(x, dtype=float)
    D = []
    for entry in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[entry] = step * max(1.0, abs(x[entry]))
        D.append(np.ravel(f(x + h) - f(x - h)) / (2 * h[entry]))
    D = np.reshape(D, (x.size, -1))  # a row for each entry of x
    if x.ndim == 2 and D.shape[1] == 1:
        D = D.reshape(x.shape)  # scalar by matrix
    return D if layout == "denominator" else D.T


# %%
# The four shapes, in numbers:

a = np.array([1.0, 2.0, 3.0])
W = np.arange(1.0, 7.0).reshape(3, 2)
kinds = {
    "scalar by vector": (lambda x: a @ x, a),
    "vector by scalar": (lambda t: np.exp(t * a), 0.5),
    "vector by vector": (lambda x: W.T @ x, a),
    "scalar by matrix": (lambda W: np.square(W).sum(), W),
}
for kind, (f, at) in kinds.items():
    numerator = jacobian(f, at, "numerator")
    denominator = jacobian(f, at, "denominator")
    print(f"{kind}: numerator {numerator.shape}, denominator {denominator.shape}")

# %%
# In numerator layout the chain rule multiplies Jacobians in the order in which functions are written, the outer one
# first; in denominator layout the order is turned round:
#
# .. math::
#
#     \underbrace{\frac{\partial f}{\partial x}}_{(m, d)}
#     = \underbrace{\frac{\partial f}{\partial u}}_{(m, p)}
#     \underbrace{\frac{\partial u}{\partial x}}_{(p, d)}
#     \qquad
#     \underbrace{\frac{\partial f}{\partial x}}_{(d, m)}
#     = \underbrace{\frac{\partial u}{\partial x}}_{(d, p)}
#     \underbrace{\frac{\partial f}{\partial u}}_{(p, m)}
#
# The common derivatives
# ~~~~~~~~~~~~~~~~~~~~~~
#
# Here :math:`a`, :math:`c` and :math:`x` are columns, :math:`A`, :math:`B`, :math:`C` and :math:`M` matrices of
# fitting shapes that do not depend on :math:`x` or :math:`W`, and :math:`\sigma(t) = 1 / (1 + e^{-t})` and the
# softplus :math:`\log(1 + e^t)` act entry by entry. :math:`x^\top B` is a row; its derivative is that of the column
# :math:`B^\top x`. :math:`\lVert R \rVert_F^2` is the sum of the squares of all entries of a matrix :math:`R`.
#
# .. list-table::
#     :header-rows: 1
#
#     * - function
#       - numerator layout
#       - denominator layout
#     * - :math:`a^\top x`
#       - :math:`a^\top`
#       - :math:`a`
#     * - :math:`x^\top x`
#       - :math:`2 x^\top`
#       - :math:`2 x`
#     * - :math:`x^\top B x`
#       - :math:`x^\top (B + B^\top)`
#       - :math:`(B + B^\top) x`
#     * - :math:`\frac12 \lVert A x - c \rVert^2`
#       - :math:`(A x - c)^\top A`
#       - :math:`A^\top (A x - c)`
#     * - :math:`\mathbf{1}^\top \log(1 + e^{A x})`
#       - :math:`\sigma(A x)^\top A`
#       - :math:`A^\top \sigma(A x)`
#     * - :math:`\frac12 \lVert A W - C \rVert_F^2`
#       - :math:`(A W - C)^\top A`
#       - :math:`A^\top (A W - C)`
#     * - :math:`A x`
#       - :math:`A`
#       - :math:`A^\top`
#     * - :math:`x^\top B`
#       - :math:`B^\top`
#       - :math:`B`
#     * - :math:`\operatorname{trace}(M W)`
#       - :math:`M`
#       - :math:`M^\top`
#     * - :math:`\log \lvert \det B \rvert`, by :math:`B`
#       - :math:`B^{-1}`
#       - :math:`B^{-\top}`
#
# Two tools confirm them. `gradstep.check_gradient` differentiates the mean of a loss over the rows of a table, so it
# serves where a function can be written as such a mean. The rows :math:`a_i^\top` of :math:`A` as predictors give the
# scores :math:`z = A x`. The squared loss with responses of 0 is :math:`z_i^2 / 2`: with the rows of :math:`\sqrt2 A`
# its mean is :math:`x^\top S x`, where :math:`S = A^\top A / n`, and with those of :math:`\sqrt{2d}\, I` it is
# :math:`x^\top x`. Two losses of our own serve the rest, the response times the score and the response times half its
# square: with them a mean over rows is any linear form, and any quadratic form :math:`\sum_i y_i z_i^2 / 2`. A
# `gradstep.Loss` has three scalar functions: its value, its slope and its curvature, the second derivative. They are
# marked with `gradstep.formula` and may use ``math``; ``type(z)(0)`` is 0 in the type of the score.

linear = gs.Loss(
    "y z",
    value=gs.formula(lambda z, y, p: y * z),
    slope=gs.formula(lambda z, y, p: y),
    curvature=gs.formula(lambda z, y, p: type(z)(0)),
)
quadratic = gs.Loss(
    "y z^2 / 2",
    value=gs.formula(lambda z, y, p: y * z * z / 2),
    slope=gs.formula(lambda z, y, p: y * z),
    curvature=gs.formula(lambda z, y, p: y),
)

# %%
# Each entry below holds a loss, a table with its responses, the point, and the formula in numerator and in
# denominator layout. For the linear form :math:`a^\top x` the table is the one row :math:`a^\top` with a response of
# 1; a trace is a sum of one linear form a column; :math:`x^\top B x`, of a :math:`B` that is not symmetric, is a sum
# of squares along the eigenvectors of its symmetric half. Vectors are columns of shape :math:`(d, 1)`, which the
# library reads as one output, so that shapes are those of the table above.

n, d, k = 5, 3, 2
A, B = rng.standard_normal((n, d)), rng.standard_normal((d, d))
a, x, W = (rng.standard_normal((d, columns)) for columns in (1, 1, k))
c, C = (rng.standard_normal((n, columns)) for columns in (1, k))
S, M = A.T @ A / n, C.T @ A / n
s = 1 / (1 + np.exp(-A @ x))
lam, Q = np.linalg.eigh((B + B.T) / 2)
r, R, root = A @ x - c, A @ W - C, np.sqrt(n)
means = {
    "a'x": (linear, a.T, [[1.0]], x, a.T, a),
    "trace(MW)": (linear, np.eye(d), d * M.T, W, M, M.T),
    "x'Bx": (quadratic, Q.T, 2 * d * lam[:, None], x, x.T @ (B + B.T), (B + B.T) @ x),
    "x'x": (gs.squared(), np.sqrt(2 * d) * np.eye(d), 0 * x, x, 2 * x.T, 2 * x),
    "x'Sx": (gs.squared(), np.sqrt(2) * A, 0 * c, x, x.T @ (S + S.T), (S + S.T) @ x),
    "|Ax - c|^2 / 2": (gs.squared(), root * A, root * c, x, r.T @ A, A.T @ r),
    "mean softplus(Ax)": (logistic, A, 0 * c, x, s.T @ A / n, A.T @ s / n),
    "|AW - C|^2 / 2": (gs.squared(), root * A, root * C, W, R.T @ A, A.T @ R),
}

# %%
# The library differentiates in the intercept too. It is set to zero here, and its entry, the last, is left out. A
# mean is taken of the softplus, so its formula is divided by :math:`n`. The column ``agrees`` says that the compiled
# slope and numerical differentiation agree; ``formula`` says that the entry of the table above is what came out.

print(f"{'':<30}  shape    error  agrees  formula")
for name, (loss, rows, responses, at, *formulas) in means.items():
    for layout, formula in zip(("numerator", "denominator"), formulas, strict=True):
        b = np.zeros(at.shape[1])
        check = gs.check_gradient(loss, rows, responses, at, b, layout=layout)
        last = check.analytical.shape.index(len(at) + 1)
        without_b = np.delete(check.analytical, -1, axis=last)
        same = np.allclose(without_b, formula, rtol=0, atol=1e-12)
        result = f"{formula.shape}  {check.error:.0e}  {check.agrees}    {same}"
        print(f"{name:<17}  {layout:<11}  {result}")

# %%
# Of a vector such as :math:`A x` each entry is a linear form, :math:`a_i^\top x`, and its derivative a row (numerator
# layout) or a column (denominator layout).

for name, rows, formula in (("Ax", A, A), ("x'B", B.T, B.T)):
    checks = [gs.check_gradient(linear, row[None], [[1.0]], x, [0.0]) for row in rows]
    stacked = np.hstack([check.analytical[:-1] for check in checks])  # a column each
    agree = all(check.agrees for check in checks)
    print(f"{name:<3} numerator {formula.shape}, denominator {formula.T.shape}:", end=" ")
    print(agree, np.array_equal(stacked.T, formula), np.array_equal(stacked, formula.T))

# %%
# The differences of ``jacobian`` confirm the vectors once more, and what is no mean over rows: the determinant.

inverse = np.linalg.inv(B)
others = {
    "Ax": (lambda x: A @ x, x, A, A.T),
    "x'B": (lambda x: x.T @ B, x, B.T, B),
    "log|det B|": (lambda B: np.linalg.slogdet(B)[1], B, inverse, inverse.T),
}
for name, (f, at, *formulas) in others.items():
    for layout, formula in zip(("numerator", "denominator"), formulas, strict=True):
        found = jacobian(f, at, layout)
        error = np.abs(found - formula).max() / np.abs(formula).max()
        result = f"{found.shape}  error {error:.0e}  agrees: {error < 1e-6}"
        print(f"{name:<10}  {layout:<11}  {result}")

# %%
# The gradient of the squared loss
# --------------------------------
#
# Now for the objective that :doc:`/course/5_linear_regression` minimises, with intercept:
#
# .. math::
#
#     \begin{aligned}
#     J(w, b) &= \frac{1}{2n} \lVert X w + b \mathbf{1} - y \rVert^2
#     = \frac{1}{2n} r^\top r \\
#     r &= X w + b \mathbf{1} - y
#     \end{aligned}
#
# :math:`J` depends on :math:`r`, and :math:`r` on :math:`w` and :math:`b`. The derivation takes each derivative from
# the tables above, with its shape below it, and then the chain rule.
#
# .. list-table::
#     :header-rows: 1
#     :widths: 50 50
#
#     * - numerator layout
#       - denominator layout
#     * - :math:`\dfrac{\partial J}{\partial r} = \underbrace{\tfrac1n r^\top}_{(1, n)}`
#       - :math:`\dfrac{\partial J}{\partial r} = \underbrace{\tfrac1n r}_{(n, 1)}`
#     * - :math:`\dfrac{\partial r}{\partial w} = \underbrace{X}_{(n, d)}`
#       - :math:`\dfrac{\partial r}{\partial w} = \underbrace{X^\top}_{(d, n)}`
#     * - :math:`\dfrac{\partial r}{\partial b} = \underbrace{\mathbf{1}}_{(n, 1)}`
#       - :math:`\dfrac{\partial r}{\partial b} = \underbrace{\mathbf{1}^\top}_{(1, n)}`
#     * - :math:`\dfrac{\partial J}{\partial w} = \dfrac{\partial J}{\partial r} \dfrac{\partial r}{\partial w}`
#       - :math:`\dfrac{\partial J}{\partial w} = \dfrac{\partial r}{\partial w} \dfrac{\partial J}{\partial r}`
#     * - :math:`\phantom{\dfrac{\partial J}{\partial w}} = \underbrace{\tfrac1n r^\top X}_{(1, d)}`
#       - :math:`\phantom{\dfrac{\partial J}{\partial w}} = \underbrace{\tfrac1n X^\top r}_{(d, 1)}`
#     * - :math:`\dfrac{\partial J}{\partial b} = \dfrac{\partial J}{\partial r} \dfrac{\partial r}{\partial b}`
#       - :math:`\dfrac{\partial J}{\partial b} = \dfrac{\partial r}{\partial b} \dfrac{\partial J}{\partial r}`
#     * - :math:`\phantom{\dfrac{\partial J}{\partial b}} = \underbrace{\tfrac1n r^\top \mathbf{1}}_{(1, 1)}`
#       - :math:`\phantom{\dfrac{\partial J}{\partial b}} = \underbrace{\tfrac1n \mathbf{1}^\top r}_{(1, 1)}`
#
# In words: a coefficient's derivative is the mean over the rows of the residual :math:`r_i` times the row's entry in
# that column, and the intercept's is the mean residual. The code says the same in one line each.

X, y = gs.textbook.make_linear([2.0, -3.4, 0.5], 4.2, 100, noise=1.0)
w, b = np.array([1.0, -1.0, 0.0]), 0.5
r = X @ w + b - y
ours = X.T @ r / len(X), r.mean()
dw, db = gs.textbook.gradient(X, y, w, b)
print("X'r / n ", ours[0].round(4), "  mean r  ", ours[1].round(4))
print("library ", dw.round(4), "  library ", round(db, 4))

# %%
# `gradstep.check_gradient` confirms it numerically, in either layout. The parameters are stacked, the intercept last.
# A one-dimensional array of NumPy stands for the column of denominator layout.

for layout in ("numerator", "denominator"):
    check = gs.check_gradient(gs.squared(), X, y, w, b, layout=layout)
    same = np.allclose(check.analytical.ravel(), np.append(*ours), rtol=0, atol=1e-12)
    print(f"{layout}: {check.analytical.shape}, agrees: {check.agrees}, ours: {same}")

# %%
# Several outputs need no new idea. With :math:`Y` and :math:`R = XW + \mathbf{1} b^\top - Y` of shape :math:`(n, k)`
# and :math:`J = \frac{1}{2n} \lVert R \rVert_F^2`, each column of :math:`W` has a squared loss of its own:
#
# .. list-table::
#     :header-rows: 1
#
#     * - derivative
#       - numerator layout
#       - denominator layout
#     * - :math:`\partial J / \partial W`
#       - :math:`\underbrace{\tfrac1n R^\top X}_{(k, d)}`
#       - :math:`\underbrace{\tfrac1n X^\top R}_{(d, k)}`
#     * - :math:`\partial J / \partial b`
#       - :math:`\underbrace{\tfrac1n \mathbf{1}^\top R}_{(1, k)}`
#       - :math:`\underbrace{\tfrac1n R^\top \mathbf{1}}_{(k, 1)}`

Y = np.column_stack((y, y**2))
W, bs = rng.standard_normal((3, 2)), np.array([0.5, -1.0])
R = X @ W + bs - Y
dw, db = gs.textbook.gradient(X, Y, W, bs)
print("W:", dw.shape, np.allclose(dw, X.T @ R / len(X), rtol=0, atol=1e-12))
print("b:", db.shape, np.allclose(db, R.mean(axis=0), rtol=0, atol=1e-12))
for layout in ("numerator", "denominator"):
    check = gs.check_gradient(gs.squared(), X, Y, W, bs, layout=layout)
    print(f"{layout}: shape {check.analytical.shape}, agrees: {check.agrees}")

# %%
# Every loss, by its slope
# ------------------------
#
# A loss of the library is a function of one score :math:`z_i = x_i^\top w + b` and one response :math:`y_i`, where
# :math:`x_i^\top` is a row of :math:`X`. The chain rule needs its slope, the derivative in :math:`z`, and nothing
# else:
#
# .. math::
#
#     \begin{aligned}
#     \frac{\partial J}{\partial w}
#     &= \frac1n \sum_{i=1}^n \text{slope}(z_i, y_i)\, \frac{\partial z_i}{\partial w} \\
#     &= \frac1n \sum_{i=1}^n \text{slope}(z_i, y_i)\, x_i \\
#     \frac{\partial J}{\partial b} &= \frac1n \sum_{i=1}^n \text{slope}(z_i, y_i)
#     \end{aligned}
#
# In denominator layout that is :math:`X^\top r / n` again, with :math:`r_i = \text{slope}(z_i, y_i)`; for the squared
# loss the slope is the residual. So one kernel, written once, serves every loss. The registry ``LOSSES`` lists them
# all, with the parameters that they are tried with.

from gradstep.losses import LOSSES

counts, yes = np.abs(y).round(), (y > 0).astype(float)
responses = {"real": y, "nonnegative": counts, "binary": yes}
for constructor, tried in LOSSES.items():
    for parameters in tried:
        loss = constructor(*parameters)
        check = gs.check_gradient(loss, X, responses[loss.domain], w, b)
        print(f"{loss!r:<24}  error {check.error:.0e}  agrees: {check.agrees}")

# %%
# The domain of a loss says which responses it allows. Three of the losses, for a response of 0:

three = {"-": gs.squared(), "--": gs.huber(1.0), ":": gs.quantile(0.8)}
z = np.linspace(-2.5, 2.5, 251)
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.8))
for line, loss in three.items():
    for ax, role in zip(axes, ("value", "slope", "curvature"), strict=True):
        formula = getattr(loss, role)
        ax.plot(z, [formula(t, 0.0, loss.params) for t in z], line, label=repr(loss))
        ax.set_xlabel("score z")
axes[0].set(title="Squared grows fastest,\nquantile is lopsided", ylabel="value")
axes[1].set(title="Slopes: Huber's is clipped,\nthe quantile's jumps", ylabel="slope")
axes[2].set(title="Curvature: only squared\nis curved everywhere", ylabel="curvature")
axes[0].legend(fontsize=8)

# %%
# Kinks and subgradients
# ~~~~~~~~~~~~~~~~~~~~~~
#
# The quantile loss has a **kink** at :math:`z = y`: its slope jumps there, and the limit of the difference quotient
# does not exist. What remains is a **subgradient**, any number :math:`s` whose line through the point stays below the
# curve at every :math:`v`:
#
# .. math::
#
#     \text{value}(v) \ge \text{value}(z) + s\,(v - z)
#
# For a convex function of one number these are all the numbers from the slope on the left to the slope on the right.
# The library takes the one of least magnitude, which is 0 for each of its losses. A central difference at the kink
# gives the mean of the two sides instead, so `gradstep.check_gradient` disagrees there. It is right to: no derivative
# exists.

pinball = gs.quantile(0.8)
for t in (0.9, 1.0, 1.1):
    print(f"z = {t}, y = 1: slope {pinball.slope(t, 1.0, pinball.params):.1f}")
for where, at in (("at the kink", 1.0), ("beside it", 1.1)):
    check = gs.check_gradient(pinball, [[1.0]], [[1.0]], [[at]], [0.0])
    print(f"{where}: {check.agrees}, slope {check.analytical[0, 0]:.1f}", end=", ")
    print(f"numerically {check.numerical[0, 0]:.1f}")

# %%
# The second derivative
# ---------------------
#
# The **Hessian** is the matrix of second derivatives, the derivative of the gradient. Write :math:`\theta` for the
# coefficients with the intercept last, and :math:`\tilde X = (X \;\; \mathbf{1})` for the table with a column of
# ones. The gradient of the squared loss is :math:`\tilde X^\top (\tilde X \theta - y) / n`. It has the form of
# :math:`Ax` plus a constant, so its derivative is
#
# .. math::
#
#     H = \frac1n \tilde X^\top \tilde X
#
# For another loss each row counts with its curvature, the derivative of its slope:
#
# .. math::
#
#     H = \frac1n \sum_{i=1}^n \text{curvature}(z_i, y_i)\, \tilde x_i \tilde x_i^\top
#
# That holds away from kinks. The Hessian is symmetric, so the layouts agree.


def gradient(theta, y, loss):
    return np.append(*gs.textbook.gradient(X, y, theta[:-1], theta[-1], loss))


ones = np.column_stack((X, np.ones(len(X))))
theta = np.append(w, b)
H = ones.T @ ones / len(X)
numerical = jacobian(lambda t: gradient(t, y, gs.squared()), theta)
print("squared: ", np.allclose(numerical, H, atol=1e-8))

labels = (y > 4.2).astype(float)
curvature = np.array([logistic.curvature(t, 0.0, ()) for t in ones @ theta])
numerical = jacobian(lambda t: gradient(t, labels, logistic), theta)
formula = ones.T * curvature @ ones / len(X)
print("logistic:", np.allclose(numerical, formula, atol=1e-8))

# %%
# For every direction :math:`v`, :math:`v^\top H v = \lVert \tilde X v \rVert^2 / n \ge 0`. A function whose Hessian
# has this property everywhere is convex. An **eigenvalue** :math:`\lambda` of H has a :math:`v \ne 0` with
# :math:`H v = \lambda v`, so :math:`\lambda \lVert v \rVert^2 = v^\top H v`: none is negative. They are the squared
# singular values of :math:`\tilde X`, divided by n.

print(np.linalg.eigvalsh(H).round(3))
print((np.linalg.svd(ones, compute_uv=False)[::-1] ** 2 / len(X)).round(3))

# %%
# **Newton's step** goes to the place where the gradient would be zero if the Hessian stayed as it is:
#
# .. math::
#
#     \theta_{\text{new}} = \theta - H^{-1} \nabla J(\theta)
#
# For the squared loss the Hessian does stay: it does not depend on :math:`\theta`. So one step from anywhere solves
# the problem, if H has an inverse.

exact = gs.closed_form(X, y)
for start in (theta, np.zeros(4), np.full(4, 1e3)):
    stepped = start - np.linalg.solve(H, gradient(start, y, gs.squared()))
    same = np.allclose(stepped, np.append(exact.coef, exact.intercept))
    print(stepped.round(6), "exact:", same)

# %%
# The picture sets the two side by side on the two-column example from above: twelve steps along the negative
# gradient, :math:`w - \eta \nabla J(w)` with :math:`\eta = 0.3`, and one Newton step, from two starts.

H2 = X2.T @ X2 / len(X2)
fig, ax = plt.subplots(figsize=(7.2, 3.8))
ax.contour(w1, w2, heights.reshape(w1.shape), levels, colors="#a0a0a0", linewidths=1)
for start in ([3.0, 0.5], [0.3, -1.6]):
    path, newton = [np.array(start)], [np.array(start)]
    for _ in range(12):
        path.append(path[-1] - 0.3 * gs.textbook.gradient(X2, y2, path[-1])[0])
    newton.append(start - np.linalg.solve(H2, gs.textbook.gradient(X2, y2, start)[0]))
    ax.plot(*np.transpose(path), "o-", color="C0", markersize=3)
    ax.plot(*np.transpose(newton), "s--", color="C1")
ax.set(aspect="equal", xlabel="coefficient w1", ylabel="coefficient w2")
ax.set_title("Gradient steps bend into the valley, Newton's step meets the minimum")
labelled = ["12 gradient steps", "1 Newton step"]
ax.legend(ax.lines[:2], labelled, loc="upper left", bbox_to_anchor=(1.02, 1.0))

# %%
# Newton's step has a price: about :math:`n d^2` multiplications for the Hessian, and a system of equations to solve.
# The default solver of `gradstep.fit` lies between the two. It estimates the Hessian from a sketch of the rows and
# takes minibatch gradients in the coordinates in which that estimate is the identity; :doc:`/default` shows how.
#
# What automatic differentiation does
# -----------------------------------
#
# Numerical differentiation is inexact and needs two evaluations for each entry. Formulas by hand are exact, and
# someone has to derive them. **Automatic differentiation** is a third way: a program runs on numbers that remember
# how they came about, and the chain rule is then applied to that record, the **tape**. In **reverse mode** it goes
# backward. Write :math:`\bar v = \partial J / \partial v` for the derivative of the result in an intermediate number
# :math:`v`. Then :math:`\bar J = 1`, and each number hands to those it was made of, its parents, their share:
#
# .. math::
#
#     \bar u = \sum_{v \text{ made of } u} \bar v\, \frac{\partial v}{\partial u}
#
# A number may pass on its :math:`\bar v` only when it is complete. So the tape is put in an order in which parents
# come first, a **topological order**, and read from its end.
#
# Below, ``parents`` holds pairs, a parent and the derivative in it. ``tape`` visits parents before it appends a
# number. ``backward`` adds each share, since a number may be used twice, as r in r · r.

import math


class Value:
    """A number that remembers its parents and its derivative in each of them."""

    def __init__(self, number, name, *parents):
        self.number, self.name, self.parents = number, name, parents
        self.derivative = 0.0

    def __add__(self, other):
        return Value(self.number + other.number, "+", (self, 1.0), (other, 1.0))

    def __mul__(self, other):
        share, others = (self, other.number), (other, self.number)
        return Value(self.number * other.number, "*", share, others)

    def exp(self):
        e = math.exp(self.number)
        return Value(e, "exp", (self, e))

    def log(self):
        return Value(math.log(self.number), "log", (self, 1.0 / self.number))

    def tape(self):
        order, seen = [], set()

        def visit(value):
            if value not in seen:
                seen.add(value)
                for parent, _ in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        return order

    def backward(self):
        self.derivative = 1.0
        for value in reversed(self.tape()):
            for parent, local in value.parents:
                parent.derivative += local * value.derivative


# %%
# The score of one row, and two losses of it, written with these operations alone:


def named(name, numbers):
    return [Value(number, f"{name}{j + 1}") for j, number in enumerate(numbers)]


def score(row, w, b):
    z = b
    for x_j, w_j in zip(row, w, strict=True):
        z = z + x_j * w_j
    return z


def squared_loss(z, y):
    r = z + Value(-y, "-y")
    return Value(0.5, "1/2") * r * r


def logistic_loss(z, y):
    return (Value(1.0, "1") + z.exp()).log() + Value(-y, "-y") * z


# %%
# The tape's derivatives against the formula derived by hand, :math:`\text{slope}(z, y)\, x` and
# :math:`\text{slope}(z, y)`, and against the library:

row, w0, b0 = [1.5, -2.0], [0.4, 0.3], 0.2
for response, on_tape, loss in (
    (2.0, squared_loss, gs.squared()),
    (1.0, logistic_loss, logistic),
):
    inputs = [*named("w", w0), Value(b0, "b")]
    on_tape(score(named("x", row), inputs[:2], inputs[2]), response).backward()
    taped = [v.derivative for v in inputs]
    slope = loss.slope(float(np.dot(row, w0)) + b0, response, loss.params)
    by_hand = [*(slope * x_j for x_j in row), slope]
    library = np.append(*gs.textbook.gradient([row], [response], w0, b0, loss))
    same = np.allclose([taped, by_hand], library, rtol=1e-13)
    print(f"{loss!r}: tape {np.round(taped, 4)}, formula {np.round(by_hand, 4)}")
    print(f"    the library agrees with both: {same}")

# %%
# This is the tape of the squared loss. Each box is one number: how it came about, its value, and below it the
# derivative of the loss in it. Arrows lead from parents to what is made of them; the derivatives flow against the
# arrows.

inputs = [*named("w", w0), Value(b0, "b")]
loss_value = squared_loss(score(named("x", row), inputs[:2], inputs[2]), 2.0)
loss_value.backward()
tape = loss_value.tape()
depth, place = {}, {}
for v in reversed(tape):  # arrows from each number to the result, at most
    depth[v] = 1 + max((depth[u] for u in depth if v in dict(u.parents)), default=-1)
for v in tape:
    beside = [u for u in tape if depth[u] == depth[v]]
    place[v] = (-depth[v], (len(beside) - 1) / 2 - beside.index(v))

# %%

fig, ax = plt.subplots(figsize=(7.2, 3.6))
for v, at in place.items():
    text = f"{v.name}\n{v.number:.4g}\n({v.derivative:.4g})"
    edge = "C0" if v.parents else "#a0a0a0"
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": edge}
    ax.text(*at, text, ha="center", va="center", fontsize=8, bbox=box)
    for parent, _ in v.parents:
        bend = f"arc3,rad={0.4 * (depth[parent] - depth[v] - 1)}"  # round those between
        arrow = {"arrowstyle": "->", "color": "C1", "shrinkA": 18, "shrinkB": 22}
        arrow |= {"connectionstyle": bend}
        ax.annotate("", at, place[parent], arrowprops=arrow)
ax.set(xlim=(-6.4, 0.4), ylim=(-1.9, 1.9))
ax.axis("off")
ax.set_title("Values run on to the loss at the right, derivatives in brackets run back")

# %%
# Why the library uses formulas instead
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# Reverse mode differentiates any program of differentiable steps, which is why deep learning is built on it. The
# model here is always the same, :math:`z = Xw + b\mathbf{1}`, and only the loss changes. So the chain rule is worked
# out once, for all losses: a new loss brings its slope, and everything else is there. Nor is there a tape to keep.
# The next block counts what each way takes for the sum of the squared loss over :math:`n` rows of five columns. A
# tape multiplies once for each ``*`` on the way forward, and once for each arrow on the way back. The formula
# multiplies once for each entry of a row in the score :math:`x_i^\top w`, and once for each in the row's share of the
# gradient, :math:`r_i x_i`.

w0, b0 = [0.4, 0.3, -0.2, 0.1, 0.5], 0.2
for n in (1, 10, 100):
    rows, ys = rng.standard_normal((n, 5)), rng.standard_normal(n)
    inputs, total = [*named("w", w0), Value(b0, "b")], Value(0.0, "0")
    sums, products = np.zeros(6), 0
    for row, response in zip(rows, ys, strict=True):
        z = score(named("x", row), inputs[:-1], inputs[-1])
        total = total + squared_loss(z, response)
        sums += (row @ w0 + b0 - response) * np.append(row, 1.0)
        products += row.size + row.size
    total.backward()
    tape = total.tape()
    taped = sum((v.name == "*") + len(v.parents) for v in tape)
    same = np.allclose(sums, [v.derivative for v in inputs])
    print(f"rows: {n}, the same gradient: {same}")
    print(f"    tape:    {len(tape)} numbers kept, {taped} multiplications")
    print(f"    formula: {sums.size} numbers kept, {products} multiplications")

# %%
# The tape grows with the rows, and the formula keeps one sum for each parameter. Of the tape's multiplications some
# are by 1, and some belong to derivatives in :math:`x` and :math:`y` that nobody asked for; a careful implementation
# leaves such out. The formula also needs a row for a short while: for its score, and at once for its share of the
# gradient. So a table is read once for a gradient, and that is how the kernel of `gradstep.textbook.gradient` reads
# it.
#
# Exercises
# ---------
#
# 1. Let :math:`u(x) = \tanh(Bx)`, entry by entry, with :math:`B` of shape :math:`(3, 4)`, and
#    :math:`f(u) = G (u \odot u)` with :math:`G` of shape :math:`(2, 3)`, where :math:`\odot` multiplies entry by
#    entry. Which shapes do the derivatives of :math:`f` in :math:`u`, of :math:`u` in :math:`x` and of :math:`f` in
#    :math:`x` have in each layout, and in which order is the chain rule multiplied? Confirm it with ``jacobian``.
# 2. At ``w = [0.5, 0.5]`` of the two-column example, find a direction of length 1 in which :math:`J` falls at half
#    the steepest rate. How many are there?
# 3. **Ridge regression** adds :math:`\frac{\alpha}{2} w^\top w` to the squared loss. Derive the gradient in both
#    layouts. Compute it for the three-column table with :math:`\alpha = 0.1`, at ``w = [1, -1, 0]`` and ``b = 0.5``,
#    and show that it vanishes at ``gs.closed_form(X, y, penalty=gs.l2(0.1))``.
# 4. The pseudo-Huber loss is :math:`\sqrt{1 + (z - y)^2} - 1`. Derive its slope and its curvature, make a
#    `gradstep.Loss` of them, and confirm the slope. Is the loss convex?
# 5. Why does one Newton step not minimise the logistic loss? Find out how many it takes on ``labels`` from
#    :math:`\theta = 0` until no entry of the gradient is above 1e-10.
#
# Answers
# -------
#
# **Exercise 1.** In numerator layout the shapes are those of the matrices, :math:`(2, 3)`, :math:`(3, 4)` and
# :math:`(2, 4)`, and the outer derivative comes first. In denominator layout all are transposed and the order is
# turned round.

B, G = rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
x = rng.standard_normal(4)
answer_1 = {}
for layout in ("numerator", "denominator"):
    outer = jacobian(lambda u: G @ u**2, np.tanh(B @ x), layout)
    inner = jacobian(lambda x: np.tanh(B @ x), x, layout)
    whole = jacobian(lambda x: G @ np.tanh(B @ x) ** 2, x, layout)
    chained = outer @ inner if layout == "numerator" else inner @ outer
    assert np.allclose(whole, chained, atol=1e-8)
    answer_1[layout] = outer.shape, inner.shape, whole.shape
    print(layout, answer_1[layout])

# %%
# **Exercise 2.** The rate is :math:`\lVert g \rVert \cos\theta`, so :math:`\cos\theta = -1/2`: the direction stands
# at 60 degrees to the negative gradient. In the plane there are two, one on each side.

down = -g / np.linalg.norm(g)
cos, sin = 0.5, np.sqrt(0.75)
answer_2 = [np.array([[cos, -s], [s, cos]]) @ down for s in (sin, -sin)]
print([round(float(u @ g / np.linalg.norm(g)), 6) for u in answer_2])

# %%
# **Exercise 3.** The derivative of :math:`x^\top x` is :math:`2x`, so :math:`\alpha w` is added to
# :math:`X^\top r / n` in denominator layout, and :math:`\alpha w^\top` to :math:`r^\top X / n` in numerator layout.
# The derivative in :math:`b` stays.


def ridge(w, b, alpha=0.1):
    dw, db = gs.textbook.gradient(X, y, w, b)
    return np.append(dw + alpha * w, db)


answer_3 = ridge(np.array([1.0, -1.0, 0.0]), 0.5)
solved = gs.closed_form(X, y, penalty=gs.l2(0.1))
print(answer_3.round(4))
print("vanishes:", np.allclose(ridge(solved.coef, solved.intercept), 0, atol=1e-12))

# %%
# **Exercise 4.** With :math:`q = \sqrt{1 + (z - y)^2}` the chain rule gives the slope :math:`(z - y) / q`, and the
# quotient rule the curvature :math:`(q - (z - y)^2 / q) / q^2 = 1 / q^3`. It is above zero, so the loss is convex.


@gs.formula
def pseudo_value(z, y, p):
    return type(z)(math.sqrt(1 + (z - y) * (z - y))) - type(z)(1)


@gs.formula
def pseudo_slope(z, y, p):
    return (z - y) / type(z)(math.sqrt(1 + (z - y) * (z - y)))


@gs.formula
def pseudo_curvature(z, y, p):
    q = type(z)(math.sqrt(1 + (z - y) * (z - y)))
    return type(z)(1) / (q * q * q)


answer_4 = gs.Loss("pseudo_huber", pseudo_value, pseudo_slope, pseudo_curvature)
print(gs.check_gradient(answer_4).agrees)

# %%
# **Exercise 5.** The curvature of the logistic loss depends on the score, so the Hessian changes on the way. Newton's
# step is repeated, each time with the Hessian of where it stands.

theta, answer_5 = np.zeros(4), 0
while np.abs(gradient(theta, labels, logistic)).max() > 1e-10:
    curved = np.array([logistic.curvature(t, 0.0, ()) for t in ones @ theta])
    hessian = ones.T * curved @ ones / len(X)
    theta -= np.linalg.solve(hessian, gradient(theta, labels, logistic))
    answer_5 += 1
print(answer_5, "steps to", theta.round(4))

# %%
# The next page, :doc:`/course/4_probability`, shows where the logistic loss comes from: it is the negative
# logarithm of a probability.
#
# Sources
# -------
#
# - A\. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge 2023, sections 2.4
#   (calculus), 2.5 (automatic differentiation) and 3.1 (the squared loss): the order of this page follows them.
# - J\. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd edition, Springer 2006, section 8.1: forward and
#   central differences, their errors and the step that balances them.
# - N\. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, SIAM 2002, section 2.2: the rounding
#   of one operation.
# - K\. B. Petersen and M. S. Pedersen, *The Matrix Cookbook*, 2012, section 2: derivatives of matrices, traces and
#   determinants.
# - S\. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge 2004, sections 3.1.3, 3.1.4 and 3.2 (convexity
#   by tangents and by the Hessian, and of sums), 9.4 (the steepest way down) and 9.5 (Newton's step).
# - R\. T. Rockafellar, *Convex Analysis*, Princeton 1970, sections 23 and 24: subgradients, and those of functions of
#   one number.
# - A\. Griewank and A. Walther, *Evaluating Derivatives*, 2nd edition, SIAM 2008, chapter 3: the reverse mode.

# %%
# Of a script, this shows the pictures.

plt.show()
