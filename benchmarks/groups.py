"""Which cases there are: the groups of ``lighthead bench``."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from benchmarks.cases import (
    AnyDetector,
    AnyNetwork,
    Case,
    Classifier,
    ClassifierTraining,
    Convolution,
    Detection,
    DetectorTraining,
    MatrixProduct,
    Network,
)

WIDTHS = (0.5, 1.0, 1.5, 2.0)
SIZES = ((320, 320), (600, 1000), (800, 1200))
PEAK = MatrixProduct()
TRAINING = (ClassifierTraining(1.0, (224, 224), 16), DetectorTraining(0.5, (320, 320), 2))

NETWORKS = (
    "resnet18", "resnet50", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "squeezenet1_0",
    "shufflenet_v1_g3", "shufflenet_v2_x1_0", "googlenet", "efficientnet_b0", "vgg16",
    "densenet121", "resnext50_32x4d", "inception_v3", "nasnet_a_mobile",
)  # fmt: skip

DETECTORS = (
    AnyDetector("ssd", "vgg16_reduced", (300, 300)),
    AnyDetector("yolo-v2", "darknet19", (416, 416)),
    AnyDetector("faster-rcnn", "resnet18", (480, 480)),
)

DESCRIPTIONS = {
    "ops": "each convolution of the S detector at 800x1200, and of the training steps",
    "classifier": "ShuffleNet v2 at 224 and 800x1200, all widths",
    "networks": "other networks of the lectures, each at the size that it is for",
    "detectors": "other detectors without their boxes, each at the size that it is for",
    "network": "the S detector without its boxes at three sizes, batch 1 and 4",
    "detector": "the S detector, photograph in, boxes out",
    "training": "a training step of the classifier and of the detector",
    "layers": "where the time of ShuffleNet v2 goes, like the thesis's table 3.1",
}


def cases_of(group: str, quick: bool = False) -> list[Case]:
    """The cases of one of ``DESCRIPTIONS``; with ``quick`` a few small ones."""
    if group == "ops":
        return quick_operations() if quick else operations()
    if group == "training":
        return list(TRAINING)
    if group == "networks":
        return [AnyNetwork(name) for name in (("mobilenet_v2",) if quick else NETWORKS)]
    if group == "detectors":
        return [AnyDetector("yolo-v2", "shufflenet_v2_x0_5", (160, 160))] if quick else [*DETECTORS]
    if group in ("classifier", "layers"):
        if quick:
            return [Classifier(1.0, (224, 224))]
        widths = (1.0,) if group == "layers" else WIDTHS
        return [Classifier(width, size) for size in ((224, 224), (800, 1200)) for width in widths]
    kind = {"network": Network, "detector": Detection}[group]
    if quick:
        return [kind(1.0, (320, 320))]
    return [kind(1.0, size, batch) for size in SIZES for batch in (1, 4)]


def operations() -> list[Case]:
    """Forward at 800x1200; forward and backward of both training steps."""
    classifier, detector = TRAINING
    found = convolutions_of(Network(1.0, (800, 1200)), (800, 1216), 1)
    for training in (classifier, detector):
        shapes = convolutions_of(training, training.size, training.batch)
        found += shapes + [replace(shape, backward=True) for shape in shapes]
    return found


def quick_operations() -> list[Case]:
    """A pointwise, a depthwise and a large separable convolution."""
    pointwise = Convolution(1, 116, 116, (1, 1), 1, 1, (50, 76), False)
    return [
        pointwise,
        replace(pointwise, backward=True),
        Convolution(1, 116, 116, (3, 3), 1, 116, (50, 76), False),
        Convolution(1, 464, 64, (15, 1), 1, 1, (25, 38), True),
    ]


def convolutions_of(network, size: tuple[int, int], batch: int) -> list[Convolution]:
    """The different convolutions of a network in the order in which they run, and how often."""
    import numpy as np

    import nn

    found: Counter[Convolution] = Counter()

    def note(layer, inputs, _):
        found[
            Convolution(
                batch, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride[0],
                layer.groups, inputs[0].shape[2:], layer.bias is not None,
            )
        ] += 1  # fmt: skip

    model = network.model().eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with nn.no_grad():
        model(nn.Tensor(np.zeros((1, 3, *size), np.float32)))
    return [replace(case, times=times) for case, times in found.items()]
