r"""
4. Probability
==============

A fit starts from rows that chance has drawn, and minibatch descent draws rows again at each step. Then it is asked
how sure the answer is. All three need probability: the mathematics of what may happen, and how often. This page goes
from two dice to the noise of a gradient and to chains of random steps. Each formula stands beside the call that
computes it. The letters are those of :doc:`/notation`.

Finite problems are solved in exact fractions. If all the probabilities that go in are of the type
``fractions.Fraction``, so are the answers, and there is no rounding to explain away. Continuous laws come from
``scipy.stats``.

Outcomes and events
-------------------

An **experiment** has **outcomes**. The set of all outcomes is the **sample space** :math:`\Omega`. An **event** is a
set of outcomes, and it happens when the outcome is in the set. Two dice, thrown in order, have 36 outcomes, pairs of
faces. Fair dice make all pairs equally likely.
"""

from itertools import product

import gradstep as gs

faces = range(1, 7)
dice = gs.textbook.SampleSpace.uniform(product(faces, faces))
print(len(dice.outcomes), "outcomes:", dice.outcomes[:3], "...")

# %%
# `gradstep.textbook.SampleSpace.event` makes an event of a condition, or of a list of outcomes. The probability of an
# event is the sum over its outcomes:
#
# .. math:: P(A) = \sum_{\omega \in A} P(\{\omega\})

six = dice.event(lambda pair: pair[0] == 6)
high = dice.event(lambda pair: sum(pair) >= 9)
print("first die a six:", six.probability)
print("sum at least 9: ", high.probability)

# %%
# New events come from old ones. The signs are those of Python's sets.
#
# .. list-table::
#    :header-rows: 1
#
#    * - Event
#      - Name
#      - Formula
#      - Code
#    * - A or B, or both
#      - union
#      - :math:`A \cup B`
#      - ``A | B``
#    * - A and B
#      - intersection
#      - :math:`A \cap B`
#      - ``A & B``
#    * - not A
#      - complement
#      - :math:`A^{c}`
#      - ``~A``
#    * - A without B
#      - difference
#      - :math:`A \setminus B`
#      - ``A - B``

for name, event in [
    ("six or high", six | high),
    ("six and high", six & high),
    ("no six", ~six),
    ("six, not high", six - high),
]:
    print(f"{name:14}", len(event.outcomes), "outcomes, probability", event.probability)

# %%
# The axioms
# ~~~~~~~~~~
#
# Three rules make a function :math:`P` of events a probability. The theorems of this page follow from them.
#
# .. math::
#
#    \begin{aligned}
#    &\text{1.} && P(A) \ge 0 \\
#    &\text{2.} && P(\Omega) = 1 \\
#    &\text{3.} && P(A_1 \cup A_2 \cup \dots) \\
#    &          && \quad = P(A_1) + P(A_2) + \dots \\
#    &          && \text{if no two } A_i \text{ share an outcome}
#    \end{aligned}
#
# The third holds for finitely many events and for an endless sequence of them. Events that share no outcome are
# **mutually exclusive**: at most one of them happens. A sum of 7 is odd and the sum of a double is even, so these two
# exclude each other.

seven = dice.event(lambda pair: sum(pair) == 7)
double = dice.event(lambda pair: pair[0] == pair[1])
print("1:", all(dice.event([pair]).probability >= 0 for pair in dice.outcomes))
print("2:", dice.event(dice.outcomes).probability)
print("3:", seven.excludes(double), (seven | double).probability)
print("  ", seven.probability + double.probability)

# %%
# Rules 2 and 3, applied to :math:`A` and :math:`A^{c}`, give the complement. Rule 3, applied to :math:`A` and
# :math:`B \setminus A`, gives the **addition rule**, which takes off what would be counted twice:
#
# .. math::
#
#    \begin{aligned}
#    P(A^{c}) &= 1 - P(A) \\
#    P(A \cup B) &= P(A) + P(B) - P(A \cap B)
#    \end{aligned}

print((~six).probability, "=", 1 - six.probability)
rule = six.probability + high.probability - (six & high).probability
print((six | high).probability, "=", rule)

# %%
# Conditional probability
# ~~~~~~~~~~~~~~~~~~~~~~~
#
# Someone looks and tells you that B has happened. The outcomes outside B are gone, and those inside are scaled to sum
# to one. That is the **conditional probability** of A given B, `gradstep.textbook.Event.given`:
#
# .. math:: P(A \mid B) = \frac{P(A \cap B)}{P(B)} , \qquad P(B) > 0

print("P(high) =", high.probability, "  P(high | six) =", high.given(six))
print("P(six)  =", six.probability, "  P(six | high) =", six.given(high))

# %%
# The bar has a direction: the two conditional probabilities above are different numbers. Bayes' theorem, below, turns
# one into the other.
#
# Independent is not exclusive
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# Two events are **independent** if knowing one leaves the probability of the other as it was. Written so that no
# probability needs to be above zero:
#
# .. math:: P(A \cap B) = P(A)\, P(B)
#
# Exclusive events are something else. If both have positive probability, they are *never* independent, because
#
# .. math:: P(A \cap B) = 0 \;<\; P(A)\, P(B) .
#
# If one of them happens, you know that the other does not. Several events are independent if the product rule holds
# for every choice of two or more of them.

print("events         exclusive, independent")
print("six, seven    ", six.excludes(seven), six.independent_of(seven))
print("double, seven ", double.excludes(seven), double.independent_of(seven))
print("six, high     ", six.excludes(high), six.independent_of(high))

# %%
# The law of large numbers
# ~~~~~~~~~~~~~~~~~~~~~~~~
#
# What does a probability say about dice on a table? Throw :math:`n` times, each time independently, and count how
# often A happens. The share of throws with A is its **relative frequency** :math:`f_n`. The **law of large numbers**
# says that it tends to the probability: for every :math:`\varepsilon > 0`,
#
# .. math:: P\bigl( |f_n - P(A)| > \varepsilon \bigr) \to 0 \quad \text{as } n \to \infty .
#
# The proof is two lines long and comes with the variance, below. Here are five simulated runs of two dice.

import numpy as np

rng = np.random.default_rng(0)
throws = rng.integers(1, 7, size=(5, 10_000, 2))
count = np.arange(1, 10_001)
frequency = np.cumsum(throws.sum(axis=2) == 7, axis=1) / count
exact = float(seven.probability)
for n in (10, 100, 1_000, 10_000):
    print(f"n = {n:6}:", frequency[:, n - 1].round(4))
print(f"      exact: {exact:.4f}")

# %%

import matplotlib.pyplot as plt

shown = np.unique(np.geomspace(1, 10_000, 150).astype(int))
spread = 2 * np.sqrt(exact * (1 - exact) / shown)
fig, ax = plt.subplots()
band = r"$P \pm 2\sqrt{P(1-P)/n}$"
ax.fill_between(shown, exact - spread, exact + spread, alpha=0.15, label=band)
runs = ax.plot(shown, frequency[:, shown - 1].T, lw=0.9, color="C0")
runs[0].set_label("five runs")
ax.axhline(exact, color="C1", ls="--", label="P = 1/6")
ax.set(xscale="log", xlim=(1, 1e4), ylim=(0, 0.5), xlabel="throws n", ylabel="share")
ax.set_title("Running shares of a sum of 7 close in on its probability, 1/6")
ax.legend()

# %%
# The band narrows as :math:`1 / \sqrt n`: a hundred times as many throws give one digit more. Expectation and
# variance, below, explain why.
#
# Random variables
# ----------------
#
# A **random variable** is a function from outcomes to numbers, :math:`X : \Omega \to \mathbb{R}`. The sum of two dice
# is one, and so is the larger face. Its **law**, or distribution, says how probable its values are.
#
# Discrete: the mass function
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~
#
# A **discrete** random variable takes separate values, and its **mass function** gives the probability of each:
#
# .. math::
#
#    \begin{aligned}
#    p(x) = P(X = x) &= P\bigl( \{ \omega : X(\omega) = x \} \bigr) \\
#    \sum_x p(x) &= 1
#    \end{aligned}

mass = dice.law(sum)
print(", ".join(f"{value}: {p}" for value, p in mass.items()))
print("they sum to", sum(mass.values()))

# %%
# The **distribution function** is the probability up to a value, :math:`F(x) = P(X \le x)`. It adds up the mass
# function.

print("F(4) =", sum(mass[s] for s in mass if s <= 4))

# %%
# Continuous: the density
# ~~~~~~~~~~~~~~~~~~~~~~~
#
# A height can be any number of an interval, and each single number has probability zero. Such a **continuous** random
# variable has a **density** :math:`p(x) \ge 0` instead. Probabilities are areas under it:
#
# .. math::
#
#    \begin{aligned}
#    P(a < X \le b) &= \int_a^b p(x)\, dx \\
#    &= F(b) - F(a) \\
#    \int_{-\infty}^{\infty} p(x)\, dx &= 1
#    \end{aligned}
#
# Take heights to be normal with a mean of 170 cm and a standard deviation of 7 cm, words that are defined below.

from scipy import integrate, stats

height = stats.norm(loc=170, scale=7)
area, _ = integrate.quad(height.pdf, 165, 180)
print(f"area under the density {area:.6f}")
print(f"F(180) - F(165)        {height.cdf(180) - height.cdf(165):.6f}")

# %%

fig, (left, right) = plt.subplots(1, 2)
left.bar(list(mass), [float(p) for p in mass.values()], width=0.7)
left.set(xlabel="sum of two dice", ylabel="probability", xticks=range(2, 13))
left.set_title("Mass function: the bars are probabilities")
x, inside = np.linspace(147, 193, 200), np.linspace(165, 180, 100)
right.plot(x, height.pdf(x))
right.fill_between(inside, height.pdf(inside), alpha=0.3)
right.text(172, 0.018, f"area\n{area:.3f}", ha="center")
right.set(xlabel="height, cm", ylabel="density, per cm", ylim=(0, None))
right.set_title("Density: the area is the probability")

# %%
# A density is no probability, and it **may exceed 1**. It is probability per unit of :math:`x`, so it has the unit
# one over centimetre, and in metres the number is a hundred times as large. The area under it stays 1.

metres = stats.norm(loc=1.70, scale=0.07)
print(f"at the mean:   {height.pdf(170):.4f} per cm, {metres.pdf(1.70):.4f} per m")
print(f"the same area: {metres.cdf(1.80) - metres.cdf(1.65):.6f}")

# %%
# Several variables at once
# -------------------------
#
# The **joint distribution** of two variables gives the probability of each pair of values,
# :math:`p(x, y) = P(X = x, Y = y)`. Values may be names as well as numbers. `gradstep.textbook.Joint` holds it as a
# table with a name for each axis. Here are the smaller and the larger of the two faces.

joint = dice.joint(smaller=min, larger=max)
print(joint.probability(smaller=2, larger=5), joint.probability(smaller=5, larger=2))

# %%
# Sums of rows or columns are the **marginal** distributions, those of one variable alone. One row or column, scaled
# to sum to one, is a **conditional** distribution:
#
# .. math::
#
#    p(x) = \sum_y p(x, y), \quad p(x \mid y) = \frac{p(x, y)}{p(y)}

smaller, larger = joint.marginal("smaller"), joint.marginal("larger")
known = joint.given(larger=3)
print("larger:             ", *larger.table)
print("smaller:            ", *smaller.table)
print("smaller if larger 3:", *known.table)

# %%

fig = plt.figure(figsize=(7.2, 4.6))
grid = fig.add_gridspec(2, 2, width_ratios=[3, 1.6], height_ratios=[1, 2.6])
middle = fig.add_subplot(grid[1, 0])
top = fig.add_subplot(grid[0, 0], sharex=middle)
side = fig.add_subplot(grid[1, 1], sharey=middle)
chances = joint.table.astype(float)
middle.pcolormesh(faces, faces, chances, cmap="Blues", vmax=0.09, edgecolors="w")
for (i, j), p in np.ndenumerate(joint.table):
    ink = "w" if p > 1 / 24 else "k"
    middle.text(j + 1, i + 1, f"{36 * p}/36" if p else "0", ha="center", va="center", color=ink)
top.bar(faces, larger.table.astype(float))
side.barh(faces, smaller.table.astype(float))
middle.set(xlabel="larger face", ylabel="smaller face", xticks=faces, yticks=faces)
middle.set_title("Joint: nothing lies above the diagonal, most below it")
top.set_ylabel("probability")
side.set_xlabel("probability")
top.set_title("Marginal: the larger face is often high")
side.set_title("Marginal: the smaller is low")

# %%
# Variables are **independent** if the joint distribution is the product of the marginals,
# :math:`p(x, y) = p(x)\, p(y)` for all :math:`x` and :math:`y`. The larger face is never below the smaller, so these
# two are not. The first and the second die are.

from fractions import Fraction

even = [[Fraction(1, 36)] * 6] * 6
two_dice = gs.textbook.Joint({"first": faces, "second": faces}, even)
print(joint.independent("smaller", "larger"), two_dice.independent("first", "second"))

# %%
# The definition of the conditional distribution, multiplied out, is the **chain rule**. It builds a joint
# distribution from a marginal and conditionals, `gradstep.textbook.Joint.from_conditional`:
#
# .. math::
#
#    \begin{aligned}
#    p(a, b) &= p(a)\, p(b \mid a) \\
#    p(a, b, c) &= p(a)\, p(b \mid a)\, p(c \mid a, b)
#    \end{aligned}

built = gs.textbook.Joint.from_conditional(
    ("larger", "smaller"),
    joint.law("larger"),
    {b: joint.given(larger=b).law("smaller") for b in faces},
)
same = built.table == joint.marginal("larger", "smaller").table
print("the same in all cells:", same.all())

# %%
# Bayes' theorem
# --------------
#
# By the chain rule :math:`P(A \cap B)` is a product in two ways. They are equal, and division by :math:`P(B)` gives
# the theorem:
#
# .. math::
#
#    \begin{aligned}
#    P(A \mid B)\, P(B) &= P(B \mid A)\, P(A) \\
#    P(A \mid B) &= \frac{P(B \mid A)\, P(A)}{P(B)}
#    \end{aligned}
#
# Read A as a hypothesis :math:`h` and B as evidence :math:`e`. What you believe before is the **prior** :math:`P(h)`,
# what you believe after is the **posterior** :math:`P(h \mid e)`, and :math:`P(e \mid h)`, as a function of
# :math:`h`, is the **likelihood**. If exactly one of several hypotheses is true, the denominator is a sum over them,
# the law of **total probability**:
#
# .. math:: P(h \mid e) = \frac{P(h)\, P(e \mid h)}{\sum_{k} P(k)\, P(e \mid k)}
#
# A medical test
# ~~~~~~~~~~~~~~
#
# A made-up disease has a **prevalence** of 1 in 250: the share of people who are ill. The test finds 9 of 10 ill
# people, its **sensitivity**. It clears 19 of 20 who are well, its **specificity**. You are tested, and the test is
# positive. How probable is it that you are ill?

prevalence = Fraction(1, 250)
sensitivity, specificity = Fraction(9, 10), Fraction(19, 20)
prior = {"ill": prevalence, "well": 1 - prevalence}
positive = {"ill": sensitivity, "well": 1 - specificity}
once = gs.textbook.bayes(prior, positive)
print("P(ill | positive) =", once["ill"])
print(f"                  = {float(once['ill']):.4f}")

# %%
# The same in numbers of people shows why it is so low. Of 100,000 people few are ill, and the many who are well yield
# more positives, although each of them rarely does.

people = 100_000
for state, share in prior.items():
    group = people * share
    found = group * positive[state]
    print(f"{group!s:>5} are {state}: {found} positive, {group - found} negative")

# %%
# A second test of another kind is positive too. Suppose that the two are **conditionally independent**: among the
# ill, and among the well, one result says nothing about the other.
#
# .. math:: P(+, + \mid h) = P(+ \mid h)\, P(+ \mid h)
#
# Then the posterior of the first test is the prior of the second.

twice = gs.textbook.bayes(once, positive)
print("P(ill | positive twice) =", twice["ill"])
print(f"                        = {float(twice['ill']):.4f}")

# %%
# The joint distribution of all three says the same. It also shows that conditionally independent is not independent:
# of unknown people, a first positive makes a second one likelier, because it hints at the disease. The assumption can
# fail. A test repeated on the same blood may err twice for the same reason, and then it adds little.

result = {h: {"+": p, "-": 1 - p} for h, p in positive.items()}
three = gs.textbook.Joint(
    {"disease": ["ill", "well"], "one": "+-", "two": "+-"},
    [[[prior[h] * of[a] * of[b] for b in of] for a in of] for h, of in result.items()],
)
two_positives = three.given(one="+", two="+")
print("P(ill | ++) =", two_positives.probability(disease="ill"))
print("P(+)        =", three.probability(two="+"))
print("P(+ | +)    =", three.given(one="+").probability(two="+"))
print("independent:             ", three.independent("one", "two"))
for h in prior:
    print(f"independent given {h:7}", three.given(disease=h).independent())

# %%

fig, (left, right) = plt.subplots(1, 2, width_ratios=[1.25, 1])
for row, tests in enumerate(({}, {"one": "+"}, {"one": "+", "two": "+"})):
    group = people * three.probability(**tests)
    ill = people * three.probability(disease="ill", **tests)
    share = float(ill / group)
    left.barh(-row, share, color="C1", height=0.4, hatch="///", edgecolor="w")
    left.barh(-row, 1 - share, left=share, color="0.85", height=0.4)
    left.text(0, 0.27 - row, f"ill {int(ill):,} ({share:.1%})")
    left.text(1, 0.27 - row, f"well {int(group - ill):,}", ha="right")
left.set_yticks([0, -1, -2], ["all", "positive\nonce", "positive\ntwice"])
left.set(xlim=(0, 1), ylim=(-2.4, 0.6), xlabel="share of the group")
left.set_title("The share of the ill grows with each positive")

before = np.geomspace(1e-4, 1, 120)
for tests, style, label in ((1, "-", "positive once"), (2, "--", "positive twice")):
    hit, alarm = float(sensitivity) ** tests, float(1 - specificity) ** tests
    after = before * hit / (before * hit + (1 - before) * alarm)
    right.plot(before, after, style, label=label)
answers = [float(once["ill"]), float(twice["ill"])]
right.plot([1 / 250] * 2, answers, "ko", ms=4, label="1 in 250")
right.set(xscale="log", xlabel="prevalence", ylabel="P(ill | tests)")
right.set_title("A positive says less of a rare disease")
right.legend()

# %%
# Words of spam
# ~~~~~~~~~~~~~
#
# A filter has two hypotheses, spam and ham, which is mail that is wanted. This table is invented. It says how often
# each of six words is the next word of a message, given the kind of message. **Naive Bayes** assumes that the words
# are conditionally independent given the kind, as the two tests were.

words = ["free", "win", "money", "meeting", "report", "thanks"]
twentieths = {"spam": [6, 5, 5, 1, 1, 2], "ham": [2, 1, 3, 5, 5, 4]}
given = {}  # given[kind][word] is P(word | kind)
for kind, row in twentieths.items():
    given[kind] = {word: Fraction(n, 20) for word, n in zip(words, row, strict=True)}
start = {"spam": Fraction(2, 5), "ham": Fraction(3, 5)}
message = ["thanks", "money", "free", "meeting", "win", "free"]

# %%
# Read the message word by word. Each posterior is the next prior.

belief, track = start, [start["spam"]]
for word in message:
    belief = gs.textbook.bayes(belief, {kind: given[kind][word] for kind in start})
    track.append(belief["spam"])
    print(f"{word:8} P(spam) = {belief['spam']!s:8} = {float(belief['spam']):.4f}")

# %%
# All words at once give the same, with one likelihood, a product:
#
# .. math:: P(\text{words} \mid h) = \prod_{i} P(\text{word}_i \mid h)

from math import prod

at_once = {kind: prod(given[kind][word] for word in message) for kind in start}
print(gs.textbook.bayes(start, at_once)["spam"], "=", belief["spam"])

# %%
# Let the length of a message say nothing of its kind. The logarithm turns products into sums: **log odds add up**.
# With :math:`x_j` for how often word :math:`j` comes in the message and :math:`P(j \mid h)` for its probability as
# the next word,
#
# .. math::
#
#    \begin{aligned}
#    \log \frac{P(\text{spam} \mid x)}{P(\text{ham} \mid x)} &= b + w^\top x \\
#    b &= \log \frac{P(\text{spam})}{P(\text{ham})} \\
#    w_j &= \log \frac{P(j \mid \text{spam})}{P(j \mid \text{ham})}
#    \end{aligned}
#
# That is a linear model. Its score :math:`z = b + w^\top x` is the log odds, and the probability follows from it by
# the **sigmoid** :math:`P = 1 / (1 + e^{-z})`.

w = np.log([float(given["spam"][word] / given["ham"][word]) for word in words])
b = np.log(float(start["spam"] / start["ham"]))
x = np.array([message.count(word) for word in words])
z = b + w @ x
print(f"log odds {z:.4f}, P(spam) {1 / (1 + np.exp(-z)):.4f}")
print(f"              by fractions {float(track[-1]):.4f}")

# %%

fig, (left, right) = plt.subplots(1, 2)
ticks = ["prior", *message]
left.plot([float(p) for p in track], "o-")
left.axhline(0.5, color="0.6", ls=":", label="as likely as not")
left.set(ylim=(0, 1), ylabel="P(spam | words so far)")
left.set_title("Each word moves the posterior")
left.legend()
moves = np.array([b, *(w[words.index(word)] for word in message)])
total = np.cumsum(moves)
right.bar(range(len(moves)), moves, color="C1", alpha=0.6, label="each adds")
right.step(range(len(moves)), total, "k.-", where="mid", label="sum so far")
right.axhline(0, color="0.6", lw=0.8)
right.set(ylabel="log odds", title="In log odds, words add up")
right.legend()
for ax in (left, right):
    ax.set_xticks(range(len(ticks)), ticks, rotation=40)

# %%
# `gradstep.logistic` is the loss of this model. With :math:`y = 1` for spam it is the negative logarithm of the
# probability that the model gave to what happened, :math:`-\log P(y \mid x)`:

loss = gs.logistic()
for kind, label in (("spam", 1.0), ("ham", 0.0)):
    print(f"{kind}: {loss.value(z, label, ()):.6f} {-np.log(float(belief[kind])):.6f}")

# %%
# So the weights can be learnt. Draw messages from the table, hide the table, and fit the counts of words to the kinds
# (by a loop that the next page explains). The fit comes near the weights that Bayes' theorem computes, and it never
# saw a word frequency. It needs less, too: the log odds must be linear in the counts, and nothing else is assumed of
# how words depend on each other.

rng = np.random.default_rng(0)
spam = rng.random(20_000) < float(start["spam"])
length = rng.integers(1, 11, size=20_000)
chances = np.where(spam[:, None], twentieths["spam"], twentieths["ham"]) / 20
counts = rng.multinomial(length, chances).astype(float)
fit = gs.fit(counts, spam, loss=loss, step=0.1, epochs=20, solver=gs.sgd(average=True))
by_bayes, by_fit = [b, *w], [fit.intercept, *fit.coef]
for name, one, other in zip(["b", *words], by_bayes, by_fit, strict=True):
    print(f"{name:8} by Bayes {one:6.2f}   by the fit {other:6.2f}")

# %%
# Expectation and spread
# ----------------------
#
# The **expectation** of a random variable is its mean over all outcomes, each weighted by its probability. The
# **variance** is the expected squared distance from it, in squared units, and its root is the **standard deviation**,
# in the units of :math:`X`:
#
# .. math::
#
#    \begin{aligned}
#    \mathrm{E}[X] &= \sum_x x\, p(x) \quad\text{or}\quad \int x\, p(x)\, dx \\
#    \mathrm{Var}(X) &= \mathrm{E}\bigl[ (X - \mathrm{E}X)^2 \bigr] \\
#    &= \mathrm{E}[X^2] - (\mathrm{E}X)^2 \\
#    \mathrm{sd}(X) &= \sqrt{\mathrm{Var}(X)}
#    \end{aligned}

for name in ("smaller", "larger"):
    print(f"E[{name}] =", joint.expectation(name))
print("Var(larger) =", joint.variance("larger"))
square = joint.expectation(lambda larger: larger**2)
print("            =", square - joint.expectation("larger") ** 2)
print("sd(larger) =", round(joint.standard_deviation("larger"), 4))

# %%
# For a continuous law the sum is an integral. The two parameters of the heights above are their mean and their
# standard deviation:

mean = height.expect(lambda x: x)
variance = height.expect(lambda x: (x - mean) ** 2)
print(round(mean, 6), round(np.sqrt(variance), 6))

# %%
# Expectation is **linear**, whether the variables are independent or not:
# :math:`\mathrm{E}[aX + bY] = a\,\mathrm{E}X + b\,\mathrm{E}Y`. Smaller and larger face depend on each other, and
# still their expectations add up to that of the sum.

print(joint.expectation(lambda smaller, larger: smaller + larger))
print(joint.expectation("smaller") + joint.expectation("larger"))

# %%
# Variances need one thing more, how the two move together. That is the **covariance**, and in units of both standard
# deviations the **correlation**, a number from :math:`-1` to 1:
#
# .. math::
#
#    \begin{aligned}
#    \mathrm{Cov}(X, Y) &= \mathrm{E}\bigl[ (X - \mathrm{E}X)(Y - \mathrm{E}Y) \bigr] \\
#    \mathrm{Corr}(X, Y) &= \frac{\mathrm{Cov}(X, Y)}{\mathrm{sd}(X)\, \mathrm{sd}(Y)} \\
#    \mathrm{Var}(X + Y) &= \mathrm{Var}(X) + \mathrm{Var}(Y) \\
#    &\quad + 2\,\mathrm{Cov}(X, Y) \\
#    \mathrm{Var}(aX) &= a^2\, \mathrm{Var}(X)
#    \end{aligned}

both = joint.covariance("smaller", "larger")
deviations = [joint.standard_deviation(name) for name in ("smaller", "larger")]
variances = [joint.variance(name) for name in ("smaller", "larger")]
print("covariance ", both, "  correlation", round(both / prod(deviations), 4))
print("Var(X + Y) ", joint.variance(lambda smaller, larger: smaller + larger))
print("by the rule", sum(variances) + 2 * both)

# %%
# Independent variables have covariance zero, so **their variances add**. The two dice are independent, and their sum
# is the sum of smaller and larger: the same variance, by a shorter way. The converse fails, as exercise 3 shows.

print(two_dice.covariance("first", "second"))
print(two_dice.variance("first") + two_dice.variance("second"))

# %%
# The covariance matrix
# ~~~~~~~~~~~~~~~~~~~~~
#
# Many variables make a vector :math:`x`. Their covariances are a symmetric matrix, with the variances on its
# diagonal. From the columns of a table with :math:`n` rows it is estimated from the centred rows :math:`\tilde X`, in
# one product. If the rows are independent draws of one law, division by :math:`n - 1` instead of :math:`n` makes the
# estimate right on average.
#
# .. math::
#
#    \begin{aligned}
#    \mathrm{Cov}(x) &= \mathrm{E}\bigl[ (x - \mu)(x - \mu)^\top \bigr] \\
#    &\approx \tilde X^\top \tilde X \,/\, (n - 1)
#    \end{aligned}

X, y, names = gs.load_diamonds()
columns = [names.index(name) for name in ("carat", "x", "y")]
X = X[:, columns]  # weight in carats, length and width in mm
centred = X - X.mean(axis=0)
covariance = centred.T @ centred / (len(X) - 1)
print(covariance.round(4))
print("np.cov agrees:", np.allclose(covariance, np.cov(X, rowvar=False)))
print("correlations:", np.corrcoef(X, rowvar=False)[np.triu_indices(3, 1)].round(3))

# %%
# The mean of many
# ~~~~~~~~~~~~~~~~
#
# The mean :math:`\bar X` of :math:`n` independent draws of mean :math:`\mu` and standard deviation :math:`\sigma` is
# random too. Variances add, and the factor :math:`1/n` comes out squared:
#
# .. math::
#
#    \begin{aligned}
#    \mathrm{E}\,\bar X &= \mu \\
#    \mathrm{Var}(\bar X) &= \frac{1}{n^2}\, n \sigma^2 = \frac{\sigma^2}{n} \\
#    \mathrm{sd}(\bar X) &= \frac{\sigma}{\sqrt n}
#    \end{aligned}
#
# This proves the law of large numbers. A variable that is :math:`\varepsilon` or more from its mean with probability
# :math:`q` has a variance of at least :math:`q \varepsilon^2`, which is **Chebyshev's inequality**:
#
# .. math::
#
#    P\bigl( |\bar X - \mu| \ge \varepsilon \bigr) \le \frac{\mathrm{Var}(\bar X)}{\varepsilon^2}
#    = \frac{\sigma^2}{n \varepsilon^2} \to 0
#
# A relative frequency is the mean of draws that are 1 with probability :math:`P` and else 0. Their variance is
# :math:`P(1 - P)`, which gave the band in the first picture.

sigma = float(two_dice.standard_deviation("first"))
sizes = 4 ** np.arange(6)
rng = np.random.default_rng(0)
means = [rng.integers(1, 7, size=(2_000, n)).mean(axis=1) for n in sizes]
spread = np.array([m.std() for m in means])
for n, measured in zip(sizes, spread, strict=True):
    print(f"n = {n:4}  measured {measured:.4f}  predicted {sigma / np.sqrt(n):.4f}")

# %%
# **The gradient of a batch is such a mean.** The gradient of a loss over all rows is the mean of the gradients of
# single rows. A batch of :math:`b` rows (here no intercept), drawn at random with replacement, gives an estimate that
# is right on average, with an error that falls as :math:`1/\sqrt b`. With :math:`g_i` the gradient of row :math:`i`,
# :math:`\bar g` that of all rows, :math:`g_B` that of the batch and :math:`\Sigma` the covariance matrix of the
# :math:`g_i`,
#
# .. math::
#
#    \begin{aligned}
#    \mathrm{E}\, \| g_B - \bar g \|^2 &= \frac{\mathrm{tr}\, \Sigma}{b} \\
#    \mathrm{tr}\, \Sigma &= \frac{1}{n} \sum_i \| g_i - \bar g \|^2
#    \end{aligned}
#
# Four times the work buys half the noise. With a constant step it never fades, and the coefficients end in a cloud
# about the answer. Here it is measured, in standardised columns and where a fit by steps starts: all coefficients and
# the intercept at zero.

Z, price = centred / X.std(axis=0), y / 1_000  # thousands of dollars
zero = np.zeros(3)
whole = np.append(*gs.textbook.gradient(Z, price, zero))
each = -price[:, None] * np.column_stack([Z, np.ones(len(Z))])  # slope times row
trace = np.sum((each - whole) ** 2) / len(Z)


def noise(batch, draws=1_000):
    squares = []
    for _ in range(draws):
        rows = rng.integers(len(Z), size=batch)
        part = np.append(*gs.textbook.gradient(Z[rows], price[rows], zero))
        squares.append(np.sum((part - whole) ** 2))
    return np.sqrt(np.mean(squares))


measured = np.array([noise(batch) for batch in sizes])
print("measured over predicted:", (measured / np.sqrt(trace / sizes)).round(2))

# %%

fig, (left, right) = plt.subplots(1, 2)
left.loglog(sizes, sigma / np.sqrt(sizes), label=r"$\sigma / \sqrt{n}$")
left.loglog(sizes, spread, "o", color="C1", label="2,000 means each")
left.set(xlabel="throws n", ylabel="standard deviation of the mean")
left.set_title("Means of n dice spread as one over root n")
right.loglog(sizes, np.sqrt(trace / sizes), label=r"$\sqrt{\mathrm{tr}\,\Sigma / b}$")
right.loglog(sizes, measured, "o", color="C1", label="1,000 batches each")
right.set(xlabel="rows b of a batch", ylabel="error of the gradient, 1,000 dollars")
right.set_title("Gradients of batches do the same")
for ax in (left, right):
    ax.legend()

# %%
# The normal law
# --------------
#
# The **normal** or **Gaussian** law with mean :math:`\mu` and standard deviation :math:`\sigma` has the density
#
# .. math::
#
#    p(y) = \frac{1}{\sqrt{2 \pi \sigma^2}} \exp\left( -\frac{(y - \mu)^2}{2 \sigma^2} \right) .
#
# Sums of many independent draws of one law, of finite variance above zero, come near it once their mean is subtracted
# and they are divided by their standard deviation: the **central limit theorem**. The logarithm of the density is a
# parabola, and the next page derives the squared loss from it. Compare the exact distribution function of the sum of
# :math:`n` dice with that of the normal law of the same mean and variance, halfway between the whole numbers.

chance = np.ones(1)
for n in range(1, 101):
    chance = np.convolve(chance, np.full(6, 1 / 6))  # of the sums n, n + 1, ..., 6 n
    if n in (1, 2, 10, 100):
        halves = np.arange(n, 6 * n + 1) + 0.5
        normal = stats.norm.cdf(halves, loc=3.5 * n, scale=sigma * np.sqrt(n))
        largest = np.abs(np.cumsum(chance) - normal).max()
        print(f"{n:3} dice: largest difference {largest:.5f}")

# %%
# Markov chains
# -------------
#
# A **Markov chain** moves among states in steps. Where it goes depends on where it is, and not on how it came there.
# That is the **Markov property**:
#
# .. math::
#
#    \begin{aligned}
#    &P(X_{t+1} = j \mid X_t = i, X_{t-1}, \dots, X_0) \\
#    &\qquad = P(X_{t+1} = j \mid X_t = i) = P_{ij}
#    \end{aligned}
#
# and the same at every :math:`t`. The **transition matrix** :math:`P` (the letter without an event) has a row for
# each state, and each row is a distribution. Take a machine, looked at once a day. `gradstep.textbook.MarkovChain`
# keeps fractions exact, as the sample space did.

tenth = Fraction(1, 10)
machine = gs.textbook.MarkovChain(
    [[9 * tenth, tenth, 0], [0, 7 * tenth, 3 * tenth], [5 * tenth, 0, 5 * tenth]],
    ["good", "worn", "broken"],
)
machine

# %%
# A law :math:`p` of the state, as a row, is :math:`pP` one step later, by the law of total probability. So after
# :math:`n` steps it is :math:`p P^n`, `gradstep.textbook.MarkovChain.law`, and entry :math:`(i, j)` of :math:`P^n` is
# the probability to go from :math:`i` to :math:`j` in :math:`n` steps.

print("after 2 days from good:", *machine.law("good", 2))
print("row of P^2:            ", *machine.after(2)[0])

# %%
# The stationary law
# ~~~~~~~~~~~~~~~~~~
#
# A law that a step leaves as it is, is **stationary**: :math:`p = pP` with :math:`\sum_i p_i = 1`. These are linear
# equations, and `gradstep.textbook.MarkovChain.stationary` solves them, here in fractions. The same chain in floats
# gives floats.

P, stationary = machine.transition, machine.stationary()
print(*stationary, "  left as it is:", (stationary @ P == stationary).all())
floats = gs.textbook.MarkovChain(P.astype(float), machine.states)
print(floats.stationary().round(6))

# %%
# Written as :math:`P^\top p^\top = p^\top`, it is an eigenvector of :math:`P^\top` with eigenvalue 1. The other
# eigenvalues say how fast :math:`p P^n` comes there: over many steps, the distance is multiplied by about the largest
# of their absolute values at each.

eigenvalues = np.linalg.eigvals(P.astype(float))
print("absolute values:", np.sort(np.abs(eigenvalues))[::-1].round(4))
settled = floats.stationary()
at_20, at_40 = (np.linalg.norm(floats.law("good", n) - settled) for n in (20, 40))
print("at a step, from 20 to 40:", round((at_40 / at_20) ** (1 / 20), 3))

# %%
# A chain is in **detailed balance** if as much probability flows from :math:`i` to :math:`j` as back,
# :math:`p_i P_{ij} = p_j P_{ji}`. Summed over :math:`i`, this makes :math:`p` stationary. It is not needed: this
# machine only goes round, from good to worn to broken to good. The same flows at each of the three, and nothing flows
# back.

flow = stationary[:, None] * P
print("good to worn", flow[0, 1], "  worn to good", flow[1, 0])
print("worn to broken", flow[1, 2], "  broken to good", flow[2, 0])

# %%
# `gradstep.textbook.MarkovChain.simulate` walks. The share of days in each state tends to the stationary law as well,
# a law of large numbers for chains: one long walk shows what many short ones would.

walk = machine.simulate(100_000, "good")
visits = np.cumsum(walk[:, None] == np.arange(3), axis=0)
share = visits / np.arange(1, len(walk) + 1)[:, None]
for n in (10, 100, 1_000, 10_000, 100_000):
    print(f"{n:6} days", share[n].round(4))
print(" stationary", floats.stationary().round(4))

# %%

fig, (left, right) = plt.subplots(1, 2, sharey=True)
seen = np.unique(np.geomspace(1, 100_000, 120).astype(int))
for begin, style in (("good", "k-"), ("broken", "k:")):
    left.plot([], [], style, label=f"from {begin}")
for i, marker in enumerate("os^"):
    for begin, style in (("good", "-"), ("broken", ":")):
        path = [floats.law(begin, n)[i] for n in range(16)]
        left.plot(path, style, color=f"C{i}", marker=marker, ms=3)
    name = machine.states[i]
    right.plot(seen, share[seen, i], marker=marker, markevery=17, ms=5, label=name)
    for ax in (left, right):
        ax.axhline(float(stationary[i]), color="0.5", ls="--", lw=0.8)
left.set(xlabel="days n", ylabel="probability or share", xticks=range(0, 16, 3))
left.set_title("The law of day n forgets its start")
right.set(xscale="log", xlabel="days of one walk")
right.set_title("Shares of a walk tend to the same (dashed)")
for ax in (left, right):
    ax.legend()

# %%
# Classes and periods
# ~~~~~~~~~~~~~~~~~~~
#
# Not every chain settles. Two states **communicate** if each can be reached from the other, and states that do form a
# **class**, a `gradstep.textbook.StateClass`. A class is **closed** if the chain never leaves it. Its **period** is
# the greatest common divisor of the lengths of all ways from a state back to it. A traffic light that is switched on
# after a while has two classes:

half = Fraction(1, 2)
light = gs.textbook.MarkovChain(
    [[half, half, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]],
    ["off", "red", "green", "amber"],
)
for of_class in light.classes:
    print(of_class)

# %%
# One closed class means one stationary law. A period above 1 means that :math:`p P^n` need not tend to it: started at
# red, the light is at one colour for certain, on every day.

print("stationary:", *light.stationary())
for n in (30, 31, 32):
    print(f"n = {n}:", *light.law("red", n))

# %%
# With two closed classes there are two stationary laws, and all mixtures of them. Where the chain ends depends on
# where it began, and on chance. `gradstep.textbook.MarkovChain.stationary` refuses, and says why.

trial = gs.textbook.MarkovChain(
    [[half, Fraction(1, 3), Fraction(1, 6)], [0, 1, 0], [0, 0, 1]],
    ["trial", "customer", "gone"],
)
try:
    trial.stationary()
except ValueError as error:
    print(error)
print("from trial, after 50 steps:", trial.law("trial", 50).astype(float).round(4))

# %%
# A chain of finitely many states with one closed class of period 1 tends to its stationary law from every start. That
# is the case to hope for.
#
# **Stochastic gradient descent is a Markov chain.** With a constant step :math:`\eta` and a batch :math:`B_t` that is
# drawn anew at each step,
#
# .. math:: w_{t+1} = w_t - \eta\, g_{B_t}(w_t)
#
# depends on where :math:`w_t` is and on fresh chance, not on the way there. (In shuffled epochs, the rows that are
# still to come are part of the state.) States are vectors here, so there is no finite matrix. Yet for the squared
# loss of linearly independent columns there is a stationary law, if the step is small enough: the cloud about the
# answer. :doc:`/course/6_markov_chain` measures it.
#
# Exercises
# ---------
#
# 1. Toss two fair coins. Let A be "the first is heads", B "the second is heads" and C "both are alike". Which pairs
#    are independent? Is :math:`P(A \cap B \cap C) = P(A) P(B) P(C)`?
# 2. The prevalence is 1 in 250 and the sensitivity 9 in 10. How specific must the test be, so that after one positive
#    you are as likely to be ill as to be well?
# 3. Let :math:`X` be :math:`-1`, 0 or 1, each with probability 1/3, and :math:`Y = X^2`. Find the covariance of
#    :math:`X` and :math:`Y`. Are they independent?
# 4. Find the variance of the difference of the larger and the smaller face, from their variances and their
#    covariance.
# 5. Four rows have the gradients 1, 2, 4 and 9. A batch of two rows is drawn *without* replacement, as in an epoch.
#    Find the variance of its mean over all such batches. What share is it of :math:`\sigma^2 / 2`, the variance with
#    replacement?
# 6. Five rooms are joined by doors: 0 and 1, 0 and 2, 1 and 2, 1 and 3, 2 and 4, 3 and 4. A mouse leaves its room by
#    a door chosen at random, all doors of the room being equally likely. Guess the stationary law from detailed
#    balance, then check it.
#
# Answers
# -------
#
# **Exercise 1.** Each event has probability 1/2 and each pair 1/4, so all pairs are independent. All three happen
# with "both heads", and 1/4 is not 1/8: pairs may be independent where the three are not.

coins = gs.textbook.SampleSpace.uniform(product("HT", "HT"))
A = coins.event(lambda toss: toss[0] == "H")
B = coins.event(lambda toss: toss[1] == "H")
C = coins.event(lambda toss: toss[0] == toss[1])
pairwise = A.independent_of(B) and A.independent_of(C) and B.independent_of(C)
product_of_three = A.probability * B.probability * C.probability
answer_1 = pairwise, (A & B & C).probability, product_of_three
print(answer_1)

# %%
# **Exercise 2.** Ill and well are equally likely if the ill positives are as many as the well positives: prevalence
# times sensitivity is one less prevalence, times one less specificity. Solve for the specificity.

answer_2 = 1 - prevalence * sensitivity / (1 - prevalence)
print(answer_2, "=", round(float(answer_2), 5))
gs.textbook.bayes(prior, {"ill": sensitivity, "well": 1 - answer_2})["ill"]

# %%
# **Exercise 3.** :math:`\mathrm{E}X = 0` and :math:`\mathrm{E}[XY] = \mathrm{E}[X^3] = 0`, so the covariance is zero.
# Yet :math:`X` fixes :math:`Y`. Covariance sees straight lines, and this is a parabola.

third = Fraction(1, 3)
table = [[0, third], [third, 0], [0, third]]  # a row for each X, a column for each Y
parabola = gs.textbook.Joint({"X": [-1, 0, 1], "Y": [0, 1]}, table)
answer_3 = parabola.covariance("X", "Y"), parabola.independent("X", "Y")
print(answer_3)

# %%
# **Exercise 4.** The factor :math:`-1` leaves :math:`\mathrm{Var}(-Y) = \mathrm{Var}(Y)` and turns the sign of the
# covariance, so the rule becomes the sum of the variances less twice the covariance.

alone = joint.variance("larger") + joint.variance("smaller")
answer_4 = alone - 2 * joint.covariance("larger", "smaller")
print(answer_4, "=", joint.variance(lambda larger, smaller: larger - smaller))

# %%
# **Exercise 5.** All batches of two rows are a sample space. Rows that are not drawn twice vary less: the share is
# :math:`(n - b)/(n - 1)`, and 0 for a batch of all rows.

from itertools import combinations

gradients = [1, 2, 4, 9]
batches = list(combinations(gradients, 2))
row = gs.textbook.Joint({"g": gradients}, [Fraction(1, 4)] * 4)
drawn = gs.textbook.Joint({"B": batches}, [Fraction(1, 6)] * 6)
variance = drawn.variance(lambda B: Fraction(sum(B), 2))
answer_5 = variance, variance / (row.variance("g") / 2)
print(*answer_5)

# %%
# **Exercise 6.** Let :math:`p_i` be proportional to the number of doors :math:`m_i`. Then :math:`p_i P_{ij}` is
# proportional to :math:`m_i / m_i = 1` for each door, both ways. That is detailed balance, so :math:`p` is
# stationary.

doors = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 4)]
joined = np.zeros((5, 5), dtype=int)
for i, j in doors:
    joined[i, j] = joined[j, i] = 1
choices = [[Fraction(m, sum(row)) for m in row] for row in joined.tolist()]
rooms = gs.textbook.MarkovChain(choices)
answer_6 = rooms.stationary()
print(*answer_6, "  doors:", joined.sum(axis=1))

# %%
# The next page, :doc:`/course/5_linear_regression`, fits a linear model by the squared loss, in three ways.
#
# Sources
# -------
#
# - A\. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge 2023, section 2.6
#   (probability and statistics), whose order the first half of this page follows, and section 3.1.3 (the normal law
#   and the squared loss).
# - A\. N. Kolmogorov, *Foundations of the Theory of Probability*, Chelsea 1956, chapter I: the axioms.
# - L\. Wasserman, *All of Statistics*, Springer 2004, chapters 1 to 5: events, random variables, expectation,
#   inequalities, the law of large numbers and the central limit theorem.
# - T\. Hastie, R. Tibshirani and J. Friedman, *The Elements of Statistical Learning*, 2nd edition, Springer 2009,
#   sections 3.2 (the covariance of least-squares coefficients) and 6.6.3 (naive Bayes).
# - J\. R. Norris, *Markov Chains*, Cambridge 1997, sections 1.2 (classes), 1.7 (stationary laws), 1.8 (convergence,
#   periods), 1.9 (detailed balance) and 1.10 (the share of time in a state).
# - W\. G. Cochran, *Sampling Techniques*, 3rd edition, Wiley 1977, sections 2.5 and 2.6: the variance of a mean
#   without replacement.
# - A\. Dieuleveut, A. Durmus and F. Bach, Bridging the gap between constant step size stochastic gradient descent and
#   Markov chains, *Annals of Statistics* 48 (2020) 1348-1382: the stationary law of descent with a constant step.

# %%
# Of a script, this shows the pictures.

plt.show()
