"""How large a detector may be.

Its settings come from files that anybody may have written. Each number has a range of its own;
here it is about their products, before any memory is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nn.models import Map, map_of_stride

if TYPE_CHECKING:
    from detector.detectors.dssd import DSSDSettings
    from detector.detectors.retinanet import RetinaNetSettings
    from detector.detectors.ssd import SSDSettings
    from detector.detectors.two_stage import TwoStageSettings
    from detector.detectors.yolo_v1 import YOLOv1Settings
    from detector.detectors.yolo_v2 import YOLOv2Settings
    from detector.heads.connected_head import ConnectedHeadSettings
    from detector.heads.mask import MaskHeadSettings

# Each is many times what the thesis's larger setting has, 9 million, 60 thousand, 2 million; the
# heaviest head of the papers, Faster R-CNN's on VGG-16, has 121 million weights.
MOST_WEIGHTS = 2**27  # beside the backbone's
MOST_CONNECTED = 2**28  # where they are in fully connected layers: YOLO v1 has 249 million
MOST_ANCHORS = 2**22  # in a picture
MOST_EXTRA = 16  # maps beside the backbone's
MOST_SAMPLES = 2**28  # of the maps, for all proposals of a picture


def check_size(
    settings: TwoStageSettings, maps: Mapping[str, Map], weights: int, channels: int
) -> None:
    """Refuse what no memory or no patience would be enough for.

    Args:
        maps: of the backbone.
        weights: of the neck and the head.
        channels: that a region is cut out of, for each of its bins.

    Raises:
        ValueError: names the number and its limit.
    """
    image, rpn, head = settings.image, settings.rpn, settings.head
    anchors, widest = rpn.anchors.count, max(channels for channels, _ in maps.values())
    weights += rpn.channels * (9 * widest + (rpn.outputs + 4) * anchors)
    cells = min(image.short_side, image.max_side) * image.max_side // settings.finest_stride**2
    bins = channels * (head.pooled_size * max(head.sampling_ratio, 1)) ** 2
    count = head.sampler.count
    regions = max(rpn.test_selector.post_nms, rpn.train_selector.post_nms if count < 0 else count)
    refuse(
        ("weights", weights, MOST_WEIGHTS),
        ("anchors in a picture", anchors * cells, MOST_ANCHORS),
        ("samples of regions in a picture", bins * regions, MOST_SAMPLES),
    )


def connected_weights(
    head: ConnectedHeadSettings, num_classes: int, in_features: int, layers: int = 1
) -> int:
    """Of a head of so many hidden layers, about."""
    hidden, boxes = head.hidden_channels, 1 + num_classes if head.class_specific_boxes else 1
    return hidden * (in_features + (layers - 1) * hidden + 1 + num_classes + 4 * boxes)


def pyramid_weights(channels: int, maps: Mapping[str, Map]) -> int:
    """Of a feature pyramid of so many channels on the backbone's ``maps``, about."""
    widest = max(map_.channels for map_ in maps.values())
    return channels * (12 * widest + 45 * channels)


def check_mask_size(
    head: MaskHeadSettings, num_classes: int, in_channels: int, most_detections: int
) -> None:
    """Refuse such a branch for masks, beside a detector of its own size.

    Raises:
        ValueError: names the number and its limit.
    """
    C = head.channels
    weights = 9 * C * (in_channels + head.convolutions * C)
    weights += 4 * C * max(C, in_channels) + C * num_classes
    samples = in_channels * (head.pooled_size * max(head.sampling_ratio, 1)) ** 2 * most_detections
    refuse(
        ("weights", weights, MOST_WEIGHTS),
        ("samples of regions in a picture", samples, MOST_SAMPLES),
    )


def check_dense_size(settings: SSDSettings, num_classes: int, maps: Mapping[str, Map]) -> None:
    """The same of a detector that reads several maps.

    Raises:
        ValueError: names the number and its limit.
    """
    if len(settings.neck.channels) > MOST_EXTRA:
        raise ValueError(f"neck.channels can be {MOST_EXTRA} at most")
    image, neck, boxes = settings.image, settings.neck, settings.head.anchors.of_maps()
    channels = [maps[map_of_stride(maps, stride)].channels for stride in neck.strides]
    weights, before = 0, channels[-1] if channels else 0
    for after in neck.channels:
        weights += before * after // 2 + 9 * after**2 // 2
        before = after
    anchors, area = 0, min(image.short_side, image.max_side) * image.max_side
    for C, stride, shapes in zip(
        [*channels, *neck.channels], neck.all_strides, boxes, strict=False
    ):
        weights += 9 * C * len(shapes) * (5 + num_classes)
        anchors += len(shapes) * (1 + area // stride**2)
    refuse(("weights", weights, MOST_WEIGHTS), ("anchors in a picture", anchors, MOST_ANCHORS))


def check_way_up(settings: DSSDSettings, num_classes: int, maps: Mapping[str, Map]) -> None:
    """What ``check_dense_size`` does not know of: each of its maps is joined, then looked at anew.

    Raises:
        ValueError: names the number and its limit.
    """
    neck, widest = settings.neck, max(channels for channels, _ in maps.values())
    C, P, weights = neck.joined_channels, neck.predicted_channels, 0
    for channels, shapes in zip(
        (*[widest] * len(neck.strides), *neck.channels),
        settings.head.anchors.of_maps(),
        strict=False,
    ):
        weights += C * (9 * channels + 22 * C) + P * (2 * C + P)
        weights += 9 * P * len(shapes) * (5 + num_classes)
    refuse(("weights", weights, MOST_WEIGHTS))


def check_pyramid_size(
    settings: RetinaNetSettings, num_classes: int, maps: Mapping[str, Map]
) -> None:
    """The same of a detector with one head for all maps of a pyramid.

    Raises:
        ValueError: names the number and its limit.
    """
    image, neck, head = settings.image, settings.neck, settings.head
    weights = pyramid_weights(neck.channels, maps)
    weights += 9 * head.channels * (neck.channels + 2 * head.convolutions * head.channels)
    weights += 9 * head.channels * head.anchors.count * (4 + num_classes)
    cells = min(image.short_side, image.max_side) * image.max_side // neck.finest**2
    anchors = 2 * head.anchors.count * (1 + cells)
    refuse(("weights", weights, MOST_WEIGHTS), ("anchors in a picture", anchors, MOST_ANCHORS))


def check_joined_size(settings: YOLOv2Settings, num_classes: int, maps: Mapping[str, Map]) -> None:
    """The same of a detector with a single map of stride 32.

    Raises:
        ValueError: names the number and its limit.
    """
    image, C, fine = settings.image, settings.neck.channels, settings.neck.fine_channels
    widest = max(channels for channels, _ in maps.values())
    anchors = settings.head.anchors.count
    weights = 9 * C * (widest + 2 * C + 4 * fine) + fine * widest + C * anchors * (5 + num_classes)
    cells = 1 + min(image.short_side, image.max_side) * image.max_side // 32**2
    refuse(
        ("weights", weights, MOST_WEIGHTS), ("anchors in a picture", anchors * cells, MOST_ANCHORS)
    )


def check_grid_size(settings: YOLOv1Settings, num_classes: int, in_channels: int) -> None:
    """The same of a detector with fully connected layers.

    Raises:
        ValueError: names the number and its limit.
    """
    head = settings.head
    area, C, hidden = head.cells**2, head.channels, head.hidden_channels
    weights = 9 * C * (in_channels + 3 * C)
    weights += hidden * area * (C + num_classes + 5 * head.boxes)
    refuse(("weights", weights, MOST_CONNECTED))


def refuse(*limits: tuple[str, int, int]) -> None:
    """Each is what there is too much of, how much, and the most there may be."""
    for what, number, most in limits:
        if number > most:
            raise ValueError(f"the detector would have {number:,} {what}, more than {most:,}")
