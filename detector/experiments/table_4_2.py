"""The thesis's table 4.2: light-weight detectors, how fast they are and how good.

Its frames a second are a GPU's, for batches of four pictures; its mmAP is that of COCO's test-dev.
The row v2* is no row of the thesis but of lecture 002 on ShuffleNet v2, whose batches of four a
second make the frames here: 4 x 21.3. The light head's backbones are those of 300 million
multiply-adds, but for the 145M network. DeNet is not built. ResNet-101 is as it is, of stride 32:
nowhere is its last stage dilated, as it is in DSSD's and R-FCN's papers.

What is trained here stands on the thesis's own backbone, whatever detector it is. So the AP of the
light head's rows compares backbones, and that of the others detectors.
"""

from detector.experiments.experiment import Experiment, Row

LIGHT_HEAD = "Light-Head R-CNN S"
OURS = "shufflenet_v2_x1_5"
RESNET_MAPS = {"neck": {"strides": (8, 16, 32), "channels": (512, 256, 256)}}

TABLE_4_2 = Experiment(
    title="The thesis's table 4.2, on this machine",
    source="thesis",
    rows=(
        Row(
            "yolo-v2", "YOLO v2", "Darknet-19", "darknet19", OURS, "yolo-v2", (448, 448),
            fps=40, mmap=21.6,
        ),
        Row(
            "ssd-300-vgg", "SSD", "VGG-16", "vgg16_reduced", OURS, "ssd", (300, 300),
            fps=58, mmap=25.1,
        ),
        Row(
            "ssd-300-resnet", "SSD", "ResNet-101", "resnet101", OURS, "ssd", (300, 300),
            RESNET_MAPS, fps=16, mmap=28.0,
        ),
        Row(
            "ssd-500-resnet", "SSD", "ResNet-101", "resnet101", OURS, "ssd", (500, 500),
            RESNET_MAPS, fps=8, mmap=31.2,
        ),
        Row(
            "dssd-300", "DSSD", "ResNet-101", "resnet101", OURS, "dssd", (300, 300),
            fps=8, mmap=28.0,
        ),
        Row(
            "dssd-500", "DSSD", "ResNet-101", "resnet101", OURS, "dssd", (500, 500),
            fps=6, mmap=33.2,
        ),
        Row(
            "r-fcn", "R-FCN", "ResNet-101", "resnet101", OURS, "r-fcn", (600, 1000),
            fps=11, mmap=29.9,
        ),
        Row("xception-like", LIGHT_HEAD, "Xception*", "xception_like", fps=95, mmap=31.5),
        Row(
            "shufflenet-v1", LIGHT_HEAD, "ShuffleNet v1 1.5x", "shufflenet_v1_g3_x1_5",
            fps=76, mmap=29.9,
        ),
        Row("mobilenet-v2", LIGHT_HEAD, "MobileNet v2", "mobilenet_v2", fps=94, mmap=30.0),
        Row("shufflenet-v2", LIGHT_HEAD, "ShuffleNet v2 1.5x", OURS, fps=109, mmap=31.8),
        Row(
            "shufflenet-v2-star", LIGHT_HEAD, "ShuffleNet v2* 1.5x", "shufflenet_v2_star_x1_5",
            fps=85, mmap=33.0,
        ),
    ),
    is_timed=True,
    iterations=400,
)  # fmt: skip
