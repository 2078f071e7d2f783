"""Labels in COCO's format, as CVAT sets them: ``images`` and one JSON for all of them.

What a detector of masks finds has outlines too: polygons, which labelling tools can correct.
"""

from __future__ import annotations

import json

from detector.results.labels import Labels, outlines
from detector.results.result import Job, Look


class CocoLabels(Labels):
    format = "coco"

    def __init__(self, job: Job):
        super().__init__(job)
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def label(self, look: Look, name: str) -> None:
        height, width = look.image.shape[:2]
        self.images.append({"id": self.count, "file_name": name, "width": width, "height": height})
        shown = zip(look.shown["boxes"].tolist(), look.shown["labels"], outlines(look), strict=True)
        for box, label, polygons in shown:
            x1, y1, x2, y2 = (round(side, 2) for side in box)
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": self.count,
                    "category_id": self.job.category_ids[label - 1],
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "segmentation": [points.ravel().tolist() for points in polygons],
                }
            )

    def finish(self) -> list[str]:
        if self.images:
            pairs = zip(self.job.category_ids, self.job.classes, strict=True)
            about = {
                "images": self.images,
                "annotations": self.annotations,
                "categories": [{"id": number, "name": name} for number, name in pairs],
            }
            self.write("annotations/instances_train.json", json.dumps(about, indent=1))
        return super().finish()
