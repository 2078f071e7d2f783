"""Boxes that do not tremble: what is drawn into a video, and nothing but that.

A detector looks at each frame anew, so the box of a thing that stands still moves by a pixel or two
and is missing now and then. Here each box is followed from frame to frame, by its overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.boxes import box_iou

SAME = 0.3  # IoU with the last frame's box of the same class: the same thing
CALM = 0.25  # so much of the way to its new place goes a box that trembles
GAP = 0.2  # seconds for which a box is drawn that is not found


@dataclass
class Track:
    """A thing that is followed: its box (4,) float64, label and score, when it was last found, and
    its mask (m, m) then, if the detector makes masks, which goes with the box."""

    box: np.ndarray
    label: int
    score: float
    found: float
    mask: np.ndarray | None


class Steady:
    """The boxes to draw into the frames of one video."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []

    def follow(self, shown: dict[str, np.ndarray], seconds: float) -> dict[str, np.ndarray]:
        """The next frame's.

        A box goes the fraction max(CALM, 1 - IoU^4) of the way to where it is found: of an IoU near
        1, which is trembling, a quarter; of 0.5, which is motion, nearly all.

        Args:
            shown: ``boxes`` (R, 4), ``scores`` (R,) and ``labels`` (R,), the surest first; maybe
                ``masks`` (R, m, m).
            seconds: the time of the frame.

        Returns:
            the same for what is drawn.
        """
        tracks = self.tracks
        before = np.array([track.box for track in tracks]).reshape(-1, 4)
        ious = box_iou(shown["boxes"].astype(np.float64), before)
        is_free = np.ones(len(tracks), bool)
        masks = shown.get("masks", [None] * len(ious))
        for box, score, label, mask, overlaps in zip(
            shown["boxes"].astype(np.float64), shown["scores"], shown["labels"], masks, ious,
            strict=True,
        ):  # fmt: skip
            fits = is_free & np.array([track.label == label for track in tracks], bool)
            candidates = np.where(fits, overlaps, 0.0)
            k = int(candidates.argmax()) if len(candidates) else -1
            if k < 0 or candidates[k] < SAME:
                found = Track(box, int(label), float(score), seconds, mask)
                self.tracks = [*self.tracks, found]
                continue
            is_free[k] = False
            part = max(CALM, 1 - candidates[k] ** 4)
            tracks[k].box = tracks[k].box + part * (box - tracks[k].box)
            tracks[k].score, tracks[k].found, tracks[k].mask = float(score), seconds, mask
        self.tracks = [track for track in self.tracks if seconds - track.found <= GAP]
        drawn = {
            "boxes": np.array([track.box for track in self.tracks]).reshape(-1, 4),
            "scores": np.array([track.score for track in self.tracks]),
            "labels": np.array([track.label for track in self.tracks], np.int64),
        }
        if "masks" in shown:
            size = shown["masks"].shape[1:]
            drawn["masks"] = np.array([track.mask for track in self.tracks]).reshape(-1, *size)
        return drawn
