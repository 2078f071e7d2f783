"""Detections as the labels of a new data set: to be corrected in a labelling tool, and learned.

Pictures without a detection are part of it. Its folder must be new, since nothing would tell a
label that was corrected from one that was not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detector import own_files
from detector.datasets.images import is_turned
from detector.evaluation.validation import unused
from detector.masks import paste
from detector.polygons import polygons
from detector.results.result import Job, Look, Result
from nn.files import atomic_file


class Labels(Result):
    """What the formats share: the folder, and the pictures in it, under names that all tools take.

    Attributes:
        folder: of the data set, in the folder of results.
        pictures: the folder in it that holds the pictures.
        count: pictures so far.
    """

    format = ""
    pictures = "images"

    def __init__(self, job: Job):
        super().__init__(job)
        self.folder = job.out / f"labels-{self.format}"
        self.taken: set[str] = set()
        self.count = 0

    def check(self) -> None:
        own_files.check_new_folder(self.folder)

    def add(self, look: Look) -> None:
        path = self.folder / self.pictures / (unused(look.name, self.taken) + look.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_as_it_came(look, path)
        self.count += 1
        self.label(look, path.name)

    def label(self, look: Look, name: str) -> None:
        """Write, or remember, what is shown in a picture.

        Args:
            name: of its file in ``pictures``.
        """
        raise NotImplementedError

    def finish(self) -> list[str]:
        return [f"{self.count} pictures to correct and learn from: {self.folder}"]

    def write(self, path: str, text: str) -> None:
        """Write a file of the data set."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as file:
            file.write(text.encode())


def outlines(look: Look) -> list[list[np.ndarray]]:
    """Of each object that is shown its polygons, (P, 2) in pixels; none if it has no mask."""
    boxes, size = look.shown["boxes"], look.image.shape[:2]
    if "masks" not in look.shown:
        return [[] for _ in boxes]
    pairs = zip(look.shown["masks"], boxes, strict=True)
    return [polygons(paste(mask, box, size)) for mask, box in pairs]


def write_as_it_came(look: Look, path: Path) -> None:
    """The picture itself if it is of a kind that we would write, decoded as a whole and upright, as
    some tools show stored pixels; else the pixels that the labels are for."""
    source = look.source
    is_part = look.file_size != look.image.shape[:2]
    is_other = source.is_video or source.suffix != source.path.suffix
    if is_other or is_part or is_turned(source.path):
        own_files.write_picture(path, look.image)
        return
    with atomic_file(path) as file:
        file.write(source.path.read_bytes())
