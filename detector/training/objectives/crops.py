"""Lessons before detection: the backbone learns to tell the classes apart on crops of the objects.

For runs that start from random weights. The classifier on top is thrown away afterwards.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import numpy as np

import nn
from detector.datasets import Batch, Dataset, Loader
from detector.datasets.crops import CropTransform
from detector.detectors.detector import Detector
from detector.parts.preprocess import ImageSettings, to_batch
from detector.progress import Progress, tell
from detector.training.objectives.objective import Objective
from detector.training.recipe import Recipe
from detector.training.step import take_step
from nn import functional as F
from nn import optim
from nn.memory import keep_freed_memory

RECENT = 50  # iterations over which the accuracy is averaged


class CropClassifier(nn.Module):
    """A detector's backbone, the mean over its coarsest map and one linear layer.

    Args:
        detector: its backbone is shared, not copied.
        num_classes: of the pictures; label 0 stands for none of them.
    """

    def __init__(self, detector: Detector, num_classes: int):
        super().__init__()
        self.backbone, self.image = detector.backbone, detector.image
        self.coarsest = [name for name in self.backbone.maps if name != "last"][-1]
        channels = self.backbone.maps[self.coarsest].channels
        self.classifier = nn.Linear(channels, num_classes + 1)

    def forward(self, images: nn.Tensor) -> nn.Tensor:
        """Normalised crops (N, 3, S, S) -> scores before softmax (N, num_classes + 1)."""
        return self.classifier(self.backbone.features(images)[self.coarsest].mean((2, 3)))


class Crops(Objective):
    """The classifier learns crops.

    Args:
        model: a ``CropClassifier``.
        loader: of square pictures, all of one size, with a ``label``.

    Attributes:
        recent: the part of each of the last batches that was classified rightly.
    """

    task = "crops"

    def __init__(self, model: CropClassifier, loader: Loader):
        self.model, self.loader = model, loader
        self.recent: list[float] = []

    def loss(self, batch: Batch, rng: np.random.Generator | None = None) -> dict[str, nn.Tensor]:
        labels = np.array([target["label"] for target in batch.targets])
        scores = self.model(squares(batch.images, self.model.image))
        right = float((scores.data.argmax(1) == labels).mean())
        self.recent = [*self.recent[1 - RECENT :], right]
        return {"cross_entropy": F.cross_entropy(scores, labels)}

    def name(self, batch: Batch) -> str:
        return ", ".join(str(self.loader.dataset.images[index].path) for index in batch.indices)


def learn_from_crops(
    model: Detector, train: Dataset, recipe: Recipe, seed: int, check: Callable[[], None]
) -> float:
    """Train ``model.backbone`` for ``recipe.crops.iterations`` on crops of ``train``.

    Args:
        model: the detector; only its backbone changes.
        check: called every iteration; may raise to stop.

    Returns:
        the part of the last crops that were classified rightly.
    """
    pupil = CropClassifier(model, model.num_classes).train()
    right = learn_crops(pupil, train, recipe, seed, check)
    tell(
        f"{recipe.crops.iterations} iterations on crops: {right:.1%} of the last crops classified "
        "rightly",
        sys.stdout,
    )
    return right


def learn_crops(
    pupil: CropClassifier, train: Dataset, recipe: Recipe, seed: int, check: Callable[[], None]
) -> float:
    """As ``learn_from_crops``, of a classifier that is used itself; says nothing."""
    keep_freed_memory()  # each step asks for what the one before it freed
    lessons, steps = recipe.crops, recipe.steps
    objective = Crops(pupil, crop_loader(train, recipe, seed))
    optimizer = optim.MomentumSGD(
        pupil.parameters(), lessons.lr, steps.momentum, steps.weight_decay
    )
    factor = optim.product(
        optim.warmup(lessons.iterations // 20), optim.cosine_decay(lessons.iterations)
    )
    batches = itertools.chain.from_iterable(map(objective.batches, itertools.count()))
    with Progress("learning from crops", lessons.iterations) as progress:
        for iteration, batch in enumerate(itertools.islice(batches, lessons.iterations)):
            optimizer.lr = lessons.lr * factor(iteration)
            step = take_step(objective, optimizer, batch)
            progress.step(f"loss {step.losses['loss']:.3f}, {np.mean(objective.recent):.0%} right")
            check()
    return float(np.mean(objective.recent))


def crop_loader(train: Dataset, recipe: Recipe, seed: int, drop_last: bool = False) -> Loader:
    """Crops (S, S, 3) uint8 with their ``label``, 0 = background.

    One crop of each picture: two of the same picture look alike and teach little more than one.
    """
    chance = recipe.augmentation
    transform = CropTransform(
        len(train.classes),
        recipe.crops.size,
        horizontal_flip=chance.horizontal_flip,
        vertical_flip=chance.vertical_flip,
    )
    return Loader(train, transform, recipe.crops.batch, seed, drop_last=drop_last)


def squares(images: list[np.ndarray], image: ImageSettings) -> nn.Tensor:
    """Square pictures (S, S, 3) uint8, all of one size -> normalised (N, 3, S, S)."""
    size = images[0].shape[0]
    batch = to_batch(images, image.mean, image.std)
    # Without the padding to a multiple of 32, which would be most of a small picture.
    return nn.Tensor(np.ascontiguousarray(batch[:, :, :size, :size]))
