"""An order of rows that need not be written down: where a row goes follows from its number and a key alone.

So each processor, and each thread of a GPU, finds the rows that are its own by itself. A Feistel network permutes pairs
of numbers, of which there are few more than rows, and what falls beyond the last row is sent through it again: M. Luby
and C. Rackoff, How to construct pseudorandom permutations from pseudorandom functions, *SIAM Journal on Computing* 17
(1988) 373-386; J. Black and P. Rogaway, Ciphers with arbitrary finite domains, *CT-RSA* 2002, for numbers of any count;
R. Mitchell, D. Stokes, E. Frank and G. Holmes, Bandwidth-optimal random shuffling for GPUs, *ACM Transactions on
Parallel Computing* 9 (2022) 1-20.
"""

import numpy as np

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable

_PAIRS_OF_ROUNDS = 3
_ALL = 0xFFFFFFFF
# In plain Python numbers do not overflow; in compiled code they do, and the lowest 32 bits are the same.


def mixed(x):
    """Return 32 bits that each depend on all 32 of a number: a hash of two products, found by search.

    C. Wellons, Hash function prospector, 2018, gives the constants.
    """
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _ALL
    x ^= x >> 15
    x = (x * 0x846CA68B) & _ALL
    return x ^ (x >> 16)


def _hashed(x):
    """Return 32 bits of which the highest depend on all of a number."""
    x = (x * 0x9E3779B1) & _ALL
    x ^= x >> 15
    return (x * 0x85EBCA77) & _ALL


def halves(n):
    """Return how n rows are numbered by pairs: the bits of the second number, and how many first numbers there are."""
    bits = 2
    while (1 << bits) < n:
        bits += 1
    low = bits // 2
    return low, (n + (1 << low) - 1) >> low


def permuted(i, n, low, count, key, step):
    """Return where row `i` of `n` goes, numbered by pairs as `halves` says, under a key of two numbers of 32 bits."""
    while True:
        first, second = i >> low, i & ((1 << low) - 1)
        k = key
        for _ in range(_PAIRS_OF_ROUNDS):
            first += (_hashed(second + k) * count) >> 32
            if first >= count:
                first -= count
            second ^= _hashed(first + k + step) >> (32 - low)
            k += 2 * step
        i = (first << low) | second
        if i < n:
            return i


for _function in (mixed, _hashed, halves, permuted):
    compilable(_function, fastmath=False, error_model="numpy")


@kernel
def permute(out, start, n, key, step):
    """Set `out` to where the rows from `start` on go."""
    low, count = halves(n)
    for t in range(out.size):
        out[t] = permuted(start + t, n, low, count, key, step)


def keys(*numbers: int) -> tuple[int, int]:
    """Return the key that a seed and the numbers of what is drawn with it give."""
    key, step = np.random.SeedSequence(numbers).generate_state(2).tolist()
    return key, step | 1
