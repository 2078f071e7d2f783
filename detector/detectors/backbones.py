"""What a detector stands on, and which of its maps the first of two stages reads."""

from __future__ import annotations

import nn
from detector.heads.rpn import RPNSettings
from nn.models import NETWORKS, Network, map_of_stride


def backbone_of(name: str, num_classes: int, classifier: int | None = None) -> Network:
    """The network that a detector of ``num_classes`` stands on.

    Args:
        classifier: None, or 0 for a network that ends with the map its classifier reads.

    Raises:
        ValueError: there is no such network, or no class.
    """
    if num_classes < 1:
        raise ValueError(f"a detector needs at least one class, not {num_classes}")
    try:
        make = NETWORKS[name]
    except LookupError as error:
        raise ValueError(str(error)) from None
    return make(num_classes=classifier)


def rpn_map(settings: RPNSettings, backbone: Network, neck: nn.Module) -> str:
    """The name of the map that the RPN reads.

    Raises:
        ValueError: there is none of that stride, or the neck does not fuse.
    """
    if settings.source == "backbone":
        return map_of_stride(backbone.maps, settings.stride)
    if neck.maps.get("fused", (0, 0))[1] != settings.stride:
        raise ValueError("rpn.source 'fused' needs a neck of source 'fused' and rpn.stride 16")
    return "fused"
