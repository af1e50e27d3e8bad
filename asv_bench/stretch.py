"""Look for sketches that stretch too much: ``python asv_bench/stretch.py [--draws N]``, some four minutes.

Rows that each have a direction to themselves are where sparse signs are worst: two that meet in a stripe with the same
sign stretch their sum. The share of draws beyond ``1 + rho`` is printed for some numbers of stripes; gradstep has 16.
"""

import argparse

import numpy as np

from gradstep._preconditioner import sketch_rows


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
        "| rows alone | stripes | draws | beyond 1 + rho | largest over 1 + rho |\n| ---: | ---: | ---: | ---: | ---: |"
    )
    for rows in (2, 5, 10, 20, 40, 100):
        sketch = sketch_rows(rows)
        limit = 1 + (np.sqrt(rows) + 4) / np.sqrt(sketch)
        draws = options.draws if rows <= 20 else -(-options.draws // 5)
        for stripes in (4, 8, 16):
            rng = np.random.default_rng((rows, stripes))
            found = np.array([largest(stripes, rows, sketch, rng) for _ in range(draws)]) / limit
            print(f"| {rows} | {stripes} | {draws} | {np.count_nonzero(found > 1)} | {found.max():.3f} |", flush=True)


if __name__ == "__main__":
    main()
