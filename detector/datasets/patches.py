"""SSD's crops: from nearer, and with a promise about the objects in them.

Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2.2, data augmentation: a picture
is learnt as a whole, or a part that some object overlaps by an IoU of at least 0.1, 0.3, 0.5, 0.7
or 0.9, or any part. Sizes, shapes and 50 trials for each are those of the authors' program.
"""

from __future__ import annotations

import numpy as np

from detector.boxes import box_iou

LEAST_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # 0: any part
TRIALS = 50
SIDES = (0.3, 1.0)  # of the picture's
RATIOS = (0.5, 2.0)  # width to height, as parts of the picture's: 1 is a part of its shape


def choose_patch(
    boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A part of a picture to learn from.

    Args:
        boxes: (R, 4) corners in pixels; size: (H, W) of the picture.

    Returns:
        corners x1, y1, x2, y2 in whole pixels, at least one wide and high; often the whole picture.
    """
    height, width = size
    trials = random_patches(len(LEAST_IOUS) * TRIALS, rng) * np.array([width, height] * 2)
    windows = trials.round().astype(int)
    windows[:, 2:] = np.maximum(windows[:, 2:], windows[:, :2] + 1)
    windows -= np.maximum(windows - np.array([width, height] * 2), 0)[:, [2, 3, 2, 3]]
    ious = box_iou(windows.astype(np.float64), boxes.astype(np.float64)).max(axis=1, initial=0)
    # An object is learnt where its centre is: a part without any has nothing to learn.
    ious[~centres_in(windows, boxes).any(axis=1)] = -1
    fits = ious.reshape(-1, TRIALS) >= np.array(LEAST_IOUS)[:, None]
    windows = windows.reshape(-1, TRIALS, 4)
    found = [(0, 0, width, height)]
    found += [
        tuple(windows[k, fits[k].argmax()].tolist()) for k in np.flatnonzero(fits.any(axis=1))
    ]
    return found[rng.integers(len(found))]


def random_patches(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 4) corners of parts of the unit square."""
    scale = rng.uniform(*SIDES, count)
    ratio = rng.uniform(np.maximum(RATIOS[0], scale**2), np.minimum(RATIOS[1], 1 / scale**2))
    sides = scale[:, None] * np.sqrt(np.stack([ratio, 1 / ratio], axis=1))
    start = rng.uniform(size=(count, 2)) * (1 - sides)
    return np.concatenate([start, start + sides], axis=1)


def centres_in(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, R) bool: which boxes (R, 4) have their centre in which windows (N, 4)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    begin, end = windows[:, None, :2], windows[:, None, 2:]
    return ((centres >= begin) & (centres < end)).all(axis=-1)
