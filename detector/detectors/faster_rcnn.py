"""Faster R-CNN: all channels of the maps for every region, and two fully connected layers.

What differs from ``light_head_rcnn``: there is no thin map. Regions are cut from the backbone's own
map, or from a feature pyramid, whose maps the region proposal network reads as well, each with the
anchors of its size.

Papers: Ren et al., "Faster R-CNN", NIPS 2015; Lin et al., "Feature Pyramid Networks", CVPR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from detector.detectors.backbones import backbone_of
from detector.detectors.limits import check_size, connected_weights, pyramid_weights
from detector.detectors.two_stage import TwoStageDetector, TwoStageSettings
from detector.heads.fast_rcnn import FastRCNNHead, FastRCNNHeadSettings
from detector.heads.region_head import RegionHead
from detector.heads.rpn import RegionProposalNetwork
from detector.necks.fpn import FPN, FPNSettings
from nn.models import Map, map_of_stride

# Regions are cut from the maps up to this stride; those beyond only carry the largest anchors.
COARSEST = 32


@dataclass(frozen=True)
class FasterRCNNSettings(TwoStageSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS``.
        neck: "fpn", or "none": both stages read the backbone's map of the RPN's stride.
        image, rpn, fpn, head: see the settings of the parts.
    """

    detector = "faster-rcnn"

    backbone: str = "resnet50"
    neck: Literal["fpn", "none"] = "fpn"
    fpn: FPNSettings = FPNSettings()
    head: FastRCNNHeadSettings = FastRCNNHeadSettings()

    @property
    def finest_stride(self) -> int:
        return self.fpn.finest if self.neck == "fpn" else self.rpn.stride


class FasterRCNN(TwoStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``FasterRCNN(3, backbone="resnet18", fpn={"channels": 64})``.

    ``loss(images, targets)`` and ``predict(images)`` are documented in ``Detector``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = FasterRCNNSettings
    neck_name: ClassVar[str] = "fpn"

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        if numbers.neck == "fpn":
            channels, size = numbers.fpn.channels, numbers.head.pooled_size
            neck_weights = pyramid_weights(channels, backbone.maps)
            neck_weights += 9 * channels * numbers.rpn.channels
        else:
            name = map_of_stride(backbone.maps, numbers.rpn.stride)
            channels, size, neck_weights = backbone.maps[name].channels, numbers.head.pooled_size, 0
        weights = connected_weights(numbers.head, num_classes, channels * size**2, layers=2)
        heads = len(getattr(numbers.head, "foreground_ious", [0]))
        check_size(numbers, backbone.maps, neck_weights + heads * weights, channels)
        if numbers.neck == "fpn":
            neck = FPN(backbone.maps, numbers.fpn)
            read, strides = list(neck.maps), [stride for _, stride in neck.maps.values()]
            cut = [name for name, (_, stride) in neck.maps.items() if stride <= COARSEST]
        else:
            neck, read, strides, cut = None, [name], None, [name]
        maps = backbone.maps if neck is None else neck.maps
        rpn = RegionProposalNetwork(channels, numbers.rpn, strides)
        head = self.make_head(num_classes, [maps[name] for name in cut], numbers)
        super().__init__(num_classes, numbers, backbone, rpn, neck, head, read, cut)

    def make_head(
        self, num_classes: int, maps: list[Map], settings: FasterRCNNSettings
    ) -> RegionHead:
        """The second stage, which cuts regions from ``maps``."""
        return FastRCNNHead(num_classes, maps, settings.head)
