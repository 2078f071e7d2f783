"""Faster R-CNN on one map, with the backbone's last stage as its head.

What differs from ``faster_rcnn``: there is no pyramid and there are no hidden layers. The picture
passes the backbone up to the map that proposals come from, c4; what lies behind it runs on each
region (``detector.heads.stage_head``). So it was on ResNet before feature pyramids; Detectron2
calls it R50-C4.

Papers: Ren et al., "Faster R-CNN", NIPS 2015; He et al., "Deep Residual Learning for Image
Recognition", CVPR 2016, appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import nn
from detector.detectors.backbones import backbone_of
from detector.detectors.limits import check_size
from detector.detectors.two_stage import TwoStageDetector, TwoStageSettings
from detector.heads.rpn import RegionProposalNetwork, RPNSettings
from detector.heads.stage_head import CompiledLook, StageHead, StageHeadSettings
from detector.parts.proposals import ProposalSelector
from nn.models import map_of_stride
from nn.models.trunk import maps_of


@dataclass(frozen=True)
class FasterRCNNC4Settings(TwoStageSettings):
    """300 proposals a picture in use, as in the paper.

    Attributes:
        backbone: a name in ``nn.models.NETWORKS``.
        image, rpn, head: see the settings of the parts.
    """

    detector = "faster-rcnn-c4"

    backbone: str = "resnet50"
    rpn: RPNSettings = RPNSettings(channels=512, test_selector=ProposalSelector(6000, 300))
    head: StageHeadSettings = StageHeadSettings()


class FasterRCNNC4(TwoStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``FasterRCNNC4(3, backbone="resnet18", rpn={"channels": 256})``.

    ``loss(images, targets)`` and ``predict(images)`` are documented in ``Detector``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest. Or nothing of the
            backbone lies behind the map of ``rpn.stride`` that could run by itself.
    """

    Settings = FasterRCNNC4Settings

    def __init__(self, num_classes: int, **settings):
        numbers = FasterRCNNC4Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        read = map_of_stride(backbone.maps, numbers.rpn.stride)
        stages = backbone.stages()
        *_, last = stages
        behind = list(stages)[list(stages).index(read) + 1 :]
        if not behind:
            raise ValueError(f"nothing of {numbers.backbone} lies behind its last map, {read}")
        stage = nn.Sequential(*(stages[name] for name in behind))
        map_, out_channels = backbone.maps[read], backbone.maps[last].channels
        weights = out_channels * (1 + num_classes) * (5 if numbers.head.class_specific_boxes else 1)
        check_size(numbers, backbone.maps, weights, map_.channels)
        rpn = RegionProposalNetwork(map_.channels, numbers.rpn)
        head = StageHead(num_classes, map_, stage, out_channels, numbers.head)
        super().__init__(num_classes, numbers, backbone, rpn, None, head, [read], read)

    def maps_of(self, batch: nn.Tensor) -> dict[str, nn.Tensor]:
        stages = self.backbone.stages()
        names = list(stages)
        until = names.index(self.head_maps) + 1
        return maps_of({name: stages[name] for name in names[:until]}, batch)

    def compiled_head(self) -> Callable:
        return partial(self.head, look=CompiledLook(self.head))
