"""A detector run over a data set: its figures, and pictures to look at."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from detector import own_files
from detector.datasets import Dataset, Loader
from detector.detectors.compiled import CompiledDetector
from detector.evaluation.detections import to_coco
from detector.evaluation.drawing import draw_detections
from detector.evaluation.figures import Evaluation, coco_evaluation
from detector.parts.preprocess import scale_boxes
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
        pictures = dataset.with_masks(None)  # what is there is not looked at before the end
        for batch in Loader(pictures, None, 1, shuffle=False, cache_megabytes=0).epoch(0):
            (prediction,) = detector.predict(batch.images)
            (index,) = batch.indices
            record = dataset.images[index]
            whole = record.height, record.width
            prediction["boxes"] = scale_boxes(prediction["boxes"], record.decoded, whole)
            detections += to_coco(record.id, prediction, dataset.category_ids, whole)
            progress.step()
            check()
    scales = {}
    if min_box:
        for record in dataset.images:
            size = model.input_size((record.height, record.width))
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
    spread = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    indices = np.unique(spread.astype(int)).tolist()
    names = picture_names(
        [Path(dataset.images[index].path) for index in indices],
        lambda name: own_files.is_free(folder / name, own_files.is_own_picture),
    )
    for index, name in zip(indices, names, strict=True):
        image, _ = dataset.load(index)
        (found,) = detector.predict([image])
        write_picture(folder / name, image, found, dataset.classes, score)
    return [folder / name for name in names]


def picture_names(
    files: Sequence[Path], is_free: Callable[[str], bool] = lambda name: True
) -> list[str]:
    """A name for each picture of results, as PNG: the picture's own, numbered where two would be
    the same.

    Args:
        is_free: whether a name may be used at all.
    """
    taken: set[str] = set()
    return [
        unused(file.stem, taken, lambda stem: is_free(f"{stem}.png")) + ".png" for file in files
    ]


def unused(name: str, taken: set[str], is_free: Callable[[str], bool] = lambda name: True) -> str:
    """The name, numbered if it is taken; it then is.

    Same are also names that a Mac or Windows does not tell apart.
    """
    found, count = name, 1
    while _folded(found) in taken or not is_free(found):
        count += 1
        found = f"{name}-{count}"
    taken.add(_folded(found))
    return found


def write_picture(
    path: str | os.PathLike, image: np.ndarray, found: dict, classes: list[str], score: float
) -> None:
    """Save ``image`` with those of its detections that score at least ``score``.

    Raises:
        UserError: something lies at ``path`` that is not our own.
    """
    sure = found["scores"] >= score
    shown = {name: values[sure] for name, values in found.items()}
    picture = draw_detections(
        image, shown["boxes"], shown["labels"], shown["scores"], classes, shown.get("masks")
    )
    own_files.write_picture(path, picture)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
