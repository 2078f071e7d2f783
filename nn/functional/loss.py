"""Losses. ``reduction`` is "mean", "sum" or "none"; the mean of nothing is 0."""

from __future__ import annotations

import numpy as np

from nn.functional.arguments import array_of
from nn.ops import loss
from nn.tensor import Tensor, apply


def cross_entropy(
    input: Tensor,
    target: np.ndarray | Tensor,
    weight: np.ndarray | Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-ln softmax(input) at the label.

    Args:
        input: (N, C) or (N, C, d1, ...): a number per class.
        target: (N,) or (N, d1, ...) integers, 0 to C - 1; ``ignore_index`` does not count.
        weight: (C,) factors of the classes; the mean is then a weighted one.
        label_smoothing: this share of the label is spread over all classes.
    """
    return apply(
        loss.CrossEntropy, input, target=array_of(target), weight=array_of(weight),
        ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing,
    )  # fmt: skip


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor | np.ndarray,
    weight: np.ndarray | Tensor | None = None,
    reduction: str = "mean",
    pos_weight: np.ndarray | Tensor | None = None,
) -> Tensor:
    """-t ln s - (1 - t) ln (1 - s), s = sigmoid(input), element by element.

    Args:
        input, target: the same shape; targets 0 to 1.
        weight: factors of the elements, pos_weight: of the part with t; both broadcast.
    """
    return apply(
        loss.BinaryCrossEntropyWithLogits, input, target, weight=array_of(weight),
        pos_weight=array_of(pos_weight), reduction=reduction,
    )  # fmt: skip


def smooth_l1_loss(
    input: Tensor, target: Tensor | np.ndarray, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta, with d = input - target."""
    return apply(loss.SmoothL1, input, target, reduction=reduction, beta=beta)
