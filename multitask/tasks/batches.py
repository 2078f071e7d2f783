"""The batches of a training without end, by the number of the iteration."""

from __future__ import annotations

import hashlib
from typing import Any

from detector.training.objectives.objective import Objective


class Batches:
    """``batches[iteration]`` of an objective, epoch after epoch.

    In ascending order they are decoded ahead; any other order works too, for a task that was taken
    back to an earlier iteration.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        self._running, self._next = iter(()), -1

    def __getitem__(self, iteration: int) -> Any:
        epoch, number = divmod(iteration, len(self.objective))
        if number == 0 or iteration != self._next:
            self.close()
            self._running = self.objective.batches(epoch, number)
        self._next = iteration + 1
        return next(self._running)

    def close(self) -> None:
        """End the threads that decode ahead."""
        if hasattr(self._running, "close"):
            self._running.close()


def order_seed(seed: int, task: str) -> int:
    """The seed of a task's order of pictures: two tasks need not see the same ones together.

    The task ``detection`` has the order that ``lighthead train`` has.
    """
    if task == "detection":
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {task}".encode()).digest()[:8], "little")
