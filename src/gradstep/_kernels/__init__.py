"""The compiled kernels: one file a device, each built from the same formulas."""
