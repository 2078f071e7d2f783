"""The vocabulary that kernels are written in: vectors, blocks of registers, windows, copies."""
