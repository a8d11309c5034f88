"""Measurements on this machine: of kernels, of its memory, and of what other libraries reach on it."""
