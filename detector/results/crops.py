"""Each detection cut out of its picture, in a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector import own_files
from detector.evaluation.validation import unused
from detector.results.names import safe_name
from detector.results.result import Job, Look, Result

FOLDER = "crops"


class Crops(Result):
    """``crops/CLASS/PICTURE-NUMBER``, the surest of a picture first. The folder must be new: people
    sort what is in it."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.place = job.out / FOLDER
        self.taken: set[str] = set()
        self.count = 0
        folders: set[str] = set()
        self.folders = [self.place / unused(safe_name(name), folders) for name in job.classes]

    def check(self) -> None:
        own_files.check_new_folder(self.place)

    def add(self, look: Look) -> None:
        name = unused(look.name, self.taken)
        shown = look.shown
        for number, (box, label) in enumerate(zip(shown["boxes"], shown["labels"], strict=True), 1):
            path = self.folders[label - 1] / f"{name}-{number}{look.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            own_files.write_picture(path, cut_out(look.image, box))
            self.count += 1

    def finish(self) -> list[str]:
        return [f"{self.count} cut out: {self.place}"]


def cut_out(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The pixels that a box touches, at least one of them.

    Args:
        image: (H, W, 3).
        box: corners x1, y1, x2, y2 in its pixels.
    """
    height, width = image.shape[:2]
    x1, y1 = (int(np.floor(side)) for side in box[:2])
    x2, y2 = (int(np.ceil(side)) for side in box[2:])
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
