"""Online hard example mining: train the head with the examples it does worst on.

Most proposals are background that the head already recognises. Instead of drawing examples at
random, compute the loss of every proposal, keep the largest and forget the others (Shrivastava,
Gupta and Girshick 2016; the official Light-Head R-CNN keeps 256 per image). The choice is made
outside the graph; only the chosen examples are run again with gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from detector.parts.matching import NEGATIVE, POSITIVE
from detector.settings import MOST, NotNegative, Range, Settings


def hardest(losses: np.ndarray, keep: int) -> np.ndarray:
    """int64 indices, ascending, of the ``keep`` largest losses; all if there are no more.

    Args:
        losses: (K,), each example's classification loss plus its box loss.
            A NaN counts as the largest, so that it is not swept under the carpet.
        keep: how many; of equal losses the lower index is taken.
    """
    losses = np.where(np.isnan(losses), np.inf, losses)
    return np.sort(np.argsort(-losses, kind="stable")[:keep])


@dataclass(frozen=True)
class HardNegatives(Settings):
    """All boxes of objects, and of the background those that are hardest to tell from one.

    Attributes:
        ratio: so many boxes of the background for each of an object (SSD, section 2.2).
        least: so many at least, also where there is no object. The paper has none there: a picture
            without objects teaches nothing.
    """

    ratio: NotNegative = 3.0
    least: Annotated[int, Range(0, MOST)] = 0

    def __call__(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """int64 places in ``labels``, ascending.

        Args:
            labels: (M,) of ``AnchorMatcher``; logits: (M, 1 + C), column 0 the background.
        """
        positive, negative = np.flatnonzero(labels == POSITIVE), np.flatnonzero(labels == NEGATIVE)
        count = max(int(self.ratio * len(positive)), self.least)
        # Their cross-entropy, log(sum of exp) - background, in the order that exp cannot overflow.
        doubtful = logits[negative]
        highest = doubtful.max(axis=1, initial=-np.inf)
        losses = np.log(np.exp(doubtful - highest[:, None]).sum(axis=1)) + highest - doubtful[:, 0]
        return np.sort(np.concatenate([positive, negative[hardest(losses, count)]]))
