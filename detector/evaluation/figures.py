"""How good are the detections? COCO's average precision, by pycocotools, and a table per class.

The last step of the pipeline: takes annotations and detections as COCO dicts (see ``detections.py``
for the latter) and never looks at a model or a file.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from detector.datasets.files import spelled
from nn.printable import printable

# COCO's twelve figures in its own order: name, what it says. AP without a number is the mean over
# the IoU thresholds 0.50, 0.55, ..., 0.95; small is an area below 32^2 pixels, large above 96^2.
FIGURES = {
    "AP": "average precision, mean over IoU 0.50:0.95",
    "AP50": "average precision at IoU 0.50",
    "AP75": "average precision at IoU 0.75",
    "AP_small": "AP of objects below 32 x 32 pixels",
    "AP_medium": "AP of objects from 32 x 32 to 96 x 96 pixels",
    "AP_large": "AP of objects above 96 x 96 pixels",
    "AR1": "average recall, one detection an image",
    "AR10": "average recall, ten detections an image",
    "AR100": "average recall, a hundred detections an image",
    "AR_small": "average recall of small objects",
    "AR_medium": "average recall of medium objects",
    "AR_large": "average recall of large objects",
}

MASK_FIGURES = ("AP", "AP50", "AP75")  # of masks: those of objects of all sizes


@dataclass(frozen=True)
class ClassFigures:
    """One class: its boxes in the split (crowds left out), and its figures, None without a box."""

    name: str
    boxes: int
    AP: float | None
    AP50: float | None
    recall: float | None  # AR100: mean over the IoU thresholds 0.50:0.95


@dataclass(frozen=True)
class Evaluation:
    """Figures by the names in ``FIGURES`` (None where no object is of that size), and per class."""

    figures: dict[str, float | None]
    classes: list[ClassFigures]
    images: int
    detections: int
    warning: str = ""
    masks: dict[str, float | None] | None = None  # the same figures of masks, where there are any

    def to_json(self) -> dict:
        found = asdict(self)
        return found if self.masks is not None else {k: v for k, v in found.items() if k != "masks"}

    def table(self) -> str:
        """Both tables as text."""
        width = max(9, *(len(name) for name in FIGURES))
        lines = [
            f"{name:<{width}}  {_number(self.figures[name])}  {meaning}"
            for name, meaning in FIGURES.items()
        ]
        if self.masks is not None:
            lines += ["", "of the masks:"]
            lines += [
                f"{name:<{width}}  {_number(self.masks[name])}  {FIGURES[name]}"
                for name in MASK_FIGURES
            ]
        names = [printable(spelled(entry.name)) for entry in self.classes]
        width = max(5, *map(len, names)) if names else 5
        lines += ["", f"{'class':<{width}}   boxes     AP   AP50  recall"]
        lines += [
            f"{name:<{width}}  {entry.boxes:6d}  {_number(entry.AP)}  {_number(entry.AP50)}  "
            f"{_number(entry.recall)}"
            for name, entry in zip(names, self.classes, strict=True)
        ]
        lines += ["", f"{self.detections} detections in {self.images} images"]
        return "\n".join(lines + [self.warning] * bool(self.warning))


def coco_evaluation(
    ground_truth: dict,
    detections: Sequence[dict],
    min_box: float = 0.0,
    scales: Mapping[int, float] | None = None,
) -> Evaluation:
    """Compare detections with annotations as COCO does.

    Objects marked ``iscrowd`` neither count as missed nor make a detection wrong. An object outside
    an area range, and a detection outside it that matches none inside, do not count either.

    Args:
        ground_truth: ``images``, ``annotations`` and ``categories`` as in COCO JSON. Only these
            images count. The annotations' ids may be anything.
        detections: ``image_id``, ``category_id``, ``bbox`` (x, y, w, h) and ``score`` each. Where
            all annotations and all detections have a ``segmentation``, masks are compared too.
        min_box: leave out objects with an area below min_box^2. All areas are then those of
            the boxes as the network saw them.
        scales: with ``min_box``, for each image id the factor from its pixels to the network's.

    Raises:
        ValueError: a detection names an image or a category that the ground truth does not have.
    """
    images = {image["id"] for image in ground_truth["images"]}
    categories = ground_truth["categories"]
    annotations = [
        {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], **entry}
        for entry in ground_truth["annotations"]
        if entry["image_id"] in images
    ]
    _check_ids(detections, images, {category["id"] for category in categories})

    warning = ""
    objects = sum(not entry["iscrowd"] for entry in annotations)
    if not annotations:
        warning = "there is no annotated box in this split: nothing can be measured"
    elif not objects:
        warning = (
            f"all {len(annotations)} annotated boxes are to be ignored (crowds, difficult): "
            "nothing can be measured"
        )
    elif not detections:
        warning = "the detector found nothing at all: every figure is 0"
    masks = None
    if objects and categories:
        if min_box:
            annotations = _with_network_areas(annotations, scales or {})
            detections = _with_network_areas(detections, scales or {})
        figures, precision, recall = _run_pycocotools(
            {**ground_truth, "annotations": annotations}, detections, min_box
        )
        if has_masks(annotations) and has_masks(detections):
            outlined = [{"segmentation": _corners(entry["bbox"]), **entry} for entry in annotations]
            of_masks, _, _ = _run_pycocotools(
                {**ground_truth, "annotations": outlined}, detections, min_box, "segm"
            )
            masks = {name: of_masks[name] for name in MASK_FIGURES}
    else:
        figures = dict.fromkeys(FIGURES)
        precision = np.full((10, 101, len(categories)), -1.0)
        recall = np.full((10, len(categories)), -1.0)

    classes = []
    # pycocotools orders categories by id; we keep the data set's order.
    order = {number: k for k, number in enumerate(sorted(c["id"] for c in categories))}
    for category in categories:
        k = order[category["id"]]
        count = sum(
            entry["category_id"] == category["id"] and not entry["iscrowd"] for entry in annotations
        )
        classes.append(
            ClassFigures(
                category["name"],
                count,
                _mean(precision[:, :, k]),
                _mean(precision[0, :, k]),
                _mean(recall[:, k]),
            )  # fmt: skip
        )
    return Evaluation(figures, classes, len(images), len(detections), warning, masks)


def _corners(bbox: Sequence[float]) -> list[list[float]]:
    """A box as the outline of a crowd that has none of its own."""
    x, y, width, height = bbox
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def has_masks(entries: Sequence[dict]) -> bool:
    """Whether there are objects, and all of them have a mask; crowds need none."""
    objects = [entry for entry in entries if not entry.get("iscrowd")]
    return bool(objects) and all("segmentation" in entry for entry in objects)


def _check_ids(detections: Sequence[dict], images: set, categories: set) -> None:
    """pycocotools would answer a wrong id with a bare assertion, or not at all."""
    for detection in detections:
        if detection["image_id"] not in images:
            raise ValueError(f"a detection is of image {detection['image_id']}, not of this split")
        if detection["category_id"] not in categories:
            raise ValueError(f"a detection has the unknown category {detection['category_id']}")


def _with_network_areas(entries: Sequence[dict], scales: Mapping[int, float]) -> list[dict]:
    return [
        {**entry, "area": entry["bbox"][2] * entry["bbox"][3] * scales[entry["image_id"]] ** 2}
        for entry in entries
    ]


def _run_pycocotools(
    ground_truth: dict, detections: Sequence[dict], min_box: float, kind: str = "bbox"
) -> tuple[dict[str, float | None], np.ndarray, np.ndarray]:
    """The twelve figures; precision (IoU, recall, class); recall (IoU, class); -1 for undefined."""
    # Here and not above: this import is the only part of the product that needs a C extension.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its every step
        truth = COCO()
        # Its matching writes down the id of the object that was hit, and 0 for none: an annotation
        # with the id 0 is never hit, and of two with one id it keeps the last.
        annotations = [
            {**entry, "id": number} for number, entry in enumerate(ground_truth["annotations"], 1)
        ]
        truth.dataset = {"info": {}, **ground_truth, "annotations": annotations}
        truth.createIndex()
        # loadRes cannot take an empty list and drops the areas we set.
        found = COCO()
        found.dataset = {
            "images": ground_truth["images"],
            "categories": ground_truth["categories"],
            "annotations": [
                {
                    "area": detection["bbox"][2] * detection["bbox"][3],
                    **detection,
                    "id": number,
                    "iscrowd": 0,
                }
                for number, detection in enumerate(detections, start=1)
            ],
        }
        found.createIndex()
        evaluator = COCOeval(truth, found, kind)
        if min_box:
            low = min_box**2
            evaluator.params.areaRng = [
                [max(low, start), end] for start, end in evaluator.params.areaRng
            ]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    figures = {
        name: None if value < 0 else float(value)
        for name, value in zip(FIGURES, evaluator.stats, strict=True)
    }
    # Axes: IoU threshold, recall, class, area range (first: all), detections an image (last: 100).
    return figures, evaluator.eval["precision"][:, :, :, 0, 2], evaluator.eval["recall"][:, :, 0, 2]


def _mean(values: np.ndarray) -> float | None:
    """Mean of the defined ones, None if none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _number(value: float | None) -> str:
    return "    -" if value is None or math.isnan(value) else f"{value:5.3f}"
