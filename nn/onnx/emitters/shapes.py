"""What moves elements: shapes, slices, channels, sizes of maps."""

from __future__ import annotations

import numpy as np

from nn.ops.channel_shuffle import ChannelShuffle
from nn.ops.indexing import Index
from nn.ops.interpolation import Interpolate
from nn.ops.shape import Cat, Expand, Pad, Reshape, Transpose

LAST = 2**63 - 1  # of any axis


def reshape(graph, seen, x):
    """One size may vary: it follows from the others. (0 is the size that the axis has.)"""
    shape = [0, *seen.shape[1:]] if seen.keeps_batch else seen.shape
    if shape.count(None) > 1:
        raise NotImplementedError(f"more than one size of {shape} depends on the input")
    return graph.add("Reshape", x, [-1 if size is None else size for size in shape])


def transpose(graph, seen, x):
    return graph.add("Transpose", x, perm=[int(axis) for axis in seen.options["axes"]])


def cat(graph, seen, *inputs):
    return graph.add("Concat", *inputs, axis=int(seen.options["dim"]))


def pad(graph, seen, x):
    before, after = zip(*seen.options["widths"], strict=True)
    return graph.add("Pad", x, [*before, *after], np.float32(seen.options["value"]))


def expand(graph, seen, x):
    if None in seen.shape:
        raise NotImplementedError("the size depends on the input")
    return graph.add("Expand", x, seen.shape)


def index(graph, seen, x):
    """Slices and whole numbers, which take their axis away; or a list of numbers of one axis."""
    given = seen.options["index"]
    parts = list(given) if isinstance(given, tuple) else [given]
    kinds = [type(part) for part in parts]
    if type(Ellipsis) in kinds:
        place = kinds.index(type(Ellipsis))
        parts[place : place + 1] = [slice(None)] * (seen.rank - len(parts) + 1)
    rest = [part for part in parts if not (isinstance(part, slice) and part == slice(None))]
    if len(rest) == 1 and isinstance(rest[0], list | np.ndarray):
        numbers = np.asarray(rest[0])
        if numbers.ndim == 1 and numbers.dtype.kind == "i":
            axis = next(axis for axis, part in enumerate(parts) if part is rest[0])
            return graph.add("Gather", x, numbers.astype(np.int64), axis=axis)
    starts, ends, axes, steps, gone = [], [], [], [], []
    for axis, part in enumerate(parts):
        if isinstance(part, int | np.integer):
            starts.append(int(part))
            ends.append(LAST if part == -1 else int(part) + 1)
            steps.append(1)
            gone.append(axis)
        elif isinstance(part, slice) and (part.step is None or part.step > 0):
            if part == slice(None):
                continue
            starts.append(part.start or 0)
            ends.append(LAST if part.stop is None else part.stop)
            steps.append(part.step or 1)
        else:
            raise NotImplementedError("more than slices, whole numbers and a list of numbers")
        axes.append(axis)
    sliced = graph.add("Slice", x, starts, ends, axes, steps) if axes else x
    return graph.add("Squeeze", sliced, gone) if gone else sliced


def shuffle(graph, seen, x):
    """A table of ``groups`` rows, turned. (A Gather of channels would be one node; OpenVINO 2026.4
    moves it into the weights of two convolutions that follow, and there wrongly.)"""
    groups = seen.options["groups"]
    rows = graph.add("Reshape", x, [0, groups, seen.shape[1] // groups, -1])
    turned = graph.add("Transpose", rows, perm=[0, 2, 1, 3])
    return graph.add("Reshape", turned, graph.add("Shape", x))


def interpolate(graph, seen, x):
    """By a factor that is the same at any size."""
    options = seen.options
    if None in seen.factor:
        raise NotImplementedError("the factor depends on the input")
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if options["mode"] == "bilinear":
        corners = options.get("align_corners", False)
        how = {"coordinate_transformation_mode": "align_corners" if corners else "half_pixel"}
        how["mode"] = "linear"
    scales = np.array([1, 1, *seen.factor], np.float32)
    return graph.add("Resize", x, "", scales, **how)


EMITTERS = {
    Reshape: reshape,
    Transpose: transpose,
    Cat: cat,
    Pad: pad,
    Expand: expand,
    Index: index,
    ChannelShuffle: shuffle,
    Interpolate: interpolate,
}
