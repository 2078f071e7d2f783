"""Detectors: a backbone, necks and heads put together, with one way to train and one to predict.

``DETECTORS`` lists them all.
"""

from nn.table import Table

DETECTORS = Table(
    "detector",
    {
        "light-head-rcnn": "detector.detectors.light_head_rcnn:LightHeadRCNN",
        "retinanet": "detector.detectors.retinanet:RetinaNet",
        "ssd": "detector.detectors.ssd:SSD",
        "yolo-v2": "detector.detectors.yolo_v2:YOLOv2",
    },
)
