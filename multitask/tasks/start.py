"""What tasks that share a backbone start from, where there are no pretrained weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from detector.training import checkpoints
from detector.training.objectives.crops import learn_from_crops
from detector.training.objectives.detection import build_model, describe, open_splits
from detector.training.sessions import Session


def with_start_weights(
    session: Session, folder: str | os.PathLike, check: Callable[[], None] = lambda: None
) -> Session:
    """The session with weights that all its tasks can start from.

    A recipe that begins with lessons on crops has them here, once for all tasks; the result is
    ``start.ckpt`` in ``folder``. Any other session is returned as it is.

    Args:
        check: called in every iteration; may raise to stop.
    """
    if session.recipe.crops.iterations == 0 or session.init_from is not None:
        return session
    path = Path(folder).resolve() / "start.ckpt"
    if not path.exists():
        train, _ = open_splits(session)
        model = build_model(session, train)
        learn_from_crops(model, train, session.recipe, session.seed, check)
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write(path, "detection", model, describe(model, train))
    return replace(session, init_from=str(path))
