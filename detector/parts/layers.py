"""What the detector's own layers have in common: normalisation and initial values.

Hidden layers start either as N(0, 0.01^2), as the official code has it, or as He et al. 2015 do,
which keeps the size of the signal through a ReLU: with the former a small network on a short
schedule spends its first epochs on growing its weights. Biases start at 0.
"""

from __future__ import annotations

import math
from typing import Literal

import nn

GAUSSIAN_STD = 0.01

Init = Literal["gaussian", "he"]
Norm = Literal["none", "batch"]


def init_hidden(
    layer: nn.Conv2d | nn.Linear, init: Init, before_relu: bool = True
) -> nn.Conv2d | nn.Linear:
    """Set the weights of a layer inside the network.

    Args:
        init: "gaussian" for N(0, 0.01^2); "he" for N(0, g / fan_in), where g is 2 before a ReLU,
            which halves the signal's variance, else 1.
        before_relu: whether a ReLU follows.
    """
    if init == "he":
        fan_in, _ = nn.init.fan_in_and_out(layer.weight)
        nn.init.normal_(layer.weight, 0.0, math.sqrt((2.0 if before_relu else 1.0) / fan_in))
    else:
        nn.init.normal_(layer.weight, 0.0, GAUSSIAN_STD)
    return _zero_bias(layer)


def init_output(layer: nn.Conv2d | nn.Linear, std: float = GAUSSIAN_STD) -> nn.Conv2d | nn.Linear:
    """Set the weights of a layer whose output is a prediction: small, so that it starts neutral."""
    nn.init.normal_(layer.weight, 0.0, std)
    return _zero_bias(layer)


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """The layer for "batch" or "none" (the identity)."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


def _zero_bias(layer):
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
