"""Runs of the training commands for tests: whole ones, and ones that die on the way."""

from __future__ import annotations

import pytest

import lighthead
from detector.training import trainer
from detector.training.objectives import OBJECTIVES
from nn import checkpoint


class Killed(BaseException):
    """As when the power fails: nobody saves anything more."""


def train(*arguments) -> None:
    assert lighthead.main(["train", *map(str, arguments)]) == 0


def train_and_die(task: str, steps: int, *arguments) -> None:
    """A run that is dead after so many steps, each of which left a checkpoint."""
    objective = OBJECTIVES[task]
    loss, done = objective.loss, []

    def dying(self, *batch):
        if len(done) == steps:
            raise Killed
        done.append(None)
        return loss(self, *batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(objective, "loss", dying)
        patch.setattr(trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        lighthead.main(["train", *map(str, arguments)])


def assert_same_end(one, other) -> None:
    """Two runs ended in the same bits: weights, velocities and the best weights."""
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = checkpoint.load(one / name), checkpoint.load(other / name)
        for tree in (ours, theirs):
            tree.get("position", {}).update(seconds=0, metrics=0)
        assert list(leaves(ours)) == list(leaves(theirs))


def leaves(tree, path=""):
    """Every value of a checkpoint by its path, arrays as bytes."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, value in items:
            yield from leaves(value, f"{path}/{name}")
    else:
        yield path, tree.tobytes() if hasattr(tree, "tobytes") else tree
