"""Solvers: each a start and an advance by one round; the loop is in `gradstep._fit`."""
