"""Light-Head R-CNN, the detector of the thesis, made from names and numbers.

The parts are in their own files, how they work together is in ``two_stage``; this one only builds
them from their settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detector.detectors.backbones import backbone_of, rpn_map
from detector.detectors.flat_options import nested
from detector.detectors.limits import check_size, connected_weights
from detector.detectors.two_stage import TwoStageDetector, TwoStageSettings
from detector.heads.light_head import LightHead, LightHeadSettings
from detector.heads.rpn import RegionProposalNetwork, RPNSettings
from detector.necks.thin_map import ThinMap, ThinMapSettings
from detector.parts.preprocess import ImageSettings

# C_mid in the two settings of the thesis (section 3.2.3).
MID_CHANNELS = {"S": 64, "L": 256}


@dataclass(frozen=True)
class LightHeadRCNNSettings(TwoStageSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS``.
        image, rpn, thin_map, head: see the settings of the parts.
    """

    detector = "light-head-rcnn"

    backbone: str = "shufflenet_v2_x1_0"
    image: ImageSettings = ImageSettings()
    rpn: RPNSettings = RPNSettings()
    thin_map: ThinMapSettings = ThinMapSettings()
    head: LightHeadSettings = LightHeadSettings()


class LightHeadRCNN(TwoStageDetector):
    """
    Args:
        num_classes: without background.
        backbone: a name in ``nn.models.NETWORKS`` with maps of strides 16 and 32.
        setting: "S" (C_mid 64) or "L" (C_mid 256).
        **settings: of the parts by name, each an object or a dict of what differs from its
            defaults: ``LightHeadRCNN(3, rpn={"channels": 128})``.

    ``loss(images, targets)`` and ``predict(images)`` are documented in ``Detector``.

    Raises:
        ValueError: there is no such backbone, setting or option; suggests the nearest.
    """

    Settings = LightHeadRCNNSettings
    neck_name: ClassVar[str] = "thin_map"

    def __init__(
        self,
        num_classes: int,
        backbone: str = "shufflenet_v2_x1_0",
        setting: str = "S",
        **settings,
    ):
        if setting not in MID_CHANNELS:
            raise ValueError(f"setting must be 'S' or 'L', not {setting!r}")
        numbers = LightHeadRCNNSettings().changed("thin_map.mid_channels", MID_CHANNELS[setting])
        numbers = numbers.updated(nested({"backbone": backbone, **settings}))
        thin, head = numbers.thin_map, numbers.head
        network = backbone_of(
            numbers.backbone, num_classes, classifier=0 if thin.source == "last" else None
        )
        widest = max(channels for channels, _ in network.maps.values())
        separable = 2 * thin.kernel_size * thin.mid_channels * (widest + head.in_channels)
        weights = separable + connected_weights(head, num_classes, head.in_channels)
        check_size(numbers, network.maps, weights, head.pooled_channels)
        neck = ThinMap(network.maps, head.in_channels, thin)
        read = rpn_map(numbers.rpn, network, neck)
        rpn = RegionProposalNetwork({**network.maps, **neck.maps}[read].channels, numbers.rpn)
        light_head = LightHead(num_classes, neck.maps["thin"].stride, head)
        super().__init__(num_classes, numbers, network, rpn, neck, light_head, [read], "thin")
