"""The built-in data set ``shapes``: synthetic pictures that need no download.

Drawn by ``scenes.py``; used in memory (``ShapesDataset``) or written to disk in COCO's layout
(``write_shapes``), pixel for pixel the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from detector import own_files
from detector.datasets import streams
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.scenes import CLASSES, Shape, paint_scene, plan_scene
from nn.files import atomic_file

STREAMS = {"train": streams.TRAIN_SCENES, "val": streams.VAL_SCENES}
DEFAULT_COUNTS = {"train": 2400, "val": 200}


class ShapesDataset(Dataset):
    """Pictures of circles, squares, triangles and stars, each drawn when it is asked for.

    Picture ``i`` is a pure function of (seed, split, i, image_size): a longer set begins with a
    shorter one, and the splits ``"train"`` and ``"val"`` share no picture.

    Raises:
        ValueError: there is no such split, or the pictures would be smaller than 32 pixels.
    """

    has_files = False

    def __init__(
        self,
        count: int = DEFAULT_COUNTS["train"],
        split: str = "train",
        image_size: int = 160,
        seed: int = 0,
    ):
        if split not in STREAMS:
            raise ValueError(f"shapes has the splits {', '.join(STREAMS)}, not {split!r}")
        if image_size < 32:
            raise ValueError(f"shapes are drawn from 32 x 32 pixels up, not {image_size}")
        self.split, self.image_size, self.seed = split, image_size, seed
        images = [
            ImageRecord(i + 1, Path(split, f"{i:05d}.png"), image_size, image_size)
            for i in range(count)
        ]
        rows = []
        for i in range(count):
            for label, box in planned_boxes(seed, split, i, image_size):
                x1, y1, x2, y2 = box
                area = (x2 - x1) * (y2 - y1)
                rows.append((len(rows) + 1, i, label, box, area, False))
        category_ids = range(1, len(CLASSES) + 1)
        name = f"shapes ({split})"
        super().__init__(name, CLASSES, category_ids, images, np.array(rows, ANNOTATION))

    def read(self, index: int) -> np.ndarray:
        """Paint picture ``index``."""
        rng = generator(self.seed, self.split, self.images[index].id - 1)
        return paint_scene(rng, plan_scene(rng, self.image_size), self.image_size)

    def mask(self, row: np.ndarray) -> np.ndarray:
        """What is to be seen of a shape: the pixels of which it covers half or more, and no shape
        before it half."""
        shapes = planned_shapes(
            self.seed, self.split, self.images[row["image"]].id - 1, self.image_size
        )
        # By its box: where some classes were chosen, labels count anew.
        (place,) = (
            k
            for k, shape in enumerate(shapes)
            if (shape.box.astype(np.float32) == row["box"]).all()
        )
        mask = shapes[place].mask >= 0.5
        for shape in shapes[place + 1 :]:
            mask &= shape.mask < 0.5
        return mask


def generator(seed: int, split: str, number: int) -> np.random.Generator:
    """Where picture ``number`` of a split comes from."""
    return streams.generator(seed, STREAMS[split], index=number)


@functools.lru_cache(16)  # all masks of a picture are asked for one after the other
def planned_shapes(seed: int, split: str, number: int, image_size: int) -> list[Shape]:
    """The shapes of a picture, those at the back first."""
    return plan_scene(generator(seed, split, number), image_size)


@functools.lru_cache(2**14)  # planning 2,400 scenes takes seconds, and sets are opened often
def planned_boxes(
    seed: int, split: str, number: int, image_size: int
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Label and box of each shape in a picture."""
    shapes = planned_shapes(seed, split, number, image_size)
    # Rounded to 32 bits here, so that the file and the array in memory agree.
    return tuple(
        (shape.label, tuple(shape.box.astype(np.float32).astype(float).tolist()))
        for shape in shapes
    )


def write_shapes(
    folder: str | Path,
    train: int = DEFAULT_COUNTS["train"],
    val: int = DEFAULT_COUNTS["val"],
    image_size: int = 160,
    seed: int = 0,
    after_image: Callable[[], None] = lambda: None,
) -> None:
    """Write both splits in COCO's layout: pictures, and ``annotations/instances_SPLIT.json``.

    ``after_image`` is called after each of the train + val pictures, to show progress.

    Raises:
        UserError: another data set or a file that is not our own lies there.
    """
    folder = Path(folder)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    datasets = [
        ShapesDataset(count, split, image_size, seed)
        for split, count in (("train", train), ("val", val))
    ]
    annotations = {}
    for dataset in datasets:
        path = folder / "annotations" / f"instances_{dataset.split}.json"
        # Without masks it is what earlier versions wrote.
        contents = [
            json.dumps(each.coco_ground_truth()).encode()
            for each in (dataset.with_masks({}), dataset)
        ]
        own_files.check_free(
            path, lambda path, known=contents: any(own_files.holds(path, each) for each in known)
        )
        annotations[path] = contents[0]
    for dataset, (path, content) in zip(datasets, annotations.items(), strict=True):
        (folder / dataset.split).mkdir(exist_ok=True)
        for index, record in enumerate(dataset.images):
            own_files.write_picture(folder / record.path, dataset.read(index), compress_level=1)
            after_image()
        # The annotations come last: where they are, the pictures are complete.
        with atomic_file(path) as file:
            file.write(content)
