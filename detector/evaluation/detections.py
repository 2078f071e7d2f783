"""Detections of many images, in the format of COCO's results, and that format's file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from detector.masks import encode, paste
from detector.own_files import check_free, is_own_results
from nn.files import write_json


def to_coco(
    image_id: int,
    prediction: dict,
    category_ids: Sequence[int],
    size: tuple[int, int] | None = None,
) -> list[dict]:
    """One image's prediction as COCO results.

    Args:
        image_id: the data set's own.
        prediction: ``boxes`` (R, 4) corners in the image's pixels, ``scores`` (R,) and
            ``labels`` (R,), maybe ``masks`` (R, m, m).
        category_ids: label k stands for ``category_ids[k - 1]``.
        size: (H, W) of the image, to paste masks into.

    Returns:
        R dicts with ``image_id``, ``category_id``, ``bbox`` (x, y, w, h) and ``score``; with masks
        also ``segmentation``, run-length encoded.
    """
    results = [
        {
            "image_id": image_id,
            "category_id": category_ids[label - 1],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for (x1, y1, x2, y2), score, label in zip(
            np.asarray(prediction["boxes"], np.float64).tolist(),
            np.asarray(prediction["scores"], np.float64).tolist(),
            np.asarray(prediction["labels"]).tolist(),
            strict=True,
        )
    ]
    if "masks" in prediction and size is not None:
        pairs = zip(prediction["masks"], prediction["boxes"], strict=True)
        for result, (mask, box) in zip(results, pairs, strict=True):
            result["segmentation"] = encode(paste(mask, box, size))
    return results


def write_detections(path: str | os.PathLike, detections: list[dict]) -> None:
    """Write COCO's results JSON, complete or not at all.

    Raises:
        UserError: something lies there that is not our own.
    """
    check_free(path, is_own_results)
    write_json(path, detections)
