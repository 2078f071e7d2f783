"""The four losses: is there an object, where is it; which class is it, where exactly.

The first two train the region proposal network, the others the head. The targets are plain arrays
that the earlier stages picked; gradients flow into the predictions only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from nn import functional as F
from nn.tensor import Tensor

# By what a box loss is divided: all sampled examples, background included, or the positive ones.
BoxNormalizer = Literal["sampled", "positive"]


def objectness_loss(logits: Tensor, is_object: np.ndarray, weights: np.ndarray) -> Tensor:
    """Weighted binary cross-entropy, averaged over the sampled anchors.

    Args:
        logits: (S,); is_object: (S,) bool; weights: (S,).

    Returns:
        A tensor with one element, 0 where S is 0.
    """
    total = F.binary_cross_entropy_with_logits(
        logits, is_object.astype(logits.dtype), weight=weights, reduction="sum"
    )
    return total / max(len(is_object), 1)


def box_losses(deltas: Tensor, targets: np.ndarray, beta: float) -> Tensor:
    """Smooth L1 of each box, summed over its four deltas: (K, 4) twice -> (K,).

    0.5 d^2 / beta where |d| < beta, else |d| - beta / 2 (Fast R-CNN, equation 3).
    """
    return F.smooth_l1_loss(deltas, targets, reduction="none", beta=beta).sum(1)


def class_losses(logits: Tensor, labels: np.ndarray) -> Tensor:
    """Cross-entropy of each example over the classes and the background, (K, 1 + C) -> (K,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def focal_loss(logits: Tensor, is_class: np.ndarray, alpha: float, gamma: float) -> Tensor:
    """-a_t (1 - p_t)^gamma ln p_t, with p_t the probability that is given to what is true.

    With gamma 2, a class that is denied with 0.9 counts a hundredth of what cross-entropy makes of
    it, one denied with 0.5 a quarter. (Lin et al. 2017, "Focal Loss", equation 5.)

    Args:
        logits: (S, C), a sigmoid of its own for each class.
        is_class: (S, C) bool.
        alpha: weight a_t of the classes that are there; of the others it is 1 - alpha.
        gamma: at least 1.

    Returns:
        (S, C)
    """
    yes = is_class.astype(logits.dtype)
    doubt = F.sigmoid(logits * (1 - 2 * yes))  # 1 - p_t
    cross_entropy = F.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    weights = np.where(is_class, alpha, 1 - alpha).astype(logits.dtype)
    return cross_entropy * doubt**gamma * weights
