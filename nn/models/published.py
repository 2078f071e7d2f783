"""What was published about the networks: when, and how often they were wrong.

Errors are top-1 on ImageNet's validation set, one crop from the centre, in per cent. They belong to
the weights or the paper that ``source`` names, and to the side of ``Network.side`` unless it says
another; nothing of this was measured here. "torchvision" is what that package says of its weights
(the first ones, where it has several), "timm" likewise. None: no published error that we know of.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row: year of the paper, top-1 error in per cent or None, where that is from."""

    year: int
    error: float | None = None
    source: str = ""


def of_torchvision(year: int, **accuracies: float) -> dict[str, Published]:
    return {
        name: Published(year, round(100 - accuracy, 3), "torchvision")
        for name, accuracy in accuracies.items()
    }


PUBLISHED = {
    "alexnet_paper": Published(2012, 42.8, "ShuffleNet's table 6"),
    **of_torchvision(2014, alexnet=56.522),
    **of_torchvision(
        2014, vgg11=69.02, vgg13=69.928, vgg16=71.592, vgg19=72.376,
        vgg11_bn=70.37, vgg13_bn=71.586, vgg16_bn=73.36, vgg19_bn=74.218,
    ),
    "vgg16_reduced": Published(2014),
    **of_torchvision(2014, googlenet=69.778),
    "googlenet_paper": Published(2014, 31.3, "ShuffleNet's table 6"),
    "bn_inception": Published(2015, 26.48, "Cadene's pretrained-models"),
    "se_bn_inception": Published(2017, 24.23, "SENet's table 2"),
    "inception_v2": Published(2015, 25.2, "NASNet's table 2"),
    **of_torchvision(2015, inception_v3=77.294),
    "inception_v4": Published(2016, 19.86, "timm"),
    "inception_resnet_v1": Published(2016),
    "inception_resnet_v2": Published(2016, 19.57, "timm"),
    "xception": Published(2016, 20.94, "timm"),
    **of_torchvision(
        2015, resnet18=69.758, resnet34=73.314, resnet50=76.13, resnet101=77.374, resnet152=78.312
    ),
    "resnet50_paper": Published(2015, 24.7, "SENet's table 2"),
    "resnet101_paper": Published(2015, 23.6, "SENet's table 2"),
    "resnet152_paper": Published(2015, 23.0, "SENet's table 2"),
    **of_torchvision(
        2016, resnext50_32x4d=77.618, resnext101_32x8d=79.312, resnext101_64x4d=83.246
    ),
    "resnext101_32x4d": Published(2016, 21.2, "ResNeXt's table 3"),
    "se_resnet50": Published(2017, 22.35, "timm"),
    "se_resnet101": Published(2017, 22.38, "SENet's table 2"),
    "se_resnet152": Published(2017, 21.57, "SENet's table 2"),
    "se_resnext50_32x4d": Published(2017, 20.92, "timm"),
    "se_resnext101_32x4d": Published(2017, 20.7, "SENet's table 2"),
    "senet154": Published(2017, 18.68, "timm"),
    **of_torchvision(
        2016, densenet121=74.434, densenet161=77.138, densenet169=75.6, densenet201=76.896
    ),
    "densenet264": Published(2016, 22.1, "EfficientNet's table 2"),
    "condensenet74_c4": Published(2017, 26.2, "the authors' README"),
    "condensenet74_c8": Published(2017, 29.0, "the authors' README"),
    **of_torchvision(2016, squeezenet1_0=58.092, squeezenet1_1=58.178),
    "squeezenet1_0_simple": Published(2016, 39.6, "SqueezeNet's table 3"),
    "squeezenet1_0_complex": Published(2016, 41.2, "SqueezeNet's table 3"),
    "mobilenet_v1": Published(2017, 29.4, "MobileNet's table 6"),
    "mobilenet_v1_x0_75": Published(2017, 31.6, "MobileNet's table 6"),
    "mobilenet_v1_x0_5": Published(2017, 36.3, "MobileNet's table 6"),
    "mobilenet_v1_x0_25": Published(2017, 49.4, "MobileNet's table 6"),
    "se_mobilenet_v1": Published(2017, 25.3, "SENet's table 3"),
    **of_torchvision(2018, mobilenet_v2=71.878),
    "mobilenet_v2_x1_4": Published(2018, 25.3, "MobileNet v2's table 4"),
    "mobilenet_v2_x0_56": Published(2018),
    **of_torchvision(2019, mobilenet_v3_large=74.042, mobilenet_v3_small=67.668),
    "mobilenet_v3_large_x0_75": Published(2019, 26.7, "MobileNet v3's table 3"),
    "mobilenet_v3_small_x0_75": Published(2019, 34.6, "MobileNet v3's table 3"),
    "mnasnet_a1": Published(2018, 24.55, "timm"),
    "shufflenet_v1_g1": Published(2017, 33.6, "ShuffleNet's table 2"),
    "shufflenet_v1_g2": Published(2017),
    "shufflenet_v1_g3": Published(2017, 32.2, "the authors' README"),
    "shufflenet_v1_g4": Published(2017),
    "shufflenet_v1_g8": Published(2017),
    "shufflenet_v1_g3_x0_25": Published(2017, 55.0, "ShuffleNet's table 2"),
    "shufflenet_v1_g3_x0_5": Published(2017, 42.7, "the authors' README"),
    "shufflenet_v1_g3_x1_5": Published(2017, 28.4, "the authors' README"),
    "shufflenet_v1_g3_x2_0": Published(2017, 25.9, "the authors' README"),
    "se_shufflenet_v1_g3": Published(2017, 31.7, "SENet's table 3"),
    "se_shufflenet_v1_g3_x2_0": Published(2017, 24.7, "ShuffleNet's table 5"),
    **of_torchvision(
        2018, shufflenet_v2_x0_5=60.552, shufflenet_v2_x1_0=69.362, shufflenet_v2_x1_5=72.996,
        shufflenet_v2_x2_0=76.23,
    ),
    "shufflenet_v2_star_x0_5": Published(2018),
    "shufflenet_v2_star_x1_0": Published(2018),
    "shufflenet_v2_star_x1_5": Published(2018),
    "shufflenet_v2_star_x2_0": Published(2018),
    "se_shufflenet_v2_x2_0": Published(2018),
    "xception_like": Published(2017, 34.1, "the thesis"),
    "extraction": Published(2015),
    "darknet19": Published(2016),
    "nasnet_a_mobile": Published(2017, 26.0, "NASNet's table 3"),
    "nasnet_a_large": Published(2017, 17.36, "timm"),
    **of_torchvision(
        2019, efficientnet_b0=77.692, efficientnet_b1=78.642, efficientnet_b2=80.608,
        efficientnet_b3=82.008, efficientnet_b4=83.384, efficientnet_b5=83.444,
        efficientnet_b6=84.008, efficientnet_b7=84.122,
    ),
    "efficientnet_lite0": Published(2020, 25.15, "timm"),
    **{
        name: Published(2020)
        for name in (
            "cr_resnet18", "cr_resnet50", "cr_resnet101", "scr_resnext50", "scr_resnext101",
            "cr_mobilenet_v2",
        )
    },
}  # fmt: skip
