"""The options of version 0.1's detector, which were flat, as paths into today's settings.

Its checkpoints and run folders hold them, and scripts written for it pass them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.settings import Settings

PATHS = {
    "short_side": ["image.short_side"],
    "max_side": ["image.max_side"],
    "image_mean": ["image.mean"],
    "image_std": ["image.std"],
    "thin_map_from": ["thin_map.source"],
    "separable_kernel": ["thin_map.kernel_size"],
    "separable_channels": ["thin_map.mid_channels"],
    "thin_map_norm": ["thin_map.norm"],
    "anchor_sizes": ["rpn.anchors.sizes"],
    "anchor_ratios": ["rpn.anchors.ratios"],
    "anchor_shapes": ["rpn.anchors.shapes"],
    "rpn_channels": ["rpn.channels"],
    "rpn_norm": ["rpn.norm"],
    "rpn_outputs": ["rpn.outputs"],
    "rpn_positive_iou": ["rpn.matcher.positive_iou"],
    "rpn_negative_iou": ["rpn.matcher.negative_iou"],
    "rpn_anchors_per_box": ["rpn.matcher.anchors_per_box"],
    "rpn_extra_iou": ["rpn.matcher.extra_iou"],
    "rpn_inside_only": ["rpn.matcher.inside_only"],
    "rpn_samples": ["rpn.sampler.count"],
    "rpn_positive_fraction": ["rpn.sampler.positive_fraction"],
    "rpn_balance": ["rpn.balance"],
    "rpn_prior": ["rpn.prior"],
    "rpn_beta": ["rpn.beta"],
    "rpn_objectness_weight": ["rpn.objectness_weight"],
    "rpn_box_weight": ["rpn.box_weight"],
    "pre_nms_train": ["rpn.train_selector.pre_nms"],
    "post_nms_train": ["rpn.train_selector.post_nms"],
    "pre_nms_test": ["rpn.test_selector.pre_nms"],
    "post_nms_test": ["rpn.test_selector.post_nms"],
    "proposal_nms": ["rpn.train_selector.iou_threshold", "rpn.test_selector.iou_threshold"],
    "proposal_min_size": ["rpn.train_selector.min_size", "rpn.test_selector.min_size"],
    "pooled_size": ["head.pooled_size"],
    "pooled_channels": ["head.pooled_channels"],
    "pooling_mode": ["head.pooling_mode"],
    "sampling_ratio": ["head.sampling_ratio"],
    "head_channels": ["head.hidden_channels"],
    "class_specific_boxes": ["head.class_specific_boxes"],
    "box_stds": ["head.stds"],
    "roi_foreground_iou": ["head.sampler.foreground_iou"],
    "roi_background_iou": ["head.sampler.background_iou"],
    "roi_samples": ["head.sampler.count"],
    "roi_foreground_fraction": ["head.sampler.foreground_fraction"],
    "hard_examples": ["head.hard_examples"],
    "head_beta": ["head.beta"],
    "head_class_weight": ["head.class_weight"],
    "head_box_weight": ["head.box_weight"],
    "box_normalizer": ["rpn.box_normalizer", "head.box_normalizer"],
    "score_threshold": ["head.selector.score_threshold"],
    "detection_nms": ["head.selector.iou_threshold"],
    "max_detections": ["head.selector.max_detections"],
    "init": ["rpn.init", "thin_map.init", "head.init"],
}

SOURCES = {"stage3": "c4", "stage4": "c5", "conv5": "last"}  # of the thin map


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with those of version 0.1 moved to where they belong, all others as they are."""
    result = {name: value for name, value in options.items() if name not in PATHS}
    for name in options.keys() & PATHS.keys():
        value = options[name]
        if name == "thin_map_from" and isinstance(value, str):
            value = SOURCES.get(value, value)
        for path in PATHS[name]:
            *parts, last = path.split(".")
            place = result
            for part in parts:
                inner = place.get(part, {})
                place[part] = dict(inner.as_dict() if isinstance(inner, Settings) else inner)
                place = place[part]
            place[last] = value
    return result
