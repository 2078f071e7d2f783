"""Detectors on one backbone: what is left is how they look at a map.

All stand on the thesis's ShuffleNet v2 1.5x and are timed with its pictures of 800 x 1200; the
settings are the papers', so R-FCN's score maps are made of 1024 channels.
"""

from detector.experiments.experiment import Experiment, Row

OURS, NETWORK = "shufflenet_v2_x1_5", "ShuffleNet v2 1.5x"

HEADS = Experiment(
    title="Detectors on ShuffleNet v2 1.5x",
    rows=(
        Row("light-head", "Light-Head R-CNN S", NETWORK, OURS),
        Row("r-fcn", "R-FCN", NETWORK, OURS, detector="r-fcn"),
        Row("faster-rcnn", "Faster R-CNN, FPN", NETWORK, OURS, detector="faster-rcnn"),
        Row("retinanet", "RetinaNet", NETWORK, OURS, detector="retinanet"),
        Row(
            "ssd", "SSD", NETWORK, OURS, detector="ssd",
            settings={"neck": {"strides": (8, 16, 32), "channels": (512, 256, 256)}},
        ),
        Row("yolo-v2", "YOLO v2", NETWORK, OURS, detector="yolo-v2"),
    ),
    is_timed=True,
    iterations=400,
)  # fmt: skip
