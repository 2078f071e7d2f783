"""The layers: modules that own the parameters of one function of ``nn.functional``."""

from nn.layers.activation import (
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from nn.layers.channel_shuffle import ChannelShuffle, PixelShuffle
from nn.layers.convolution import Conv2d, ConvTranspose2d
from nn.layers.dropout import Dropout, Dropout2d, StochasticDepth
from nn.layers.interpolation import Upsample
from nn.layers.linear import Linear
from nn.layers.normalization import BatchNorm2d, GroupNorm, L2Norm, LayerNorm, LocalResponseNorm
from nn.layers.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d
from nn.layers.shape import Flatten, Identity, ZeroPad2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "ChannelShuffle",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "L2Norm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "PixelShuffle",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "StochasticDepth",
    "Tanh",
    "Upsample",
    "ZeroPad2d",
]
