"""The batches of a training without end, by the number of the iteration."""

from __future__ import annotations

import hashlib

from detector.datasets import Batch, Loader


class Batches:
    """``batches[iteration]`` of a loader, epoch after epoch.

    In ascending order they are decoded ahead; any other order works too, for a task that was taken
    back to an earlier iteration.
    """

    def __init__(self, loader: Loader):
        self.loader = loader
        self._running, self._next = iter(()), -1

    def __getitem__(self, iteration: int) -> Batch:
        epoch, number = divmod(iteration, len(self.loader))
        if number == 0 or iteration != self._next:
            self.close()
            self._running = self.loader.epoch(epoch, number)
        self._next = iteration + 1
        return next(self._running)

    def close(self) -> None:
        """End the threads that decode ahead."""
        if hasattr(self._running, "close"):
            self._running.close()

    def __reduce__(self):
        # What is running cannot go to another process, and need not: it depends on the number only.
        return Batches, (self.loader,)


def order_seed(seed: int, task: str) -> int:
    """The seed of a task's order of pictures: two tasks need not see the same ones together.

    The task ``detection`` has the order that ``lighthead train`` has.
    """
    if task == "detection":
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {task}".encode()).digest()[:8], "little")
