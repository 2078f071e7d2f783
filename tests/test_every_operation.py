"""Every public function of ``nn.functional`` and every method of ``Tensor`` meets every check.

A new name without a row fails; so does a row without a name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from every_checks import CHECKS, Row, check, positive, spread
from nn_checks import random
from torchvision_oracle import torchvision_operators

import nn
from nn import functional as F

LABELS = np.array([[0, 2, 1], [3, -100, 0]])
ROIS = np.array([[0, 1.2, 2.1, 20.7, 17.3], [1, 4.4, 0.3, 11.9, 22.2]])
HALVES = np.arange(120).reshape(4, 5, 6) % 3 == 0


def regions(function, *args, **options):
    """Rows for regions, one of each image."""
    return Row(
        lambda N: [spread(N, 8, 6, 7)],
        ours=lambda x: function(x, ROIS[: len(x)], *args, spatial_scale=0.3, **options),
        theirs=False,
    )


def seeded(function, *args):
    """A function of random numbers that are the same at each call."""
    return lambda x: function(x, *args, rng=np.random.default_rng(3))


def masked(p, dims):
    """What dropout should do, in PyTorch's arithmetic."""

    def function(x):
        import torch

        shape = x.shape[:dims] + (1,) * (x.ndim - len(x.shape[:dims]))
        stays = np.random.default_rng(3).random(tuple(shape), np.float32) >= p
        return x * torch.tensor(stays) / (1 - p)

    return function


def with_labels(function, **options):
    def call(x):
        target = LABELS[: len(x)]
        if not isinstance(x, nn.Tensor):
            import torch

            target = torch.tensor(target)
        return function(x, target, **options)

    return call


def torch_function(name):
    """``torch.nn.functional.name`` or ``torch.name``; skips where there is no PyTorch."""

    def call(*args, **options):
        import torch

        home = torch.nn.functional if hasattr(torch.nn.functional, name) else torch
        return getattr(home, name)(*args, **options)

    return call


def images_and(*others):
    return lambda N: [spread(N, 4, 5, 6), *(random(*other, seed=1) for other in others)]


def deformed(N, weight, groups, mask=False, bias=False, size=(5, 6)):
    """An image, offsets of up to three pixels (some lead outside), weights, and what is asked for.

    The offsets lie between pixels: on one, a derivative depends on the side.
    """
    taps = weight[2] * weight[3]
    steps = random(N, 2 * groups * taps, *size, seed=2)
    offset = np.floor(steps * 1.5) + 0.1 + 0.8 / (1 + np.exp(-steps))
    masks = [random(N, groups * taps, *size, seed=3)] if mask else []
    biases = [random(weight[0])] if bias else []
    return [spread(N, 4, 5, 6), offset, random(*weight, seed=1), *biases, *masks]


def torch_deform_conv2d(*args, **options):
    return torchvision_operators().deform_conv2d(*args, **options)


ELEMENTWISE = [Row(), Row(arrays=lambda N: [spread(N, 3)])]

FUNCTIONS = {
    "adaptive_avg_pool2d": [Row(args=(size,)) for size in (1, (3, 4), (None, 2), (None, None))],
    "adaptive_max_pool2d": [Row(args=(size,)) for size in (1, (3, 4), (None, 2), (None, None))],
    "avg_pool2d": [
        Row(args=(2,)),
        Row(args=(3, 2, 1, True, False)),
        Row(args=((3, 2), (1, 2), (1, 0)), options={"ceil_mode": True}),
    ],
    "batch_norm": [
        Row(images_and((4,), (4,)), options={"eps": 0.1},
            ours=lambda x, w, b, **k: F.batch_norm(x, None, None, w, b, training=True, **k),
            theirs=lambda x, w, b, **k: torch_function("batch_norm")(
                x, None, None, w, b, training=True, **k), empty=ValueError),
        Row(images_and((4,), (4,)), args=(random(4), positive(4)),
            ours=lambda x, w, b, *s: F.batch_norm(x, *s, w, b),
            theirs=lambda x, w, b, *s: torch_function("batch_norm")(x, *s, w, b),
            nan_gradient=False),
        Row(args=(random(4), positive(4))),
    ],
    "binary_cross_entropy_with_logits": [
        Row(lambda N: [spread(N, 3), positive(N, 3) / 4], options={"reduction": "none"}),
        Row(lambda N: [spread(N, 3), positive(N, 3) / 4],
            options={"weight": positive(3), "pos_weight": positive(3)}, empty=0.0),
        Row(lambda N: [spread(N, 3), positive(N, 3) / 4], options={"reduction": "sum"}),
    ],
    "cat": [
        Row(lambda N: [spread(N, 4, 5), spread(N, 2, 5)], ours=lambda a, b: F.cat((a, b, a), 1),
            theirs=lambda a, b: torch_function("cat")((a, b, a), 1)),
        Row(lambda N: [spread(N, 4)], ours=lambda a: F.cat([a]),
            theirs=lambda a: torch_function("cat")([a])),
    ],
    "channel_shuffle": [Row(args=(2,)), Row(args=(1,)), Row(args=(4,))],
    "chunk": [Row(args=(2, 1)), Row(args=(4, 2)), Row(args=(3, -1)), Row(args=(7, 1))],
    "conv2d": [
        Row(images_and((6, 4, 3, 2), (6,))),
        Row(images_and((6, 2, 3, 3)), options={"stride": 2, "padding": (1, 2), "groups": 2}),
        Row(images_and((4, 1, 3, 3), (4,)), options={"padding": 2, "dilation": 2, "groups": 4}),
        Row(images_and((3, 4, 3, 2), (3,)), options={"padding": "same"}),
        Row(images_and((3, 4, 4, 3), (3,)), options={"padding": "same", "dilation": (1, 2)}),
        Row(images_and((3, 4, 1, 1)), options={"padding": "valid"}),
    ],
    "conv_transpose2d": [
        Row(images_and((4, 6, 3, 2), (6,))),
        Row(images_and((4, 3, 3, 3), (6,)),
            options={"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
        Row(images_and((4, 1, 2, 2)), options={"stride": 2, "groups": 4}),
        Row(images_and((4, 2, 3, 2)), options={"stride": 3, "dilation": 2, "padding": (2, 0)}),
        Row(images_and((4, 2, 1, 1)), options={"stride": 2}),
    ],
    "cross_entropy": [
        Row(lambda N: [spread(N, 4, 3)], ours=with_labels(F.cross_entropy, reduction="none"),
            theirs=with_labels(torch_function("cross_entropy"), reduction="none")),
        Row(lambda N: [spread(N, 4, 3)], ours=with_labels(F.cross_entropy, label_smoothing=0.1),
            theirs=with_labels(torch_function("cross_entropy"), label_smoothing=0.1), empty=0.0),
    ],
    "deform_conv2d": [
        Row(lambda N: deformed(N, (6, 2, 3, 3), 2, bias=True), options={"padding": 1},
            theirs=torch_deform_conv2d),
        Row(lambda N: deformed(N, (3, 4, 3, 2), 1, mask=True, bias=True, size=(3, 5)),
            ours=lambda x, o, w, b, m: F.deform_conv2d(
                x, o, w, b, (2, 1), (2, 1), (2, 3), m),
            theirs=lambda x, o, w, b, m: torch_deform_conv2d(
                x, o, w, b, (2, 1), (2, 1), (2, 3), m)),
    ],
    "deform_ps_roi_pool": [
        Row(lambda N: [spread(N, 16, 6, 7), random(N, 4, 2, 2, seed=4)],
            ours=lambda x, trans: F.deform_ps_roi_pool(
                x, ROIS[: len(x.data)], trans, 2, spatial_scale=0.3, sampling_ratio=3),
            theirs=False),
    ],
    "dropout": [
        Row(ours=seeded(F.dropout, 0.3, True), theirs=masked(0.3, None)),
        Row(args=(0.3, False)),
    ],
    "dropout2d": [
        Row(ours=seeded(F.dropout2d, 0.3, True), theirs=masked(0.3, 2)),
        Row(args=(0.3, False)),
    ],
    "flatten": [Row(), Row(args=(1,)), Row(args=(1, 2)), Row(args=(-2, -1))],
    "group_norm": [
        Row(images_and((4,), (4,)), ours=lambda x, w, b: F.group_norm(x, 2, w, b),
            theirs=lambda x, w, b: torch_function("group_norm")(x, 2, w, b)),
        Row(args=(4,), options={"eps": 0.1}),
    ],
    "hardsigmoid": ELEMENTWISE,
    "hardswish": [
        Row(nan_gradient=False),  # PyTorch's depends on the size of the tensor
        Row(lambda N: [spread(N, 3)], nan_gradient=False),
    ],
    "interleave": [
        Row(lambda N: [spread(N, 4, 5), random(N, 4, 5)], theirs=lambda a, b: torch_function(
            "channel_shuffle")(torch_function("cat")((a, b), 1), 2)),
    ],
    "interpolate": [
        Row(args=((7, 4),)),
        Row(options={"scale_factor": 2}),
        Row(options={"size": (7, 4), "mode": "bilinear", "align_corners": True}),
        Row(options={"scale_factor": 1.7, "mode": "bilinear"}),
    ],
    "layer_norm": [
        Row(images_and((5, 6), (5, 6)), ours=lambda x, w, b: F.layer_norm(x, (5, 6), w, b),
            theirs=lambda x, w, b: torch_function("layer_norm")(x, (5, 6), w, b)),
        Row(args=((6,),), options={"eps": 0.1}),
    ],
    "leaky_relu": [Row(), Row(args=(0.1,))],
    "linear": [
        Row(lambda N: [spread(N, 5), random(3, 5), random(3)]),
        Row(lambda N: [spread(N, 2, 5), random(3, 5)]),
    ],
    "local_response_norm": [
        Row(args=(3,), options={"alpha": 0.5}),
        Row(args=(2, 0.9, 0.5, 2.0)),
        Row(args=(11, 0.3)),
        Row(args=(1,)),
    ],
    "log_softmax": [Row(args=(dim,)) for dim in (1, -1)],
    "max_pool2d": [
        Row(args=(2,)),
        Row(args=(3, 2, 1, 1, True)),
        Row(args=((2, 3), 1, (1, 0)), options={"dilation": (2, 1)}),
    ],
    "normalize": [
        Row(theirs=lambda x: torch_function("normalize")(x)),
        Row(args=(-1, 9.0), theirs=lambda x, *more: torch_function("normalize")(x, 2.0, *more)),
    ],
    "pad": [
        Row(args=((1, 2),)),
        Row(args=((0, 1, 2, 0), "constant", -7.5)),
        Row(args=((-1, 2, -2, -1, 1, 0),)),
    ],
    "pixel_shuffle": [Row(args=(2,)), Row(lambda N: [spread(N, 3, 18, 2, 1)], args=(3,))],
    "ps_roi_align": [regions(F.ps_roi_align, 2, mode=mode) for mode in ("avg", "max")],
    "ps_roi_pool": [regions(F.ps_roi_pool, 2)],
    "relu": ELEMENTWISE,
    "relu6": ELEMENTWISE,
    "roi_align": [regions(F.roi_align, (2, 3))],
    "roi_pool": [regions(F.roi_pool, (2, 3))],
    "sigmoid": ELEMENTWISE,
    "silu": ELEMENTWISE,
    "smooth_l1_loss": [
        Row(lambda N: [spread(N, 3), spread(N, 3)[::-1] / 3], options={"reduction": "none"}),
        Row(lambda N: [spread(N, 3), random(N, 3)], options={"beta": 0.2}, empty=0.0),
    ],
    "softmax": [Row(args=(dim,)) for dim in (1, -1)],
    "split": [Row(args=(2, 1)), Row(args=([1, 4], 2)), Row(args=(4, -1)), Row(args=(1,))],
    "stack": [
        Row(lambda N: [spread(N, 4), random(N, 4)], ours=lambda a, b, d=dim: F.stack((a, b), d),
            theirs=lambda a, b, d=dim: torch_function("stack")((a, b), d))
        for dim in (0, 1, -1)
    ],
    "stochastic_depth": [
        Row(ours=seeded(F.stochastic_depth, 0.4, mode, True), theirs=masked(0.4, dims))
        for mode, dims in (("row", 1), ("batch", 0))
    ],
    "tanh": ELEMENTWISE,
    "where": [
        Row(lambda N: [spread(N, 4, 5, 6), random(6)],
            ours=lambda a, b: F.where(HALVES, a, b),
            theirs=lambda a, b: torch_where(a, b)),
    ],
}  # fmt: skip


def torch_where(a, b):
    import torch

    return torch.where(torch.tensor(HALVES), a, b)


def method(name, *args, arrays=lambda N: [spread(N, 4, 5)], theirs=None, **options):
    """A row for ``x.name(*args, **options)``, on both sides."""

    def call(x, *args, **options):
        return getattr(x, theirs if theirs and not isinstance(x, nn.Tensor) else name)(
            *args, **options
        )

    # Of equal elements and of NaN, only one gets a gradient here.
    nan_gradient = name not in {"abs", "amax", "amin", "max", "min", "prod"}
    return Row(arrays, args, options, ours=call, nan_gradient=nan_gradient)


def reductions(name, theirs=None):
    """All dimensions, one, two, kept."""
    return [
        method(name, theirs=theirs),
        method(name, -1, theirs=theirs),
        method(name, (1, 2), theirs=theirs),
        method(name, (2, 1), keepdim=True, theirs=theirs),
    ]


def extremes(name, theirs):
    """The same; there is no largest number among none."""
    first, *others = reductions(name, theirs)
    return [replace(first, empty=ValueError), *others]


POSITIVE = dict(arrays=lambda N: [positive(N, 4, 5)])

METHODS = {
    "abs": [method("abs")],
    "amax": extremes("amax", "amax"),
    "amin": extremes("amin", "amin"),
    "chunk": [method("chunk", 2, 1)],
    "clamp": [method("clamp", -2.5, 3.1), method("clamp", max=1.0), method("clamp", min=1.0)],
    "contiguous": [method("contiguous")],
    "exp": [method("exp")],
    "expand": [
        method("expand", 3, -1, 4, arrays=lambda N: [spread(N, 1)]),
        method("expand", (3, -1, 4), arrays=lambda N: [spread(N, 1)]),
    ],
    "flatten": [method("flatten", 1), method("flatten", 0, 1)],
    "log": [method("log", **POSITIVE)],
    "max": extremes("max", "amax"),
    "mean": reductions("mean"),
    "min": extremes("min", "amin"),
    "permute": [method("permute", 2, 0, 1), method("permute", (0, 2, 1))],
    "prod": [
        method("prod", **POSITIVE),
        method("prod", 1, **POSITIVE),
        method("prod", -1, keepdim=True, **POSITIVE),
        method("prod", 1, arrays=lambda N: [spread(N, 4, 5) * (spread(N, 4, 5) > -4)]),
    ],
    "reshape": [method("reshape", -1, 20), method("reshape", (-1, 5, 2))],
    "split": [method("split", 3, 1)],
    "sqrt": [method("sqrt", **POSITIVE)],
    "squeeze": [
        method("squeeze", arrays=lambda N: [spread(N, 1, 4, 1)]),
        method("squeeze", 1, arrays=lambda N: [spread(N, 1, 4, 1)]),
        method("squeeze", 2, arrays=lambda N: [spread(N, 1, 4, 1)]),
    ],
    "std": [
        *reductions("std"),
        method("std", 1, False),
        method("std", 1, unbiased=False, keepdim=True),
    ],
    "sum": reductions("sum"),
    "transpose": [method("transpose", 1, 2), method("transpose", -1, 0)],
    "unsqueeze": [method("unsqueeze", dim) for dim in (0, 2, -1)],
    "var": [
        *reductions("var"),
        method("var", (0, 2), False),
        method("var", 1, unbiased=False, keepdim=True),
    ],
    "view": [method("view", -1, 20)],
    "T": [Row(lambda N: [spread(N, 4)], ours=lambda x: x.T, theirs=lambda x: x.T)],
    "__add__": [Row(lambda N: [spread(N, 4), random(4)], ours=lambda a, b: a + b + 2.5)],
    "__sub__": [Row(lambda N: [spread(N, 4), random(4)], ours=lambda a, b: 2.5 - (a - b))],
    "__mul__": [Row(lambda N: [spread(N, 4), random(4)], ours=lambda a, b: 3 * a * b)],
    "__truediv__": [Row(lambda N: [spread(N, 4), positive(4)], ours=lambda a, b: a / b + 2 / b)],
    "__neg__": [Row(lambda N: [spread(N, 4)], ours=lambda a: -a)],
    "__pow__": [Row(lambda N: [positive(N, 4)], ours=lambda a: a**3 + a**-0.5)],
    "__matmul__": [Row(lambda N: [spread(N, 3, 4), random(4, 2)], ours=lambda a, b: a @ b)],
    "__getitem__": [
        Row(lambda N: [spread(N, 5, 4)], ours=lambda a: a[:, 1:, ::2]),
        Row(lambda N: [spread(N, 5, 4)], ours=lambda a: a[:, [3, 0, 3]]),
        Row(lambda N: [spread(N, 5, 4)], ours=lambda a: a[..., -1]),
    ],
}
# What makes no new tensor of this one, or is the same as another (``__radd__``).
NOT_OPERATIONS = {
    "backward", "data", "detach", "dim", "dtype", "grad", "item", "ndim", "node", "numel", "numpy",
    "requires_grad", "shape", "size", "__radd__", "__rmul__", "__rsub__", "__rtruediv__",
}  # fmt: skip
ARITHMETIC = {"add", "sub", "mul", "truediv", "neg", "pow", "matmul", "getitem"}


def rows(table):
    return [
        pytest.param(name, row, id=f"{name}-{index}")
        for name, each in table.items()
        for index, row in enumerate(each)
    ]


def test_every_function_has_a_row():
    assert set(FUNCTIONS) == set(F.__all__) - {"pair"}


def test_every_method_has_a_row():
    operators = {f"__{part}{name}__" for part in ("", "r") for name in ARITHMETIC}
    public = {name for name in dir(nn.Tensor) if not name.startswith("_") or name in operators}
    assert set(METHODS) == public - NOT_OPERATIONS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("name, row", rows(FUNCTIONS))
def test_function(name, row, what):
    ours = row.ours or getattr(F, name)
    theirs = torch_function(name) if row.theirs is None else row.theirs
    check(what, ours, theirs, row)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("name, row", rows(METHODS))
def test_method(name, row, what):
    check(what, row.ours, row.ours if row.theirs is None else row.theirs, row)
