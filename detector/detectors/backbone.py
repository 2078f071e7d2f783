"""The backbone as the detector sees it: images in, named maps out.

ShuffleNet v2 without its classifier (thesis section 3.1). Its layers keep the classification
network's names (conv1, stage2, stage3, stage4, conv5), so ImageNet weights load one to one.
"""

from __future__ import annotations

import nn
from nn.models.shufflenet_v2 import ShuffleNetV2, conv_bn_relu
from nn.table import did_you_mean

# Name -> (width, whether it is the v2* variant with an extra depthwise convolution in each block).
BACKBONES = {
    f"shufflenet_v2{star}_x{str(width).replace('.', '_')}": (width, bool(star))
    for star in ("", "_star")
    for width in (0.5, 1.0, 1.5, 2.0)
}


class ShuffleNetFeatures(ShuffleNetV2):
    """
    Args:
        name: a key of ``BACKBONES``: "shufflenet_v2_x0_5", "_x1_0", "_x1_5", "_x2_0", or
            "shufflenet_v2_star_x0_5" and so on.
        with_conv5: keep the 1x1 convolution after stage 4.

    Attributes:
        out_channels, strides: of each map, by name: "stage2" (8), "stage3" (16), "stage4" (32) and
            maybe "conv5" (32).

    Raises:
        ValueError: there is no network of that name; suggests the nearest.
    """

    def __init__(self, name: str = "shufflenet_v2_x1_0", with_conv5: bool = False):
        if name not in BACKBONES:
            raise ValueError(
                f"there is no backbone {name!r}{did_you_mean(name, BACKBONES)}: choose one of "
                f"{', '.join(BACKBONES)}"
            )
        width, extra_depthwise = BACKBONES[name]
        super().__init__(width, num_classes=None, extra_depthwise=extra_depthwise)
        if with_conv5:
            self.conv5 = conv_bn_relu(self.out_channels["stage4"], self.stage_channels[4])
            self.out_channels["conv5"] = self.stage_channels[4]
            self.strides["conv5"] = self.strides["stage4"]

    def features(self, images: nn.Tensor) -> dict[str, nn.Tensor]:
        """Normalised images (N, 3, H, W) -> maps (N, C, H / stride, W / stride), by name."""
        maps = super().features(images)
        if self.conv5 is not None:
            maps["conv5"] = self.conv5(maps["stage4"])
        return maps

    def freeze(self, stem: bool = True, stage2: bool = False, batch_norm: bool = True) -> None:
        """Keep parts of it as they are, in training too; see ``LightHeadRCNN.freeze``."""
        parts = [self.conv1] * (stem or stage2) + [self.stage2] * stage2
        for part in parts:
            part.requires_grad_(False)
        for part in [self] if batch_norm else parts:
            for module in part.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.freeze()
