"""Where did the NaN come from? Names the first layer whose output is not a finite number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from detector.errors import UserError
from nn.module import Module
from nn.tensor import Tensor


class NonFiniteError(UserError):
    """Training met a NaN or an infinity; the message says where."""


def explain_non_finite(
    model: Module, again: Callable[[], object], losses: Mapping[str, float]
) -> str:
    """Run a batch through the model once more and say what is wrong.

    Args:
        model: as it was when the loss turned out wrong.
        again: computes the losses once more.
        losses: what came out.

    Returns:
        A clause that names, whichever comes first on the way: a weight, a layer, a loss, or else
        the gradients.
    """
    # Not the running statistics: the pass that failed has spoilt them already.
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            return f"the weight {name} is {_kind(parameter.data)}"
    layer = _first_layer(model, again)
    if layer:
        return layer
    for name, value in losses.items():
        if name != "loss" and not np.isfinite(value):
            return f"the loss {name} is {value} although every layer's output is finite"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            return f"the gradient of {name} is {_kind(parameter.grad)}, though the loss is finite"
    return "the gradients are too long to be measured, though the loss is finite"


def _first_layer(model: Module, again: Callable[[], object]) -> str:
    found: list[str] = []

    def inspect(name: str):
        def hook(module, inputs, output):
            for array in _arrays(output):
                if not found and not np.isfinite(array).all():
                    kind = type(module).__name__
                    found.append(f"the output of layer {name} ({kind}) is {_kind(array)}")

        return hook

    hooks = [module.register_forward_hook(inspect(name)) for name, module in model.named_modules()]
    try:
        again()
    except (ValueError, FloatingPointError, IndexError):
        pass  # the loss may well fail on NaN; the layers before it have been seen
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _arrays(output) -> Iterator[np.ndarray]:
    """All arrays in a module's output, however nested."""
    if isinstance(output, Tensor):
        yield output.data
    elif isinstance(output, np.ndarray):
        yield output
    elif isinstance(output, Mapping):
        yield from _arrays(list(output.values()))
    elif isinstance(output, Iterable) and not isinstance(output, str):
        for part in output:
            yield from _arrays(part)


def _kind(array: np.ndarray) -> str:
    return "NaN" if np.isnan(array).any() else "infinite"
