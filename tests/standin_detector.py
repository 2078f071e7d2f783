"""A detector of 400 weights and a data set of noise: all that the training loop needs to be tested.

Run as a program it trains in the folder that it is given, so that tests can kill it:
``python standin_detector.py FOLDER [--resume] [--slow SECONDS]``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import detector.training.trainer
import nn
from detector.datasets import streams
from detector.interruption import Interrupted
from detector.training import checkpoints
from detector.training.objectives.objective import Objective
from detector.training.run_folder import RunFolder
from detector.training.steps import Steps

STEPS = Steps(epochs=4, batch=2, lr_per_image=0.02, schedule="cosine", warmup=3)
BATCHES = 5


class StandIn(nn.Module):
    """Two losses with batch norm, dropout-like sampling and two kinds of parameter groups."""

    def __init__(self):
        super().__init__()
        nn.manual_seed(1)
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def loss(self, images, targets, rng=None):
        batch = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
        features = self.backbone(nn.Tensor(batch)).mean((2, 3))
        kept = rng.random(features.shape) < 0.8
        outputs = self.head(features * kept.astype(np.float32))
        return {"first": outputs[:, 0].exp().mean(), "second": (outputs[:, 1] ** 2).mean()}


class Noise(Objective):
    """The stand-in learns noise; ``slow`` seconds pass in every validation and every batch."""

    task = "noise"
    figures = {"ap": "AP", "ap50": "AP50"}
    best = "ap50"

    def __init__(self, slow=0.0):
        self.model, self.slow = StandIn(), slow

    def __len__(self):
        return BATCHES

    def batches(self, epoch, first=0):
        for number in range(first, BATCHES):
            time.sleep(self.slow)
            rng = streams.generator(5, streams.SHUFFLE, epoch, number)
            images = list(rng.integers(0, 256, (2, 8, 8, 3), np.uint8))
            yield SimpleNamespace(images=images, indices=np.array([2, 0]) + number)

    def loss(self, batch, rng):
        return self.model.loss(batch.images, None, rng)

    def name(self, batch):
        return ", ".join(f"picture{index}.jpg" for index in batch.indices)

    def measure(self, check):
        for _ in range(3):
            time.sleep(self.slow)
            check()
        score = float(np.abs(self.model.head.weight.data).mean())
        return {"ap": score, "ap50": score}

    def describe(self):
        return {}


def trainer(folder, steps=STEPS, slow=0.0):
    """A trainer of the stand-in."""
    return detector.training.trainer.Trainer(Noise(slow), steps, RunFolder(folder), 0)


def resumed(folder, steps=STEPS, slow=0.0):
    """A trainer that goes on after the folder's last checkpoint."""
    run = trainer(folder, steps, slow)
    run.resume(checkpoints.read(run.run.last, Noise.task))
    return run


def fit_until(run, iteration):
    """Train up to an iteration, during which somebody asks for an end."""
    step = run.step

    def step_and_ask(batch):
        run.watch.requested = run.position.iteration + 1 == iteration
        return step(batch)

    run.step = step_and_ask
    try:
        run.fit()
    except Interrupted:
        return
    raise AssertionError("the training came to its own end")


def weights(folder) -> dict[str, np.ndarray]:
    return nn.checkpoint.load(Path(folder) / "last.ckpt")["model"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--slow", type=float, default=0.0)
    args = parser.parse_args()
    detector.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = 0.0
    Path(args.folder).mkdir(exist_ok=True)
    has_begun = RunFolder(args.folder).last.exists()
    run = (resumed if has_begun else trainer)(args.folder, slow=args.slow)
    print("ready", flush=True)
    run.fit()


if __name__ == "__main__":
    main()
