"""Losses: how far predictions are from their targets, and which way to move them.

Every loss takes ``reduction``: "mean", "sum" or "none" (one number per prediction). The mean of
nothing is 0, not NaN as in PyTorch: an image without objects must not destroy a training run.
"""

from __future__ import annotations

import numpy as np

from nn.ops.activation import log_softmax
from nn.ops.operation import Operation


class CrossEntropy(Operation):
    """-sum_c q_c ln p_c with p = softmax(input): how surprised the prediction is by the label.

    q_c is 1 for the label's class and 0 for others; with label smoothing e it is 1 - e for the
    label's class, plus e / C for every class (Szegedy et al., 2016, section 7).

    Args of forward:
        input: (N, C) or (N, C, d1, ...), one number per class.
        target: (N,) or (N, d1, ...) integers 0 to C - 1, or ``ignore_index``.
        weight: (C,) or None; q_c is multiplied by the class's weight, and a mean is divided by the
            sum of the labels' weights.
        ignore_index: targets of this value count nothing.
        label_smoothing: e, 0 to 1.

    Raises ValueError for shapes that do not fit and for a label that is no class.
    """

    def forward(
        self, input, *, target, weight=None, ignore_index=-100, reduction="mean",
        label_smoothing=0.0,
    ):  # fmt: skip
        _check_reduction("cross_entropy", reduction)
        target = np.asarray(target)
        _check_labels(input, target, weight, ignore_index)
        classes = input.shape[1]
        counts = target != ignore_index
        label = np.where(counts, target, 0)
        weight = np.ones(classes, input.dtype) if weight is None else weight.astype(input.dtype)
        label_weight = weight[label] * counts

        per_class = weight.reshape(classes, *[1] * (input.ndim - 2))
        self.truth = np.broadcast_to(per_class * (label_smoothing / classes), input.shape).copy()
        at_label = np.expand_dims(label, 1)
        smoothed = np.take_along_axis(self.truth, at_label, 1)
        smoothed += np.expand_dims((1 - label_smoothing) * weight[label], 1)
        np.put_along_axis(self.truth, at_label, smoothed, 1)
        self.truth *= np.expand_dims(counts, 1)

        self.log_p = log_softmax(input, 1)
        losses = -(self.truth * self.log_p).sum(axis=1)
        self.scale = _scale(reduction, label_weight.sum())
        return _reduce(losses, reduction, self.scale)

    def backward(self, grad_output):
        # d loss / d x_c = p_c sum_j q_j - q_c
        total = self.truth.sum(axis=1, keepdims=True)
        grad = np.exp(self.log_p) * total - self.truth
        scaled = grad_output * grad.dtype.type(self.scale)
        return grad * (np.expand_dims(scaled, 1) if scaled.ndim else scaled)


class BinaryCrossEntropyWithLogits(Operation):
    """-(t ln s + (1 - t) ln (1 - s)) with s = sigmoid(input): a yes-or-no question per element.

    Args of forward:
        input: any shape, logits; target: the same shape, 0 to 1.
        weight: multiplies each element's loss; anything that broadcasts to the input's shape.
        pos_weight: multiplies the part with t; broadcasts likewise. Above 1 it favours recall.
    """

    def forward(self, input, target, *, weight=None, pos_weight=None, reduction="mean"):
        _check_reduction("binary_cross_entropy_with_logits", reduction)
        _check_same_shape("binary_cross_entropy_with_logits", input, target)
        target = target.astype(input.dtype, copy=False)
        weight = 1 if weight is None else np.asarray(weight, input.dtype)
        pos_weight = 1 if pos_weight is None else np.asarray(pos_weight, input.dtype)
        # -ln s and -ln (1 - s) share ln (1 + e^-|x|), which never overflows.
        common = np.log1p(np.exp(-np.abs(input)))
        no = common + np.maximum(input, 0)
        yes = pos_weight * (common + np.maximum(-input, 0))
        losses = weight * (target * yes + (1 - target) * no)
        if losses.shape != input.shape:
            raise ValueError(
                "binary_cross_entropy_with_logits: weight and pos_weight must broadcast to "
                f"{input.shape}, they make {losses.shape}"
            )
        self.scale = _scale(reduction, input.size)
        self.d_target = weight * (yes - no) if self.needs_grad[1] else None
        sigmoid = np.exp(-no + input)
        self.d_input = weight * (
            sigmoid * (1 - target) - pos_weight * target * np.exp(-no)
        )  # fmt: skip
        return _reduce(losses, reduction, self.scale)

    def backward(self, grad_output):
        scaled = grad_output * grad_output.dtype.type(self.scale)
        return (
            scaled * self.d_input if self.needs_grad[0] else None,
            scaled * self.d_target if self.needs_grad[1] else None,
        )


class SmoothL1(Operation):
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta, with d = input - target.

    A parabola near 0, straight lines further out, so that one wild box cannot dominate. beta = 0 is
    |d|, whose derivative at 0 is taken as 0.

    Source: Girshick, Fast R-CNN, 2015, equation 3. Its sigma is 1 / sqrt(beta).
    """

    def forward(self, input, target, *, beta=1.0, reduction="mean"):
        _check_reduction("smooth_l1_loss", reduction)
        _check_same_shape("smooth_l1_loss", input, target)
        if beta < 0:
            raise ValueError(f"smooth_l1_loss: beta must not be negative, it is {beta}")
        difference = input - target.astype(input.dtype, copy=False)
        distance = np.abs(difference)
        near = distance < beta
        self.slope = np.sign(difference)
        losses = distance - 0.5 * beta
        if beta > 0:
            losses = np.where(near, 0.5 / beta * difference * difference, losses)
            self.slope = np.where(near, difference / beta, self.slope)
        self.scale = _scale(reduction, input.size)
        return _reduce(losses, reduction, self.scale)

    def backward(self, grad_output):
        grad = self.slope * (grad_output * grad_output.dtype.type(self.scale))
        return (
            grad if self.needs_grad[0] else None,
            -grad if self.needs_grad[1] else None,
        )


def _scale(reduction: str, total: float) -> float:
    """What the sum of the losses is multiplied with."""
    if reduction != "mean":
        return 1.0
    return 1.0 / float(total) if total else 0.0


def _reduce(losses: np.ndarray, reduction: str, scale: float) -> np.ndarray:
    if reduction == "none":
        return losses
    return np.asarray(losses.sum() * losses.dtype.type(scale))


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction is 'mean', 'sum' or 'none', not {reduction!r}")


def _check_same_shape(name: str, input: np.ndarray, target: np.ndarray) -> None:
    if input.shape != target.shape:
        raise ValueError(f"{name}: input {input.shape} and target {target.shape} differ in shape")


def _check_labels(
    input: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignore_index: int
) -> None:
    if input.ndim < 2 or target.shape != (input.shape[0], *input.shape[2:]):
        raise ValueError(
            f"cross_entropy: input (N, C, ...) and target (N, ...) expected, got {input.shape} and "
            f"{target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise ValueError(f"cross_entropy: targets are integers, these are {target.dtype}")
    classes = input.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"cross_entropy: weight {weight.shape} for {classes} classes")
    wrong = target[((target < 0) | (target >= classes)) & (target != ignore_index)]
    if wrong.size:
        raise ValueError(
            f"cross_entropy: label {int(wrong[0])} is not one of the {classes} classes, "
            f"0 to {classes - 1}"
        )
