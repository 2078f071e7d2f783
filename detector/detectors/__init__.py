"""Detectors: a backbone, necks and heads put together, with one way to train and one to predict.

``DETECTORS`` lists them all.
"""

from nn.table import Table

DETECTORS = Table(
    "detector",
    {
        "light-head-rcnn": "detector.detectors.light_head_rcnn:LightHeadRCNN",
        "dssd": "detector.detectors.dssd:DSSD",
        "faster-rcnn": "detector.detectors.faster_rcnn:FasterRCNN",
        "faster-rcnn-c4": "detector.detectors.faster_rcnn_c4:FasterRCNNC4",
        "cascade-rcnn": "detector.detectors.cascade_rcnn:CascadeRCNN",
        "mask-rcnn": "detector.detectors.mask_rcnn:MaskRCNN",
        "r-fcn": "detector.detectors.r_fcn:RFCN",
        "retinanet": "detector.detectors.retinanet:RetinaNet",
        "ssd": "detector.detectors.ssd:SSD",
        "ssdlite": "detector.detectors.ssdlite:SSDLite",
        "yolo-v1": "detector.detectors.yolo_v1:YOLOv1",
        "yolo-v2": "detector.detectors.yolo_v2:YOLOv2",
    },
)
