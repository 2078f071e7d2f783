"""The contract of a detector: what training, evaluation and the commands ask of any of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import nn
from detector.boxes import as_boxes
from detector.detectors.stages import Stages
from detector.parts.anchors import AnchorGenerator
from detector.parts.preprocess import ImageSettings, check_image, network_size, to_batch
from detector.settings import Settings
from nn.models import Network


@dataclass(frozen=True)
class DetectorSettings(Settings):
    """What the settings of every detector hold.

    Attributes:
        detector: its detector's row in ``DETECTORS``.
        anchors: the path to the settings of its anchors, which have ``shapes`` and can ``fit``
            them, or None if it has no anchors.
        backbone: a name in ``nn.models.NETWORKS``.
        image: how it looks at images.
    """

    detector: ClassVar[str]
    anchors: ClassVar[str | None] = None

    backbone: str = ""
    image: ImageSettings = ImageSettings()

    def fitted(self, widths_heights: np.ndarray, sizes: int, ratios: int) -> DetectorSettings:
        """A copy with anchors fitted to boxes (R, 2) of these widths and heights.

        Without anchors, the settings as they are.

        Raises:
            ValueError: there is no box with an area.
        """
        if self.anchors is None:
            return self
        shapes = operator.attrgetter(self.anchors)(self).fit(widths_heights, sizes, ratios)
        return self.changed(f"{self.anchors}.shapes", shapes)


class Detector(nn.Module):
    """What every detector of ``detector.detectors.DETECTORS`` is.

    Made by ``Class(num_classes, **settings)``, the settings those of ``Class.Settings`` as
    ``as_dict`` returns them; ``forward`` is its convolutional part, which can be compiled.

    Attributes:
        Settings: the class of its settings.
        num_classes: without background.
        settings: its numbers.
        backbone: the network it stands on.
        has_masks: whether it learns from masks and finds them.
    """

    has_masks: ClassVar[bool] = False
    Settings: ClassVar[type[DetectorSettings]]
    num_classes: int
    settings: DetectorSettings
    backbone: Network

    def loss(
        self,
        images: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator | None = None,
    ) -> dict[str, nn.Tensor]:
        """The losses of a batch by name, one element each; train with their sum.

        Args:
            images: (H, W, 3) uint8 RGB each, at the size the network should see, of any sizes.
            targets: of each image: ``boxes`` (G, 4) in its pixels, ``labels`` (G,) int64 in
                1..num_classes, optionally ``ignore`` (I, 4) crowd regions. G may be 0.
            rng: makes all random choices; without one, they depend on nothing but the arguments.

        Raises:
            ValueError: no image, images and targets do not pair up, or a label is out of range.
        """
        raise NotImplementedError

    def detect(
        self, image: np.ndarray, network: Any = None, head: Any = None
    ) -> dict[str, np.ndarray]:
        """What ``predict`` does with one image.

        Args:
            network, head: stand for this module and for what looks at each region by itself (if
                there is such a thing): the same functions compiled.
        """
        raise NotImplementedError

    def compiled_head(self) -> Any:
        """The ``head`` for ``detect``, compiled; None where nothing looks at single regions."""
        return None

    def stages(self, image: np.ndarray, target: dict | None = None) -> Stages | None:
        """What each stage makes of one image; None where there are no two of them.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            target: what is in it, see ``loss``, in its own pixels; None if that is not known.
        """
        return None

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Detect objects.

        Every image is looked at by itself, so what is found in it does not depend on the others.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes; the list may be empty.

        Returns:
            for each image a dict, best detection first: ``boxes`` (R, 4) float32 in its own
            pixels, ``scores`` (R,) float32 in 0..1, ``labels`` (R,) int64 in 1..num_classes.
        """
        with nn.evaluating(self), nn.no_grad():
            return [self.detect(check_image(image)) for image in images]

    def config(self) -> dict:
        """All constructor arguments: ``type(model)(**model.config())`` is the same detector.

        Plain Python values, fit for JSON.
        """
        return {"num_classes": self.num_classes, **self.settings.as_dict()}

    @property
    def image(self) -> ImageSettings:
        return self.settings.image

    def input_size(self, own_size: tuple[int, int]) -> tuple[int, int]:
        """The (h, w) at which the network sees a picture of ``own_size`` (h, w)."""
        return network_size(own_size, self.image.short_side, self.image.max_side)

    @property
    def anchor_generator(self) -> AnchorGenerator | None:
        """What lays the anchors that objects are proposed from; None if it has none."""
        return None

    def set_preprocessing(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise images the way the weights that were loaded into the backbone want it."""
        for name, value in (("image.mean", mean), ("image.std", std)):
            self.settings = self.settings.changed(name, tuple(value))

    def freeze(self, parts: int = 1, batch_norm: bool = True) -> None:
        """Keep parts of a pretrained backbone as they are.

        Args:
            parts: how many, from the stem on (the thesis: the stem).
            batch_norm: the statistics, weights and biases of all batch norms of the backbone
                (the thesis: a detector's batches are too small for good statistics).
        """
        self.backbone.freeze(parts, batch_norm)

    def to_tensor(self, images: Sequence[np.ndarray]) -> nn.Tensor:
        """Normalised and padded to one batch (N, 3, H, W), in the precision of the weights."""
        dtype = next(self.parameters()).dtype
        return nn.Tensor(to_batch(images, self.image.mean, self.image.std, dtype))

    def check_batch(self, images: Sequence, targets: Sequence[dict]) -> None:
        """Raise the ``ValueError`` that ``loss`` promises."""
        if len(images) == 0 or len(images) != len(targets):
            raise ValueError(
                f"loss: needs at least one image and a target for each, not {len(images)} images "
                f"and {len(targets)} targets"
            )
        for number, target in enumerate(targets):
            boxes, labels = as_boxes(target["boxes"]), np.asarray(target["labels"])
            if labels.shape != boxes.shape[:1]:
                raise ValueError(
                    f"loss: target {number} has {len(boxes)} boxes and labels {labels.shape}"
                )
            if len(labels) and not (1 <= labels.min() and labels.max() <= self.num_classes):
                raise ValueError(
                    f"loss: labels must be 1..{self.num_classes}, target {number} has "
                    f"{labels.min()}..{labels.max()}"
                )
