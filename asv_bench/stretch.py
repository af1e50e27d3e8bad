"""Look for sketches that stretch too much: ``python asv_bench/stretch.py [--draws N]``, a minute or two.

Rows that each have a direction to themselves are where sparse signs are worst: two that meet in a stripe with the same
sign stretch their sum, and of many rows the fullest bucket stands out. The share of draws beyond ``1 + rho`` is printed
for some numbers of stripes; gradstep has 16, and its rho is for them. It is also put beside that of Gaussian sketches.
"""

import argparse

import numpy as np

from gradstep._drawn import sketch_rows
from gradstep._stretch import of_signs


def largest(stripes, rows, sketch, rng):
    """Return the largest singular value of a sketch of so many rows, each alone in its direction."""
    places = rng.integers(0, -(-sketch // stripes), (rows, stripes)).T
    signs = rng.choice((-1.0, 1.0), (rows, stripes)).T
    meet = places[:, :, np.newaxis] == places[:, np.newaxis]
    return np.sqrt(
        np.linalg.eigvalsh((meet * signs[:, :, np.newaxis] * signs[:, np.newaxis]).sum(axis=0) / stripes)[-1]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=20_000)
    options = parser.parse_args()
    print(
        "| rows alone | stripes | draws | beyond 1 + rho | largest over 1 + rho | beyond that of Gaussian sketches |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for rows in (2, 5, 10, 20, 40, 100, 300, 1000):
        sketch = sketch_rows(rows)
        limit, gaussian = 1 + of_signs(rows, sketch), 1 + (np.sqrt(rows) + 4) / np.sqrt(sketch)
        draws = -(-options.draws // (1 if rows <= 20 else 5 if rows <= 100 else 20 if rows <= 300 else 100))
        for stripes in (4, 8, 16) if rows <= 100 else (16,):
            rng = np.random.default_rng((rows, stripes))
            found = np.array([largest(stripes, rows, sketch, rng) for _ in range(draws)])
            beyond, beyond_gaussian = np.count_nonzero(found > limit), np.count_nonzero(found > gaussian)
            over = found.max() / limit
            print(f"| {rows} | {stripes} | {draws} | {beyond} | {over:.3f} | {beyond_gaussian} |", flush=True)


if __name__ == "__main__":
    main()
