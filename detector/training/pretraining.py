"""Before detection: the backbone learns to tell the classes apart on crops of the objects.

For runs that start from random weights. The classifier on top is thrown away afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

import nn
from detector.datasets import Dataset, Loader
from detector.datasets.crops import CropTransform
from detector.parts.preprocess import to_batch
from detector.progress import Progress
from detector.training.presets import Recipe
from nn import functional as F
from nn import optim
from nn.memory import keep_freed_memory

RECENT = 50  # iterations over which the accuracy is averaged


class CropClassifier(nn.Module):
    """A detector's backbone, the mean over stage 4 and one linear layer."""

    def __init__(self, backbone: nn.Module, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.out_channels["stage4"], num_classes + 1)

    def forward(self, images: nn.Tensor) -> nn.Tensor:
        """Normalised crops (N, 3, S, S) -> scores before softmax (N, num_classes + 1)."""
        return self.classifier(self.backbone(images)["stage4"].mean((2, 3)))


def pretrain_backbone(
    model, train: Dataset, recipe: Recipe, seed: int, check: Callable[[], None]
) -> float:
    """Train ``model.backbone`` for ``recipe.crop_iterations`` on crops of ``train``.

    Args:
        model: the detector; only its backbone changes.
        check: called every iteration; may raise to stop.

    Returns:
        the part of the last crops that were classified rightly.
    """
    keep_freed_memory()  # each step asks for what the one before it freed
    classifier = CropClassifier(model.backbone, model.num_classes).train()
    optimizer = optim.MomentumSGD(
        classifier.parameters(), recipe.crop_lr, recipe.momentum, recipe.weight_decay
    )
    factor = optim.product(
        optim.warmup(recipe.crop_iterations // 20), optim.cosine_decay(recipe.crop_iterations)
    )
    recent: list[float] = []
    with Progress("learning from crops", recipe.crop_iterations) as progress:
        for iteration, (images, labels) in enumerate(crop_batches(train, recipe, seed)):
            optimizer.lr = recipe.crop_lr * factor(iteration)
            batch = to_batch(images, model.image_mean, model.image_std)
            # Without the padding to a multiple of 32, which would be most of a small crop.
            batch = np.ascontiguousarray(batch[:, :, : recipe.crop_size, : recipe.crop_size])
            scores = classifier(nn.Tensor(batch))
            loss = F.cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recent = [*recent[1 - RECENT :], float((scores.data.argmax(1) == labels).mean())]
            progress.step(f"loss {loss.item():.3f}, {np.mean(recent):.0%} right")
            check()
        progress.say(
            f"{recipe.crop_iterations} iterations on crops: {np.mean(recent):.1%} of the last "
            f"crops classified rightly"
        )
    return float(np.mean(recent))


def crop_batches(train: Dataset, recipe: Recipe, seed: int):
    """``recipe.crop_iterations`` pairs of crops (list of (S, S, 3) uint8) and labels (N,).

    One crop of each picture: two of the same picture look alike and teach little more than one.
    """
    transform = CropTransform(
        len(train.classes),
        recipe.crop_size,
        horizontal_flip=recipe.horizontal_flip,
        vertical_flip=recipe.vertical_flip,
    )
    loader = Loader(train, transform, recipe.crop_batch, seed)
    epochs = (loader.epoch(epoch) for epoch in itertools.count())
    for batch in itertools.islice(itertools.chain.from_iterable(epochs), recipe.crop_iterations):
        yield batch.images, np.array([target["label"] for target in batch.targets])
