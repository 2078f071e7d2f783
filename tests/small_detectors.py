"""A small detector of every row of ``DETECTORS``, and what to show it."""

from __future__ import annotations

import numpy as np

import nn
from detector.detectors import DETECTORS
from detector.detectors.cascade_rcnn import CascadeRCNNSettings
from detector.detectors.detector import Detector
from detector.detectors.dssd import DSSDSettings
from detector.detectors.faster_rcnn import FasterRCNNSettings
from detector.detectors.faster_rcnn_c4 import FasterRCNNC4Settings
from detector.detectors.light_head_rcnn import LightHeadRCNNSettings
from detector.detectors.mask_rcnn import MaskRCNNSettings
from detector.detectors.r_fcn import RFCNSettings
from detector.detectors.retinanet import RetinaNetSettings
from detector.detectors.ssd import SSDSettings
from detector.detectors.ssdlite import SSDLiteSettings
from detector.detectors.yolo_v1 import YOLOv1Settings
from detector.detectors.yolo_v2 import YOLOv2Settings
from detector.heads.cascade import CascadeHeadSettings
from detector.heads.fast_rcnn import FastRCNNHeadSettings
from detector.heads.light_head import LightHeadSettings
from detector.heads.mask import MaskHeadSettings
from detector.heads.r_fcn import RFCNHeadSettings
from detector.heads.retina import RetinaHeadSettings
from detector.heads.rpn import RPNSettings
from detector.heads.ssd import SSDHeadSettings
from detector.heads.stage_head import StageHeadSettings
from detector.heads.yolo_v1 import YOLOv1HeadSettings
from detector.heads.yolo_v2 import YOLOv2HeadSettings
from detector.necks.deconvolution import DeconvolutionSettings
from detector.necks.extra_maps import ExtraMapsSettings
from detector.necks.fpn import FPNSettings
from detector.necks.passthrough import PassthroughSettings
from detector.necks.score_maps import ScoreMapsSettings
from detector.necks.thin_map import ThinMapSettings
from detector.parts.anchors import AnchorSettings, ClusteredAnchors
from detector.parts.default_boxes import DefaultBoxSettings
from detector.parts.ohem import HardNegatives
from detector.parts.preprocess import ImageSettings
from detector.parts.proposals import ProposalSelector
from detector.parts.sampling import AnchorSampler, RoISampler
from detector.parts.selection import DetectionSelector

# For pictures of 64 pixels.
RPN = RPNSettings(
    channels=8,
    init="he",
    anchors=AnchorSettings((12, 24, 40), (0.5, 1, 2)),
    sampler=AnchorSampler(32),
    train_selector=ProposalSelector(12000, 40),
    test_selector=ProposalSelector(6000, 40),
)
PYRAMID = {
    "backbone": "shufflenet_v2_x0_5",
    "image": ImageSettings(64, 128),
    "rpn": RPN,
    "fpn": FPNSettings(finest=16, channels=8, norm="batch"),
}
HEAVY = {
    "pooled_size": 3, "hidden_channels": 16, "sampler": RoISampler(count=16), "init": "he",
}  # fmt: skip

SMALL = {
    "light-head-rcnn": LightHeadRCNNSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        rpn=RPN,
        thin_map=ThinMapSettings(kernel_size=3, mid_channels=4, init="he"),
        head=LightHeadSettings(
            pooled_size=3, pooled_channels=2, hidden_channels=16, hard_examples=16, init="he"
        ),
    ),
    "dssd": DSSDSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        neck=DeconvolutionSettings(
            (8, 16, 32),
            (16,),
            0,
            l2_scale=0,
            norm="batch",
            joined_channels=32,
            predicted_channels=64,
        ),
        head=SSDHeadSettings(
            anchors=DefaultBoxSettings((12, 20, 30, 40, 60), ((2,), (2,), (2,), (2,))),
            mining=HardNegatives(least=9),
        ),
    ),
    "faster-rcnn": FasterRCNNSettings(
        **PYRAMID,
        head=FastRCNNHeadSettings(**HEAVY),
    ),
    "faster-rcnn-c4": FasterRCNNC4Settings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        rpn=RPN,
        head=StageHeadSettings(pooled_size=4, sampler=RoISampler(count=16)),
    ),
    "cascade-rcnn": CascadeRCNNSettings(
        **PYRAMID,
        head=CascadeHeadSettings(**HEAVY),
    ),
    "mask-rcnn": MaskRCNNSettings(
        **PYRAMID,
        head=FastRCNNHeadSettings(**HEAVY),
        mask=MaskHeadSettings(pooled_size=4, convolutions=1, channels=8),
    ),
    "r-fcn": RFCNSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        rpn=RPN,
        score_maps=ScoreMapsSettings(channels=16, init="he"),
        head=RFCNHeadSettings(pooled_size=3, hard_examples=16),
    ),
    "retinanet": RetinaNetSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        neck=FPNSettings(8, 16, "convs", "batch"),
        head=RetinaHeadSettings(
            AnchorSettings((20, 28), (1,)),
            convolutions=1,
            channels=16,
            norm="batch",
            init="he",
            selector=DetectionSelector(0.001),
        ),
    ),
    "ssd": SSDSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        neck=ExtraMapsSettings((8, 16, 32), (16,), unpadded=0, norm="batch"),
        head=SSDHeadSettings(
            anchors=DefaultBoxSettings((12, 20, 30, 40, 60), ((2,), (2,), (2,), (2,))),
            mining=HardNegatives(least=9),
        ),
    ),
    "ssdlite": SSDLiteSettings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        neck=ExtraMapsSettings((8, 16, 32), (16,), 0, True, 0.0, "batch"),
        head=SSDHeadSettings(
            anchors=DefaultBoxSettings((12, 20, 30, 40, 60), ((2,), (2,), (2,), (2,))),
            separable=True,
            mining=HardNegatives(least=9),
        ),
    ),
    "yolo-v1": YOLOv1Settings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        head=YOLOv1HeadSettings(
            cells=4,
            channels=16,
            stride=1,
            norm="batch",
            hidden_channels=32,
            dropout=0.1,
            selector=DetectionSelector(0.0),
        ),
    ),
    "yolo-v2": YOLOv2Settings(
        backbone="shufflenet_v2_x0_5",
        image=ImageSettings(64, 128),
        neck=PassthroughSettings(32, 8),
        head=YOLOv2HeadSettings(
            ClusteredAnchors(shapes=((20, 20), (40, 30), (50, 60))),
            selector=DetectionSelector(0.0001),
        ),
    ),
}


def small_detector(name: str, num_classes: int = 3, seed: int = 0) -> Detector:
    nn.manual_seed(seed)
    return DETECTORS[name](num_classes, **SMALL[name].as_dict())


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def picture(height, width, seed=0):
    return generator(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def batch():
    """Two images of different sizes, the second without objects."""
    return [picture(64, 96), picture(50, 40, seed=1)], [
        {"boxes": np.float32([[8, 8, 40, 40], [50, 20, 90, 60]]), "labels": np.array([1, 3])},
        {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)},
    ]


SIZES = [(64, 96), (1, 1), (1, 300), (300, 1), (37, 41), (7, 5)]


def check_detections(found, image, num_classes=3):
    """What ``Detector.predict`` promises of one image."""
    height, width = image.shape[:2]
    boxes, scores, labels = found["boxes"], found["scores"], found["labels"]
    assert boxes.dtype == np.float32 and scores.dtype == np.float32 and labels.dtype == np.int64
    assert boxes.shape == (len(scores), 4) and labels.shape == scores.shape
    # float32 may round a border by a hair on the way back to the image's own size.
    assert (boxes >= 0).all() and (boxes <= np.float32([width, height] * 2) * (1 + 1e-6)).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert ((scores >= 0) & (scores <= 1)).all() and (np.diff(scores) <= 0).all()
    assert ((labels >= 1) & (labels <= num_classes)).all()
