"""Four backbones that have equally much to do, learned alike: what is left is their shape.

The thesis compares its backbone with these three at 300 million multiply-adds (table 4.2), but for
the Xception-like network, of which it gives the table of 145 million (4.1). Here all four have 140
to 150 million, counted as classifiers of 1000 classes at 224 x 224.
"""

from detector.experiments.experiment import Experiment, Row

LIGHT_HEAD = "Light-Head R-CNN"

EQUAL_BUDGETS = Experiment(
    title="Backbones of 140 to 150 million multiply-adds in Light-Head R-CNN",
    rows=(
        Row("xception-like", LIGHT_HEAD, "Xception-like, 145M", "xception_like"),
        Row("shufflenet-v1", LIGHT_HEAD, "ShuffleNet v1 1x, 2 groups", "shufflenet_v1_g2"),
        Row("mobilenet-v2", LIGHT_HEAD, "MobileNet v2 0.56x", "mobilenet_v2_x0_56"),
        Row("shufflenet-v2", LIGHT_HEAD, "ShuffleNet v2 1x", "shufflenet_v2_x1_0"),
    ),
    is_timed=False,
    iterations=400,
)
