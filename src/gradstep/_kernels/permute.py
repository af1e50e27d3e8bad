"""An order of rows that need not be written down: where a row goes follows from its number and a key alone.

So each processor, and each thread of a GPU, finds the rows that are its own by itself. A Feistel network permutes the
numbers of ``bits`` bits, and what falls beyond the last row is sent through it again until it does not: M. Luby and C.
Rackoff, How to construct pseudorandom permutations from pseudorandom functions, *SIAM Journal on Computing* 17 (1988)
373-386; J. Black and P. Rogaway, Ciphers with arbitrary finite domains, *CT-RSA* 2002, for the second part; R.
Mitchell, D. Stokes, E. Frank and G. Holmes, Bandwidth-optimal random shuffling for GPUs, *ACM Transactions on Parallel
Computing* 9 (2022) 1-20.
"""

import numpy as np

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable

_ROUNDS = 6  # an even number, so that both halves are as long as before
_ALL = 0xFFFFFFFF


def mixed(x):
    """Return 32 bits that each depend on all 32 of a number: a hash of two products, found by search.

    C. Wellons, Hash function prospector, 2018, gives the constants.
    """
    # In plain Python numbers do not overflow; in compiled code they do, and the lowest bits are the same.
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _ALL
    x ^= x >> 15
    x = (x * 0x846CA68B) & _ALL
    return x ^ (x >> 16)


def bits_for(n):
    """Return how many bits number n rows, two at least."""
    bits = 2
    while (1 << bits) < n:
        bits += 1
    return bits


def permuted(i, n, bits, key, step):
    """Return where row `i` of `n` goes, under a key of two numbers of 32 bits, the second odd."""
    while True:
        low = bits // 2
        for number in range(_ROUNDS):
            high = bits - low
            rest = i & ((1 << low) - 1)
            turned = (i >> low) ^ (mixed((rest + key + number * step) & _ALL) & ((1 << high) - 1))
            i = (rest << high) | turned
            low = high
        if i < n:
            return i


for _function in (mixed, bits_for, permuted):
    compilable(_function, fastmath=False, error_model="numpy")


@kernel
def permute(out, start, n, key, step):
    """Set `out` to where the rows from `start` on go."""
    bits = bits_for(n)
    for t in range(out.size):
        out[t] = permuted(start + t, n, bits, key, step)


def keys(*numbers: int) -> tuple[int, int]:
    """Return the key that a seed and the numbers of what is drawn with it give."""
    key, step = np.random.SeedSequence(numbers).generate_state(2).tolist()
    return key, step | 1
