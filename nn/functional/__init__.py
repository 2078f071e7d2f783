"""The operations on tensors under PyTorch's names: check the arguments, then ``apply``.

Shapes are N C H W. Kernel sizes, strides, paddings and dilations are an int or a pair (H, W).
Functions of two tensors take arrays as well, for what needs no gradient: targets, regions.
"""

from nn.functional.activation import log_softmax, relu, relu6, sigmoid, softmax, tanh
from nn.functional.arguments import pair
from nn.functional.convolution import conv2d, linear
from nn.functional.loss import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss
from nn.functional.normalization import batch_norm, dropout, group_norm
from nn.functional.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from nn.functional.rearranging import cat, channel_shuffle, interleave, interpolate
from nn.functional.region_pooling import ps_roi_align, ps_roi_pool, roi_align, roi_pool

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cat",
    "channel_shuffle",
    "conv2d",
    "cross_entropy",
    "dropout",
    "group_norm",
    "interleave",
    "interpolate",
    "linear",
    "log_softmax",
    "max_pool2d",
    "pair",
    "ps_roi_align",
    "ps_roi_pool",
    "relu",
    "relu6",
    "roi_align",
    "roi_pool",
    "sigmoid",
    "smooth_l1_loss",
    "softmax",
    "tanh",
]
