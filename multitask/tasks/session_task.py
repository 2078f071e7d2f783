"""What the ready tasks have in common: a session's data and recipe, for so many iterations."""

from __future__ import annotations

from functools import cached_property

import nn
from detector.datasets import Dataset
from detector.training.objectives.detection import open_splits
from detector.training.sessions import Session
from multitask.site.task import Task
from multitask.tasks.batches import order_seed


class SessionTask:
    """What a task does; ``task()`` makes it a ``Task``. Subclasses say ``model`` and ``loss``.

    Data and pictures are opened when first needed, in the process of the task.

    Args:
        session: the data, the recipe and the seed. Its epochs do not count, iterations do.
        iterations: of the whole training; the learning rate depends on it.
        name: of the task. Its order of pictures depends on it.

    Attributes:
        images: pictures an iteration.
        seed: of everything that is the task's own.
    """

    images: int

    def __init__(self, session: Session, iterations: int, name: str):
        self.session, self.iterations, self.name = session, iterations, name
        self.seed = order_seed(session.seed, name)

    def task(self) -> Task:
        return Task(
            self.name,
            self.model,
            self.loss,
            self.lr,
            groups=self.groups,
            clip_norm=self.session.recipe.steps.clip_norm,
            images=self.images,
        )

    @cached_property
    def train(self) -> Dataset:
        """The detection set to learn from."""
        return open_splits(self.session)[0]

    def model(self) -> nn.Module:
        raise NotImplementedError

    def loss(self, model: nn.Module, iteration: int) -> nn.Tensor | dict[str, nn.Tensor]:
        raise NotImplementedError

    def lr(self, iteration: int) -> float:
        return self.session.recipe.steps.learning_rates(self.iterations)(iteration)

    def groups(self, model: nn.Module) -> list[dict]:
        """The groups of ``lighthead train``, with names; what is frozen is in them too.

        A frozen parameter contributes nothing, but it may change: another task may learn it.
        """
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = self.session.recipe.steps.groups(model)
        for group in groups:
            group["params"] = {names.pop(id(parameter)): parameter for parameter in group["params"]}
        frozen = {name: p for name, p in model.named_parameters() if id(p) in names}
        return [*groups, {"params": frozen, "weight_decay": 0.0}]
