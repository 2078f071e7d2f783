"""An objective as a task: for so many iterations of a session's recipe."""

from __future__ import annotations

import contextlib
import io

import nn
from detector.datasets import streams
from detector.training.objectives.objective import Objective
from detector.training.sessions import Session
from multitask.site.task import Task
from multitask.tasks.batches import Batches, order_seed


class SessionTask:
    """What a task does; ``task()`` makes it a ``Task``. Subclasses say what its objective is.

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
        self._batches: Batches | None = None

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

    def objective(self) -> Objective:
        """A new one; its ``model`` is made as the detector is, whose backbone tasks share."""
        raise NotImplementedError

    def model(self) -> nn.Module:
        with contextlib.redirect_stdout(io.StringIO()):  # which weights were loaded
            self._batches = Batches(self.objective())
            return self._batches.objective.model

    def loss(self, model: nn.Module, iteration: int) -> dict[str, nn.Tensor]:
        """Of the model that ``model`` made last."""
        rng = streams.generator(self.seed, streams.SAMPLING, index=iteration)
        return self._batches.objective.loss(self._batches[iteration], rng)

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

    def __getstate__(self) -> dict:
        # What is running cannot go to another process, and need not: ``model`` makes it anew.
        return {**vars(self), "_batches": None}
