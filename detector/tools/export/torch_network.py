"""A network as PyTorch's code: its layers by name, then a line for each thing that it computes.

``LAYERS`` says what a layer is made with there, ``OPERATIONS`` what an operation without weights
is: ``{0}`` is its first input, ``{stride}`` an option. A new one of either is a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

import numpy as np

import nn
from nn.inference.any_size import NoEquivalentError, Seen, traces
from nn.inference.trace import Value
from nn.ops import activation, arithmetic, channel_shuffle, elementwise, pooling, reduction, shape
from nn.ops.convolution import Conv2d
from nn.ops.indexing import Index
from nn.ops.interpolation import Interpolate
from nn.ops.normalization import LocalResponseNorm

LAYERS = {
    nn.Conv2d: nn.Conv2d.extra_repr,
    nn.ConvTranspose2d: nn.ConvTranspose2d.extra_repr,
    nn.Linear: lambda layer: (
        f"{layer.in_features}, {layer.out_features}, bias={layer.bias is not None}"
    ),
    nn.BatchNorm2d: lambda layer: f"{layer.num_features}, eps={layer.eps}",
    nn.GroupNorm: lambda layer: f"{layer.num_groups}, {layer.num_channels}, eps={layer.eps}",
}


def pad(seen: Seen, x: str) -> str:
    sides = [side for widths in reversed(seen.options["widths"]) for side in widths]
    return f"F.pad({x}, {sides}, value={seen.options['value']})"


def cat(seen: Seen, *inputs: str) -> str:
    return f"torch.cat([{', '.join(inputs)}], {seen.options['dim']})"


def reshape(seen: Seen, x: str) -> str:
    sizes = [-1 if size is None else size for size in seen.shape]
    if seen.keeps_batch:
        sizes[0] = f"len({x})"
    if sizes.count(-1) > 1:
        raise NoEquivalentError(f"Reshape: more than one size of {seen.shape} varies")
    return f"{x}.reshape({', '.join(map(str, sizes))})"


def index(seen: Seen, x: str) -> str:
    given = seen.options["index"]
    return f"{x}[{', '.join(map(part, given if isinstance(given, tuple) else (given,)))}]"


def part(index) -> str:
    """One axis of an index."""
    if isinstance(index, slice):
        ends = ["" if end is None else str(end) for end in (index.start, index.stop)]
        return ":".join(ends + [str(index.step)] * (index.step is not None))
    if index is Ellipsis:
        return "..."
    return str(np.asarray(index).tolist())


def interpolate(seen: Seen, x: str) -> str:
    if None in seen.factor:
        raise NoEquivalentError("Interpolate: the factor depends on the input")
    how = f"scale_factor={tuple(seen.factor)}, mode={seen.options['mode']!r}"
    if seen.options["mode"] == "bilinear":
        how += f", align_corners={seen.options['align_corners']}"
    return f"F.interpolate({x}, {how})"


WINDOW = "{0}, {kernel_size}, {stride}, {padding}"
OPERATIONS = {
    arithmetic.Add: "{0} + {1}",
    arithmetic.Subtract: "{0} - {1}",
    arithmetic.Multiply: "{0} * {1}",
    arithmetic.Divide: "{0} / {1}",
    elementwise.Clamp: "{0}.clamp({min}, {max})",
    activation.ReLU: "F.relu({0})",
    activation.ReLU6: "F.relu6({0})",
    activation.LeakyReLU: "F.leaky_relu({0}, {negative_slope})",
    activation.Sigmoid: "torch.sigmoid({0})",
    activation.Tanh: "torch.tanh({0})",
    activation.Hardsigmoid: "F.hardsigmoid({0})",
    activation.Hardswish: "F.hardswish({0})",
    activation.SiLU: "F.silu({0})",
    activation.Softmax: "{0}.softmax({dim})",
    reduction.Mean: "{0}.mean({dim}, keepdim={keepdim})",
    pooling.MaxPool2d: f"F.max_pool2d({WINDOW}, {{dilation}}, {{ceil_mode}})",
    pooling.AvgPool2d: f"F.avg_pool2d({WINDOW}, {{ceil_mode}}, {{count_include_pad}})",
    pooling.AdaptiveAvgPool2d: "F.adaptive_avg_pool2d({0}, {output_size})",
    pooling.AdaptiveMaxPool2d: "F.adaptive_max_pool2d({0}, {output_size})",
    LocalResponseNorm: "F.local_response_norm({0}, {size}, {alpha}, {beta}, {k})",
    channel_shuffle.ChannelShuffle: "F.channel_shuffle({0}, {groups})",
    shape.Transpose: "{0}.permute({axes})",
    shape.Cat: cat,
    shape.Pad: pad,
    shape.Reshape: reshape,
    Index: index,
    Interpolate: interpolate,
}


NETWORK = '''\
class Network(nn.Module):
    """All layers, by the names of their weights, and the way from one to the next."""

    def __init__(self):
        super().__init__()
        layers = {{
{layers}
        }}
        for name, layer in layers.items():
            *parents, last = name.split(".")
            place = self
            for parent in parents:
                if parent not in dict(place.named_children()):
                    place.add_module(parent, nn.Module())
                place = place.get_submodule(parent)
            place.add_module(last, layer)

    def forward(self, x):
        layer = self.get_submodule
{forward}
'''


def network_code(module: nn.Module, shapes: Sequence[Sequence[int]]) -> str:
    """The class ``Network``, which needs ``torch``, ``nn`` and ``F``.

    Args:
        shapes: two that its input may have, see ``nn.inference.any_size``.

    Raises:
        NoEquivalentError: a layer or an operation has no row here.
    """
    layers, lines = layer_lines(module), forward_lines(module, shapes)
    return NETWORK.format(
        layers=indent("\n".join(layers), 12 * " "), forward=indent("\n".join(lines), 8 * " ")
    ).rstrip()


def layer_lines(module: nn.Module) -> list[str]:
    """``"backbone.conv1.0": nn.Conv2d(3, 24, ...),`` for each layer that has weights."""
    lines = []
    for name, layer in module.named_modules():
        if layer._parameters:
            kind = next((kind for kind in LAYERS if isinstance(layer, kind)), None)
            if kind is None:
                raise NoEquivalentError(f"{type(layer).__name__} has no form in PyTorch here")
            lines.append(f'"{name}": nn.{kind.__name__}({LAYERS[kind](layer)}),')
    return lines


def forward_lines(module: nn.Module, shapes: Sequence[Sequence[int]]) -> list[str]:
    """The body of ``forward(self, x)``: a variable is used again once nobody reads its value."""
    trace, calls = traces(module, shapes)
    modules = dict(module.named_modules())
    layers = {id(array): name for name, array in module.state_dict().items()}
    results = [value for value in trace.outputs if isinstance(value, Value)]
    last = {id(part): number for number, seen in enumerate(calls) for part in seen.inputs}
    last |= {id(value): len(calls) for value in results}
    names, lines = {id(trace.input): "x"}, []
    for number, seen in enumerate(calls):
        inputs = [part for part in seen.inputs if isinstance(part, Value)]
        weights = [layers[id(part)] for part in seen.inputs if id(part) in layers]
        if weights:
            path = weights[0].rpartition(".")[0]
            code = layer_code(path, modules[path], seen, names[id(inputs[0])])
        else:
            code = expression(seen, [names.get(id(part), part) for part in seen.inputs])
        free = {names[id(value)] for value in inputs if last[id(value)] == number}
        taken = {names[key] for key in names if last.get(key, -1) >= number} - free
        name = next(n for n in ("x", *(f"x{i}" for i in range(1, 999))) if n not in taken)
        names[id(seen.first.output)] = name
        lines.append(f"{name} = {code}")
    return [*lines, f"return {', '.join(names[id(value)] for value in results)}"]


def layer_code(path: str, layer: nn.Module, seen: Seen, x: str) -> str:
    """What a layer does; one that pads in a way of its own is a function of its weights."""
    code = f'layer("{path}")'
    if type(layer) in LAYERS:
        return f"{code}({x})"
    if seen.operation is not Conv2d:
        raise NoEquivalentError(f"{type(layer).__name__} has no form in PyTorch here")
    how = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | seen.options
    how = ", ".join(f"{name}={how[name]}" for name in ("stride", "padding", "dilation", "groups"))
    return f"F.conv2d({x}, {code}.weight, {code}.bias, {how})"


def expression(seen: Seen, inputs: list[str | np.ndarray]) -> str:
    """One operation; inputs are variables, or constants of one number."""
    name = seen.operation.__name__
    if seen.operation not in OPERATIONS:
        raise NoEquivalentError(f"{name} has no form in PyTorch here")
    if any(not isinstance(each, str) and each.size > 1 for each in inputs):
        raise NoEquivalentError(f"{name} of a constant that is no layer's has no form here")
    inputs = [each if isinstance(each, str) else repr(each.item()) for each in inputs]
    code = OPERATIONS[seen.operation]
    if callable(code):
        return code(seen, *inputs)
    return code.format(*inputs, **{"count_include_pad": True} | seen.options)
