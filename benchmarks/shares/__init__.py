"""Where the time of a network goes, by the kinds of the thesis's table 3.1.

Each file asks one library, in that library's process: ``shares(case, arrays, variant)`` gives the
seconds of one call by kind, with one thread, measured layer by layer; for ``VARIANTS`` of it.
"""

# convolution: with whatever is fused into it. data: copying, splitting, concatenating.
# element-wise: batch norm, ReLU, additions. shuffle: of channels. other: pooling, fully connected
# layers, and the time between the layers.
KINDS = ("convolution", "data", "element-wise", "shuffle", "other")
CALLS = 10


def fill(seconds: dict[str, float], total: float) -> dict[str, float]:
    """All kinds, in seconds of one of ``CALLS`` calls; what nobody accounts for is "other"."""
    result = {kind: seconds.get(kind, 0.0) / CALLS for kind in KINDS}
    result["other"] += max(total - sum(seconds.values()), 0.0) / CALLS
    return result
