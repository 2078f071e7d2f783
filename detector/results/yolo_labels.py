"""Labels in YOLO's format: ``class cx cy w h`` as parts of the picture, a text file a picture.

Folders and names as Ultralytics and Label Studio expect them; LabelImg reads VOC. What a detector
of masks finds is written as a polygon, ``class x1 y1 x2 y2 ...``: of an object in pieces, round the
largest, since a line has room for one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from detector.results.labels import Labels, outlines
from detector.results.result import Job, Look


class YoloLabels(Labels):
    format = "yolo"

    def __init__(self, job: Job):
        super().__init__(job)
        self.names = [" ".join(name.split()) for name in job.classes]  # one a line

    def label(self, look: Look, name: str) -> None:
        if self.count == 1:
            self.describe()
        height, width = look.image.shape[:2]
        lines = []
        shown = zip(look.shown["boxes"], look.shown["labels"].tolist(), outlines(look), strict=True)
        for (x1, y1, x2, y2), label, polygons in shown:
            centre_and_size = [((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1)]
            points = polygons[0] if polygons else np.array(centre_and_size)
            places = (points / (width, height)).ravel()
            lines.append(" ".join([str(label - 1), *(f"{place:.6f}" for place in places)]) + "\n")
        self.write(f"labels/{Path(name).stem}.txt", "".join(lines))

    def describe(self) -> None:
        """What the classes are called: Ultralytics reads the one, Label Studio the other."""
        about = {"train": self.pictures, "names": dict(enumerate(self.names))}
        self.write("data.yaml", yaml.safe_dump(about, allow_unicode=True, sort_keys=False))
        self.write("classes.txt", "".join(f"{name}\n" for name in self.names))
