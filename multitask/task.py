"""``Task``: one of the things that are learned together; and the loop of its site."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

import nn
from multitask.errors import MultitaskError
from multitask.remote import RemoteMomentum


@dataclass(frozen=True)
class Task:
    """A network, its data and its learning rate. Parameters are shared by name with other tasks.

    A task runs in a process of its own, so ``model``, ``loss`` and ``lr`` must be things that can
    be imported there: functions at the top level of a module, or objects of classes there.

    Attributes:
        name: letters, digits and any of _ . -
        model: makes the network. Called after ``nn.manual_seed``, so that what two tasks build
            first (a common backbone) starts from the same values.
        loss: ``loss(model, iteration)`` -> a scalar Tensor, or a dict of them whose sum is
            minimised. What it does must depend on the network and ``iteration`` alone, because an
            iteration is repeated after a crash; random numbers of ``nn`` are seeded for it.
        lr: alpha, a number or a function of the iteration.
        weight_decay: lambda.
    """

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, int], nn.Tensor | Mapping[str, nn.Tensor]]
    lr: float | Callable[[int], float]
    weight_decay: float = 0.0


class TaskSite:
    """A task at work: its model, its optimiser and one iteration after the other.

    Args:
        task: what to do.
        server: address, or a ``LocalServer``.
        seed: of the initial values and of every iteration's random numbers.
        options: more for ``RemoteMomentum``.
    """

    def __init__(self, task: Task, server, seed: int = 0, **options):
        self.task, self._seed = task, seed
        nn.manual_seed(seed)
        self.model = task.model()
        self.model.train()
        self.optimizer = RemoteMomentum(
            self.model.named_parameters(),
            self._lr(0),
            weight_decay=task.weight_decay,
            task=task.name,
            server=server,
            buffers=buffers_of(self.model),
            **options,
        )

    def run(self, iterations: int) -> None:
        """All iterations, from wherever the task stands, until all tasks are done."""
        while True:
            while self.optimizer.iteration < iterations:
                self.optimizer.step(self.backward())
            if self.optimizer.finish():
                return

    def backward(self) -> dict[str, float]:
        """Forward and backward of the current iteration.

        Returns:
            The losses, for the log.

        Raises:
            MultitaskError: the loss is not a finite number.
        """
        iteration = self.optimizer.iteration
        nn.manual_seed(stream(self._seed, self.task.name, iteration))
        self.optimizer.lr = self._lr(iteration)
        self.optimizer.zero_grad()
        losses = self.task.loss(self.model, iteration)
        losses = {"loss": losses} if isinstance(losses, nn.Tensor) else dict(losses)
        total = sum(losses.values())
        report = {name: loss.item() for name, loss in losses.items()} | {"loss": total.item()}
        if not np.isfinite(report["loss"]):
            raise MultitaskError(
                f"task {self.task.name}: the loss of iteration {iteration} is not finite: "
                f"{report}; a smaller lr may help"
            )
        total.backward()
        return report

    def _lr(self, iteration: int) -> float:
        return self.task.lr(iteration) if callable(self.task.lr) else self.task.lr


def buffers_of(model: nn.Module) -> dict[str, np.ndarray]:
    """The live arrays of a model's state that are not parameters."""
    learned = {id(parameter.data) for parameter in model.parameters()}
    return {name: a for name, a in model.state_dict().items() if id(a) not in learned}


def stream(seed: int, task: str, iteration: int) -> int:
    """A seed of 128 bits for one iteration of one task."""
    text = f"{seed} {task} {iteration}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
