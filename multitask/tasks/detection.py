"""Detection as a task: the network, pictures, losses and learning rate of ``lighthead train``.

One such task through a parameter server takes the very steps, bit for bit, that the detector's own
training loop takes; a test holds it to that.
"""

from __future__ import annotations

from dataclasses import replace

from detector.errors import UserError
from detector.training.objectives import detection as objectives
from detector.training.objectives.objective import Objective
from detector.training.sessions import Session
from multitask.tasks.session_task import SessionTask


class Detection(SessionTask):
    """What a detection task does.

    Args:
        session, iterations, name: see ``SessionTask``.
        short_side: of the pictures that this task learns from; None: the recipe's. The network, its
            anchors included, is that of the session either way, so that tasks can share it.

    Raises:
        UserError: that is too small.
    """

    def __init__(
        self,
        session: Session,
        iterations: int,
        name: str = "detection",
        short_side: int | None = None,
    ):
        super().__init__(session, iterations, name)
        self.images = session.recipe.steps.batch
        if short_side is None:
            short_side = session.recipe.model.image.short_side
        try:
            self._recipe = session.recipe.resized(short_side)
        except ValueError as error:
            raise UserError(f"task {name}: {error}") from error

    def objective(self) -> Objective:
        objective = objectives.Detection(self.session)
        pictures = replace(self.session, recipe=self._recipe, seed=self.seed)
        objective.loader = objectives.build_loader(pictures, objective.train)
        return objective
