"""ShuffleNet v2 as one would write it in PyTorch; takes the state_dict of ``nn.models``."""

from __future__ import annotations

import torch
from torch import nn

BLOCKS = {"stage2": 4, "stage3": 8, "stage4": 4}


def conv_bn(in_channels, out_channels, kernel_size=1, stride=1, groups=1):
    return [
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2,
            groups=groups, bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    ]  # fmt: skip


class InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                *conv_bn(in_channels, in_channels, 3, 2, in_channels),
                *conv_bn(in_channels, half), nn.ReLU(inplace=True),
            )  # fmt: skip
        self.stride = stride
        self.branch2 = nn.Sequential(
            *conv_bn(in_channels if stride == 2 else half, half), nn.ReLU(inplace=True),
            *conv_bn(half, half, 3, stride, half),
            *conv_bn(half, half), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x):
        left, right = (self.branch1(x), x) if self.stride == 2 else x.chunk(2, dim=1)
        return channel_shuffle(torch.cat((left, self.branch2(right)), dim=1))


def channel_shuffle(x):
    """Two groups, by the view and the transposition that torchvision uses."""
    N, C, H, W = x.shape
    return x.view(N, 2, C // 2, H, W).transpose(1, 2).reshape(N, C, H, W)


class ShuffleNetV2(nn.Module):
    """
    Args:
        channels: of the stem, stages 2, 3 and 4, and conv5.
        num_classes: None for a backbone without conv5 and fc.
    """

    def __init__(self, channels, num_classes: int | None):
        super().__init__()
        before = channels[0]
        self.conv1 = nn.Sequential(*conv_bn(3, before, 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for (name, count), after in zip(BLOCKS.items(), channels[1:4], strict=True):
            blocks = [InvertedResidual(before, after, 2)]
            blocks += [InvertedResidual(after, after, 1) for _ in range(count - 1)]
            setattr(self, name, nn.Sequential(*blocks))
            before = after
        self.fc = None
        if num_classes is not None:
            self.conv5 = nn.Sequential(*conv_bn(before, channels[4]), nn.ReLU(inplace=True))
            self.fc = nn.Linear(channels[4], num_classes)

    def forward(self, x):
        """Scores; for a backbone the maps of stages 3 and 4."""
        stage3 = self.stage3(self.stage2(self.maxpool(self.conv1(x))))
        stage4 = self.stage4(stage3)
        if self.fc is None:
            return stage3, stage4
        return self.fc(self.conv5(stage4).mean((2, 3)))
