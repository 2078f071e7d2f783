"""Batches for training, decoded in the background while the CPU computes.

Threads, not processes: Pillow lets go of Python's lock while it decodes, and nothing has to be
copied or pickled. They run no kernel of ``nn``: they would wait for those of the training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from detector.datasets import streams
from detector.datasets.cache import ImageCache
from detector.datasets.dataset import Dataset
from detector.datasets.transforms import Picture

BATCHES_AHEAD = 3


@dataclass(frozen=True)
class Batch:
    """``images`` (H, W, 3) uint8 of any sizes, their ``targets`` and ``indices`` in the data set.

    ``dropped`` boxes became too thin to learn from when the images were resized.
    """

    images: list[np.ndarray]
    targets: list[dict]
    indices: np.ndarray
    dropped: int


class Loader:
    """The batches of every epoch.

    What is in a batch is a pure function of (seed, epoch, number of the batch): a run that resumes
    in the middle of an epoch gets the batches that it would have got. It depends neither on the
    number of threads nor on the cache.

    Args:
        dataset: what to load.
        transform: ``transform(image, target, rng, batch_rng)``, see ``TrainTransform``; None for
            images as they are.
        batch_size: images in a batch; the last of an epoch may have fewer.
        seed: of the order and of the transform.
        threads: that decode; 0 decodes in the calling thread.
        shuffle: a new order each epoch; otherwise that of the data set.
        drop_last: leave out a last batch that is not full.
        cache_megabytes: of decoded images to keep in memory.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Callable[..., Picture] | None,
        batch_size: int,
        seed: int = 0,
        threads: int = 2,
        shuffle: bool = True,
        drop_last: bool = False,
        cache_megabytes: float = 256.0,
    ):
        if batch_size < 1 or threads < 0:
            raise ValueError(
                f"a batch needs 1 image or more and threads are 0 or more, not {batch_size} and "
                f"{threads}"
            )
        self.dataset, self.transform = dataset, transform
        self.batch_size, self.seed, self.threads = batch_size, seed, threads
        self.shuffle, self.drop_last = shuffle, drop_last
        self.cache = ImageCache(dataset, cache_megabytes)

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def order(self, epoch: int) -> np.ndarray:
        """The images of an epoch, (len(dataset),) int64."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        rng = streams.generator(self.seed, streams.SHUFFLE, epoch)
        return rng.permutation(len(self.dataset))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, the first ``start`` of them left out.

        Raises (while iterating):
            UserError: an image cannot be decoded; names the file.
        """
        order = self.order(epoch)
        numbers = range(start, len(self))
        if self.threads == 0:
            for number in numbers:
                indices = self._indices(order, number)
                yield collate(indices, [self._load(int(i), epoch, number) for i in indices])
            return
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="image-loader")
        waiting: deque[tuple[np.ndarray, list[Future]]] = deque()
        try:
            for number in numbers:
                indices = self._indices(order, number)
                futures = [pool.submit(self._load, int(i), epoch, number) for i in indices]
                waiting.append((indices, futures))
                if len(waiting) > BATCHES_AHEAD:
                    yield take(waiting)
            while waiting:
                yield take(waiting)
        finally:
            # Also when the consumer stops early: by break, by an error, by Ctrl-C.
            pool.shutdown(wait=True, cancel_futures=True)

    def _indices(self, order: np.ndarray, number: int) -> np.ndarray:
        return order[number * self.batch_size : (number + 1) * self.batch_size]

    def _load(self, index: int, epoch: int, number: int) -> Picture:
        """One image as it goes into batch ``number``."""
        image, target = self.cache.load(index)
        if self.transform is None:
            return image, target
        rng = streams.generator(self.seed, streams.TRANSFORM, epoch, index)
        batch_rng = streams.generator(self.seed, streams.BATCH, epoch, number)
        return self.transform(image, target, rng, batch_rng)


def take(waiting: deque[tuple[np.ndarray, list[Future]]]) -> Batch:
    """The oldest batch, once its images are there."""
    indices, futures = waiting.popleft()
    return collate(indices, [future.result() for future in futures])


def collate(indices: np.ndarray, pictures: list[Picture]) -> Batch:
    images, targets = (list(part) for part in zip(*pictures, strict=True))
    dropped = sum(target.get("dropped", 0) for target in targets)
    return Batch(images, targets, indices, dropped)
