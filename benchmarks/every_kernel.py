"""A small piece of work for every kernel of ``nn.kernels``; what it computes nobody looks at."""

from __future__ import annotations

import numpy as np

import nn
from detector import boxes
from detector.parts.preprocess import to_batch
from detector.parts.selective_search.segmentation import PixelGraph
from nn import functional as F
from nn.kernels.machine.copy_planes import copy_planes
from nn.kernels.multiply_adds import multiply_adds
from nn.kernels.program.kinds import KINDS, addresses


def use_products() -> None:
    """The two kernels of matrix products alone."""
    trained(F.conv2d(random(2, 8, 9, 9), random(6, 8, 1, 1)))


def use_every_kernel() -> None:
    trained(F.linear(random(4, 8), random(6, 8)))
    maps, regions = random(2, 8, 9, 9), np.array([[0, 1, 1, 7, 7]], np.float32)
    for weight, options in (
        (random(6, 8, 1, 1), {}),
        (random(6, 8, 3, 3), {"padding": 1}),
        (random(8, 1, 3, 3), {"padding": 1, "groups": 8}),  # a stencil
        (random(8, 1, 3, 3), {"padding": 2, "groups": 8, "dilation": 2}),
    ):
        trained(F.conv2d(maps, weight, **options))
    trained(F.deform_conv2d(maps, random(2, 18, 7, 7), random(6, 8, 3, 3), mask=random(2, 9, 7, 7)))
    statistics = np.zeros(8, np.float32), np.ones(8, np.float32)
    for training in (True, False):
        trained(F.batch_norm(maps, *statistics, random(8), random(8), training))
    by_nine = F.max_pool2d(maps, 3, 2, padding=1)  # a kernel of its own
    for pooled in (by_nine, F.max_pool2d(maps, 2), F.avg_pool2d(maps, 2), F.relu(maps)):
        trained(pooled)
    trained(F.interpolate(maps, size=5, mode="bilinear"))
    F.channel_shuffle(maps, 2)
    trained(F.roi_align(maps, regions, 2))
    trained(F.roi_pool(maps, regions, 2))
    trained(F.ps_roi_align(maps, regions, 2))
    weight = nn.Parameter(np.ones((256, 256), np.float32))  # fewer are NumPy's
    weight.grad = np.ones_like(weight.data)
    nn.optim.clip_grad_norm([weight], 1.0)
    nn.optim.MomentumSGD([weight], 0.1).step()
    found = np.array([[0, 0, 4, 4], [1, 1, 5, 5]], np.float32)
    boxes.box_iou(found, found)
    boxes.nms(found, np.ones(2, np.float32), 0.5)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    to_batch([image], (0, 0, 0), (1, 1, 1))
    PixelGraph(image.astype(np.float64)).pieces(50, 50)
    copy_planes(maps.data[0], maps.data[1])
    multiply_adds(*random(2, 16).data, 2, random(1, 24, 16).data)
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    nn.inference.compile(layer.eval(), (1, 3, 8, 8))(random(1, 3, 8, 8).data)
    addresses(range(len(KINDS)), np.float32)


def random(*shape: int) -> nn.Tensor:
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return nn.Tensor(values, requires_grad=True)


def trained(output: nn.Tensor) -> None:
    output.backward(np.ones_like(output.data))
