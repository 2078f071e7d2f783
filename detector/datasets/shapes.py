"""The built-in data set ``shapes``: synthetic pictures that need no download.

Drawn by ``scenes.py``; used in memory (``ShapesDataset``) or written to disk in COCO's layout
(``write_shapes``), pixel for pixel the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from detector.datasets import streams
from detector.datasets.scenes import CLASSES, draw_scene

STREAMS = {"train": streams.TRAIN_SCENES, "val": streams.VAL_SCENES}


@dataclass(frozen=True)
class ShapesImage:
    """Record of one picture; ``path`` is the name it gets when written."""

    id: int
    path: Path
    width: int
    height: int


class ShapesDataset:
    """Synthetic pictures of circles, squares, triangles and stars.

    Picture ``i`` is a pure function of (seed, split, i): a longer set begins with a shorter one,
    and the splits ``"train"`` and ``"val"`` share no picture.
    """

    def __init__(self, count: int, split: str = "train", image_size: int = 160, seed: int = 0):
        if split not in STREAMS:
            raise ValueError(f"shapes has the splits {', '.join(STREAMS)}, not {split!r}")
        if image_size < 32:
            raise ValueError(f"shapes are drawn from 32 x 32 pixels up, not {image_size}")
        self.split, self.image_size, self.seed = split, image_size, seed
        self.classes = list(CLASSES)
        self.category_ids = list(range(1, len(CLASSES) + 1))
        self.images = [
            ShapesImage(i + 1, Path(split, f"{i:05d}.png"), image_size, image_size)
            for i in range(count)
        ]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[np.ndarray, dict]:
        """Picture ``index``, (H, W, 3) uint8 RGB, and its target."""
        record = self.images[index]
        rng = streams.generator(self.seed, STREAMS[self.split], index=record.id - 1)
        image, boxes, labels = draw_scene(rng, self.image_size)
        ignore = np.zeros((0, 4), np.float32)
        return image, {"boxes": boxes, "labels": labels, "ignore": ignore, "image_id": record.id}

    def coco_ground_truth(self) -> dict:
        """The annotations as COCO JSON's dict (draws every picture once)."""
        return coco_dict(self, [self.load(i)[1] for i in range(len(self))])


def write_shapes(
    folder: str | Path, train: int = 1000, val: int = 200, image_size: int = 160, seed: int = 0
) -> None:
    """Write both splits in COCO's layout: ``train/ val/ annotations/instances_{train,val}.json``."""
    folder = Path(folder)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", val)):
        (folder / split).mkdir(exist_ok=True)
        dataset = ShapesDataset(count, split, image_size, seed)
        targets = []
        for index, record in enumerate(dataset.images):
            image, target = dataset.load(index)
            Image.fromarray(image).save(folder / record.path, compress_level=1)
            targets.append(target)
        # The annotations come last: where they are, the pictures are complete.
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(coco_dict(dataset, targets)), encoding="utf-8")


def coco_dict(dataset: ShapesDataset, targets: list[dict]) -> dict:
    """COCO JSON's dict of a set whose targets are at hand; ``area`` is the box's."""
    annotations = []
    for target in targets:
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": target["image_id"],
                    "category_id": dataset.category_ids[label - 1],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    images = [
        {"id": r.id, "file_name": r.path.name, "width": r.width, "height": r.height}
        for r in dataset.images
    ]
    pairs = zip(dataset.category_ids, dataset.classes, strict=True)
    categories = [{"id": number, "name": name} for number, name in pairs]
    return {"images": images, "annotations": annotations, "categories": categories}
