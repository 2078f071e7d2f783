"""The contract of an objective: what the trainer asks of the thing that is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

import nn
from detector.datasets import Loader
from detector.settings import Settings
from detector.training.run_folder import RunFolder


class Objective:
    """A model, its batches, its losses, and how good it is.

    Those of ``OBJECTIVES`` are made from a ``Session``, and for a training that goes on also from
    what ``describe`` said when it began: what stands there is not found out again, and no initial
    weights are read. What an objective does must depend on its arguments alone: training goes on
    after a kill, and parts of it may be done twice.

    Attributes:
        task: its row in ``OBJECTIVES``.
        Recipe: the class of its session's recipe; it has ``steps``.
        figures: what ``measure`` returns: the names, and how to print each.
        best: the figure that decides which weights are kept.
        model: what is trained.
        loader: makes the batches.
        measured: how many pictures ``measure`` looks at.
        prepares: whether ``prepare`` has anything to do.
    """

    task: ClassVar[str]
    Recipe: ClassVar[type[Settings]]
    figures: ClassVar[Mapping[str, str]] = {}
    best: ClassVar[str] = ""

    model: nn.Module
    loader: Loader
    measured: int = 0
    prepares: bool = False

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.loader)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number ``first`` on."""
        return self.loader.epoch(epoch, first)

    def loss(self, batch: Any, rng: np.random.Generator) -> dict[str, nn.Tensor]:
        """Losses by name, one element each, to be added up; ``rng`` makes all random choices."""
        raise NotImplementedError

    def name(self, batch: Any) -> str:
        """Which pictures are in a batch, for error messages."""
        raise NotImplementedError

    def prepare(self, check: Callable[[], None]) -> None:
        """What is done to the model before the first iteration; done again if it was stopped.

        Args:
            check: called now and then; may raise to stop.
        """

    def measure(self, check: Callable[[], None]) -> dict[str, float]:
        """The ``figures`` of the model as it is; empty where there is nothing to measure with.

        Args:
            check: called now and then; may raise to stop.
        """
        return {}

    def describe(self) -> dict:
        """What a checkpoint must say so that the model can be built again and used."""
        raise NotImplementedError

    def changes(self, then: Mapping[str, Any]) -> list[str]:
        """What differs from the training that was described so, in a few words each.

        What a description of an older version does not mention does not differ.
        """
        now = self.describe()
        names = [name for name in now if name in then and then[name] != now[name]]
        return [_change(name, then[name], now[name]) for name in names]

    def announce(self) -> list[str]:
        """What is about to be learned, in a few lines."""
        raise NotImplementedError

    def conclude(self, run: RunFolder) -> dict[str, float | None]:
        """Measure the run's best weights in full and leave the results in its folder.

        Returns:
            the figures by the names that are printed.
        """
        raise NotImplementedError


def _change(name: str, then: Any, now: Any) -> str:
    if name == "digest":
        return "names or boxes of the pictures"
    return f"{name} {then} then, {now} now"
