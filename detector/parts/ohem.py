"""Online hard example mining: train the head with the examples it does worst on.

Most proposals are background that the head already recognises. Instead of drawing examples at
random, compute the loss of every proposal, keep the largest and forget the others (Shrivastava,
Gupta and Girshick 2016; the official Light-Head R-CNN keeps 256 per image). The choice is made
outside the graph; only the chosen examples are run again with gradients.
"""

from __future__ import annotations

import numpy as np


def hardest(losses: np.ndarray, keep: int) -> np.ndarray:
    """int64 indices, ascending, of the ``keep`` largest losses; all if there are no more.

    Args:
        losses: (K,), each example's classification loss plus its box loss.
            A NaN counts as the largest, so that it is not swept under the carpet.
        keep: how many; of equal losses the lower index is taken.
    """
    losses = np.where(np.isnan(losses), np.inf, losses)
    return np.sort(np.argsort(-losses, kind="stable")[:keep])
