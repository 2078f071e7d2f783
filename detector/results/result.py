"""The contract of what is made of detections, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from detector.datasets.images import read_size
from detector.datasets.video import is_video
from detector.own_files import JPEG_SUFFIXES
from detector.parts.preprocess import scale_boxes
from detector.results.names import safe_name


@dataclass(frozen=True)
class Source:
    """A picture or a video to look at.

    Attributes:
        path: where its bytes are.
        given: what the user calls it.
        stem: the beginning of the names of its results; no two sources have the same.
    """

    path: Path
    given: str
    stem: str

    @property
    def is_video(self) -> bool:
        return is_video(self.path)

    @property
    def suffix(self) -> str:
        """Of its result: a picture's own if we write such, else PNG's."""
        if self.is_video:
            return ".mp4"
        suffix = self.path.suffix
        return suffix if suffix.lower() in (".png", *JPEG_SUFFIXES) else ".png"

    @property
    def result(self) -> str:
        """The name of its result."""
        return self.stem + self.suffix


@dataclass(frozen=True)
class Look:
    """What was seen in a picture, or in one frame of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        found: all detections: ``boxes`` (R, 4) float32 corners in its pixels, ``scores`` (R,)
            float32, ``labels`` (R,) int64 from 1.
        shown: those of them that are worth showing.
        frame, seconds: of a video: the frame, from 1, and its time; None of a picture.
    """

    source: Source
    image: np.ndarray
    found: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    frame: int | None = None
    seconds: float | None = None

    @property
    def name(self) -> str:
        """For files that are made of it: one that every system and annotation tool takes, without
        a suffix."""
        stem = safe_name(self.source.stem)
        return stem if self.frame is None else f"{stem}-{self.frame:06d}"

    @cached_property
    def file_size(self) -> tuple[int, int]:
        """(H, W) of the file, of which only a part is decoded if it has very many pixels."""
        if self.source.is_video:
            return self.image.shape[:2]
        width, height = read_size(self.source.path)
        return height, width

    def in_file(self, detections: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same in pixels of the file."""
        boxes = scale_boxes(detections["boxes"], self.image.shape[:2], self.file_size)
        return detections | {"boxes": boxes}

    @property
    def suffix(self) -> str:
        """For pictures that are made of it."""
        return ".jpg" if self.source.is_video else self.source.suffix


@dataclass(frozen=True)
class Job:
    """What results are about, and where they go.

    Attributes:
        out: the folder.
        classes, category_ids: of the detector: label k is ``classes[k - 1]``.
        json: another place, for COCO's results.
    """

    out: Path
    sources: Sequence[Source]
    classes: Sequence[str]
    category_ids: Sequence[int]
    json: str | None = None


class Result:
    """One kind of result of a job."""

    def __init__(self, job: Job):
        self.job = job

    def check(self) -> None:
        """Look whether there is room for it, before the work.

        Raises:
            UserError: it would replace what is no result of an earlier run.
        """

    def add(self, look: Look) -> None:
        """Take what was seen; looks at one source come one after the other."""
        raise NotImplementedError

    def finish(self) -> list[str]:
        """Write what is not yet written, whatever the reason for the end.

        Returns:
            what to tell the user.
        """
        return []
