"""Detection as a task: the network, pictures, losses and learning rate of ``lighthead train``.

One such task through a parameter server takes the very steps, bit for bit, that the detector's own
training loop takes; a test holds it to that.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from functools import cached_property

import nn
from detector.datasets import Dataset, streams
from detector.light_head_rcnn import LightHeadRCNN
from detector.sessions import Session, build_loader, build_model, open_splits
from detector.training import parameter_groups
from multitask.task import Task
from multitask.tasks.batches import Batches, order_seed


class Detection:
    """What a detection task does; ``task()`` makes it a ``Task``.

    Data and pictures are opened when first needed, in the process of the task.

    Args:
        session: the data, the recipe and the seed. Its epochs do not count, iterations do.
        iterations: of the whole training; the learning rate depends on it.
        name: of the task. Its order of pictures depends on it.
        short_side: of the pictures that this task learns from; None: the recipe's. The network, its
            anchors included, is that of the session either way, so that tasks can share it.
    """

    def __init__(
        self,
        session: Session,
        iterations: int,
        name: str = "detection",
        short_side: int | None = None,
    ):
        self.session, self.iterations, self.name = session, iterations, name
        self._rates = session.recipe.learning_rates
        self._recipe = session.recipe.resized(short_side or session.recipe.short_side)

    def task(self) -> Task:
        recipe = self.session.recipe
        return Task(
            self.name,
            self.model,
            self.loss,
            self.lr,
            groups=self.groups,
            clip_norm=recipe.clip_norm,
            images=recipe.batch,
        )

    @cached_property
    def train(self) -> Dataset:
        return open_splits(self.session)[0]

    @cached_property
    def batches(self) -> Batches:
        seed = order_seed(self.session.seed, self.name)
        return Batches(
            build_loader(replace(self.session, recipe=self._recipe, seed=seed), self.train)
        )

    def model(self) -> LightHeadRCNN:
        with contextlib.redirect_stdout(io.StringIO()):  # which weights were loaded
            return build_model(self.session, self.train)

    def loss(self, model: LightHeadRCNN, iteration: int) -> dict[str, nn.Tensor]:
        batch = self.batches[iteration]
        seed = order_seed(self.session.seed, self.name)
        rng = streams.generator(seed, streams.SAMPLING, index=iteration)
        return model.loss(batch.images, batch.targets, rng)

    def lr(self, iteration: int) -> float:
        return self._rates(self.iterations)(iteration)

    def groups(self, model: nn.Module) -> list[dict]:
        return named_groups(model, self.session.recipe)


def named_groups(model: nn.Module, recipe) -> list[dict]:
    """The groups of ``lighthead train``, with names; what is frozen is in them too.

    A frozen parameter contributes nothing, but it may change: another task may learn it.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, recipe)
    for group in groups:
        group["params"] = {names.pop(id(parameter)): parameter for parameter in group["params"]}
    frozen = {name: p for name, p in model.named_parameters() if id(p) in names}
    return [*groups, {"params": frozen, "weight_decay": 0.0}]
