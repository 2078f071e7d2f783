"""How large a detector may be.

Its settings come from files that anybody may have written. Each number has a range of its own;
here it is about their products, before any memory is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nn.models import Map, map_of_stride

if TYPE_CHECKING:
    from detector.detectors.light_head_rcnn import LightHeadRCNNSettings

# Each is many times what the thesis's larger setting has: 9 million, 60 thousand, 2 million.
MOST_WEIGHTS = 2**26  # beside the backbone's
MOST_ANCHORS = 2**22  # in a picture
MOST_SAMPLES = 2**28  # of the thin map, for all proposals of a picture


def check_size(settings: LightHeadRCNNSettings, num_classes: int, maps: Mapping[str, Map]) -> None:
    """Refuse what no memory or no patience would be enough for.

    Raises:
        ValueError: names the number and its limit.
    """
    image, rpn, thin, head = settings.image, settings.rpn, settings.thin_map, settings.head
    widest = max(channels for channels, _ in maps.values())
    anchors = rpn.anchors.count
    rpn_in = maps[map_of_stride(maps, rpn.stride)].channels
    boxes = 1 + num_classes if head.class_specific_boxes else 1
    weights = (
        rpn.channels * (9 * rpn_in + (rpn.outputs + 4) * anchors)
        + 2 * thin.kernel_size * thin.mid_channels * (widest + head.in_channels)
        + head.hidden_channels * (head.in_channels + 1 + num_classes + 4 * boxes)
    )
    cells = min(image.short_side, image.max_side) * image.max_side // rpn.stride**2
    bins = head.pooled_channels * (head.pooled_size * max(head.sampling_ratio, 1)) ** 2
    samples = bins * max(rpn.train_selector.post_nms, rpn.test_selector.post_nms)
    for what, number, most in (
        ("weights", weights, MOST_WEIGHTS),
        ("anchors in a picture", anchors * cells, MOST_ANCHORS),
        ("samples of regions in a picture", samples, MOST_SAMPLES),
    ):
        if number > most:
            raise ValueError(f"the detector would have {number:,} {what}, more than {most:,}")
