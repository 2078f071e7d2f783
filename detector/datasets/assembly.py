"""Puts a data set together from pictures and boxes in pixels, for formats with no numbers of their
own: pictures count from 1 in the order in which they come, and so do boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.datasets.box_checks import check_box
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.images import read_size
from detector.datasets.problems import WITHOUT, Problem
from detector.errors import UserError


class Assembly:
    """
    Args:
        name: of the data set, for messages.
        classes: their names, those of all splits.

    Attributes:
        problems: what was found wrong so far.
    """

    def __init__(self, name: str, classes: Sequence[str]):
        self.name, self.classes = name, classes
        self.problems: list[Problem] = []
        self._images: list[ImageRecord] = []
        self._boxes: list[tuple[int, str, tuple]] = []

    def picture(self, path: Path) -> ImageRecord | None:
        """One more picture, its size read from its header; None, and a remark, if it has none."""
        try:
            width, height = read_size(path)
        except UserError as error:
            why = str(error).removeprefix(str(path)).lstrip()
            self.leave_out(path, why)
            return None
        self._images.append(ImageRecord(len(self._images) + 1, path, width, height))
        return self._images[-1]

    def box(
        self,
        image: ImageRecord,
        name: str,
        corners: tuple[float, float, float, float],
        file: Path,
        entry: str,
        written: tuple,
    ) -> None:
        """One more box.

        Args:
            image: that ``picture`` returned.
            name: of its class.
            corners: x1, y1, x2, y2, finite, in continuous pixels from 0.
            file, entry, written: where it stands and how, for messages.
        """
        checked = check_box(*corners, image.width, image.height)
        if checked.why:
            self.problems.append(
                Problem(
                    str(file), checked.why, f"{entry} ({name})", written, checked.fatal,
                    checked.outcome, image.id,
                )
            )  # fmt: skip
        if checked.corners is not None:
            self._boxes.append((image.id, name, checked.corners))

    def leave_out(self, file: Path, why: str) -> None:
        """Say why a picture or a file of annotations is not used."""
        self.problems.append(Problem(str(file), why, fatal=False, outcome=WITHOUT))

    def complain(self, file: Path, why: str, entry: str = "", fatal: bool = True) -> None:
        self.problems.append(Problem(str(file), why, entry, fatal=fatal))

    def dataset(self) -> Dataset:
        """All that is sound."""
        label = {name: k for k, name in enumerate(self.classes, start=1)}
        rows = [
            (number, image - 1, label[name], (x1, y1, x2, y2), (x2 - x1) * (y2 - y1), False)
            for number, (image, name, (x1, y1, x2, y2)) in enumerate(self._boxes, start=1)
        ]
        annotations = np.array(rows, ANNOTATION)
        ids = range(1, len(self.classes) + 1)
        return Dataset(self.name, self.classes, ids, self._images, annotations, self.problems)
