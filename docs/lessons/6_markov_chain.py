r"""
6. SGD is a Markov chain; the answer is a distribution
======================================================

With a constant step, minibatch SGD never comes to rest: the coefficients hover in a cloud about the least-squares
answer. This page derives the mean and the covariance of the cloud and measures them. Data leave a cloud too, of lines
that explain noisy rows well. Bayes' theorem says how probable each is. At one step size the two clouds agree. The
second half, from Bayes on, can be read by itself.

.. list-table:: Letters of this page
   :widths: 22 78

   * - :math:`x`, :math:`A`, :math:`p`
     - a row that ends in a 1, the table of n such rows, and their entries
   * - :math:`w`, :math:`\hat w`, :math:`e`
     - coefficients, the intercept last; the least-squares ones; :math:`w - \hat w`
   * - :math:`\eta`, :math:`b`
     - step size, rows of a batch
   * - :math:`H = \mathrm E[x x^\top]`
     - how the loss curves: the mean over rows of :math:`x x^\top`
   * - :math:`G = \mathrm E[r^2 x x^\top]`
     - the noise of a row's gradient at :math:`\hat w`, with :math:`r` the residual
   * - :math:`S`
     - the covariance of :math:`e`, which a step changes
   * - :math:`v`
     - variance of the noise in the responses

A step that needs no past
-------------------------

The example is the textbook's, with more noise.
"""

import matplotlib.pyplot as plt
import numpy as np
import gradstep as gs

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 500, noise=0.5)
A = np.column_stack([X, np.ones(len(X))])
n, p = A.shape
exact = gs.closed_form(X, y)
best = np.append(exact.coef, exact.intercept)
print("least squares:", best.round(3))

# %%
# Each step draws its batch :math:`B_t` anew, :math:`b` rows with replacement:
#
# .. math:: w_{t+1} = w_t - \frac{\eta}{b} \sum_{i \in B_t} x_i \, (x_i^\top w_t - y_i)
#
# On the right are :math:`w_t` and fresh chance, and nothing older. So the sequence is a **Markov chain**. Its state
# is a vector of real numbers, and no finite matrix holds its transitions. (`gradstep.fit` with a ``step`` reads each
# row once an epoch instead. There, the rows still to come belong to the state.) This code walks many chains at once.

rng = np.random.default_rng(0)


def walk(step, b, steps, chains=1):  # all coefficients of chains that start at zero
    met = [np.zeros((chains, p))]
    for rows in rng.integers(n, size=(steps, chains, b)):
        error = np.einsum("cbp,cp->cb", A[rows], met[-1]) - y[rows]
        met.append(met[-1] - step / b * np.einsum("cbp,cb->cp", A[rows], error))
    return np.array(met)


# %%
path = walk(0.05, 1, 700)[:, 0]
fig, ax = plt.subplots()
ax.plot(*path[:100, :2].T, "o-", ms=3, lw=0.8, label="steps 0 to 99")
ax.plot(*path[100:, :2].T, "x", ms=4, label="steps 100 to 700")
ax.plot(*best[:2], "k*", ms=10, label="least squares")
ax.set(title="The path runs into a cloud and stays", xlabel="$w_1$", ylabel="$w_2$")
ax.legend()

# %%
# Where it settles
# ----------------
#
# A **stationary law** is one that a step leaves as it is: if :math:`w_t` has it, so has :math:`w_{t+1}`. Let
# :math:`e = w - \hat w` be the distance from least squares and :math:`r_i = x_i^\top \hat w - y_i` the residuals
# there. A bar is the mean of a batch, :math:`\mathrm E` the mean over all that may be drawn.
#
# .. math:: e_{t+1} = (I - \eta \, \overline{x x^\top}) \, e_t - \eta \, \overline{x r}
#
# The batch is independent of :math:`e_t`, and the normal equations are :math:`\mathrm E[x r] = 0`. So with
# :math:`H = \mathrm E[x x^\top]` we have :math:`\mathrm E\, e_{t+1} = (I - \eta H)\, \mathrm E\, e_t`, which goes to
# zero for small steps. **The mean is the least-squares answer**, and the noise does not move it. (It does where
# slopes are not linear in :math:`w`.) Once the mean is gone, :math:`S = \mathrm E[e e^\top]` is the covariance. The
# line above times its transpose gives
#
# .. math::
#
#    \begin{aligned}
#    S_{t+1} &= S - \eta (H S + S H) \\
#       &\; + \eta^2 \Big( H S H + \frac{F(S) - H S H + G}{b} \Big)
#    \end{aligned}
#
# with :math:`G = \mathrm E[r^2 x x^\top]` and :math:`F(S) = \mathrm E[x x^\top S \, x x^\top]`, because of the pairs
# of draws in a batch one in :math:`b` is a draw with itself. All but :math:`G` is linear in :math:`S`. So
# `gradstep.textbook.SGDChain` solves :math:`p (p+1)/2` linear equations for what a step leaves as it is:

step, b = 0.3, 1
chain = gs.textbook.SGDChain(X, y, step, batch_size=b)
S, H, r = chain.covariance, A.T @ A / n, A @ chain.mean - y
G, F = (A.T * r**2) @ A / n, (A.T * np.sum(A @ S * A, axis=1)) @ A / n
HSH = H @ S @ H
after = S - step * (H @ S + S @ H) + step**2 * (HSH + (F - HSH + G) / b)
np.allclose(chain.mean, best), np.allclose(after, S)

# %%
# For small :math:`\eta` the terms :math:`\eta^2 S` are smaller still. Without them **Lyapunov's equation** is left,
# :math:`H S + S H = \eta G / b`. `~gradstep.textbook.SGDChain.simulate` walks and measures. Here are differences from
# the closed form, relative to it. In the picture each dot is where a chain of its own ends.


def ellipse(centre, C):  # the points two standard deviations away, in (w1, w2)
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.array([np.cos(angle), np.sin(angle)])
    return centre[:2, np.newaxis] + 2 * np.linalg.cholesky(C[:2, :2]) @ circle


fig, axes = plt.subplots(1, 2)
for ax, step, said in zip(axes, (0.02, 0.3), ("agree", "differ"), strict=True):
    chain = gs.textbook.SGDChain(X, y, step, batch_size=1)
    S, small = chain.covariance, chain.small_step_covariance
    mean, simulated = chain.simulate(10**7)
    off = np.max(np.abs(mean - best) / np.sqrt(np.diag(S)))
    print(f"step {step}, mean: {off:.4f} standard deviations of the cloud off")
    for name, C in (("simulated", simulated), ("small-step", small)):
        print(f"step {step}, {name}: {np.linalg.norm(C - S) / np.linalg.norm(S):.2%}")
    ax.plot(*walk(step, 1, 600, chains=600)[-1, :, :2].T, ".", color="0.6", ms=3)
    ax.plot(*ellipse(best, S), label="closed form")
    ax.plot(*ellipse(best, small), "--", label="small-step formula")
    ax.set(title=f"Step {step}: the ellipses {said}", xlabel="$w_1$", ylabel="$w_2$")
axes[1].legend(loc="upper right")

# %%
# On the right the larger ellipse is right, as the simulation says, though most dots lie far inside it. A large step
# makes rare jumps far out, and a covariance counts their squares. The law is no longer Gaussian.
#
# How large a step
# ----------------
#
# The linear part is an operator on matrices, ``chain.operator``. Where its **spectral radius** :math:`\rho`, the
# largest size of an eigenvalue, is below 1, covariances settle, and a step leaves about :math:`\rho` of their
# distance from the end. The **mixing time** :math:`-1/\log\rho` is how many steps take off a factor of :math:`e`. The
# mean asks for less: :math:`|1 - \eta \lambda| < 1` for the eigenvalues :math:`\lambda` of :math:`H`.

sizes = np.linspace(0.02, 2.2, 50)
fig, ax = plt.subplots()
for b, style in ((1, "-"), (4, "--"), (16, "-.")):
    radii = [gs.textbook.SGDChain(X, y, step, b).spectral_radius for step in sizes]
    ax.plot(sizes, radii, style, label=f"covariance, b = {b}")
of_mean = np.abs(1 - np.outer(sizes, np.linalg.eigvalsh(H))).max(axis=1)
ax.plot(sizes, of_mean**2, ":", label=r"mean: $(1 - \eta \lambda)^2$")
ax.axhline(1, color="0.6", lw=0.8)
ax.set(title="The smaller the batch, the sooner the covariance grows (factor above 1)")
ax.set(xlabel=r"step $\eta$", ylabel="factor a step, of squares", ylim=(0, 1.6))
ax.legend()

# %%
# With a step of 0.6 and single rows the mean settles and the covariance grows. The library says so. Batches of four
# are stable there: in :math:`(F(S) - H S H) / b`, the part of the operator that single rows add, they divide by four.
# :math:`G` has no part in this. Larger batches bear larger steps, up to the limit of the mean.

for b in (4, 1):
    chain = gs.textbook.SGDChain(X, y, step=0.6, batch_size=b)
    print(f"b = {b}: rho {chain.spectral_radius:.2f}, mixing {chain.mixing_time:.1f}")
try:
    chain.covariance
except ValueError as problem:
    print(problem)

# %%
# Fast or quiet
# -------------
#
# A larger step forgets its start sooner and ends in a wider cloud. Measure distance in standard errors, as in
# :doc:`/course/5_linear_regression`. From :math:`d_0`, its mean square falls by about :math:`\rho` a step to a level:
#
# .. math:: \mathrm E \lVert A e_t \rVert^2 / \sigma^2 \approx \rho^t d_0^2 + n \operatorname{tr}(H S) / \sigma^2

unit = n * H / exact.residual_sd**2  # the squared distance of e is e' unit e
t, start = np.arange(0, 401, 10), best @ unit @ best
fig, ax = plt.subplots()
for step, mark in ((0.02, "o-"), (0.1, "s--"), (0.5, "^-.")):
    chain = gs.textbook.SGDChain(X, y, step, batch_size=10)
    squares = chain.spectral_radius**t * start + np.trace(unit @ chain.covariance)
    away = (walk(step, 10, 400, chains=100)[t] - best) @ A.T / exact.residual_sd
    ax.semilogy(t, np.sqrt(squares), mark[1:], color="0.5", lw=1)
    rms = np.sqrt(np.mean(np.sum(away**2, axis=2), axis=1))
    ax.semilogy(t, rms, mark[0], ms=4, label=step)
ax.set(title="The larger the step, the sooner it arrives and the farther off it stays")
ax.set(xlabel="steps of ten rows", ylabel="distance (standard errors)")
ax.legend(title="step (lines: formula)")

# %%
# Averaging
# ---------
#
# The mean of :math:`T` steps does better than the last. In the stationary law, :math:`e_{t+k}` is
# :math:`(I - \eta H)^k e_t` and new noise. So covariances add up to its :math:`V_T`,
# `~gradstep.textbook.SGDChain.covariance_of_average`:
#
# .. math::
#
#    \begin{aligned}
#    T^2 V_T &= T S + \sum_{k=1}^{T-1} (T - k)\, C_k \\
#    C_k &= (I - \eta H)^k S + S (I - \eta H)^k \\
#    T \, V_T &\to H^{-1} \, \frac{G + F(S) - H S H}{b} \, H^{-1}
#    \end{aligned}
#
# The limit takes :math:`\sum_{k \ge 1} (I - \eta H)^k = (\eta H)^{-1} - I` and the fixed point. As :math:`S` shrinks
# with the step, small steps of any size leave :math:`H^{-1} G H^{-1} / (b T)`.

T = np.unique(np.geomspace(1, 1e5, 60).astype(int))
fig, ax = plt.subplots()
for step, style in ((0.02, "-"), (0.1, "--")):
    chain = gs.textbook.SGDChain(X, y, step, batch_size=10)
    averages = [np.trace(unit @ chain.covariance_of_average(steps)) for steps in T]
    (line,) = ax.loglog(T, np.sqrt(averages), style, label=f"average, step {step}")
    ax.axhline(np.sqrt(averages[0]), ls=style, lw=0.7, color=line.get_color())
limit = unit @ np.linalg.solve(H, np.linalg.solve(H, G).T) / 10
ax.loglog(T, np.sqrt(np.trace(limit) / T), "k:", label="small-step limit")
ax.set(title="The last step stays noisy, averages of both step sizes end on one line")
ax.set(xlabel="steps T of ten rows", ylabel="distance (standard errors)")
ax.legend(title="level lines: the last step")
means = np.array([chain.simulate(100, seed=seed)[0] for seed in range(2000)])
ratio = np.trace(np.cov(means.T)) / np.trace(chain.covariance_of_average(100))
print(f"step 0.1, 100 steps, simulated over closed form: {ratio:.2f}")

# %%
# The line falls as :math:`1/\sqrt{T}`: one digit costs a hundred times the steps. `gradstep.fit` without a ``step``
# averages too, and removes the noise at its source. **Variance reduction** subtracts what the same rows say at a
# point where the gradient of all rows is known. There the noise vanishes. :doc:`/default` tells how.
#
# Bayes for the line
# ------------------
#
# Now the other cloud. The **prior** says how probable coefficients and noise variance :math:`v` are before the data.
# The **likelihood** is the density of the responses. `gradstep.textbook.NormalInverseGamma` is a prior of this kind:
#
# .. math::
#
#    \begin{aligned}
#    w \mid v &\sim \mathcal N(m_0, \, v P_0^{-1}) \\
#    v &\sim \text{inverse gamma}(a_0, s_0) \\
#    y \mid w, v &\sim \mathcal N(A w, \, v I)
#    \end{aligned}
#
# Inverse gamma :math:`(a, s)` has a density proportional to :math:`v^{-a-1} e^{-s/v}`. The product of the densities,
# scaled to integrate to one, is the **posterior**. Its exponent is quadratic in :math:`w`. Completing the square
# leaves the same kind of law, `~gradstep.textbook.NormalInverseGamma.update`, where :math:`\lVert c \rVert_{P_0}^2`
# is :math:`c^\top P_0 c`:
#
# .. math::
#
#    \begin{aligned}
#    P &= P_0 + A^\top A, \quad a = a_0 + n/2 \\
#    m &= P^{-1} (P_0 m_0 + A^\top y) \\
#    s &= s_0 + \tfrac12 \lVert y - A m \rVert^2 + \tfrac12 \lVert m - m_0 \rVert_{P_0}^2
#    \end{aligned}

NormalInverseGamma = gs.textbook.NormalInverseGamma
m0, P0, a0, s0 = np.zeros(p), 0.1 * np.eye(p), 1.0, 0.5
prior = NormalInverseGamma(m0, P0, shape=a0, scale=s0)
posterior = prior.update(X, y)
P, a = P0 + A.T @ A, a0 + n / 2
m = np.linalg.solve(P, P0 @ m0 + A.T @ y)
s = s0 + np.sum((y - A @ m) ** 2) / 2 + (m - m0) @ P0 @ (m - m0) / 2
np.allclose(posterior.mean, m), posterior.shape == a, np.allclose(posterior.scale, s)

# %%
# Rows enter through :math:`A^\top A`, :math:`A^\top y`, :math:`y^\top y` and :math:`n` alone. Fits of small tables,
# or by ``solver="exact"``, hold these: no row is read again. The posterior of a block is the prior of the next.

from_fit = prior.update_from(gs.fit(X, y))
in_blocks = prior.update(X[:100], y[:100]).update(X[100:], y[100:])
for other in (from_fit, in_blocks):
    print(np.allclose(other.precision, P), np.allclose(other.mean, m), end=" ")
    print(other.shape == a, np.allclose(other.scale, s))

# %%
# .. list-table::
#    :header-rows: 1
#
#    * - Posterior law
#      - Code
#    * - :math:`w` for known :math:`v`: normal, mean :math:`m`, covariance :math:`v P^{-1}`
#      - `~gradstep.textbook.NormalInverseGamma.weights_given`
#    * - :math:`w`: Student's t, :math:`2a` degrees of freedom, about :math:`m`, squared scale :math:`\frac sa P^{-1}`
#      - `~gradstep.textbook.NormalInverseGamma.weights`
#    * - :math:`c^\top w`, a **contrast**: the same t in one dimension, squared scale :math:`\frac sa c^\top P^{-1} c`
#      - `~gradstep.textbook.NormalInverseGamma.contrast`
#    * - :math:`v`: inverse gamma :math:`(a, s)`
#      - `~gradstep.textbook.NormalInverseGamma.variance`
#    * - a new response at :math:`x`: t with :math:`2a` degrees of freedom about :math:`x^\top m`, squared scale
#        :math:`\frac sa (1 + x^\top P^{-1} x)`
#      - `~gradstep.textbook.NormalInverseGamma.predictive`

print("noise, 95 %:      ", np.sqrt(posterior.variance().interval(0.95)).round(3))
print("w1 + w2, 95 %:    ", np.round(posterior.contrast([1, 1, 0]).interval(0.95), 3))
print("P(w1 > 2 | data): ", round(posterior.contrast([1, 0, 0]).sf(2.0), 3))
grid = np.linspace(0, 4, 200)
fig, ax = plt.subplots()
for rows, style in ((0, ":"), (4, "-."), (16, "--"), (64, "-")):
    known = prior.update(X[:rows], y[:rows]) if rows else prior
    ax.plot(grid, known.contrast([1, 0, 0]).pdf(grid), style, label=f"{rows} rows")
ax.axvline(2.0, color="0.6", lw=0.8, label="true value")
ax.set(title="Rows narrow the law of a coefficient", xlabel="$w_1$", ylabel="density")
ax.legend()

# %%
# The **flat prior** :math:`p(w, v) \propto 1/v` prefers no :math:`w` and no :math:`\log v`. It is no density, since
# its integral is infinite; the posterior of more rows than coefficients is one. With it :math:`m = \hat w`,
# :math:`2a = n - p`, and :math:`s/a` is the squared residual standard deviation. The **credible interval** is then
# the classical **confidence interval**. The sentences differ. Credible: given these data, the coefficient is inside
# with probability 0.95. Confidence: of the intervals of many data sets, 95 % hold the true value.

from scipy import optimize, special, stats

flat = NormalInverseGamma.flat(p).update(X, y)
credible = np.array([flat.contrast(c).interval(0.95) for c in np.eye(p)])
errors = np.append(exact.standard_errors, exact.intercept_standard_error)
classical = best[:, None] + np.outer(errors, stats.t(n - p).ppf([0.025, 0.975]))
print(credible.round(3).tolist(), np.allclose(credible, classical))

# %%
# The **posterior predictive** law of a new response averages over all lines and variances, as probable as they are.
# Take eight points. The band of the mean :math:`x^\top w` widens away from them. That of responses adds the noise.

u = rng.uniform(-1, 1, 8)
seen = 1 + 2 * u + 0.5 * rng.standard_normal(8)
line = NormalInverseGamma(np.zeros(2), 0.1 * np.eye(2), a0, s0).update(u[:, None], seen)
at = np.linspace(-2, 2, 60)
inner = line.contrast(np.column_stack([at, np.ones(60)])).interval(0.9)
fig, ax = plt.subplots()
outer = line.predictive(at[:, None]).interval(0.9)
ax.fill_between(at, *outer, color="0.9", label="responses, 90 %")
ax.fill_between(at, *inner, color="C0", alpha=0.3, label="mean, 90 %")
ax.plot(at, 1 + 2 * at, "k:", label="true line")
ax.plot(u, seen, "o", color="C1", label="data")
ax.set(title="Away from the points the bands widen", xlabel="x", ylabel="y")
ax.legend()

# %%
# Evidence, and ridge
# -------------------
#
# The density that a model gave to the responses before they came is its **evidence**, the constant of Bayes' theorem:
#
# .. math::
#
#    \begin{aligned}
#    \log p(y) &= \log \frac{\Gamma(a)}{\Gamma(a_0)} + a_0 \log s_0 - a \log s \\
#      &\quad + \tfrac12 \log \frac{|P_0|}{|P|} - \tfrac n2 \log 2\pi
#    \end{aligned}

gammas = special.gammaln(a) - special.gammaln(a0) + a0 * np.log(s0) - a * np.log(s)
roots = (np.linalg.slogdet(P0)[1] - np.linalg.slogdet(P)[1]) / 2
by_formula = gammas + roots - n / 2 * np.log(2 * np.pi)
print(f"{posterior.log_evidence:.6f} {by_formula:.6f}")

# %%
# One more column never makes the objective larger. But :math:`|P| / |P_0|` grows: a model that could have produced
# many other data gave less density to these. Here are polynomials for a hundred points of a cubic.

u = np.linspace(-1, 1, 100)
cubic = 1 - 2 * u + 3 * u**3 + 0.5 * rng.standard_normal(100)
for k in range(1, 7):
    powers = u[:, None] ** np.arange(1, k + 1)
    few = NormalInverseGamma(np.zeros(k + 1), 0.1 * np.eye(k + 1), a0, s0)
    squares = gs.closed_form(powers, cubic).objective
    evidence = few.update(powers, cubic).log_evidence
    print(f"degree {k}: loss {squares:.4f}, log p {evidence:.1f}")

# %%
# The evidence is largest for the true degree: **Occam's razor**, which nobody put in. (A flat prior has none, because
# its density does not integrate to one.) A penalty is a prior too. With :math:`m_0 = 0` and :math:`P_0 = \alpha n I`
# the posterior is largest, at any :math:`v`, where
# :math:`\frac12 \lVert y - X w \rVert^2 + \frac{\alpha n}{2} \lVert w \rVert^2` is least. That is :math:`n` times the
# objective of `gradstep.l2`. Ridge leaves the intercept out of the penalty. So columns and responses are centred
# here, and there is no intercept.

Xc, yc, alpha = X - X.mean(axis=0), y - y.mean(), 0.1
ridge = gs.fit(Xc, yc, penalty=gs.l2(alpha), intercept=False)
towards_zero = NormalInverseGamma(np.zeros(2), alpha * n * np.eye(2), a0, s0)
ridge.coef.round(8), towards_zero.update(Xc, yc, intercept=False).mean.round(8)

# %%
# The step that samples the posterior
# -----------------------------------
#
# Can the cloud of SGD be the posterior? **Whiten** the columns: with :math:`A = Q R`, rows :math:`z` of
# :math:`Z = \sqrt n \, Q` and coefficients :math:`u = R w / \sqrt n`, we have :math:`H = I` and :math:`Z u = A w`.
# Let rows be Gaussian, and noise independent of them, of variance :math:`v`. Then :math:`G = v I`, and as is known of
# Gaussian rows :math:`F(S) = 2 S + \operatorname{tr}(S) I`. Try :math:`S = c I`:
#
# .. math::
#
#    \begin{aligned}
#    2 \eta c &= \eta^2 \Big( c + \frac{(p + 2) c - c}{b} + \frac vb \Big) \\
#    c &= \frac{\eta \, v}{2 b - \eta (b + p + 1)} \\
#    c = \frac vn &\iff \eta = \frac{2 b}{n + b + p + 1}
#    \end{aligned}
#
# The last line asks for the posterior under the flat prior, :math:`v (Z^\top Z)^{-1} = (v/n) I`. Its step is
# `gradstep.textbook.sampling_step`. The mean squared residual stands for :math:`v`, and variances are compared
# in all directions.

for rows in (50_000, n):
    table, t = gs.textbook.make_linear([2.0, -3.4], 4.2, rows, noise=0.5)
    table = table @ [[1.0, 0.8], [0.0, 0.6]]  # columns that depend on each other
    Q, R = np.linalg.qr(np.column_stack([table, np.ones(rows)]))
    step = gs.textbook.sampling_step(rows, p, 10)
    sampler = gs.textbook.SGDChain(np.sqrt(rows) * Q, t, step, 10, intercept=False)
    back = np.sqrt(rows) * np.linalg.inv(R)  # w = back u
    cloud = back @ sampler.covariance @ back.T
    known = NormalInverseGamma.flat(p).update(table, t)
    target = known.weights_given(2 * gs.closed_form(table, t).objective).cov
    ratio = np.linalg.eigvals(np.linalg.solve(target, cloud)).real
    print(f"{rows} rows: mixing in {10 * sampler.mixing_time / rows:.3f} passes")
    print(f"    over the posterior's: {ratio.min():.3f} to {ratio.max():.3f}")

# %%
# The last of them, the short table, in the picture:

fig, ax = plt.subplots()
ax.plot(*ellipse(known.mean, target), lw=4, alpha=0.4, label="posterior")
ax.plot(*ellipse(known.mean, cloud), "--", label="SGD, whitened")
raw = gs.textbook.SGDChain(table, t, step, batch_size=10)
ax.plot(*ellipse(known.mean, raw.covariance), ":", label="SGD, raw columns")
ax.set(title="Whitened, SGD has nearly the posterior's cloud; raw, a round one")
ax.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %%
# This needs the squared loss, whitened columns, and noise that is Gaussian, for the posterior, and of one variance:
# else :math:`G` is no multiple of :math:`H`, and no step size mends that. It is exact for a population of Gaussian
# rows. In a table of few rows :math:`G` differs from :math:`v I`, as the ratios show. Other rows, such as ours with
# their ones, change :math:`F`, which matters little while the step is small. What agrees is mean and covariance, for
# a known :math:`v`; an unknown one gives wider tails. And successive steps are no independent draws. On raw columns
# :math:`G = v H` for such noise, so Lyapunov's equation has the solution :math:`S = \eta v I / (2b)`: round, whatever
# the posterior.
#
# Exercises
# ---------
#
# 1. On a column of ones, without intercept, SGD finds a mean. With which stationary variance, and for which steps?
# 2. At which step does the covariance of the example become unstable, for single rows?
# 3. Show that the mean of ``posterior`` is the least-squares answer of a longer table. Which rows are added?
# 4. Predict each response from the rows before it. What do the log densities of these predictions add up to?
#
# Answers
# -------
#
# **Exercise 1.** :math:`S = (1 - \eta)^2 S + \eta^2 v / b` so :math:`S = \eta v / (2b - b\eta)` for :math:`\eta < 2`.

ones = gs.textbook.SGDChain(np.ones((n, 1)), y, 0.5, batch_size=4, intercept=False)
answer_1 = ones.covariance.item()
print(f"{answer_1:.6f} {0.5 * y.var() / (4 * (2 - 0.5)):.6f}")

# %%
# **Exercise 2.** The picture shows that the radius crosses 1 once, between 0.2 and 1.

SGDChain, solve = gs.textbook.SGDChain, optimize.brentq
answer_2 = solve(lambda step: SGDChain(X, y, step).spectral_radius - 1, 0.2, 1)
print(f"{answer_2:.6f}")

# %%
# **Exercise 3.** Rows :math:`K` with :math:`K^\top K = P_0`, and responses :math:`K m_0`, do what the prior does.

K = np.linalg.cholesky(P0).T
longer = np.vstack([A, K]), np.append(y, K @ m0)
answer_3 = gs.closed_form(*longer, intercept=False).coef
print(answer_3.round(8), posterior.mean.round(8))

# %%
# **Exercise 4.** :math:`p(y) = \prod_i p(y_i \mid y_1, \dots, y_{i-1})`, so they add up to the log evidence.

answer_4, known = 0.0, prior
for row, response in zip(X, y, strict=True):
    answer_4 += known.predictive([row]).logpdf(response).item()
    known = known.update([row], [response])
print(f"{answer_4:.6f} {posterior.log_evidence:.6f}")

# %%
# Where the course ends
# ---------------------
#
# You have come from a first array to a fit with a proof, the law of its steps, and that of the answer.
# :doc:`/default` shows what ``gs.fit`` proves, :doc:`/formulas/losses` goes past squares, :doc:`/api` has all calls.
#
# Sources
# -------
#
# - A\. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge 2023, sections 2.6 and 3.1.
# - A\. Dieuleveut, A. Durmus and F. Bach, Bridging the gap between constant step size stochastic gradient descent and
#   Markov chains, *Annals of Statistics* 48 (2020) 1348-1382: the chain, its law, the moved mean of other losses.
# - S\. Mandt, M. D. Hoffman and D. M. Blei, Stochastic gradient descent as approximate Bayesian inference, *Journal of
#   Machine Learning Research* 18 (2017) 134, section 4: sampling by small steps.
# - A\. Gelman, J. B. Carlin, H. S. Stern, D. B. Dunson, A. Vehtari and D. B. Rubin, *Bayesian Data Analysis*, 3rd
#   edition, CRC 2013, chapter 14: the posterior of a line, the flat prior.
# - B\. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, *SIAM Journal on Control
#   and Optimization* 30 (1992) 838-855: averages.
# - D\. J. C. MacKay, *Information Theory, Inference, and Learning Algorithms*, Cambridge 2003, chapter 28: evidence
#   and Occam's razor.
# - T\. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2nd edition, Springer 2009,
#   section 3.4.1: ridge as the mode of a posterior.
# - L\. Wasserman, *All of Statistics*, Springer 2004, chapter 6: confidence intervals.
# - L\. Isserlis, On a formula for the product-moment coefficient of any order of a normal frequency distribution in
#   any number of variables, *Biometrika* 12 (1918) 134-139: :math:`F` of Gaussian rows.

# %%
# Of a script, this shows the pictures.

plt.show()
