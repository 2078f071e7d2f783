"""What a network costs, layer by layer: parameters, multiply-adds, memory access.

The thesis designs by these numbers (section 3.1): multiply-adds, which it calls FLOPs, say how much
there is to compute, and memory access how many numbers have to be moved for it, which is what a
depthwise convolution or a batch norm really costs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nn.inference.trace import trace
from nn.layers import Conv2d, ConvTranspose2d, Dropout, Identity, Linear
from nn.module import Module
from nn.tensor import Tensor


class Row(NamedTuple):
    """One call of one layer.

    ``output_shape`` is None for a layer that has parameters but was not called. Parameters that
    an earlier row has counted count 0.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int
    memory_access: int


@dataclass
class Summary:
    """The costs of a model for one input; prints as a table.

    Attributes:
        rows: the layers in the order in which they ran.
    """

    rows: list[Row]

    @property
    def parameters(self) -> int:
        """Numbers the model learns, each counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and fully connected layers, biases not counted: the thesis's FLOPs."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory_access(self) -> int:
        """Numbers read and written, if each layer reads its input and weights exactly once."""
        return sum(row.memory_access for row in self.rows)

    def __str__(self) -> str:
        header = ("layer", "kind", "output", "parameters", "multiply-adds", "memory access")
        lines = [header]
        for row in self.rows:
            shape = "not called" if row.output_shape is None else _times(row.output_shape)
            lines.append((row.name, row.kind, shape, *(f"{number:,}" for number in row[3:])))
        totals = (self.parameters, self.multiply_adds, self.memory_access)
        lines.append(("total", "", "", *(f"{number:,}" for number in totals)))
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        text = ["  ".join(_align(line, widths)) for line in lines]
        return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """Count what ``model`` does with an input, without doing it: at any size it takes little time.

    - Multiply-adds of a convolution: OH OW OC (C / groups) KH KW; of a fully connected layer: one
      per weight. Everything else counts 0, as in the thesis.
    - Memory access: elements of the input, the output and the parameters. For a 1x1 convolution
      with c1 input and c2 output channels this is hw (c1 + c2) + c1 c2, the thesis's equation 3-1;
      we use the same sum for every layer. What modules do between their layers (concatenating,
      shuffling, adding) is not seen.

    All counts are for the whole input; give a batch of 1 for the usual numbers.

    Args:
        model: any module that takes one tensor. It is traced (``nn.inference.trace``) in evaluation
            mode and left as it was.
        input_shape: (N, C, H, W), or (C, H, W) for one image, or whatever the model takes.

    Raises:
        ValueError: the shape is not made of positive integers or the model does not take it.
    """
    shape = _check_shape(input_shape)
    counter = _Counter(model)
    with counter.watching():
        try:
            trace(model, shape)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"summary: {type(model).__name__} does not take input of shape {shape}: {error}"
            ) from error
    counter.count_idle()
    return Summary(counter.rows)


class _Counter:
    """Writes a row whenever a layer of the model has run.

    Layers are the modules without parts, and those with parameters of their own. What does nothing
    in evaluation is left out.
    """

    def __init__(self, model: Module):
        self.rows: list[Row] = []
        self.names = {
            module: name
            for name, module in model.named_modules()
            if module._parameters or not any(module.children())
            if not isinstance(module, Identity | Dropout)
        }
        self.counted: set[int] = set()  # ids of parameters

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        hooks = [module.register_forward_hook(self.count_call) for module in self.names]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def count_call(self, module: Module, inputs: tuple, output) -> None:
        outputs = list(_tensors(output))
        shape = outputs[0].shape if outputs else ()
        weights = sum(parameter.numel() for parameter in module._parameters.values())
        moved = sum(tensor.numel() for tensor in (*_tensors(inputs), *outputs))
        self.rows.append(
            Row(
                self.names[module],
                type(module).__name__,
                shape,
                self.new_parameters(module),
                multiply_adds(module, inputs, shape),
                moved + weights,
            )
        )

    def count_idle(self) -> None:
        for module, name in self.names.items():
            parameters = self.new_parameters(module)
            if parameters:
                self.rows.append(Row(name, type(module).__name__, None, parameters, 0, 0))

    def new_parameters(self, module: Module) -> int:
        """Elements of the module's parameters that no row has counted yet."""
        new = [p for p in module._parameters.values() if id(p) not in self.counted]
        self.counted.update(id(parameter) for parameter in new)
        return sum(parameter.numel() for parameter in new)


def multiply_adds(layer: Module, inputs: tuple, output_shape: tuple[int, ...]) -> int:
    """Multiplications (each with an addition) of one call of ``layer``."""
    if isinstance(layer, ConvTranspose2d):
        per_input = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        return inputs[0].numel() * per_input
    if isinstance(layer, Conv2d):
        per_output = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    elif isinstance(layer, Linear):
        per_output = layer.in_features
    else:
        per_output = 0
    return math.prod(output_shape) * per_output


def _check_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    is_shape = isinstance(input_shape, Sequence) and all(
        isinstance(size, int | np.integer) and size > 0 for size in input_shape
    )
    if not is_shape or len(input_shape) == 0:
        raise ValueError(
            f"summary: input_shape {input_shape!r} is not positive integers like (1, 3, 224, 224)"
        )
    shape = tuple(int(size) for size in input_shape)
    return (1, *shape) if len(shape) == 3 else shape


def _tensors(value) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _align(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Texts to the left, numbers to the right."""
    pairs = zip(cells, widths, strict=True)
    return [
        cell.ljust(width) if column < 3 else cell.rjust(width)
        for column, (cell, width) in enumerate(pairs)
    ]


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
