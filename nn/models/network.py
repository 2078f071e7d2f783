"""The contract of a network: what a detector, a trainer or a table may ask of any of them.

A network classifies images, and what it computes on the way can serve as a detector's backbone.
Its maps are named by how much smaller than the image they are, as in the paper on feature pyramids
(Lin et al. 2017, section 3): ``c2`` has stride 4, ``c3`` 8, ``c4`` 16, ``c5`` 32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from nn.layers import BatchNorm2d
from nn.models.trunk import Trunk
from nn.module import Module
from nn.tensor import Tensor


class Map(NamedTuple):
    """What a map looks like: its channels, and how many pixels of the image a cell stands for."""

    channels: int
    stride: int


class Preprocessing(NamedTuple):
    """How a network wants its images: RGB in 0..1, minus ``mean``, divided by ``std``."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # TensorFlow's: numbers in -1..1


class Dialect:
    """How others' files differ from a network's own: in the names, and perhaps in the numbers.

    Attributes:
        name: for reports.
        preprocessing: what these weights expect.
    """

    name: ClassVar[str]
    preprocessing: ClassVar[Preprocessing] = IMAGENET

    def knows(self, name: str) -> bool:
        """Whether a tensor's name shows that the file is in this dialect."""
        raise NotImplementedError

    def translate(self, path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All tensors of a file under the network's names, and such that they fit there.

        Raises:
            WeightsError: they cannot be translated; names ``path``.
        """
        raise NotImplementedError


class Network(Module):
    """What every network of ``nn.models.NETWORKS`` is.

    All take ``num_classes``: a number; 0 for everything but the classifiers, that is, up to the map
    that the last of them reads; None for a backbone, without what only the classifier needs.

    Attributes:
        features: preprocessed images (N, 3, H, W) -> the maps (N, C, H / stride, W / stride) by the
            names of ``maps`` and in their order. Sizes are rounded up, as most networks do; those
            of the years before, which leave the border away, have some cells less. A method, or a
            ``Trunk`` where that is what the layers before the classifier are called.
        maps: channels and stride of each map of ``features``, finest first: "c2" .. "c5", as far
            as there are any, and "last" where the classifier reads another map than the coarsest
            of those (and the network was made with it).
        preprocessing: what the weights expect; ``load_weights`` sets it.
        side: of the square pictures that its published figures are for, in pixels.
        weights: published files by the name of what they were trained on; the file's name ends with
            the first eight digits of its SHA-256.
        classifier_names: of the layers whose size is ``num_classes``.
        names: whose names the layers have, and so the files that load as they are.
        dialects: that ``load_weights`` understands besides.
    """

    features: Callable[[Tensor], dict[str, Tensor]]
    num_classes: int | None
    maps: Mapping[str, Map]
    preprocessing: Preprocessing = IMAGENET
    side: int = 224
    weights: Mapping[str, str] = {}
    classifier_names: ClassVar[tuple[str, ...]] = ("fc",)
    names: ClassVar[str] = "torchvision"
    dialects: ClassVar[tuple[Dialect, ...]] = ()

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        """What ``features`` returned -> scores before softmax (N, num_classes)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images (N, 3, H, W) -> scores before softmax (N, num_classes).

        Raises:
            ValueError: the network was made without a classifier.
        """
        if not self.num_classes:
            raise ValueError(f"{type(self).__name__} has no classifier here: ask for its features")
        return self.classify(self.features(images))

    def weighted_scores(self, images: Tensor) -> list[tuple[float, Tensor]]:
        """What a training takes its loss of: the scores with the weight 1 and, if there are any,
        those of auxiliary classifiers with theirs."""
        return [(1.0, self(images))]

    def parts(self) -> list[Module]:
        """Its parts in order, from the stem on, without the classifier: what ``freeze`` counts."""
        raise NotImplementedError

    def stages(self) -> dict[str, Module]:
        """What makes each map of the one before, by the names of ``maps``; the first, of images.

        The layers are the network's own, so a stage can also be run on something else: Faster
        R-CNN's runs the last one on each region.

        Raises:
            ValueError: they are no chain.
        """
        if isinstance(self.features, Trunk):
            return self.features.stages()
        raise ValueError(f"{type(self).__name__} cannot be cut into stages that run by themselves")

    def freeze(self, parts: int, batch_norm: bool = True) -> None:
        """Keep the first ``parts`` parts as they are, in training too.

        Args:
            batch_norm: also the statistics, weights and biases of every batch norm of the network.
        """
        frozen = self.parts()[:parts]
        for part in frozen:
            part.requires_grad_(False)
        for norm in _batch_norms([self] if batch_norm else frozen):
            norm.freeze()


def map_of_stride(maps: Mapping[str, Map], stride: int) -> str:
    """The name of the first map with a stride.

    Raises:
        ValueError: there is none.
    """
    for name, (_, own) in maps.items():
        if own == stride:
            return name
    have = ", ".join(str(own) for _, own in maps.values())
    raise ValueError(f"the network has no map of stride {stride}, only of {have}")


def _batch_norms(parts: list[Module]) -> Iterator[BatchNorm2d]:
    for part in parts:
        yield from (module for module in part.modules() if isinstance(module, BatchNorm2d))
