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
from detector.training.presets import Recipe
from detector.training.run_folder import RunFolder

RECIPE = Recipe("none", epochs=4, batch=2, lr_per_image=0.02, schedule="cosine", warmup=3)
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

    def config(self):
        return {}


def batches(epoch, start=0):
    for number in range(start, BATCHES):
        rng = streams.generator(5, streams.SHUFFLE, epoch, number)
        images = list(rng.integers(0, 256, (2, 8, 8, 3), np.uint8))
        yield SimpleNamespace(images=images, targets=[{}, {}], indices=np.array([2, 0]) + number)


def trainer(folder, recipe=RECIPE, slow=0.0, **more):
    """A trainer of the stand-in; ``slow`` seconds pass in every validation and every batch."""
    model = StandIn()

    def slow_batches(epoch, start):
        for batch in batches(epoch, start):
            time.sleep(slow)
            yield batch

    def validate(check):
        for _ in range(3):
            time.sleep(slow)
            check()
        score = float(np.abs(model.head.weight.data).mean())
        return score, score

    return detector.training.trainer.Trainer(
        model, recipe, slow_batches, BATCHES, RunFolder(folder), 0, {}, validate, **more
    )


def weights(folder) -> dict[str, np.ndarray]:
    return nn.checkpoint.load(Path(folder) / "last.ckpt")["model"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--slow", type=float, default=0.0)
    args = parser.parse_args()
    detector.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = 0.0
    Path(args.folder).mkdir(exist_ok=True)
    run = trainer(args.folder, slow=args.slow)
    if run.run.last.exists():
        run.resume()
    print("ready", flush=True)
    run.fit()


if __name__ == "__main__":
    main()
