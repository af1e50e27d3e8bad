r"""
1. Tensors are arrays
=====================

A **tensor**, in the sense of PyTorch and of deep learning, is a rectangular block of numbers of one type: a list of
them has one axis, a table two, a stack of tables three. NumPy calls the same thing an **array**, ``numpy.ndarray``.
This library takes arrays and gives arrays. This page makes arrays, computes with them, and shows which operations
copy numbers and which only look at them anew. `From PyTorch to NumPy`_ is for those who come from PyTorch.

A few letters return on all pages. A table :math:`X \in \mathbb{R}^{n \times d}` has :math:`n` rows and :math:`d`
columns, and :math:`x_{ij}` is the number in row :math:`i` and column :math:`j`,

.. math::

    X = \begin{pmatrix}
        x_{00} & \cdots & x_{0,d-1} \\
        \vdots & & \vdots \\
        x_{n-1,0} & \cdots & x_{n-1,d-1}
    \end{pmatrix} .

Rows and columns count from 0 here, as they do in the code.
"""

# %%
# Making arrays
# -------------
#
# From a list of lists, a row each. ``np.array`` looks at the numbers and picks their type.

import numpy as np

table = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
table

# %%
# From what is an array already, there are two ways. ``np.array`` copies. ``np.asarray`` hands back the same array
# where it can. ``np.shares_memory`` tells whether two arrays have a number in common.

copied = np.array(table)
same = np.asarray(table)
table[0, 0] = 100.0
print("the copy:", copied[0, 0], " the other name:", same[0, 0])
print(np.shares_memory(table, copied), np.shares_memory(table, same))

# %%
# A **view** is a third case: a new array that looks at numbers of another one. Slices are views. A change through one
# is seen through the other, and ``base`` names the array that owns the numbers.

first_row = table[0]
first_row[0] = 1.0
print(table[0, 0], first_row is table, first_row.base is table)

# %%
# From a shape, filled by a rule. ``arange`` counts in steps and stops before its end. ``linspace`` takes the number
# of points and includes both ends. ``eye`` is the identity matrix, 1 where :math:`i = j` and 0 elsewhere.

print(np.zeros((2, 3)), np.ones(3), np.full(3, 7.0), sep="\n")
print(np.arange(12), np.arange(0.0, 1.0, 0.25), sep="\n")
print(np.linspace(0.0, 1.0, 5))
print(np.eye(3))

# %%
# Like another array: of its shape and type. ``empty_like`` reserves the memory and writes nothing, so it holds
# whatever was there before. Use it only for what you fill.

print(np.ones_like(table), np.zeros_like(table), sep="\n")
room = np.empty_like(table)
room[:] = 0.5
room

# %%
# Random arrays
# -------------
#
# Random numbers come from a **generator**: an object that holds a state, gives the next numbers and moves on. Its
# **seed** is where the state begins. The same seed gives the same numbers.

rng = np.random.default_rng(0)
print("random         ", rng.random(3).round(3))
print("uniform        ", rng.uniform(-1.0, 1.0, size=3).round(3))
print("standard_normal", rng.standard_normal(3).round(3))
print("normal         ", rng.normal(170.0, 7.0, size=3).round(1))
print("permutation    ", rng.permutation(6))

# %%
# ``random`` is uniform: at least 0 and below 1, each number as likely as any other; ``uniform`` the same between two
# bounds. ``standard_normal`` follows the bell curve of mean 0 and standard deviation 1, and ``normal`` takes both.
# ``permutation(6)`` puts the numbers 0 to 5 in random order. A shape makes tables, here that of another array, and
# ``dtype`` says of which type.

noise = rng.random(table.shape, dtype=np.float32)
noise.shape, noise.dtype

# %%
# **Why a generator and not a global seed.** ``np.random.seed`` sets one hidden state that all code of a process
# shares. A draw anywhere, in a library too, then changes every draw after it. A generator belongs to whoever holds
# it, and what others draw does not disturb it.
#
# `gradstep.fit` and `gradstep.textbook.make_linear` do the same. They take a ``seed``, make a generator of it, and
# leave the global state alone. Where several streams are needed, ``rng.spawn(k)`` makes ``k`` generators out of one.
# A new release of NumPy may change the numbers that a seed gives, so a study records the release beside the seed.
#
# What an array knows
# -------------------
#
# ``shape`` counts along each **axis**, first the rows. ``ndim`` is the number of axes, ``size`` the number of
# numbers, ``dtype`` their type, ``itemsize`` the bytes of one and ``nbytes`` of all. `gradstep.device_of` answers
# where the numbers lie: ``"cpu"`` is the memory of the computer, ``"cuda"`` that of an NVIDIA GPU (see `Devices`_).

import gradstep as gs

x = np.arange(12.0).reshape(3, 4)
print("shape", x.shape, " ndim", x.ndim, " size", x.size)
print("dtype", x.dtype, " itemsize", x.itemsize, " nbytes", x.nbytes)
print("device", gs.device_of(x))

# %%
# The numbers lie in memory in one line. ``strides`` says how many bytes to go for the next row and for the next
# column,
#
# .. math::
#
#     \operatorname{address}(x_{ij}) = \operatorname{address}(x_{00}) + i\,s_0 + j\,s_1 .
#
# A row is contiguous here: this is **C order**, what NumPy makes unless told otherwise, and the order in which
# `gradstep.fit` reads a table without a copy of it.

s0, s1 = x.strides
print("strides", x.strides, " C order:", x.flags.c_contiguous)
numbers = (2 * s0 + 1 * s1) // x.itemsize
print("x[2, 1] lies", numbers, "numbers after x[0, 0]")

# %%
# Types of numbers
# ~~~~~~~~~~~~~~~~
#
# Lists of whole numbers become ``int64`` and those with a point ``float64``, in NumPy on the usual 64-bit machines.
# PyTorch makes ``float32`` of the latter. ``astype`` converts, and copies. Whole numbers made of fractions lose what
# is behind the point.

for values in ([1, 2], [1.0, 2.0], [True, False]):
    print(values, "becomes", np.array(values).dtype)
print(np.array([1.7, -1.7]).astype(np.int64))
half = np.ones(2, dtype=np.float32)
print(half.dtype, (half * 2.0).dtype, (half + np.ones(2)).dtype)

# %%
# The last line shows a rule. A Python float takes the type of an array of floats; with an array of whole numbers it
# makes ``float64``. Of two arrays of floats the wider type wins.
#
# A floating-point number is a significand times a power of two. The significand of ``float64`` has 53 bits, that of
# ``float32`` 24. So numbers have gaps between them. The gap after 1 is **eps**:
#
# .. math::
#
#     \varepsilon_{64} = 2^{-52}, \qquad \varepsilon_{32} = 2^{-23} .
#
# The exponent has ends as well. Above the largest number comes ``inf``, and below the smallest normal one digits
# are lost.

for dtype in (np.float64, np.float32):
    info = np.finfo(dtype)
    print(f"{info.dtype}  eps {info.eps:.2e}", end="  ")
    print(f"from {info.smallest_normal:.1e} to {info.max:.1e}")
print(np.finfo(np.float64).eps == 2.0**-52)
print(np.finfo(np.float32).eps == 2.0**-23)

# %%
# The gap grows with the number. ``np.spacing`` gives it. Where it is more than 2, adding 1 does nothing.

import matplotlib.pyplot as plt

sizes = 10.0 ** np.arange(-8, 17)
lines = {"float32": "o--", "float64": "s-"}
fig, ax = plt.subplots()
for name, line in lines.items():
    gaps = np.spacing(sizes.astype(name))
    ax.loglog(sizes, gaps, line, markersize=4, label=name)
ax.axhline(1.0, color="0.5", linestyle=":", label="a gap of 1")
ax.set_title("The gap to the next number grows with it, and is wider in float32")
ax.set_xlabel("number")
ax.set_ylabel("gap to the next number")
ax.legend()
for name in lines:
    big = np.array([1e8], dtype=name)
    print(name, "1e8 + 1 equals 1e8:", big + 1.0 == big)

# %%
# ``float32`` takes half the memory, which counts on a GPU. `gradstep.fit` reads both, and sums in ``float64``.
#
# Whole numbers have no gaps, and an end. Beyond it the arrays wrap around and say nothing.

largest = np.array([np.iinfo(np.int64).max])
print(largest, "+ 1 =", largest + 1)

# %%
# Element by element
# ------------------
#
# Between two arrays of one shape ``+ - * / **`` work on each pair of numbers, and functions such as ``np.exp`` on
# each number: :math:`(x * y)_{ij} = x_{ij}\, y_{ij}` and :math:`\exp(x)_{ij} = e^{x_{ij}}`. The product of matrices
# is another thing, ``@``; :doc:`/course/2_linear_algebra` has it.

x = np.array([1.0, 2.0, 4.0, 8.0])
y = np.full(4, 2.0)
print(x + y, x - y, x * y, x / y, x**y, sep="\n")
print(np.exp(np.array([0.0, 1.0, 2.0])).round(3))

# %%
# A comparison gives an array of True and False, a **mask**. Masks combine with ``&`` (and), ``|`` (or), ``~`` (not),
# each comparison in parentheses. True counts as 1, so a sum counts and a mean is a share. ``np.where(mask, x, 0.0)``
# takes x where the mask is True and 0 elsewhere.

mask = (x > 1.0) & (x < 8.0)
print(mask, ~mask, mask.sum(), mask.mean())
print(np.where(mask, x, 0.0))

# %%
# Reductions
# ~~~~~~~~~~
#
# A **reduction** makes one number out of many: ``sum``, ``mean``, ``max``, ``argmax`` (where the largest is). With an
# ``axis`` it runs along that axis, and the axis goes:
#
# .. math::
#
#     \begin{aligned}
#     \text{axis 0:} \quad s_j &= \sum_i x_{ij}, \\
#     \text{axis 1:} \quad t_i &= \sum_j x_{ij} .
#     \end{aligned}
#
# Axis 0 runs down the rows and leaves a number a column. ``keepdims=True`` leaves an axis of length 1 in its place.
# ``item`` makes a Python number of an array that holds one number.

x = np.arange(12.0).reshape(3, 4)
print("all   ", x.sum(), " by item:", type(x.sum().item()))
print("axis 0", x.sum(axis=0), x.sum(axis=0).shape)
print("axis 1", x.sum(axis=1), x.sum(axis=1).shape)
print("kept  ", x.sum(axis=1, keepdims=True).shape)
print("where the largest of each row is", x.argmax(axis=1))

# %%
# Picking parts
# -------------
#
# One index an axis picks a number; negative ones count from the end. ``start:stop`` is a **slice**, from ``start`` to
# before ``stop``, and ``:`` alone is all. An axis that is left out is taken whole.

x = np.arange(20).reshape(4, 5)
print(x, x[1, 2], x[-1], x[:, 0], sep="\n\n")
print(x[1:3, 1:3], x[::2, ::-1], sep="\n\n")

# %%
# Lists of indices and masks pick too. A list may repeat and reorder. Two lists pick pairs: here (0, 4) and (2, 1).
# A mask gives the numbers where it is True, in one axis.

print(x[[2, 0, 2]], x[[0, 2], [4, 1]], x[x % 7 == 0], sep="\n\n")

# %%
# A picture of six of these. The cells that are picked are dark, with their numbers in bold. ``np.s_[...]`` keeps an
# index to use later.


def cells(ax, numbers, picked, title):
    """Draw a table as cells, those picked dark."""
    ax.pcolormesh(picked, cmap="Blues", vmin=0, vmax=1.3, edgecolors="0.8")
    for (i, j), number in np.ndenumerate(numbers):
        look = {"color": "0.35"}
        if picked[i, j]:
            look = {"color": "white", "weight": "bold"}
        where = {"ha": "center", "va": "center"}
        ax.text(j + 0.5, i + 0.5, f"{number:g}", **where, **look)
    n, d = numbers.shape
    ax.set_xticks(np.arange(d) + 0.5, range(d))
    ax.set_yticks(np.arange(n) + 0.5, range(n))
    ax.tick_params(length=0)
    ax.invert_yaxis()
    ax.set(title=title, xlabel="column j", ylabel="row i")


parts = {
    "x[-1]: the last row": np.s_[-1],
    "x[:, 0]: the first column": np.s_[:, 0],
    "x[1:3, 1:3]: a block": np.s_[1:3, 1:3],
    "x[::2]: every second row": np.s_[::2],
    "x[[0, 2], [4, 1]]: two pairs": ([0, 2], [4, 1]),
    "x[x % 7 == 0]: by a mask": x % 7 == 0,
}
fig, axes = plt.subplots(2, 3, figsize=(7.2, 4.8))
for ax, (title, part) in zip(axes.flat, parts.items(), strict=True):
    picked = np.zeros(x.shape)
    picked[part] = 1.0
    cells(ax, x, picked, title)

# %%
# **Slices are views, lists and masks copy.** A slice can be told as a start and strides, so no number is moved.
# What a list or a mask picks has no such pattern in general, so NumPy copies it, always.

for title, part in parts.items():
    print(f"{title:30s} shares memory:", np.shares_memory(x, x[part]))

# %%
# On the left of ``=`` all of them write into ``x`` itself. The right-hand side is one number or fits the shape.

x[-1] = 0
x[1:3, 1:3] = [[-1, -2], [-3, -4]]
x[x > 10] = 99
x

# %%
# The trap: two pairs of brackets in a row. ``x[mask]`` makes a copy, ``[0] = ...`` writes into that, and the copy is
# thrown away. One pair writes into ``x``.

before = x.copy()
x[x == 99][0] = -50
print("unchanged:", np.array_equal(x, before))

# %%
# In place
# ~~~~~~~~
#
# ``x = x + y`` makes an array for the sum and then calls it x. ``x += y`` and ``x[:] = ...`` write into the memory
# that x has. So does ``out=`` of NumPy's functions. That saves memory of the size of x, and every view of x sees
# it.

w = np.zeros(3)
also_w = w
w = w + 1.0
print("w = w + 1  :", w is also_w, also_w)

w = also_w
w += 1.0
np.multiply(w, 10.0, out=w)
print("w += 1, out:", w is also_w, also_w)

# %%
# A function that gets an array may so change the array of its caller. `gradstep.fit` writes into neither X nor y, and
# the arrays of the `gradstep.Fit` that it returns cannot be written to.
#
# Joining and splitting
# ---------------------
#
# ``concatenate`` joins along an axis that is there: along axis 0 below each other, along axis 1 side by side. The
# other axes must agree. ``stack`` makes a new axis, so all shapes must be the same. All of them copy.

a = np.arange(6.0).reshape(2, 3)
b = a + 10.0
print(np.concatenate([a, b], axis=0))
print(np.concatenate([a, b], axis=1))
print(np.stack([a, b]).shape, np.stack([a, b], axis=-1).shape)

# %%
# ``split`` cuts. A number means so many equal parts, a list the places before which to cut. The parts are views.

x = np.arange(10)
head, tail = np.split(x, [8])
print(head, tail, np.shares_memory(x, head))
print(*np.split(x, 5))

# %%
# Shapes
# ------
#
# ``reshape`` gives the same numbers, in the same order, another shape. One length may be -1: it is worked out.
# Where strides can tell the new shape, and in C order they always can, the result is a view. ``ravel`` is
# ``reshape(-1)``, one axis.

x = np.arange(12)
grid = x.reshape(3, -1)
grid[0, 0] = 100
print(grid.shape, x[0], np.shares_memory(x, grid))
print(np.shares_memory(grid, grid.ravel()))

# %%
# The **transpose** swaps the axes, :math:`(X^\top)_{ij} = x_{ji}`. It swaps the two strides and moves nothing.

turned = grid.T
print(grid.shape, grid.strides, "->", turned.shape, turned.strides)
print(np.shares_memory(grid, turned), turned.flags.c_contiguous)

# %%
# Read row by row, the transpose has its numbers in another order than memory holds them, and no strides can tell
# that. So ``ravel`` of a transpose copies, in silence. ``np.ascontiguousarray`` does the same on purpose and keeps
# the shape. `gradstep.fit` makes such a copy of a table that is not in C order.

flat = turned.ravel()
ordered = np.ascontiguousarray(turned)
print(flat, np.shares_memory(grid, flat))
print(ordered.strides, np.shares_memory(grid, ordered))

# %%
# A column vector is an (n, 1) array and a row vector a (1, n) array. ``v[:, None]`` puts an axis of length 1 in. It
# is a view.

v = np.arange(3)
print(v.shape, v[:, None].shape, v[None, :].shape)
print(np.shares_memory(v, v[:, None]))

# %%
# To sum up:
#
# .. list-table::
#     :header-rows: 1
#     :widths: 50 50
#
#     * - A view, or the array itself
#       - A copy
#     * - ``np.asarray`` of an array
#       - ``np.array``, ``x.copy()``
#     * - slices, ``x[i]``, ``x[:, None]``
#       - ``x[[0, 2]]``, ``x[mask]``
#     * - ``x.T``, ``np.split``, ``np.broadcast_to``
#       - ``np.concatenate``, ``np.stack``, ``astype``
#     * - ``reshape``, ``ravel`` in C order
#       - ``ravel`` of a transpose
#     * - ``x += y``, ``x[:] = y``
#       - ``x + y``, ``np.exp(x)``
#
# Broadcasting
# ------------
#
# Arrays of different shapes combine where their shapes match. Write the shapes below each other, aligned at the
# right.
#
# 1. Where one has fewer axes, put 1 in front.
# 2. On each axis the lengths are equal, or one of them is 1.
# 3. An axis of length 1 is repeated as often as the other says.
#
# For a column :math:`a` of shape (3, 1) and a row :math:`b` of shape (4,) that is :math:`c_{ij} = a_i + b_j`:

a = np.array([[0.0], [10.0], [20.0]])
b = np.array([1.0, 2.0, 3.0, 4.0])
c = a + b
print(c, np.broadcast_shapes(a.shape, b.shape))

# %%
# The repeats are not stored: ``np.broadcast_to`` shows that the stride along a repeated axis is 0. In the picture the
# dark cells are stored, and the pale ones are repeats.

wide_a = np.broadcast_to(a, c.shape)
wide_b = np.broadcast_to(b, c.shape)
print("strides of a", wide_a.strides, " of b", wide_b.strides)

stored_a, stored_b = np.zeros(c.shape), np.zeros(c.shape)
stored_a[:, 0], stored_b[0] = 1.0, 1.0
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.6))
cells(axes[0], wide_a, stored_a, "a (3, 1): one column repeated")
cells(axes[1], wide_b, stored_b, "b (4,): one row repeated")
cells(axes[2], c, np.ones(c.shape), "a + b (3, 4): all stored")

# %%
# Shapes that do not match are refused, with the shapes in the message.

try:
    np.ones((3, 4)) + np.ones(3)
except ValueError as error:
    print(error)

# %%
# **Centring a table** is the case that statistics needs most: from each column its mean is taken away,
#
# .. math::
#
#     m_j = \frac{1}{n} \sum_i x_{ij}, \qquad (X_c)_{ij} = x_{ij} - m_j .
#
# The means have shape (d,). Rule 1 makes that (1, d), and rule 3 repeats it for all n rows. Divided by the standard
# deviations too, the columns are **standardised**: mean 0 and standard deviation 1. To centre rows keep the axis,
# ``X - X.mean(axis=1, keepdims=True)``; without it (n, d) and (n,) would be aligned at the wrong end.

rng = np.random.default_rng(0)
X = rng.normal([170.0, 70.0, 30.0], [7.0, 10.0, 5.0], size=(500, 3))
centred = X - X.mean(axis=0)
standard = centred / X.std(axis=0)
print("means", X.mean(axis=0).round(1))
print("standard deviations", X.std(axis=0).round(1))
print("centred, means 0:", np.allclose(centred.mean(axis=0), 0.0))
print("standardised, deviations 1:", np.allclose(standard.std(axis=0), 1.0))

# %%
# **The trap.** A response of shape (n,) minus a prediction of shape (n, 1) is no error. Rule 1 makes (1, n) of the
# first, rule 3 makes (n, n) of both, and all pairs are subtracted. Its mean looks like a number that makes sense.
# So look at shapes before you subtract.

response = np.arange(5.0)
prediction = response[:, None]
for error in (response - prediction, response - prediction.ravel()):
    print(error.shape, " mean square", (error**2).mean())

# %%
# Devices
# -------
#
# A **device** is where numbers lie and where they are computed with. NumPy's arrays lie in the memory of the CPU, the
# **host**. A GPU has a memory of its own, and arrays are copied there and back. `gradstep.to_device` does both.
# For ``"cuda"`` it returns a device array of Numba, with ``shape``, ``dtype`` and ``copy_to_host()``. For
# ``"cpu"`` it returns a NumPy array. An array that is there already is returned as it is.
#
# Numba has a **simulator** of a GPU, in plain Python, for computers that have none. It has to be chosen before Python
# starts, so these lines run in a process of their own. On a GPU the same lines run without the variable.

import os
import subprocess
import sys

there_and_back = """
import numpy as np
import gradstep as gs

x = np.arange(6.0).reshape(2, 3)
there = gs.to_device(x, "cuda")
print(gs.device_of(x), gs.device_of(there), there.shape, there.dtype)

back = gs.to_device(there, "cpu")
print("back as", type(back).__name__, "on", gs.device_of(back))
print("equal:", np.array_equal(back, x))
print("a copy:", not np.shares_memory(back, x))
print("as it is:", gs.to_device(there, "cuda") is there)
"""


def simulated(code):
    """Run code in Numba's simulator and return what it prints."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


print(simulated(there_and_back))

# %%
# Without a usable device ``"cuda"`` is refused with a ``RuntimeError`` that names the remedies. Nothing falls back to
# the CPU in silence.
#
# In `gradstep.fit` the argument ``device`` says where the rows are read. With ``device="cuda"`` it copies X and y
# to the device for the fit, so no call of `gradstep.to_device` is needed, and the `gradstep.Fit` that comes back
# holds host arrays. Arrays that lie there already are read where they are (:doc:`/gpu`). On a GPU the same formulas
# are compiled for both; here the simulator runs them in Python. The coefficients are equal to rounding, of the
# method of :doc:`/course/5_linear_regression` with a ``step`` of your own as of every other:

two_fits = """
import numpy as np
import gradstep as gs

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 30)
how = {"step": 0.1, "batch_size": 10, "epochs": 20}
cpu = gs.fit(X, y, **how)
cuda = gs.fit(X, y, **how, device="cuda")

for fit in (cpu, cuda):
    print(fit.device, fit.coef.round(3))
    print("coefficients lie on", gs.device_of(fit.coef))
same = np.allclose(cpu.coef, cuda.coef, rtol=1e-12, atol=0.0)
print("equal to rounding:", same)
"""

print(simulated(two_fits))

# %%
# From PyTorch to NumPy
# ---------------------
#
# Each call and its counterpart. ``rng`` is ``np.random.default_rng(0)``. PyTorch's floats are ``float32`` unless told
# otherwise and NumPy's ``float64``. PyTorch says ``dim`` where NumPy says ``axis``. Indexing, slices and masks,
# comparisons and ``+ - * / ** @`` are written alike in both. But PyTorch's slices take no negative steps, and a list
# cannot be assigned to one: make it a tensor first.
#
# .. list-table:: Making
#     :header-rows: 1
#     :widths: 50 50
#
#     * - PyTorch
#       - NumPy
#     * - ``torch.tensor(data)``, a copy
#       - ``np.array(data)``
#     * - ``torch.from_numpy(a)``, ``torch.as_tensor(a)``, shared
#       - ``np.asarray(a)``
#     * - ``torch.zeros(2, 3)``, ``torch.ones(2, 3)``
#       - ``np.zeros((2, 3))``, ``np.ones((2, 3))``
#     * - ``torch.eye(3)``
#       - ``np.eye(3)``
#     * - ``torch.arange(0, 10, 2)``
#       - ``np.arange(0, 10, 2)``
#     * - ``torch.linspace(0, 1, 5)``
#       - ``np.linspace(0, 1, 5)``
#     * - ``torch.ones_like(x)``, ``zeros_like``, ``empty_like``
#       - ``np.ones_like(x)``, ``zeros_like``, ``empty_like``
#     * - ``torch.manual_seed(0)``, for all code
#       - ``rng = np.random.default_rng(0)``
#     * - ``torch.rand(2, 3)``
#       - ``rng.random((2, 3))``
#     * - ``torch.rand_like(x)``
#       - ``rng.random(x.shape, dtype=x.dtype)``
#     * - ``torch.randn(2, 3)``
#       - ``rng.standard_normal((2, 3))``
#     * - ``torch.normal(1.0, 2.0, (2, 3))``
#       - ``rng.normal(1.0, 2.0, (2, 3))``
#     * - ``x.uniform_(-1, 1)``
#       - ``x[:] = rng.uniform(-1, 1, x.shape)``
#     * - ``torch.randperm(6)``
#       - ``rng.permutation(6)``
#
# .. list-table:: Looking and converting
#     :header-rows: 1
#     :widths: 50 50
#
#     * - PyTorch
#       - NumPy
#     * - ``x.shape``, ``x.size()``
#       - ``x.shape``
#     * - ``x.numel()``, ``x.dim()``
#       - ``x.size``, ``x.ndim``
#     * - ``x.dtype``, ``x.element_size()``
#       - ``x.dtype``, ``x.itemsize``
#     * - ``x.stride()``, in numbers
#       - ``x.strides``, in bytes
#     * - ``x.to(torch.float32)``, ``x.float()``
#       - ``x.astype(np.float32, copy=False)``
#     * - ``x.item()``, ``x.tolist()``
#       - ``x.item()``, ``x.tolist()``
#     * - ``x.numpy()``
#       - ``x``, which is one
#     * - ``x.device``
#       - ``gs.device_of(x)``
#     * - ``x.to("cuda")``, ``x.cuda()``
#       - ``gs.to_device(x, "cuda")``
#     * - ``x.cpu()``
#       - ``gs.to_device(x, "cpu")``
#
# .. list-table:: Shaping, joining, picking
#     :header-rows: 1
#     :widths: 50 50
#
#     * - PyTorch
#       - NumPy
#     * - ``x.view(3, 4)``, refused where it must copy; ``x.reshape(3, 4)``
#       - ``x.reshape(3, 4)``
#     * - ``x.flatten()``
#       - ``x.ravel()``
#     * - ``x.T``, ``x.contiguous()``
#       - ``x.T``, ``np.ascontiguousarray(x)``
#     * - ``x.unsqueeze(1)``, ``x.squeeze(1)``
#       - ``x[:, None]``, ``x.squeeze(1)``, refused unless the length is 1
#     * - ``x.expand(3, 4)``
#       - ``np.broadcast_to(x, (3, 4))``, read-only
#     * - ``torch.cat((a, b), dim=0)``
#       - ``np.concatenate((a, b), axis=0)``
#     * - ``torch.stack((a, b))``
#       - ``np.stack((a, b))``
#     * - ``torch.split(x, 2)``, parts of 2
#       - ``np.split(x, range(2, len(x), 2))``
#     * - ``torch.index_select(x, 0, i)``
#       - ``x[i]``
#     * - ``x.clone()``
#       - ``x.copy()``
#
# .. list-table:: Computing
#     :header-rows: 1
#     :widths: 50 50
#
#     * - PyTorch
#       - NumPy
#     * - ``torch.mul(x, y)``, ``x * y``
#       - ``x * y``
#     * - ``torch.matmul(x, y)``, ``x @ y``
#       - ``x @ y``
#     * - ``torch.exp(x)``
#       - ``np.exp(x)``
#     * - ``torch.where(mask, x, y)``
#       - ``np.where(mask, x, y)``
#     * - ``x.sum()``, ``x.sum(dim=0)``
#       - ``x.sum()``, ``x.sum(axis=0)``
#     * - ``x.mean(dim=1, keepdim=True)``
#       - ``x.mean(axis=1, keepdims=True)``
#     * - ``x.std()``, with n - 1
#       - ``x.std(ddof=1)``
#     * - ``x.add_(y)``, ``x += y``
#       - ``x += y``
#     * - ``x.zero_()``, ``x.copy_(y)``
#       - ``x[:] = 0``, ``x[:] = y``
#     * - ``torch.add(x, y, out=z)``
#       - ``np.add(x, y, out=z)``
#
# What PyTorch has besides, derivatives that it works out by itself, :doc:`/course/3_calculus` replaces by formulas
# written out and checked.
#
# The table that the course goes on with
# --------------------------------------
#
# `gradstep.textbook.make_linear` draws a table whose truth is known,
#
# .. math::
#
#     y = X w + b + \sigma e ,
#
# with **coefficients** :math:`w = (2, -3.4)`, **intercept** :math:`b = 4.2`, noise of standard deviation
# :math:`\sigma = 0.01`, and :math:`X` and :math:`e` standard normal. Each row of :math:`X` is one case that was
# measured, its columns are **predictors**, and :math:`y` holds a **response** a row.

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
print("X", X.shape, X.dtype, " y", y.shape, y.dtype)
print(np.column_stack([X, y])[:3].round(3))

# %%
# All of it is on this page: a generator, two draws, a product and a broadcast number.

rng = np.random.default_rng(0)
again = rng.standard_normal((1000, 2))
w, b, sigma = np.array([2.0, -3.4]), 4.2, 0.01
response = again @ w + b + sigma * rng.standard_normal(1000)
np.array_equal(X, again), np.allclose(y, response)

# %%
# Exercises
# ---------
#
# 1. Let ``x = np.arange(12.0).reshape(3, 4)``. Which of these share memory with x: ``x[1]``, ``x[[1]]``, ``x.T``,
#    ``x.ravel()``, ``x.T.ravel()``, ``x[:, ::2]``, ``x[x > 3]``, ``x + 0``? Decide first, then ask NumPy.
# 2. Put the rows of X and of y into one random order, the same for both, and then back.
# 3. Which is the smallest positive whole number that ``float32`` cannot hold? And ``float64``?
# 4. Compute the distance of each of n points to each other one, from an array (n, d), without a loop. How many bytes
#    would the largest array on the way take for n = 10,000 and d = 20?
# 5. A model predicts without any error, ``prediction = y[:, None]``, and its author computes ``((y - prediction) **
#    2).mean()``. What comes out, in terms of the variance of y?
#
# Answers
# -------
#
# **Exercise 1.** Integers, slices and the transpose can be told by strides. ``x.ravel()`` is a view, since x is in C
# order, and that of the transpose is not. Lists, masks and sums copy.

x = np.arange(12.0).reshape(3, 4)
candidates = [x[1], x[[1]], x.T, x.ravel()]
candidates += [x.T.ravel(), x[:, ::2], x[x > 3], x + 0]
answer_1 = [np.shares_memory(x, each) for each in candidates]
print(answer_1)

# %%
# **Exercise 2.** One permutation indexes both. ``argsort`` of it says where each row has gone, and so undoes it.

order = np.random.default_rng(2).permutation(len(X))
X_mixed, y_mixed = X[order], y[order]
back = np.argsort(order)
answer_2 = X_mixed, y_mixed, X_mixed[back], y_mixed[back]
print("mixed:", np.array_equal(X_mixed, X), end="  ")
print("back:", np.array_equal(X_mixed[back], X))

# %%
# **Exercise 3.** A significand of p bits holds every whole number up to :math:`2^p`. There the gap becomes 2, so
# :math:`2^p + 1` is the first that is missing. The code looks for the first power of two after which the gap is 2.

powers = 2.0 ** np.arange(60)
answer_3 = []
for dtype in (np.float32, np.float64):
    gaps = np.spacing(powers.astype(dtype))
    answer_3.append(int(powers[gaps == 2][0]) + 1)
print(answer_3)

# %%
# **Exercise 4.** Shapes (n, 1, d) and (1, n, d) make all differences, (n, n, d); the squares are summed along the
# last axis. The shape tells the bytes before anything is computed.


def distances(points):
    """Return the (n, n) distances between the rows of points."""
    differences = points[:, None, :] - points[None, :, :]
    return np.sqrt((differences**2).sum(axis=-1))


shape = np.broadcast_shapes((10_000, 1, 20), (1, 10_000, 20))
nbytes = np.prod(shape).item() * X.itemsize
answer_4 = distances(X[:50]), nbytes
print(answer_4[0].shape, f"{nbytes / 1e9:.0f} GB")

# %%
# **Exercise 5.** The mean runs over all pairs. With the deviations :math:`u_i = y_i - \bar y`, whose mean
# :math:`\bar u` is 0,
#
# .. math::
#
#     \begin{aligned}
#     & \frac{1}{n^2} \sum_{i,j} (y_j - y_i)^2 = \frac{1}{n^2} \sum_{i,j} (u_j - u_i)^2 \\
#     &= \frac{1}{n} \sum_j u_j^2 + \frac{1}{n} \sum_i u_i^2 - 2\, \bar u\, \bar u \\
#     &= 2 \operatorname{var} y .
#     \end{aligned}
#
# A model without any error is told that it does twice as badly as one that always predicts the mean of y.

answer_5 = ((y - y[:, None]) ** 2).mean() / y.var()
print(f"{answer_5:.10f} times the variance of y")

# %%
# The next page, :doc:`/course/2_linear_algebra`, multiplies matrices, measures lengths and solves equations.
#
# Sources
# -------
#
# - The topics follow A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge
#   University Press, 2023, sections 2.1 (making, operations, broadcasting, indexing, saving memory,
#   conversion), 6.7 (devices) and 3.3 (the table at the end).
# - Charles R. Harris et al., Array programming with NumPy, *Nature* 585 (2020) 357-362: strides, views, broadcasting.
# - NumPy, *User Guide*: the pages Copies and views, Broadcasting, and Data types; *Reference*: Random sampling
#   (generators, and that their numbers may change between releases).
# - IEEE, *Standard for Floating-Point Arithmetic*, IEEE 754-2019, section 3; N. J. Higham, *Accuracy and Stability of
#   Numerical Algorithms*, 2nd edition, SIAM, 2002, section 2.1: significands, eps and gaps.
# - PyTorch, *Documentation*: torch, torch.Tensor, and ``torch.set_default_dtype`` for ``float32``.
# - Numba, *Documentation*, Numba for CUDA GPUs: Memory management, and Debugging CUDA Python with the CUDA simulator.

# %%
# Of a script, this shows the pictures.

plt.show()
