"""Differentiable operations on plain arrays, forward beside backward, one topic a file."""
