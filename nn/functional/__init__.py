"""The operations on tensors under PyTorch's names: check the arguments, then ``apply``.

Shapes are N C H W. Kernel sizes, strides, paddings and dilations are an int or a pair (H, W).
Functions of two tensors take arrays as well, for what needs no gradient: targets, regions.
"""

from nn.functional.activation import (
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from nn.functional.arguments import pair
from nn.functional.channel_shuffle import channel_shuffle, interleave, pixel_shuffle
from nn.functional.convolution import conv2d, conv_transpose2d
from nn.functional.deformable import deform_conv2d, deform_ps_roi_pool
from nn.functional.dropout import dropout, dropout2d, stochastic_depth
from nn.functional.elementwise import where
from nn.functional.interpolation import interpolate
from nn.functional.linear import linear
from nn.functional.loss import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss
from nn.functional.normalization import (
    batch_norm,
    group_norm,
    layer_norm,
    local_response_norm,
    normalize,
)
from nn.functional.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from nn.functional.region_pooling import ps_roi_align, ps_roi_pool, roi_align, roi_pool
from nn.functional.shape import cat, chunk, flatten, pad, split, stack

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cat",
    "channel_shuffle",
    "chunk",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "deform_conv2d",
    "deform_ps_roi_pool",
    "dropout",
    "dropout2d",
    "flatten",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "interleave",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "normalize",
    "pad",
    "pair",
    "pixel_shuffle",
    "ps_roi_align",
    "ps_roi_pool",
    "relu",
    "relu6",
    "roi_align",
    "roi_pool",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "split",
    "stack",
    "stochastic_depth",
    "tanh",
    "where",
]
