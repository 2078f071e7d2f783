"""Numba kernels and their NumPy twins: arrays in, arrays out, nothing about gradients.

The only package that imports Numba. Each file holds one topic; ``jit`` holds the compiler flags.
"""

from nn.kernels.machine.jit import twins
from nn.kernels.machine.pool import get_num_threads, one_at_a_time, set_num_threads

__all__ = ["get_num_threads", "one_at_a_time", "set_num_threads", "twins"]
