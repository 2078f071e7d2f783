"""Whether another program finds in pictures what we find."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError

Found = dict[str, np.ndarray]

LEAST_SCORE = 0.05  # below it nobody looks, and a last digit decides what is suppressed
# By which a corner (in pixels of the picture, or of what the network sees of it, if that has less)
# and a score, or a cell of a mask, may differ.
PIXELS, SCORE = 0.5, 0.01


@dataclass(frozen=True)
class Comparison:
    """What was the same: in how many pictures, how many detections.

    ``pixels`` and ``score`` are the largest differences; ``theirs`` and ``ours`` how many seconds a
    picture took.
    """

    pictures: int
    detections: int
    pixels: float
    score: float
    theirs: float
    ours: float

    def __str__(self) -> str:
        return (
            f"the same {self.detections} detections in {self.pictures} pictures: corners differ by "
            f"{self.pixels:.2g} pixels at most, scores by {self.score:.2g}; "
            f"{1000 * self.theirs:.0f} ms a picture, here {1000 * self.ours:.0f} ms"
        )


def compare(
    ours: CompiledDetector,
    theirs: Callable[[np.ndarray], Found],
    pictures: Sequence[tuple[str, np.ndarray]],
) -> Comparison:
    """Detect twice in each picture.

    Args:
        ours: what is right.
        theirs: as ``Detector.detect``.
        pictures: their names, and (H, W, 3) uint8.

    Raises:
        UserError: something is found here and not there, or the other way round; names the picture.
    """
    pixels, scores, count = [0.0], [0.0], 0
    for name, image in pictures:
        first, second = ours.predict([image])[0], theirs(image)
        seen = ours.model.input_size(image.shape[:2])
        pixel = max(1, image.shape[0] / seen[0], image.shape[1] / seen[1])
        for one, other, who in ((first, second, "we find"), (second, first, "it finds")):
            for (box, score, label), far, apart in differences(one, other):
                if not (far <= PIXELS * pixel and apart <= SCORE):
                    raise UserError(
                        f"{name}: {who} label {label} with the score {score:.3f} at "
                        f"{np.round(box).astype(int).tolist()}, and the nearest corner is off by "
                        f"{far:.2g} pixels, the score by {apart:.2g}: the file is not written"
                    )
                pixels.append(far)
                scores.append(apart)
        count += int((first["scores"] >= LEAST_SCORE).sum())
    times = [
        median(seconds(detect, image) for _, image in pictures)
        for detect in (theirs, lambda image: ours.predict([image]))
    ]
    return Comparison(len(pictures), count, max(pixels), max(scores), *times)


def differences(found: Found, other: Found) -> Iterator[tuple[tuple, float, float]]:
    """Each detection that scores enough; how far the nearest of the other ones is, and by how much
    its score or a cell of its mask differs."""
    detections = zip(found["boxes"], found["scores"], found["labels"], strict=True)
    for number, (box, score, label) in enumerate(detections):
        if score >= LEAST_SCORE:
            far, apart, best = nearest(box, score, label, other)
            if "masks" in found and np.isfinite(far):
                cells = np.abs(found["masks"][number] - other["masks"][best])
                apart = max(apart, float(cells.max()))
            yield (box, float(score), int(label)), far, apart


def nearest(box: np.ndarray, score: float, label: int, found: Found) -> tuple[float, float, int]:
    """How far the corners of the nearest detection of this label are, its score, its number."""
    same = np.flatnonzero(found["labels"] == label)
    if not len(same):
        return np.inf, np.inf, -1
    far = np.abs(found["boxes"][same] - box).max(axis=1)
    # Two classes may share a box, so of those that are near enough the score decides.
    apart = np.abs(found["scores"][same] - score)
    best = np.lexsort((apart, far > PIXELS, np.where(far > PIXELS, far, 0)))[0]
    return float(far[best]), float(apart[best]), int(same[best])


def seconds(detect: Callable, image: np.ndarray) -> float:
    start = time.perf_counter()
    detect(image)
    return time.perf_counter() - start
