"""Keeps decoded images in memory, as many as fit into a budget."""

from __future__ import annotations

import numpy as np

from detector.datasets.dataset import Dataset


class ImageCache:
    """``load`` of a data set, fast from the second time on.

    Images are kept as they come until the budget is spent, and then for good: an epoch visits each
    image once, so throwing out the least recently used would throw out just what comes next.

    Safe to use from several threads: at worst two decode the same image at once.

    Args:
        dataset: where images come from.
        megabytes: of pixels to keep; 0 keeps none.
    """

    def __init__(self, dataset: Dataset, megabytes: float):
        self.dataset = dataset
        self.free_bytes = megabytes * 1e6
        self._images: dict[int, np.ndarray] = {}

    def load(self, index: int) -> tuple[np.ndarray, dict]:
        """As ``Dataset.load``; the image is read-only."""
        image = self._images.get(index)
        if image is not None:
            return image, self.dataset.target(index)
        image, target = self.dataset.load(index)
        image.flags.writeable = False
        if image.nbytes <= self.free_bytes:
            self.free_bytes -= image.nbytes
            self._images[index] = image
        return image, target
