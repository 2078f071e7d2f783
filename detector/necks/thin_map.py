"""The thin feature map: few channels, made by large kernels, that the head's RoIs are cut from.

Between the backbone and the head, computed once per image (thesis section 3.2.3, figure 3.4). R-FCN
needs classes x 7 x 7 channels here; Light-Head R-CNN gets by with 10 x 7 x 7 = 490, because a fully
connected layer follows.
"""

from __future__ import annotations

from collections.abc import Mapping

import nn
from detector.parts.layers import init_hidden, make_norm
from nn import functional as F


class LargeSeparableConv(nn.Module):
    """k x 1 then 1 x k, plus 1 x k then k x 1, and one ReLU on the sum.

    A k x k window at the price of 2 k: with k = 15 a cell of the thin map sees half a photograph.
    There is nothing between the two convolutions of a branch.

    Args:
        in_channels: C of the backbone's map.
        mid_channels: C_mid, 64 in the thesis's setting S and 256 in L.
        out_channels: C_out, 10 x 7 x 7.
        kernel_size: k, odd.
        norm, init: see ``detector.parts.layers``; the normalisation comes before the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int = 64,
        out_channels: int = 490,
        kernel_size: int = 15,
        norm: str = "none",
        init: str = "gaussian",
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"the kernel size must be odd to keep the map's size: {kernel_size}")
        tall, wide = (kernel_size, 1), (1, kernel_size)
        self.tall_wide = _branch(in_channels, mid_channels, out_channels, tall, wide, norm, init)
        self.wide_tall = _branch(in_channels, mid_channels, out_channels, wide, tall, norm, init)
        self.norm = make_norm(norm, out_channels)

    def forward(self, features: nn.Tensor) -> nn.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return F.relu(self.norm(self.tall_wide(features) + self.wide_tall(features)))


class FusedMap(nn.Module):
    """Stage 3 and stage 4 in one map at stride 16: fine positions and wide context.

    A 1x1 convolution brings stage 4 to stage 3's channels, each of its cells is repeated 2 x 2
    times, and the two are added (the top-down step of feature pyramid networks, Lin et al. 2017).
    """

    def __init__(self, fine_channels: int, coarse_channels: int, norm: str, init: str):
        super().__init__()
        conv = nn.Conv2d(coarse_channels, fine_channels, 1, bias=norm == "none")
        self.lateral = nn.Sequential(
            init_hidden(conv, init, before_relu=False), make_norm(norm, fine_channels)
        )

    def forward(self, fine: nn.Tensor, coarse: nn.Tensor) -> nn.Tensor:
        """(N, C, 2 H, 2 W) and (N, C', H, W) -> (N, C, 2 H, 2 W)."""
        upsampled = F.interpolate(self.lateral(coarse), size=fine.shape[2:], mode="nearest")
        return F.relu(fine + upsampled)


class ThinMap(nn.Module):
    """From the backbone's maps to the thin map.

    Args:
        source: "stage3", "stage4", "conv5", or "fused" for both stages; see ``DetectorConfig``.
        channels: of each map of the backbone, by name.
        strides: of each map of the backbone, by name.
        mid_channels, out_channels, kernel_size: of the large separable convolution.
        norm, init: see ``detector.parts.layers``.

    Attributes:
        stride: of the thin map, in pixels.
    """

    def __init__(
        self,
        source: str,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        mid_channels: int = 64,
        out_channels: int = 490,
        kernel_size: int = 15,
        norm: str = "none",
        init: str = "gaussian",
    ):
        super().__init__()
        self.source = source
        self.fuse = None
        if source == "fused":
            self.fuse = FusedMap(channels["stage3"], channels["stage4"], norm, init)
        finest = "stage3" if source == "fused" else source
        self.stride = strides[finest]
        self.conv = LargeSeparableConv(
            channels[finest], mid_channels, out_channels, kernel_size, norm, init
        )

    def forward(self, features: Mapping[str, nn.Tensor]) -> nn.Tensor:
        """Maps (N, C, H, W) by name -> (N, out_channels, H, W)."""
        if self.fuse is not None:
            return self.conv(self.fuse(features["stage3"], features["stage4"]))
        return self.conv(features[self.source])


def _branch(in_channels, mid_channels, out_channels, first, second, norm, init) -> nn.Sequential:
    def padding(kernel):
        return kernel[0] // 2, kernel[1] // 2

    return nn.Sequential(
        init_hidden(
            nn.Conv2d(in_channels, mid_channels, first, padding=padding(first)),
            init,
            before_relu=False,
        ),
        init_hidden(
            nn.Conv2d(
                mid_channels, out_channels, second, padding=padding(second), bias=norm == "none"
            ),
            init,
        ),
    )
