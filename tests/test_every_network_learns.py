"""A small network of every family learns, from random weights, 16 crops of shapes by heart.

With what its paper trained it by: auxiliary classifiers, dropout, stochastic depth, smoothed
labels, RMSprop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from network_cases import FAMILIES, SMALL_STAGES

import nn
from detector.datasets import ShapesDataset
from detector.training.objectives.crops import crop_loader, squares
from detector.training.presets import preset
from nn import functional as F
from nn import optim
from nn.models.alexnet import alexnet
from nn.models.efficientnet import EfficientNet, Scale
from nn.models.efficientnet_lite import EfficientNetLite
from nn.models.googlenet import GoogLeNet
from nn.models.inception_v3 import InceptionV3
from nn.models.mnasnet import MnasNet
from nn.models.mobilenet_v2 import mobilenet_v2
from nn.models.mobilenet_v3 import MobileNetV3
from nn.models.nasnet import NASNet
from nn.models.squeezenet import SqueezeNet
from nn.models.vgg import VGG

pytestmark = pytest.mark.nightly


class Lesson(NamedTuple):
    """How a family learns.

    Attributes:
        make: the network; None for the family's small one.
        lr: the highest learning rate.
        rule: momentum, or the RMSprop of the Inceptions and MobileNets.
        side: of the crops, in pixels.
        smoothing: of the labels.
        iterations: of 8 crops.
    """

    make: Callable | None = None
    lr: float = 0.02
    rule: str = "momentum"
    side: int = 48
    smoothing: float = 0.0
    iterations: int = 40


LESSONS = {
    # Without batch norm a network learns slowly.
    "alexnet": Lesson(lambda: alexnet(5, dropout=0.5, hidden=256), 0.05, side=75, iterations=120),
    "squeezenet": Lesson(lambda: SqueezeNet("1.1", 5, bypass="complex"), 0.01),
    "extraction": Lesson(iterations=80),
    "vgg_reduced": Lesson(iterations=160),
    "shufflenet_v2, SE": Lesson(iterations=160),
    "vgg": Lesson(
        lambda: VGG(11, 5, True, channels=(8, 16, 32, 32, 32), hidden=64), iterations=160
    ),
    "googlenet": Lesson(lambda: GoogLeNet(5, auxiliary=True), 0.02, side=64),
}
# RMSprop, dropout and what else their papers have.
RMSPROP = Lesson(lr=0.002, rule="rmsprop")
LESSONS |= {
    "inception_v3": RMSPROP._replace(make=lambda: InceptionV3(5), side=75, smoothing=0.1),
    "inception_v4": RMSPROP._replace(side=75),
    "inception_resnet": RMSPROP._replace(side=75),
    "xception": Lesson(side=75),
    "efficientnet": RMSPROP._replace(
        make=lambda: EfficientNet(Scale(0.25, 1.0, 64, 0.2), 5), smoothing=0.1
    ),
    "efficientnet_lite": RMSPROP._replace(make=lambda: EfficientNetLite(5)),
    "mnasnet": RMSPROP._replace(make=lambda: MnasNet(5, SMALL_STAGES, stem=8, last=16)),
    "mobilenet_v1": RMSPROP,
    "mobilenet_v2": RMSPROP._replace(make=lambda: mobilenet_v2(5, width_mult=0.35)),
    "mobilenet_v3": RMSPROP._replace(
        make=lambda: MobileNetV3("small", 5, width_mult=0.35, last=32)
    ),
    "nasnet": RMSPROP._replace(
        make=lambda: NASNet(8, 2, 8, 5, skips_one=True), side=65, smoothing=0.1
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_shapes(family):
    lesson = LESSONS.get(family, Lesson())
    nn.manual_seed(0)
    model = (lesson.make or FAMILIES[family])().train()
    if lesson.rule == "rmsprop":
        optimizer = optim.RMSprop(model.parameters(), lesson.lr, alpha=0.9, eps=1e-3, momentum=0.9)
    else:
        optimizer = optim.MomentumSGD(model.parameters(), lesson.lr, momentum=0.9)
    decay = optim.product(optim.warmup(5), optim.cosine_decay(lesson.iterations))
    batches, losses = crops(lesson.side), []
    for step in range(lesson.iterations):
        images, labels = batches[step % len(batches)]
        optimizer.lr = lesson.lr * decay(step)
        optimizer.zero_grad()
        loss = sum(
            weight * F.cross_entropy(scores, labels, label_smoothing=lesson.smoothing)
            for weight, scores in model.weighted_scores(images)
        )
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 10.0)
        optimizer.step()
        losses.append(loss.item())
    first, last = np.mean(losses[:2]), np.mean(losses[-4:])
    print(f"{family}: loss {first:.2f} -> {last:.2f}")
    assert last < 0.6 * first


def crops(side: int) -> list[tuple[nn.Tensor, np.ndarray]]:
    """Two batches, each of normalised crops (8, 3, side, side) and their labels."""
    recipe = preset("tiny").updated({"crops": {"size": side, "batch": 8}})
    loader = crop_loader(ShapesDataset(16), recipe, seed=0)
    return [
        (
            squares(batch.images, recipe.model.image),
            np.array([target["label"] for target in batch.targets]),
        )
        for batch in loader.epoch(0)
    ]
