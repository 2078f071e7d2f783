"""Activation functions: a clamp costs nothing, any other is a function of what was just stored."""

from __future__ import annotations

import numpy as np

from nn.inference.trace import Call
from nn.ops.activation import (
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
)


def clamp(low: float, high: float):
    """min(max(x, low), high)"""

    def lower(network, call: Call) -> bool:
        value = call.inputs[0]
        for conv in network.parts_for(call, value) or [network.last_for(call, value)]:
            conv.clamp(low, high)
        return True

    return lower


def function(name: str):
    """One of ``nn.kernels.program.finish.FUNCTIONS``."""

    def lower(network, call: Call) -> bool:
        network.apply(call, call.inputs[0], name)
        return True

    return lower


def hard_sigmoid(network, call: Call) -> bool:
    """min(max(x / 6 + 1 / 2, 0), 1)"""
    sixth = np.full(call.output.shape[1], 1 / 6)
    conv = network.scale(call, call.inputs[0], sixth, 0.5)
    network.rename(conv, call.output)
    conv.clamp(0, 1)
    return True


def leaky_relu(network, call: Call) -> bool:
    network.apply(call, call.inputs[0], "leaky relu", call.options["negative_slope"])
    return True


LOWERINGS = {
    ReLU: clamp(0, np.inf),
    ReLU6: clamp(0, 6),
    Hardsigmoid: hard_sigmoid,
    Sigmoid: function("sigmoid"),
    Hardswish: function("hard swish"),
    SiLU: function("silu"),
    LeakyReLU: leaky_relu,
}
