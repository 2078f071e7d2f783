"""A detector run over a data set: its figures, and pictures to look at."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from detector.datasets import Dataset, Loader
from detector.detectors.compiled import CompiledDetector
from detector.evaluation.detections import to_coco
from detector.evaluation.drawing import draw_detections
from detector.evaluation.figures import Evaluation, coco_evaluation
from detector.parts.preprocess import network_size
from detector.progress import Progress


def measure(
    detector: CompiledDetector,
    dataset: Dataset,
    min_box: float = 0.0,
    title: str = "evaluating",
    check: Callable[[], None] = lambda: None,
) -> tuple[Evaluation, list[dict]]:
    """Detect in every image of a data set and compare with its annotations.

    Args:
        detector: label k means ``dataset.classes[k - 1]``.
        min_box: see ``coco_evaluation``.
        title: of the progress bar.
        check: called after each image; may raise to stop.

    Returns:
        the figures, and the detections as COCO results.
    """
    model, detections = detector.model, []
    with Progress(title, len(dataset), unit="images") as progress:
        for batch in Loader(dataset, None, 1, shuffle=False, cache_megabytes=0).epoch(0):
            (prediction,) = detector.predict(batch.images)
            image_id = batch.targets[0]["image_id"]
            detections += to_coco(image_id, prediction, dataset.category_ids)
            progress.step()
            check()
    scales = {}
    if min_box:
        for record in dataset.images:
            size = network_size(
                (record.height, record.width), model.image.short_side, model.image.max_side
            )
            scales[record.id] = (size[0] * size[1] / (record.height * record.width)) ** 0.5
    return coco_evaluation(dataset.coco_ground_truth(), detections, min_box, scales), detections


def write_examples(
    detector: CompiledDetector,
    dataset: Dataset,
    folder: str | os.PathLike,
    count: int = 12,
    score: float = 0.5,
) -> list[Path]:
    """Draw what is found in ``count`` images, spread evenly over the data set, into ``folder``.

    Returns:
        the files, named after the images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)):
        image, _ = dataset.load(int(index))
        (found,) = detector.predict([image])
        files.append(folder / f"{Path(dataset.images[index].path).stem}.png")
        write_picture(files[-1], image, found, dataset.classes, score)
    return files


def write_picture(
    path: str | os.PathLike, image: np.ndarray, found: dict, classes: list[str], score: float
) -> None:
    """Save ``image`` with those of its detections that score at least ``score``."""
    sure = found["scores"] >= score
    picture = draw_detections(
        image, found["boxes"][sure], found["labels"][sure], found["scores"][sure], classes
    )
    Image.fromarray(picture).save(path)
