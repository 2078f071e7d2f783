"""Labels in YOLO's format: ``class cx cy w h`` as parts of the picture, a text file a picture.

Folders and names as Ultralytics, Label Studio and LabelImg expect them.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from detector.results.labels import Labels
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
        lines = [
            f"{label - 1} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
            f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
            for (x1, y1, x2, y2), label in zip(
                look.shown["boxes"].tolist(), look.shown["labels"].tolist(), strict=True
            )
        ]
        self.write(f"labels/{Path(name).stem}.txt", "".join(lines))

    def describe(self) -> None:
        """What the classes are called, for each of the tools."""
        about = {"train": self.pictures, "names": dict(enumerate(self.names))}
        self.write("data.yaml", yaml.safe_dump(about, allow_unicode=True, sort_keys=False))
        for path in ("classes.txt", "labels/classes.txt"):
            self.write(path, "".join(f"{name}\n" for name in self.names))
