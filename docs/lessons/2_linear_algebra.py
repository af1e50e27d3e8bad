r"""
2. Linear algebra
=================

A linear model predicts a number from a row of numbers. In formulas it is one line,

.. math:: z = X w + b ,

and this page explains every sign in it: what :math:`X` and :math:`w` are, what their product means, how long a vector
is, and why some tables :math:`X` make :math:`w` hard to find. Each formula stands beside the NumPy call that computes
it and, where there is one, beside the place where ``gradstep`` uses it. The letters are those of :doc:`/notation`.

Scalars, vectors, matrices, tensors
-----------------------------------

A **scalar** is one number, such as an intercept :math:`b`. A **vector** :math:`x \in \mathbb{R}^d` is a list of d
numbers, an array with one axis. A **matrix** :math:`X \in \mathbb{R}^{n \times d}` has two axes, n rows and d
columns. A **tensor** has any number of axes, so the first three are tensors too.

The table of this page holds diamonds. We take three of its columns: weight in carats, total depth in percent, and the
width of the top in percent. Four stones make a matrix :math:`X` with n = 4 rows and d = 3 columns.
"""

import numpy as np

import gradstep as gs

stones, prices, names = gs.load_diamonds()
X = stones[:4, :3]
print(names[:3])
X

# %%
# A row of the table is a vector :math:`x_i`, one number for each column. A single entry :math:`X_{ij}` is a scalar.
# Two tables of four stones, stacked, are a tensor with three axes.

scalar = X[0, 0]
vector = X[0]
tensor = np.stack([stones[:4, :3], stones[4:8, :3]])
for array in (scalar, vector, X, tensor):
    print("axes", np.ndim(array), "  shape", np.shape(array))

# %%
# The transpose
# -------------
#
# The **transpose** turns rows into columns: :math:`(X^\top)_{ij} = X_{ji}`. A matrix of shape (n, d) becomes one of
# shape (d, n). In NumPy it is ``X.T``, which copies nothing.

print(X.shape, X.T.shape)
print(X[2, 1] == X.T[1, 2])

# %%
# A square matrix is **symmetric** when it equals its transpose, :math:`S^\top = S`. The matrix :math:`X^\top X`
# always is: its entry in row j and column k is the sum :math:`\sum_i X_{ij} X_{ik}`, which stays the same when j and
# k change places. It is called the **Gram matrix** of the columns. Least squares depends on the predictors through
# it, so it comes back many times below.

gram = X.T @ X
print(gram.shape, np.allclose(gram, gram.T))
print(gram[0, 2].round(6), gram[2, 0].round(6), (X[:, 0] * X[:, 2]).sum().round(6))

# %%
# Orthogonal matrices
# -------------------
#
# A square matrix :math:`Q` is **orthogonal** when :math:`Q^\top Q = I`, where :math:`I` is the identity: ones on the
# diagonal, zeros elsewhere. Every square matrix factors as :math:`A = Q R` with an orthogonal :math:`Q` and a
# triangular :math:`R`, which has only zeros below its diagonal. ``np.linalg.qr`` computes both factors.

A = np.array([[1.5, 0.9], [-0.3, 0.8]])
Q, R = np.linalg.qr(A)
print("Q'Q = I:", np.allclose(Q.T @ Q, np.eye(2)))
print("Q R = A:", np.allclose(Q @ R, A))
R.round(3)

# %%
# An orthogonal matrix keeps lengths and angles, because it keeps the dot products that both are made of:
#
# .. math:: (Q u)^\top (Q v) = u^\top Q^\top Q\, v = u^\top v .

u, v = np.array([4.0, 2.0]), np.array([1.0, 3.0])
print("dot products:", u @ v, ((Q @ u) @ (Q @ v)).round(12))
print("lengths of u:", np.linalg.norm(u).round(6), np.linalg.norm(Q @ u).round(6))

# %%
# The picture shows what a matrix does to all vectors of length 1 at once. The arrows are the two unit vectors
# :math:`e_1 = (1, 0)` and :math:`e_2 = (0, 1)`. A matrix sends them to its first and its second column. A matrix with
# independent columns makes an ellipse of the circle. An orthogonal one turns the circle, or mirrors it, and the
# circle stays what it was.

import matplotlib.pyplot as plt

angle = np.linspace(0.0, 2.0 * np.pi, 121)
circle = np.array([np.cos(angle), np.sin(angle)])
shown = [
    ("The unit circle", np.eye(2), ("$e_1$", "$e_2$")),
    ("A matrix A makes\nan ellipse of it", A, ("$Ae_1$", "$Ae_2$")),
    ("An orthogonal Q\nkeeps it a circle", Q, ("$Qe_1$", "$Qe_2$")),
]
fig, axes = plt.subplots(1, 3, sharex=True, sharey=True)
for ax, (title, M, labels) in zip(axes, shown, strict=True):
    ax.plot(*(M @ circle))
    for arrow, label in zip(M.T, labels, strict=True):
        ax.annotate("", arrow, (0, 0), arrowprops={"arrowstyle": "->"})
        ax.annotate(label, 1.3 * arrow, ha="center", va="center")
    ax.set(title=title, xlabel="first component", aspect="equal")
    ax.set(xlim=(-2.2, 2.2), ylim=(-1.7, 1.7))
axes[0].set_ylabel("second component")

# %%
# Products
# --------
#
# Element by element
# ~~~~~~~~~~~~~~~~~~
#
# Two products of matrices are used here. The **element-wise** or **Hadamard** product multiplies entries at the same
# place: :math:`(A \odot B)_{ij} = A_{ij} B_{ij}`. The operator ``*`` computes it. The **matrix product** sums
# products along a row of the first and a column of the second: :math:`(A B)_{ij} = \sum_k A_{ik} B_{kj}`. The
# operator ``@`` computes it. Here the order matters: :math:`AB` is in general not :math:`BA`, and a transpose
# reverses it, :math:`(AB)^\top = B^\top A^\top`.

A = np.array([[1, 2], [3, 4]])
B = np.array([[0, 1], [1, 0]])
print("A * B:", (A * B).tolist())
print("A @ B:", (A @ B).tolist())
print("B @ A:", (B @ A).tolist())
print("(AB)' = B'A':", np.array_equal((A @ B).T, B.T @ A.T))

# %%
# The dot product
# ~~~~~~~~~~~~~~~
#
# The **dot product** of two vectors is one number, :math:`u^\top v = \sum_j u_j v_j`. The dot product of a vector
# with itself is its squared length, :math:`\lVert u \rVert^2 = u^\top u`. If :math:`\theta` is the angle between u
# and v, the law of cosines for the triangle with the sides u, v and u - v gives
#
# .. math::
#
#     \begin{aligned}
#     \lVert u - v \rVert^2
#     &= \lVert u \rVert^2 + \lVert v \rVert^2 \\
#     &\quad - 2\, \lVert u \rVert \lVert v \rVert \cos\theta \\
#     \lVert u - v \rVert^2
#     &= (u - v)^\top (u - v) \\
#     &= u^\top u + v^\top v - 2\, u^\top v
#     \end{aligned}
#
# and both together say :math:`u^\top v = \lVert u \rVert \lVert v \rVert \cos\theta`. As a cosine lies between -1 and
# 1, :math:`|u^\top v| \le \lVert u \rVert \lVert v \rVert`, the inequality of **Cauchy and Schwarz**.

cosine = u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
print("u'v =", (u * v).sum(), u @ v)
print("angle in degrees:", np.degrees(np.arccos(cosine)).round(3))

# %%
# The **projection** of v onto the line through u is the point of that line nearest to v. It is :math:`p =
# \frac{u^\top v}{u^\top u}\, u`, and what is left, v - p, stands at a right angle to u: :math:`u^\top (v - p) =
# u^\top v - u^\top v = 0`. So by Pythagoras every other point of the line is further from v.

p = (u @ v) / (u @ u) * u
print("p =", p, "  u'(v - p) =", (u @ (v - p)).round(12))

fig, ax = plt.subplots()
for arrow, label in [(u, "u"), (v, "v"), (p, "p")]:
    ax.annotate("", arrow, (0, 0), arrowprops={"arrowstyle": "->"})
    ax.annotate(label, 1.08 * arrow, va="top")
ax.plot(*np.transpose([-0.1 * u, 1.3 * u]), ":", label="the line through u")
ax.plot(*np.transpose([v, p]), "--", label="v - p, at a right angle to u")
ax.set_title("The projection p is the point of the line nearest to v")
ax.set(xlabel="first component", ylabel="second component", aspect="equal")
ax.set(xlim=(-0.6, 9.4), ylim=(-0.3, 3.5))
ax.legend(loc="right")

# %%
# **Least squares** looks for the w and b that make the sum of the squared **residuals**,
# :math:`y - X w - b \mathbf{1}`, least; they are written :math:`w^\ast` and :math:`b^\ast`. It is this picture with
# more directions. The fitted values :math:`Xw^\ast + b^\ast` are the projection of
# y onto everything that the columns and the intercept can make, so the residuals stand at a right angle to each
# column and to the vector of ones. `gradstep.closed_form` solves the problem directly. The cosines between its
# residuals and the columns are zero but for rounding.

some, cost = stones[:500, :3], prices[:500]
exact = gs.closed_form(some, cost)
residuals = cost - gs.textbook.linear(some, exact.coef, exact.intercept)
directions = np.column_stack([some, np.ones(500)])
lengths = np.linalg.norm(directions, axis=0) * np.linalg.norm(residuals)
np.abs(directions.T @ residuals / lengths).round(9)

# %%
# Matrix times vector
# ~~~~~~~~~~~~~~~~~~~
#
# The product :math:`X w` can be read in two ways. By rows, each entry is the dot product of a row with w: one
# prediction, or **score**, for each stone. By columns, it is a **linear combination** of the columns, each multiplied
# by its coefficient and all added:
#
# .. math::
#
#     \begin{aligned}
#     X w &= \begin{pmatrix} x_1^\top w \\ \vdots \\ x_n^\top w \end{pmatrix} \\
#     &= w_1 X_{:1} + \dots + w_d X_{:d} .
#     \end{aligned}

w = np.array([8000.0, -20.0, -10.0])
by_rows = np.array([row @ w for row in X])
by_columns = sum(w[j] * X[:, j] for j in range(3))
print(X @ w)
print(np.allclose(by_rows, X @ w), np.allclose(by_columns, X @ w))

# %%
# The first reading is what a prediction is. The second says which predictions are possible: those in the **span** of
# the columns, the set of all their linear combinations. With an intercept b, added to each entry, this is the model,
# and `gradstep.textbook.linear` computes it. The intercept is the coefficient of a column of ones, so it needs no
# mathematics of its own:
#
# .. math:: X w + b\,\mathbf{1} = \begin{pmatrix} X & \mathbf{1} \end{pmatrix} \begin{pmatrix} w \\ b \end{pmatrix} .

b = 500.0
with_ones = np.column_stack([X, np.ones(4)])
print(X @ w + b, with_ones @ np.append(w, b))
gs.textbook.linear(X, w, b)

# %%
# Matrix times matrix
# ~~~~~~~~~~~~~~~~~~~
#
# Several outputs, k for each row, have a matrix of coefficients W of shape (d, k) and k intercepts. Each column of W
# is a model of its own.

W = np.column_stack([w, w / 2])
gs.textbook.linear(X, W, [b, 0.0])

# %%
# A matrix product can also be read as a sum of **outer products**. The outer product :math:`u v^\top` of two vectors
# is the matrix of all products :math:`u_i v_j`. The Gram matrix is the sum of one outer product for each row of the
# table:
#
# .. math:: X^\top X = \sum_{i=1}^{n} x_i x_i^\top .
#
# So it can be added up while the rows are read, a few at a time, and the table need not fit in memory at once. That
# is what ``gs.fit(X, y, solver="exact")`` does.

sum_of_outer = sum(np.outer(row, row) for row in X)
np.allclose(sum_of_outer, X.T @ X)

# %%
# Shapes that fit
# ~~~~~~~~~~~~~~~
#
# A product needs inner sizes that are equal, and its shape is the two outer sizes.
#
# .. list-table::
#    :header-rows: 1
#
#    * - Product
#      - Shapes
#    * - ``X @ w``, the scores
#      - (n, d) (d,) to (n,)
#    * - ``X @ W``, the scores of k outputs
#      - (n, d) (d, k) to (n, k)
#    * - ``X.T @ r``, a gradient, of residuals r
#      - (d, n) (n,) to (d,)
#    * - ``X.T @ X``, the Gram matrix
#      - (d, n) (n, d) to (d, d)
#    * - ``r @ r``, a sum of squares
#      - (n,) (n,) to one number
#    * - ``X @ X``
#      - (n, d) (n, d): refused, unless n = d
#
# What does not fit is refused. The library names the argument, what came and what is needed.

try:
    X @ X
except ValueError:
    print("X @ X is refused:", X.shape, X.shape)
try:
    gs.textbook.linear(X, [1.0, 2.0])
except ValueError as refusal:
    print(refusal)

# %%
# Sums and means are products
# ---------------------------
#
# Let :math:`\mathbf{1}` be a vector of ones. A product with it sums: :math:`\mathbf{1}^\top X` sums each column,
# :math:`X \mathbf{1}` each row. Divided by the number of rows, the first is the vector of means, :math:`\bar{x}^\top
# = \frac{1}{n} \mathbf{1}^\top X`.

ones = np.ones(4)
print(np.allclose(ones @ X, X.sum(axis=0)), np.allclose(X @ np.ones(3), X.sum(axis=1)))
(ones @ X / 4).round(6), X.mean(axis=0).round(6)

# %%
# **Centring** takes its mean off each column. It is a product as well:
#
# .. math::
#
#     \begin{aligned}
#     X_c &= X - \mathbf{1} \bar{x}^\top = C X \\
#     C &= I - \tfrac{1}{n} \mathbf{1} \mathbf{1}^\top
#     \end{aligned}
#
# The matrix C is symmetric, and to centre twice is to centre once, :math:`C C = C`. So C is a projection: it takes
# off what lies along the vector of ones.

C = np.eye(4) - np.outer(ones, ones) / 4
print(np.allclose(C @ X, X - X.mean(axis=0)), np.allclose(C @ C, C))
np.abs((C @ X).mean(axis=0)).round(12)

# %%
# Centring takes the intercept out of the problem. Residuals of a least-squares fit with an intercept sum to zero, and
# that equation is :math:`b^\ast = \bar{y} - \bar{x}^\top w^\ast`. `gradstep.closed_form` centres the columns, solves
# for the coefficients, and gets the intercept back by this formula. The default fit centres columns too, while it
# reads them.

slopes = np.linalg.lstsq(some - some.mean(axis=0), cost - cost.mean())[0]
by_hand = cost.mean() - some.mean(axis=0) @ slopes
print("coefficients", slopes.round(4), exact.coef.round(4))
print("intercept   ", by_hand.round(4), round(exact.intercept, 4))

# %%
# Norms
# -----
#
# A **norm** says how large a vector is. Anything may be called a norm that obeys three laws, for all vectors u and v
# and numbers a:
#
# .. math::
#
#     \begin{aligned}
#     \lVert u \rVert &\ge 0, \text{ and } \lVert u \rVert = 0 \text{ only for } u = 0 \\
#     \lVert a u \rVert &= |a|\, \lVert u \rVert \\
#     \lVert u + v \rVert &\le \lVert u \rVert + \lVert v \rVert
#     \end{aligned}
#
# The last one is the **triangle inequality**. The most used norms are the L1 norm, the L2 or Euclidean norm, and the
# max norm:
#
# .. math::
#
#     \begin{aligned}
#     \lVert u \rVert_1 &= \textstyle\sum_j |u_j| \\
#     \lVert u \rVert_2 &= \sqrt{\textstyle\sum_j u_j^2} \\
#     \lVert u \rVert_\infty &= \max_j |u_j|
#     \end{aligned}

from numpy.linalg import norm

u = np.array([1.0, -2.0, 2.0])
print("L1 ", np.abs(u).sum(), norm(u, 1))
print("L2 ", np.sqrt((u**2).sum()), norm(u))
print("max", np.abs(u).max(), norm(u, np.inf))

# %%
# With an exponent p in place of 2 the formula is :math:`(\sum_j |u_j|^p)^{1/p}`. It is a norm for p of at least 1.
# For one half, the sum of two unit vectors is larger than both together, against the triangle inequality.

e1, e2 = np.eye(2)
for order in [1, 2, np.inf, 0.5]:
    whole, parts = norm(e1 + e2, order), norm(e1, order) + norm(e2, order)
    print(f"order {order:3}: {whole:.3f} <= {parts:.3f} is {bool(whole <= parts)}")

# %%
# The **unit ball** of a norm is the set of vectors of norm at most 1. Its shape tells what the norm prefers. The
# corners of the L1 ball lie on the axes, where all components but one are zero.

fig, ax = plt.subplots()
for order, label, style in [(1, "L1", "-"), (2, "L2", "--"), (np.inf, "max norm", ":")]:
    ax.plot(*(circle / norm(circle, order, axis=0)), style, label=label)
ax.set_title("Unit balls: L1 has corners on the axes, the max norm off them")
ax.set(xlabel="first component", ylabel="second component")
ax.set(aspect="equal", xlim=(-2, 3), yticks=[-1, 0, 1])
ax.legend(loc="right")

# %%
# A matrix has norms too. The **Frobenius** norm reads it as one long vector. The **spectral** norm is the largest
# factor by which it lengthens a vector:
#
# .. math::
#
#     \begin{aligned}
#     \lVert A \rVert_F &= \sqrt{\textstyle\sum_{ij} A_{ij}^2} \\
#     \lVert A \rVert_2 &= \max_{v \ne 0} \frac{\lVert A v \rVert_2}{\lVert v \rVert_2}
#     \end{aligned}

A = np.array([[1.5, 0.9], [-0.3, 0.8]])
print("Frobenius", np.sqrt((A**2).sum()).round(6), norm(A, "fro").round(6))
print("spectral ", norm(A @ circle, axis=0).max().round(3), norm(A, 2).round(3))

# %%
# Where the norms act
# -------------------
#
# L1: exact zeros
# ~~~~~~~~~~~~~~~
#
# A fit minimises the **objective**: the mean **loss** over the rows, here half the squared residual, plus the
# penalty. It moves w by steps against the gradient (next page) of a **batch** of rows; an **epoch** reads every row
# once.
#
# `gradstep.l1` adds :math:`\alpha \lVert w \rVert_1` to the mean loss. This is the **lasso**. Here three of six
# columns have nothing to do with the response, and full batches leave exact zeros in their place. The objective is
# half the mean squared residual plus the penalty.

X, y = gs.textbook.make_linear([3.0, 0.0, 0.0, -2.0, 0.0, 1.0], 1.0, 200, noise=0.5)
lasso = gs.fit(X, y, penalty=gs.l1(0.3), step=0.3, batch_size=200, epochs=200)
residuals = y - gs.textbook.linear(X, lasso.coef, lasso.intercept)
by_formula = norm(residuals) ** 2 / (2 * 200) + 0.3 * norm(lasso.coef, 1)
print(lasso.coef.round(4), "exact zeros:", np.count_nonzero(lasso.coef == 0.0))
print("objective:", round(float(by_formula), 8), round(lasso.objective, 8))

# %%
# The zeros come from the **proximal step** of the penalty, which follows each gradient step. It moves each
# coefficient by :math:`\eta \alpha` towards zero, with :math:`\eta` the step size, and stops at zero where that is
# nearer.

penalty = gs.l1(0.3)
[round(penalty.prox(w, 1.0, penalty.params), 3) for w in (2.0, 0.5, 0.2, -0.1, -2.0)]

# %%
# L2: shrinkage
# ~~~~~~~~~~~~~
#
# `gradstep.l2` adds :math:`\frac{\alpha}{2} \lVert w \rVert_2^2`, half the *squared* norm. This is **ridge**
# regression. It shortens w, and in general leaves no coefficient at exactly zero. Its closed form, on centred
# columns, is :math:`(\frac{1}{n} X_c^\top X_c + \alpha I)\, w = \frac{1}{n} X_c^\top y`.

ridge = gs.fit(X, y, penalty=gs.l2(0.3))
Xc = X - X.mean(axis=0)
by_formula = np.linalg.solve(Xc.T @ Xc / 200 + 0.3 * np.eye(6), Xc.T @ y / 200)
print(ridge.coef.round(4))
print(by_formula.round(4), "exact zeros:", np.count_nonzero(ridge.coef == 0.0))

# %%
# The picture shows why. The w with the least sum of loss and penalty has the least loss of all w of its own norm or
# less. So look at a ball of that norm. For a loss with the contours drawn, the dot is the point of the ball where the
# loss is least. The L1 ball is met at a corner, so one coefficient is zero. The L2 ball is met where both are not.

side = np.linspace(-1.3, 3.2, 60)
w1, w2 = np.meshgrid(side, side)


def loss(w1, w2):
    return (w1 - 0.3) ** 2 + (w2 - 1.5) ** 2 + 1.2 * (w1 - 0.3) * (w2 - 1.5)


fig, axes = plt.subplots(1, 2, sharey=True)
for ax, order, end in zip(axes, (1, 2), ("at a corner", "off the axes"), strict=True):
    edge = circle / norm(circle, order, axis=0)
    best = edge[:, loss(*edge).argmin()]
    ax.plot(*edge, label="unit ball")
    ax.plot(*best, "o", label="least loss in the ball")
    ax.plot([], [], ":", color="gray", label="contours of the loss")
    levels = [0.02, loss(*best), 1.0]
    ax.contour(w1, w2, loss(w1, w2), levels, colors="gray", linestyles="dotted")
    ax.set(title=f"L{order} meets the contours {end}", xlabel="$w_1$", aspect="equal")
axes[0].set_ylabel("$w_2$")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)

# %%
# L2: the distance in the certificate
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# How far is a fit from the exact least-squares coefficients :math:`w^\ast, b^\ast`? The library measures the
# difference in the fitted values, by the L2 norm, in units of the noise:
#
# .. math::
#
#     \begin{aligned}
#     \text{distance} &= \frac{\lVert X (w - w^\ast) + (b - b^\ast)\mathbf{1} \rVert_2}{\sigma} \\
#     \sigma &= \frac{\lVert y - X w^\ast - b^\ast \mathbf{1} \rVert_2}{\sqrt{n - d - 1}}
#     \end{aligned}
#
# Here :math:`\sigma` is the residual standard deviation of the closed form. We compute the distance by hand for a
# rough fit, of two epochs of steps, and compare it with ``fit.check.distance``.

n, d = 10_000, 10
table, response = gs.textbook.make_linear(np.arange(1.0, 11.0), 4.2, n, noise=0.5)
exact = gs.closed_form(table, response)
noise = response - gs.textbook.linear(table, exact.coef, exact.intercept)
sigma = norm(noise) / np.sqrt(n - d - 1)


def distance(fit):
    change, shift = fit.coef - exact.coef, fit.intercept - exact.intercept
    return float(norm(gs.textbook.linear(table, change, shift)) / sigma)


rough = gs.fit(table, response, step=0.02, batch_size=20, epochs=2)
print("sigma         ", sigma.round(6), round(exact.residual_sd, 6))
print("by hand       ", round(distance(rough), 6))
print("check.distance", round(rough.check.distance, 6))

# %%
# The default fit knows a bound on this distance without the exact coefficients. The `gradstep.Certificate` carries
# it, and the true distance lies below. The bound is random: it holds for all but a small share of the seeds, which is
# printed last. How it can know is shown at the end of this page.

fit = gs.fit(table, response)
bound, failing = fit.certificate.bound, fit.certificate.failure_probability
print(f"distance {distance(fit):.1e}, certified bound {bound:.1e}")
print("below the bound:", distance(fit) <= bound)
print("share of seeds that it may fail for:", round(failing, 4))

# %%
# Frobenius: several outputs
# ~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# With k responses the squared loss is summed over them. Averaged over n rows, it is a squared Frobenius norm:
#
# .. math:: \text{objective} = \frac{1}{2n} \lVert X W + \mathbf{1} b^\top - Y \rVert_F^2 .

W = np.array([[1.0, -1.0, 0.5], [2.0, 0.0, 3.0]])
X, Y = gs.textbook.make_linear(W, [1.0, 2.0, 3.0], 300, noise=0.5)
several = gs.fit(X, Y)
misfit = gs.textbook.linear(X, several.coef, several.intercept) - Y
print(several.coef.shape, misfit.shape)
print(round(several.objective * 2 * 300, 8), (norm(misfit, "fro") ** 2).round(8))

# %%
# Rank
# ----
#
# Columns are **linearly independent** when no linear combination of them vanishes but the one with all coefficients
# zero: :math:`X v = 0` only for :math:`v = 0`. The **rank** is the largest number of independent columns. Where the
# rank is below d, some :math:`v \ne 0` has :math:`X v = 0`, and w and w + v predict the same. The data cannot tell
# them apart.

X, y = gs.textbook.make_linear([3.0, -2.0, 1.0], 1.0, 400, noise=0.5)
twice = np.column_stack([X, X[:, 0]])  # column 3 repeats column 0
v = np.array([1.0, 0.0, 0.0, -1.0])
print("columns:", twice.shape[1], "  rank:", np.linalg.matrix_rank(twice))
print("norm of Xv:", norm(twice @ v))

# %%
# The library finds such columns, names them, and takes the coefficients of least L2 norm among those that fit equally
# well. (The norm is measured in columns divided by their root-mean-square; here the two are the same column, and
# share its coefficient equally.) The report says so.

fit = gs.fit(twice, y)
lines = str(fit).splitlines()
first = [line.startswith("  rank") for line in lines].index(True)
print("\n".join(lines[first : first + 2]))
print("rank", fit.certificate.rank, "  dependent", fit.certificate.dependent)
print(fit.coef.round(4), "  without the copy:", gs.fit(X, y).coef.round(4))

# %%
# Condition
# ---------
#
# Every matrix of n ≥ d rows factors as :math:`X = U S V^\top`, the **singular value decomposition**: U (n, d) and V
# (d, d) have **orthonormal** columns, of length 1 and at right angles to each other, and S is diagonal with the
# **singular values** :math:`s_1 \ge \dots \ge s_d \ge 0`. For two columns they are the half axes of the ellipse that
# X makes of the unit circle. The rank is the number of those above zero; in floating point, above a cut of the size
# of rounding. Two norms and the **condition number** :math:`\kappa` can be read from them:
#
# .. math::
#
#     \begin{aligned}
#     \lVert X \rVert_2 &= s_1 \\
#     \lVert X \rVert_F &= \sqrt{\textstyle\sum_j s_j^2} \\
#     \kappa &= s_1 / s_d
#     \end{aligned}

X = stones[:, :6]
s = np.linalg.svd(X, compute_uv=False)
print(np.allclose(norm(X, 2), s[0]), np.allclose(norm(X, "fro"), norm(s)))
print("condition", (s[0] / s[-1]).round(2), np.linalg.cond(X).round(2))

# %%
# The condition number is 1 for orthonormal columns, and infinite where the rank is short. It depends on units and
# offsets, which centring and scaling remove. What then remains is dependence between the columns. The library reports
# the condition of centred columns, each divided by its root-mean-square. The Gram matrix has the *square* of a
# condition number, since its own singular values are the :math:`s_j^2`.

centred = X - X.mean(axis=0)
scaled = centred / np.sqrt((centred**2).mean(axis=0))
for name, M in [("raw", X), ("centred", centred), ("and scaled", scaled)]:
    kappa, of_gram = np.linalg.cond(M), np.linalg.cond(M.T @ M)
    print(f"{name:11} condition {kappa:6.1f}   of its Gram matrix {of_gram:9.1f}")
print(f"as the library reports it: {gs.closed_form(X, prices).condition:.1f}")

# %%
# Why a large condition slows gradient descent
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# Take centred columns. The gradient of :math:`\frac{1}{2n} \lVert X w - y \rVert^2` is :math:`\frac{1}{n} X^\top (X w
# - y) = \frac{1}{n} X^\top X (w - w^\ast)`; :doc:`/course/3_calculus` derives it. So a step of size :math:`\eta`
# against the gradient multiplies the error by a matrix,
#
# .. math:: w_{t+1} - w^\ast = \bigl(I - \tfrac{\eta}{n} X^\top X\bigr) (w_t - w^\ast) ,
#
# and along the j-th column of V by the number :math:`1 - \eta s_j^2 / n`. It must stay between -1 and 1 for every j,
# so the largest :math:`s_1` limits the step: :math:`\eta < 2n / s_1^2`. With :math:`\eta = n / s_1^2` the slowest
# direction keeps the share :math:`1 - s_d^2 / s_1^2 = 1 - 1/\kappa^2` of its error in each step.


def pair(correlation, n=200):
    """Draw two centred columns of length sqrt(n) with exactly this correlation."""
    columns = np.random.default_rng(0).standard_normal((n, 2))
    Q = np.linalg.qr(columns - columns.mean(axis=0)).Q * np.sqrt(n)
    other = correlation * Q[:, 0] + np.sqrt(1 - correlation**2) * Q[:, 1]
    return np.column_stack([Q[:, 0], other])


well, ill = pair(0.3), pair(0.96)
for name, M in [("well", well), ("ill ", ill)]:
    kappa = np.linalg.cond(M)
    print(f"{name} condition {kappa:.2f}, keeps a share {1 - 1 / kappa**2:.3f} a step")

# %%
# What R does
# ~~~~~~~~~~~
#
# A cure is to change coordinates. Let the columns be independent, and :math:`R` a triangular matrix with
# :math:`R^\top R = X^\top X`. The QR factorisation of X gives one, without forming the Gram matrix. There Q has the
# shape of X. Its columns have length 1 and stand at right angles, so :math:`Q^\top Q = I` and :math:`X^\top X =
# R^\top Q^\top Q R = R^\top R`. In the coordinates :math:`u = R w`,
#
# .. math::
#
#     \begin{aligned}
#     \lVert X w \rVert^2 &= w^\top X^\top X w = w^\top R^\top R w \\
#     &= \lVert R w \rVert^2 = \lVert u \rVert^2 .
#     \end{aligned}
#
# The ellipse :math:`\lVert X w \rVert = 1`, with the half axes :math:`1/s_j`, becomes the circle :math:`\lVert u
# \rVert = 1`, and the columns :math:`X R^{-1} = Q` have condition 1.

R = np.linalg.qr(ill).R
print(np.allclose(R.T @ R, ill.T @ ill))
print("condition in w:", np.linalg.cond(ill).round(4))
print("condition in u:", np.linalg.cond(ill @ np.linalg.inv(R)).round(4))

# %%
# The picture shows gradient descent towards the origin for all three, with the step :math:`\eta = n / s_1^2`. The
# ellipses are the vectors with the same norm of X w; columns are divided by :math:`\sqrt{n}` to draw them.

scale = np.sqrt(200)
cases = [
    (well / scale, "Well conditioned:\nfew steps reach the middle"),
    (ill / scale, "Ill conditioned: the long\nway takes many steps"),
    (ill @ np.linalg.inv(R), "In coordinates u = R w:\none step is enough"),
]
fig, axes = plt.subplots(1, 3)
for ax, (M, title) in zip(axes, cases, strict=True):
    path = [np.linalg.solve(np.linalg.qr(M).R, [np.cos(2.4), np.sin(2.4)])]
    for _ in range(12):
        path.append(path[-1] - M.T @ (M @ path[-1]) / norm(M, 2) ** 2)
    ax.plot(*np.linalg.solve(np.linalg.qr(M).R, circle), label="norm of X w is 1")
    ax.plot(*np.transpose(path), ".--", label="12 steps")
    ax.set(title=title, aspect="equal", xlabel="first coordinate")
axes[0].set_ylabel("second coordinate")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)

# %%
# The default fit takes its steps in these coordinates, which is why it needs no step size from you; see
# :doc:`/default`. An exact R takes operations in proportion to :math:`n d^2`. For a large table the library takes R
# from a **sketch** instead: a much smaller table in which each row is a sum of rows of X with random signs. Such an R
# is near enough. Here a sketch of 1,000 rows, in which each stone comes once (the library puts each into several
# rows), serves all the diamonds.

rng = np.random.default_rng(0)
signs = rng.choice([-1.0, 1.0], size=(len(scaled), 1))
sketch = np.zeros((1000, 6))
np.add.at(sketch, rng.integers(1000, size=len(scaled)), signs * scaled)
R = np.linalg.qr(sketch).R
print("rows:", len(scaled), "and in the sketch", len(sketch))
print("condition in w:", np.linalg.cond(scaled).round(2))
print("condition in u:", np.linalg.cond(scaled @ np.linalg.inv(R)).round(2))

# %%
# How a distance is known without the answer
# ------------------------------------------
#
# Let A be the table with its column of ones, :math:`\theta` the coefficients with the intercept below them, and
# :math:`r = A\theta - y` the residuals of some fit. The exact ones have :math:`A^\top (A\theta^\ast - y) = 0`, so
# :math:`A^\top r = A^\top A (\theta - \theta^\ast)`. With :math:`R^\top R = A^\top A`, and :math:`R^{-\top}` for the
# inverse of :math:`R^\top`,
#
# .. math::
#
#     \begin{aligned}
#     R^{-\top} A^\top r &= R (\theta - \theta^\ast) \\
#     U = \lVert R^{-\top} A^\top r \rVert &= \lVert A (\theta - \theta^\ast) \rVert .
#     \end{aligned}
#
# The left sides need no :math:`\theta^\ast`. Nor does :math:`\sigma`: the exact residuals stand at a right angle to
# :math:`A(\theta - \theta^\ast)`, so by Pythagoras their squared length is :math:`r^\top r - U^2`. Here is the
# distance of the rough fit, once more, from its residuals alone.

A = np.column_stack([table, np.ones(n)])
r = gs.textbook.linear(table, rough.coef, rough.intercept) - response
R = np.linalg.qr(A).R
U = norm(np.linalg.solve(R.T, A.T @ r))
estimate = np.sqrt((r @ r - U**2) / (n - d - 1))
print("from residuals", (U / estimate).round(6))
print("check.distance", round(rough.check.distance, 6))

# %%
# This is the core of the `gradstep.Certificate`. With the R of a sketch, U is enlarged by as much as the sketch may
# have lengthened a direction, and the distance becomes a bound. Where all rows were factored, as by
# ``solver="exact"``, the fit carries such an R. It need not be triangular: only :math:`R^\top R = A^\top A` was used.

factor = gs.fit(table, response, solver="exact").factor
print(factor.shape, np.allclose(factor.T @ factor, A.T @ A))

# %%
# The distance is one number for all questions at once. Ask for any linear combination :math:`a^\top \theta`, such as
# one coefficient or one prediction. Its **standard error**, the estimated standard deviation of the estimate if the
# noise were drawn anew, is :math:`\sigma \lVert R^{-\top} a \rVert`, and Cauchy and Schwarz say
#
# .. math::
#
#     \begin{aligned}
#     |a^\top (\theta - \theta^\ast)| &= |(R^{-\top} a)^\top R (\theta - \theta^\ast)| \\
#     &\le \lVert R^{-\top} a \rVert\, U \\
#     &= \text{standard error} \cdot \text{distance} .
#     \end{aligned}
#
# So no linear combination is further from the exact one than that many of its own standard errors. The standard
# errors of the coefficients, the first case, are those of the closed form.

errors = sigma * norm(np.linalg.solve(R.T, np.eye(d + 1)), axis=0)
off = np.abs(rough.coef - exact.coef) / errors[:d]
print("standard errors agree:", np.allclose(errors[:d], exact.standard_errors))
print("worst coefficient:", off.max().round(3), "of its own standard errors")
print("distance:         ", round(distance(rough), 3))

# %%
# From formula to call to library
# -------------------------------
#
# .. list-table::
#    :header-rows: 1
#
#    * - Formula
#      - NumPy
#      - In ``gradstep``
#    * - :math:`X^\top`
#      - ``X.T``
#      - the gradient, `~gradstep.textbook.gradient`
#    * - :math:`Xw + b`
#      - ``X @ w + b``
#      - the model, `~gradstep.textbook.linear`
#    * - :math:`A \odot B`
#      - ``A * B``
#      - weights of rows, ``sample_weight``
#    * - :math:`X^\top X = \sum_i x_i x_i^\top`
#      - ``X.T @ X``
#      - ``solver="exact"``, summed while rows are read
#    * - :math:`X - \mathbf{1}\bar{x}^\top`
#      - ``X - X.mean(axis=0)``
#      - the intercept, in `~gradstep.fit` and `~gradstep.closed_form`
#    * - :math:`\alpha \lVert w \rVert_1`
#      - ``alpha * norm(w, 1)``
#      - lasso, `~gradstep.l1`
#    * - :math:`\frac{\alpha}{2} \lVert w \rVert_2^2`
#      - ``alpha / 2 * norm(w) ** 2``
#      - ridge, `~gradstep.l2`
#    * - :math:`\lVert X(w - w^\ast) \rVert / \sigma`
#      - ``norm(X @ off) / sigma``
#      - `~gradstep.Check`, `~gradstep.Certificate`
#    * - :math:`\lVert Z - Y \rVert_F^2 / 2n`
#      - ``norm(Z - Y) ** 2 / (2 * n)``
#      - the squared loss of several outputs, with scores Z
#    * - rank
#      - ``np.linalg.matrix_rank(X)``
#      - rank and dependent columns in ``fit.certificate``
#    * - :math:`\kappa = s_1 / s_d`
#      - ``np.linalg.cond(X)``
#      - condition in ``fit.certificate``
#    * - :math:`R^\top R = X^\top X`
#      - ``np.linalg.qr(X).R``
#      - the coordinates of the default's steps, its bound, ``fit.factor``
#
# Exercises
# ---------
#
# 1. Work out the L1, L2 and max norm of w = (3, -4, 0, 0) by hand. Show that :math:`\lVert w \rVert_1 \le \sqrt{d}\,
#    \lVert w \rVert_2` for every w of d components. For which w are both sides equal?
# 2. Project y = (1, 2, 3, 6) onto the vector of ones. What is the projection, how long is the remainder, and how is
#    that length related to the standard deviation of y?
# 3. Two centred columns at a right angle have the same length. One is then given in millimetres in place of metres.
#    What is the condition number now? With the step :math:`\eta = n / s_1^2`, how many steps of gradient descent
#    divide the error in the slow direction by ten?
# 4. A table has a column x and a second column 10x, and the response is 6x. Infinitely many coefficients fit. Which
#    does `gradstep.fit` return, and which does ``np.linalg.lstsq``? Why are they different?
# 5. Find the linear combination :math:`a^\top \theta` for which the rough fit is worst: the one whose error is the
#    whole distance, in its own standard errors. When do Cauchy and Schwarz hold with equality?
#
# Answers
# -------
#
# **Exercise 1.** The sum of sizes is 7, the root of 9 + 16 is 5, the largest size is 4. The L1 norm is the dot
# product of the sizes with the vector of ones, whose length is :math:`\sqrt{d}`, so the inequality is that of Cauchy
# and Schwarz. It is an equality where the cosine is 1: where all components have the same size.

w = np.array([3.0, -4.0, 0.0, 0.0])
answer_1 = tuple(float(norm(w, order)) for order in (1, 2, np.inf))
same_size = np.array([2.0, -2.0, 2.0, 2.0])
print("for components of one size:", norm(same_size, 1), np.sqrt(4) * norm(same_size))
print(answer_1)

# %%
# **Exercise 2.** The projection is :math:`\frac{\mathbf{1}^\top y}{\mathbf{1}^\top \mathbf{1}} \mathbf{1} = \bar{y}
# \mathbf{1}`: the mean, in each place. The remainder is the centred vector. Its length is :math:`\sqrt{n}` times the
# standard deviation, the one that divides by n.

y = np.array([1.0, 2.0, 3.0, 6.0])
ones = np.ones(4)
projection = (ones @ y) / (ones @ ones) * ones
answer_2 = float(norm(y - projection))
print(projection, round(float(np.sqrt(4) * y.std()), 6))
round(answer_2, 6)

# %%
# **Exercise 3.** The numbers of one column, and with them its length, grow by a factor of 1000. The columns still
# stand at a right angle, so their lengths are the singular values and the condition is their ratio. The error in the
# slow direction keeps a share of :math:`1 - 1/\kappa^2` a step, and :math:`(1 - 1/\kappa^2)^t = 1/10` is solved for
# t. Standardised columns would need one step.

metres = pair(0.0)
kappa = np.linalg.cond(metres * [1.0, 1000.0])
steps = np.log(1 / 10) / np.log1p(-1 / kappa**2)
answer_3 = round(float(kappa), 6), int(np.ceil(steps))
print(answer_3)

# %%
# **Exercise 4.** All solutions have :math:`w_1 + 10 w_2 = 6`. In columns divided by their root-mean-square both
# columns are the same, so the least norm there gives each half of the effect: 3x from the first, and 3x = 0.3 times
# 10x from the second. ``np.linalg.lstsq`` makes :math:`w_1^2 + w_2^2` least in the units as they come, and prefers
# the column with the larger numbers. The library's split, half of the effect each, stays the same when a column is
# given in other units; that of ``lstsq`` does not.

x = np.random.default_rng(0).standard_normal(50)
both = np.column_stack([x, 10 * x])
answer_4 = gs.fit(both, 6 * x).coef
print("lstsq:", np.linalg.lstsq(both, 6 * x)[0].round(4))
print(answer_4.round(9))

# %%
# **Exercise 5.** Equality holds where both vectors point the same way: :math:`R^{-\top} a` along :math:`R(\theta -
# \theta^\ast)`, that is :math:`a = R^\top R (\theta - \theta^\ast) = A^\top r`. The worst combination is the gradient
# itself.

a = A.T @ r
theta_off = np.append(rough.coef - exact.coef, rough.intercept - exact.intercept)
standard_error = sigma * norm(np.linalg.solve(R.T, a))
answer_5 = float(abs(a @ theta_off) / standard_error)
round(answer_5, 6), round(rough.check.distance, 6)

# %%
# The next page, :doc:`/course/3_calculus`, derives the gradient that this page has used.
#
# Sources
# -------
#
# - A\. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge University Press 2023, section
#   2.3, for the order of the subject from scalars to norms.
# - L\. N. Trefethen and D. Bau, *Numerical Linear Algebra*, SIAM 1997, lectures 2 (orthogonal matrices), 3 (norms), 4
#   and 5 (singular values), 7 (QR factorisation) and 12 (condition).
# - G\. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition, Johns Hopkins 2013, sections 5.3 and 5.5, for
#   least squares of full and of short rank.
# - T\. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2nd edition, Springer 2009,
#   section 3.2 for standard errors and section 3.4 for ridge and lasso and the picture of their balls.
# - R\. Tibshirani, Regression shrinkage and selection via the lasso, *Journal of the Royal Statistical Society* B 58
#   (1996) 267-288, section 2.
# - N\. Parikh and S. Boyd, Proximal algorithms, *Foundations and Trends in Optimization* 1 (2014), section 6.5.2, for
#   the proximal step of the L1 norm.
# - V\. Rokhlin and M. Tygert, A fast randomized algorithm for overdetermined linear least-squares regression, *PNAS*
#   105 (2008) 13212-13217, for R from a sketch. K. L. Clarkson and D. P. Woodruff, Low-rank approximation and
#   regression in input sparsity time, *Journal of the ACM* 63 (2017), article 54, for sketches of random signs.
# - Hadley Wickham, *ggplot2: Elegant Graphics for Data Analysis*, Springer 2016, for the diamonds.

# %%
# Of a script, this shows the pictures.

plt.show()
