"""CR-NAS: known networks, their blocks dealt out anew among the stages and over dilations.

Where a detector looks at the maps, it matters which stage does how much of the work, and how far a
block sees. A search first moved blocks between the stages ("CR": computation reallocation), then
chose a dilation of 1, 2 or 3 for each 3x3 convolution, the second one of a block. A block costs the
same in every stage, and a dilation nothing: the multiply-adds of the ResNets do not change by one.

Paper: Liang et al., "Computation Reallocation for Object Detection", ICLR 2020, tables 5 and 6. The
numbers here are its codes plus 1. "SCR" moved blocks only. It does not say which of a ResNet's
convolutions has the stride; here it is torchvision's. Of the twenty codes of MobileNet v2 the first
and the last two, 0 all, must be those of the stem and the last layers; that leaves one for each
block (our reading). The layers' names are those of the networks it began with.
"""

from __future__ import annotations

from functools import partial

from nn.models.mobilenet_v2 import MobileNetV2
from nn.models.resnet import BasicBlock, Bottleneck, ResNet

# The dilations of the blocks, stage by stage.
RESNET18 = ((1,), (1,), (2, 1), (2, 1, 3, 2))
RESNET50 = ((1,), (1, 2, 1), (1, 1, 2, 3, 1), (1, 2, 1, 3, 2, 2, 3))
RESNET101 = (
    (1, 1),
    (1, 1, 1),
    (1, 2, 1, 2, 1, 1, 1, 3, 1, 1, 1, 2, 1, 2, 1, 2, 1),
    (2, 2, 1, 1, 2, 1, 2, 3, 1, 2, 2),
)
MOBILENET_V2 = ((2,), (1, 2), (1, 3), (1, 2, 2), (1, 1, 2, 2), (1, 2, 2, 1), (3,))


def reallocated(block, dilations, num_classes: int | None = 1000, **options) -> ResNet:
    """A ResNet with as many blocks as there are dilations, and new weights."""
    counts = [len(of_stage) for of_stage in dilations]
    return ResNet(block, counts, num_classes, dilations=dilations, **options)


cr_resnet18 = partial(reallocated, BasicBlock, RESNET18)
cr_resnet50 = partial(reallocated, Bottleneck, RESNET50)
cr_resnet101 = partial(reallocated, Bottleneck, RESNET101)
scr_resnext50 = partial(ResNet, Bottleneck, (2, 2, 6, 6), width=4, groups=32)
scr_resnext101 = partial(ResNet, Bottleneck, (3, 4, 15, 11), width=4, groups=32)
cr_mobilenet_v2 = partial(MobileNetV2, dilations=MOBILENET_V2)
