"""The thesis's table 4.2: light-weight detectors, how fast they are and how good.

Its frames a second are a GPU's, for batches of four pictures; its mmAP is that of COCO's test-dev.
The row v2* is no row of the thesis but of lecture 002 on ShuffleNet v2, whose batches of four a
second make the frames here: 4 x 21.3. The backbones are those of 300 million multiply-adds, but for
the 145M network.
"""

from detector.experiments.experiment import Experiment, Row

LIGHT_HEAD = "Light-Head R-CNN S"

TABLE_4_2 = Experiment(
    title="The thesis's table 4.2, on this machine",
    source="thesis",
    rows=(
        Row("xception-like", LIGHT_HEAD, "Xception*", "xception_like", fps=95, mmap=31.5),
        Row(
            "shufflenet-v1", LIGHT_HEAD, "ShuffleNet v1 1.5x", "shufflenet_v1_g3_x1_5",
            fps=76, mmap=29.9,
        ),
        Row("mobilenet-v2", LIGHT_HEAD, "MobileNet v2", "mobilenet_v2", fps=94, mmap=30.0),
        Row(
            "shufflenet-v2", LIGHT_HEAD, "ShuffleNet v2 1.5x", "shufflenet_v2_x1_5",
            fps=109, mmap=31.8,
        ),
        Row(
            "shufflenet-v2-star", LIGHT_HEAD, "ShuffleNet v2* 1.5x", "shufflenet_v2_star_x1_5",
            fps=85, mmap=33.0,
        ),
    ),
    is_timed=True,
    iterations=400,
)  # fmt: skip
