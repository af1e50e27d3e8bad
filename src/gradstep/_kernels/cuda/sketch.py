"""A sketch on the GPU: each bucket of each stripe finds its rows by itself, and sums them in order.

A row goes to one bucket of each stripe, with a random sign. Which one follows from a permutation that need not be
written down, of the rows of a stretch of the table; the GPU's cache holds a stretch while all stripes read it, so that
it comes from memory once. Each bucket has as many rows of a stretch as any other.
"""

import math
from collections.abc import Callable

from gradstep._kernels.cuda.held import Held, build_adder
from gradstep._kernels.cuda.rows import centred_entry, scaled_entry
from gradstep._kernels.cuda.sums import PLAIN, sums
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.permute import halves, mixed, permuted

_STRETCH_BYTES = 1 << 24


def stretch(n: int, row_bytes: int, buckets: int) -> int:
    """Return the rows of a stretch, a multiple of the buckets."""
    rows = min(n, max(1, _STRETCH_BYTES // row_bytes))
    return -(-rows // buckets) * buckets


def build_sketch(*, single: bool, held: Held | None = None) -> Callable[..., None]:
    """Return the kernel: it sets ``out[:, cell]`` to the two parts of a bucket's sums of weighted rows ``[z, 1, y]``.

    Cells are the buckets of the first stripe, then those of the second, and so on.
    """

    def place(position, source):
        stripe, bucket, n, rows, share, low, count, key, step = source
        number = position // share
        at = bucket * share + position % share
        of_stretch = mixed((key + number) & 0xFFFFFFFF)
        i = number * rows + permuted(at, rows, low, count, mixed((of_stretch + stripe * step) & 0xFFFFFFFF), step)
        return i if i < n else -1

    def fetch(i, c, data):
        return data[1][i * data[2]], data[0][i, c]

    def link(high, low, v, response, i, c, data):  # noqa: ARG001 - a row has no score here
        _, _, _, y_scale, y_centre, part, key, stripe = data
        if v > 0.0:
            root = math.sqrt(v) * part
            if mixed(mixed((int(i) + key) & 0xFFFFFFFF) ^ (stripe + 1)) & 1:
                root = -root
            return root, 0.0, root * (response * y_scale[c] - y_centre[c])
        return 0.0, 0.0, 0.0

    # In float32 to subtract a centre would round, and columns that depend on each other would no longer: without, an
    # entry is what the caller passed, and the centre comes off the sums.
    entry = scaled_entry if single else centred_entry
    add_rows = build_adder(sums(PLAIN, single), entry, place, fetch, link, held, scored=False, beside=True)

    def sketch(
        X, y, weight, stride, n, d, k, rows, stripes, buckets, key, step, y_scale, y_centre, scale, centre, groups,
        tile, at, F, beside, totals, out,
    ):  # fmt: skip
        table = X, scale, centre, d, 1
        share = rows // buckets
        stretches = (n + rows - 1) // rows
        numbered = halves(rows)
        part = 1.0 / math.sqrt(stripes)
        for cell in range(cuda.blockIdx.x, stripes * buckets, cuda.gridDim.x):
            stripe, bucket = cell // buckets, cell % buckets
            source = stripe, bucket, n, rows, share, *numbered, key, step
            data = y, weight, stride, y_scale, y_centre, part, key, stripe
            add_rows(
                table, F, 0, 0, stretches * share, k, (1, groups, tile), (at, F, beside, totals), source, data, out,
                cell,
            )  # fmt: skip

    return sketch
