"""Modules made of parts, and what a compiled one is held to."""

import numpy as np

import nn
from nn.inference import compile as compile_module
from nn.kernels.machine.jit import twins


class Layers(nn.Module):
    """A module that is a function of its parts."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


def unit(inputs, outputs, kernel=1, stride=1, groups=1, dilation=1, act=nn.ReLU):
    """A convolution that keeps the size, batch norm, activation."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), act())


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def plain(module, x):
    with nn.no_grad():
        return module(nn.Tensor(x)).data


def check(module, shape):
    """Compiled in one stage; what it gives is what the module and the twins give."""
    x = random(shape)
    expected, compiled = plain(module.eval(), x), compile_module(module, shape)
    assert len(compiled.plan.stages) == 1, compiled.plan.stages
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(expected).max()}
    np.testing.assert_allclose(compiled(x), expected, **tolerance)
    with twins():
        np.testing.assert_allclose(compiled(x), expected, **tolerance)
    return compiled
