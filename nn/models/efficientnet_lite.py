"""EfficientNet-Lite0: EfficientNet-B0 for processors that have neither a sigmoid nor a global mean.

B0 (``nn.models.efficientnet``) without squeeze and excitation, with ReLU6 in the place of SiLU. The
stages are ``STAGES``; before them a 3x3 convolution of 32 /2, after them a 1x1 convolution of 1280.

Source: the authors' program (tensorflow/tpu, models/official/efficientnet/lite), 2020; there is no
paper. Its weights were trained with TensorFlow's padding and batch norms of eps 0.001, so both are
built: with zeros on both sides alike the same weights name things less surely. The layers' names
are those of the package timm (tf_efficientnet_lite0); files with the names of Melas-Kyriazi's
package efficientnet_pytorch load as well.
"""

from __future__ import annotations

import numpy as np

from nn.layers import ReLU6
from nn.models.blocks import SameConv2d
from nn.models.mnasnet import MnasNet, Style
from nn.models.network import HALVES, Dialect, Preprocessing

# k, s of the first block, t, C_out, how many blocks, no squeeze and excitation, the map that the
# last of them makes.
STAGES = (
    (3, 1, 1, 16, 1, False, None),
    (3, 2, 6, 24, 2, False, "c2"),
    (5, 2, 6, 40, 2, False, "c3"),
    (3, 2, 6, 80, 3, False, None),
    (5, 1, 6, 112, 3, False, "c4"),
    (5, 2, 6, 192, 4, False, None),
    (3, 1, 6, 320, 1, False, "c5"),
)
TENSORFLOW = Style(SameConv2d, ReLU6, eps=1e-3)
URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"


class EfficientNetPyTorch(Dialect):
    """The names of the package efficientnet_pytorch; layers and numbers are the same."""

    name = "efficientnet_pytorch"
    preprocessing = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3)
    ends = {
        "_conv_stem": "conv_stem", "_conv_head": "conv_head", "_fc": "classifier",
        "_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl",
    }  # fmt: skip

    def knows(self, name: str) -> bool:
        return name.startswith(("_blocks.", "_conv_stem.", "_fc."))

    def translate(self, path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {self.new(name): array for name, array in tensors.items()}

    def new(self, name: str) -> str:
        """Blocks have one number there and two here; the first has no expansion, so other names."""
        layer, _, kind = name.rpartition(".")
        *where, own = layer.split(".")
        if not where:  # stem and head
            norms = {"_bn0": "bn1", "_bn1": "bn2"}
            return f"{norms.get(own) or self.ends.get(own, own)}.{kind}"
        stage, index = place_of(int(where[1]))
        norm = {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
        if (stage, index) == (0, 0):
            norm, own = {"_bn1": "bn1", "_bn2": "bn2"}, own.replace("_project_conv", "conv_pw")
        return f"blocks.{stage}.{index}.{norm.get(own) or self.ends.get(own, own)}.{kind}"


def place_of(block: int) -> tuple[int, int]:
    """The number of a block among all -> that of its stage, and its own in there."""
    for stage, (*_, count, _, _) in enumerate(STAGES):
        if block < count:
            return stage, block
        block -= count
    return len(STAGES), block


class EfficientNetLite(MnasNet):
    """
    Args:
        num_classes: 0 leaves ``classifier`` away, None the last convolution too: a backbone.
        dropout: probability, before the classes.

    Attributes:
        maps: as ``MnasNet``'s.
    """

    preprocessing = HALVES
    weights = {"imagenet": URL + "tf_efficientnet_lite0-0aa007d2.pth"}
    dialects = (EfficientNetPyTorch(),)

    def __init__(self, num_classes: int | None = 1000, dropout: float = 0.2):
        super().__init__(num_classes, STAGES, TENSORFLOW, dropout=dropout)


efficientnet_lite0 = EfficientNetLite
