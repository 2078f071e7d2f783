"""Normalisation: values to mean 0 and variance 1 or to their neighbours', vectors to length 1."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from nn import functional as F
from nn.layers.activation import ReLU
from nn.module import Module, Parameter
from nn.tensor import Tensor


class BatchNorm2d(Module):
    """Each channel to mean 0 and variance 1, then times ``weight`` plus ``bias``.

    In training the statistics are the batch's, and ``running_mean`` and ``running_var`` follow
    them by running = (1 - momentum) running + momentum batch; in evaluation they are used instead.
    ``freeze()`` keeps to the running statistics in training too and stops learning weight and bias.
    (Ioffe and Szegedy 2015.)

    Args:
        momentum: None for the plain mean over all batches seen.
        affine: whether there are weight and bias; None otherwise.
        track_running_stats: without running statistics (None) the batch's serve in evaluation too.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.frozen = False
        self.weight, self.bias = _weight_and_bias(num_features, affine)
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))
        else:
            self.running_mean = self.running_var = self.num_batches_tracked = None

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """``relu``: followed by max(0, .), in one pass over memory."""
        learning = self.training and not self.frozen
        momentum = self.momentum
        if learning and self.track_running_stats:
            self.num_batches_tracked[...] += 1
            if momentum is None:
                momentum = 1.0 / int(self.num_batches_tracked)
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            learning or not self.track_running_stats, momentum, self.eps, relu,
        )  # fmt: skip

    def fused_with(self, following: Module) -> Callable | None:
        if type(following) is ReLU and not (self._hooks or following._hooks):
            return functools.partial(self.forward, relu=True)
        return None

    def freeze(self) -> BatchNorm2d:
        self.frozen = True
        self.requires_grad_(False)
        return self

    def extra_repr(self) -> str:
        return f"{self.num_features}" + (", frozen" if self.frozen else "")


class GroupNorm(Module):
    """Like batch norm, but over groups of channels of one image: independent of the batch size.

    (Wu and He 2018.)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_groups} groups must divide {num_channels} channels")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        self.weight, self.bias = _weight_and_bias(num_channels, affine)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}"


class LayerNorm(Module):
    """Like batch norm, but over the last dimensions, ``normalized_shape``, of each sample.

    (Ba, Kiros and Hinton 2016.)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        super().__init__()
        is_int = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if is_int else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight, own_bias = _weight_and_bias(self.normalized_shape, elementwise_affine)
        self.bias = own_bias if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}"


class LocalResponseNorm(Module):
    """x / (k + alpha / size sum over ``size`` channels of x^2)^beta (Krizhevsky et al. 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class L2Norm(Module):
    """The channels at each pixel as a vector of length 1, then each times its own ``weight``.

    Brings a map whose numbers are large to the size of the others (Liu et al., ParseNet, 2015,
    section 3.3); SSD normalises VGG's conv4_3 so (Liu et al. 2016, section 3.1).

    Args:
        num_channels: C of the input (N, C, ...).
        scale: what ``weight`` (C,) starts with; SSD's 20 by default.
    """

    def __init__(self, num_channels: int, scale: float = 20.0, eps: float = 1e-12):
        super().__init__()
        self.num_channels, self.eps = num_channels, eps
        self.weight = Parameter(np.full(num_channels, scale, np.float32))

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.reshape(-1, *[1] * (input.ndim - 2))
        return F.normalize(input, 1, self.eps) * weight

    def extra_repr(self) -> str:
        return f"{self.num_channels}"


def _weight_and_bias(shape, affine: bool) -> tuple[Parameter | None, Parameter | None]:
    if not affine:
        return None, None
    return Parameter(np.ones(shape, np.float32)), Parameter(np.zeros(shape, np.float32))
