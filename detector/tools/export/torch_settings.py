"""What PyTorch's file of a detector is made of: a file of code, and the numbers it asks for."""

from __future__ import annotations

from pathlib import Path

from detector.detectors.two_stage import TwoStageDetector
from nn.inference.any_size import NoEquivalentError


def two_stage(model: TwoStageDetector) -> tuple[str, dict]:
    """``torch_two_stage`` and its settings.

    Raises:
        NoEquivalentError: it does not do what one of them says.
    """
    rpn, head, image = model.rpn.settings, model.head.settings, model.image
    if head.sampling_ratio == 0:
        raise NoEquivalentError("head.sampling_ratio 0 (as many samples as a region is large)")
    proposals, detections = rpn.test_selector, head.selector
    source = Path(__file__).with_name("torch_two_stage.py").read_text(encoding="utf-8")
    return source.split('"""', 2)[2].lstrip(), {
        "short_side": image.short_side,
        "max_side": image.max_side,
        "mean": image.mean,
        "std": image.std,
        "anchor_stride": rpn.stride,
        "anchors": model.rpn.anchor_generator.shapes.tolist(),
        "pre_nms": proposals.pre_nms,
        "post_nms": proposals.post_nms,
        "proposal_iou": proposals.iou_threshold,
        "min_size": proposals.min_size,
        "head_stride": model.head.stride,
        "pooled_size": head.pooled_size,
        "sampling_ratio": head.sampling_ratio,
        "pooling_mode": head.pooling_mode,
        "objectness_share": head.objectness_share,
        "stds": head.stds,
        "score_threshold": detections.score_threshold,
        "detection_iou": detections.iou_threshold,
        "max_detections": detections.max_detections,
    }
