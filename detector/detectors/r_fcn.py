"""R-FCN: all the work is done for the whole picture; a region only takes a vote.

What differs from ``light_head_rcnn``: instead of a thin map of 490 channels and a fully connected
layer there are score maps, 49 for each class, and nothing to learn behind them.

Paper: Dai et al., "R-FCN: Object Detection via Region-based Fully Convolutional Networks", NIPS
2016. There the ResNet's last stage is dilated and has stride 16; here it is the backbone as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.detectors.backbones import backbone_of, rpn_map
from detector.detectors.limits import check_size
from detector.detectors.two_stage import TwoStageDetector, TwoStageSettings
from detector.heads.r_fcn import RFCNHead, RFCNHeadSettings
from detector.heads.rpn import RegionProposalNetwork
from detector.necks.score_maps import ScoreMaps, ScoreMapsSettings


@dataclass(frozen=True)
class RFCNSettings(TwoStageSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS``.
        image, rpn, score_maps, head: see the settings of the parts.
    """

    detector = "r-fcn"

    backbone: str = "resnet50"
    score_maps: ScoreMapsSettings = ScoreMapsSettings()
    head: RFCNHeadSettings = RFCNHeadSettings()


class RFCN(TwoStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``RFCN(3, backbone="resnet18", score_maps={"channels": 256})``.

    ``loss(images, targets)`` and ``predict(images)`` are documented in ``Detector``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = RFCNSettings
    neck_name = "score_maps"

    def __init__(self, num_classes: int, **settings):
        numbers = RFCNSettings().updated(settings)
        scores, head = numbers.score_maps, numbers.head
        backbone = backbone_of(
            numbers.backbone, num_classes, classifier=0 if scores.source == "last" else None
        )
        channels, out_channels = scores.channels, head.out_channels(num_classes)
        widest = max(map_.channels for map_ in backbone.maps.values())
        weights = channels * widest + (channels or widest) * out_channels
        check_size(numbers, backbone.maps, weights, out_channels // head.pooled_size**2)
        neck = ScoreMaps(backbone.maps, out_channels, scores)
        read = rpn_map(numbers.rpn, backbone, neck)
        rpn = RegionProposalNetwork({**backbone.maps, **neck.maps}[read].channels, numbers.rpn)
        vote = RFCNHead(num_classes, neck.maps["scores"].stride, head)
        super().__init__(num_classes, numbers, backbone, rpn, neck, vote, [read], "scores")
