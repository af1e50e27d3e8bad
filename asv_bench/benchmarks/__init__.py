"""Benchmarks for asv: one file a part of the library."""
