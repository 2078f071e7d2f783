"""``Task``: one of the things that are learned together; and the loop of its site."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

import nn
from multitask.errors import MultitaskError
from multitask.site.remote import RemoteMomentum
from nn.memory import keep_freed_memory
from nn.optim import clip_grad_norm


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
        groups: for parameters with settings of their own: a function from the model to groups as
            ``RemoteMomentum`` takes them. None: all of ``model.named_parameters()`` alike.
        clip_norm: the joint length to which longer gradients are cut; None leaves them.
        images: pictures (or other examples) in an iteration, for the log.
    """

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, int], nn.Tensor | Mapping[str, nn.Tensor]]
    lr: float | Callable[[int], float]
    weight_decay: float = 0.0
    groups: Callable[[nn.Module], Iterable[dict]] | None = None
    clip_norm: float | None = None
    images: int = 0


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
        groups = task.groups(self.model) if task.groups else self.model.named_parameters()
        self.optimizer = RemoteMomentum(
            groups,
            self._lr(0),
            weight_decay=task.weight_decay,
            task=task.name,
            server=server,
            buffers=buffers_of(self.model),
            **options,
        )

    def run(
        self, iterations: int, after_iteration: Callable[[dict], None] = lambda report: None
    ) -> None:
        """All iterations, from wherever the task stands, until all tasks are done.

        Args:
            after_iteration: is called with what was reported of each.

        Raises:
            MultitaskError: see ``errors``; and if the server says that training was over before.
        """
        if self.optimizer.site.finished and self.optimizer.iteration != iterations:
            raise MultitaskError(
                f"this is a finished training of {self.optimizer.iteration} iterations, not of "
                f"{iterations}: start a new one in another folder"
            )
        keep_freed_memory()  # each iteration asks for what the one before it freed
        while True:
            while self.optimizer.iteration < iterations:
                report = self.backward()
                self.optimizer.step(report)
                after_iteration({**report, "waited": self.optimizer.waited})
            if self.optimizer.finish():
                return

    def backward(self) -> dict[str, float]:
        """Forward and backward of the current iteration.

        Returns:
            For the log: the losses, and what the iteration took: ``images``, ``seconds`` on the
            clock, ``processor`` seconds of all threads.

        Raises:
            MultitaskError: the loss is not a finite number.
        """
        iteration = self.optimizer.iteration
        begun, worked = time.perf_counter(), time.process_time()
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
        if self.task.clip_norm is not None:
            clip_grad_norm(self.model.parameters(), self.task.clip_norm)
        return report | {
            "images": self.task.images,
            "seconds": round(time.perf_counter() - begun, 4),
            "processor": round(time.process_time() - worked, 4),
        }

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
