"""One picture on its way through a detector, as a page: what each stage makes of it, and how to
read that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detector.boxes import box_iou
from detector.detectors.stages import Stages
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.parts.matching import IGNORED, NEGATIVE, POSITIVE
from detector.parts.preprocess import resize, scale_boxes
from detector.reporting.page import embedded, write_page
from detector.reporting.pictures import FOUND, TRUTH
from detector.tools.stage_pictures import (
    MOST_BOXES,
    cell_of,
    cut_out,
    enlarged,
    few,
    glowing,
    outlined,
    scale_of,
    tiles,
)
from detector.training.loading import LoadedDetector

LABELS = POSITIVE, NEGATIVE, IGNORED
MOST_SHOWN = 6  # proposals of which is shown what the head cuts out
MOST_OBJECTS = 60  # in the table


class Fate(NamedTuple):
    """What becomes of an object of the ground truth.

    Attributes:
        name: of its class.
        anchor, proposal: the IoU of the best of each.
        moved: of the best of the moved anchors, before the suppression.
        exact: what the head calls it, given its box, and how surely.
        found: the IoU of the best detection of its class that scores enough.
    """

    name: str
    anchor: float
    moved: float
    proposal: float
    exact: str
    probability: float
    found: float


class Cut(NamedTuple):
    """A proposal as the head sees it: the picture there, the numbers cut out, what it says."""

    picture: str
    pooled: str
    objectness: float
    says: list[tuple[str, float]]


def dissect(
    path: str | os.PathLike,
    detector: LoadedDetector,
    picture: str | os.PathLike,
    image: np.ndarray,
    target: dict | None,
    score: float,
) -> None:
    """Write the page.

    Args:
        picture: where the image comes from.
        image: (H, W, 3) uint8 RGB.
        target: what is in it, if that is known: ``boxes`` and ``labels`` as ``detector`` has them.
        score: from which on a detection is shown.

    Raises:
        UserError: the detector has no two stages, or something else lies at ``path``.
        OSError: it cannot be written.
    """
    stages = detector.model.stages(image, target)
    if stages is None:
        raise UserError(f"{detector.path} has no stages to look into: its detector has only one")
    seen, names = resize(image, stages.size), ["background", *detector.classes]
    boxes = labels = None
    if target is not None:
        boxes = scale_boxes(target["boxes"], image.shape[:2], stages.size)
        labels = target["labels"]
    write_page(
        path,
        "dissection.html",
        picture=Path(picture).name,
        weights=str(detector.path),
        size=stages.size,
        own_size=image.shape[:2],
        score=score,
        truth=None if boxes is None else len(boxes),
        counts=counts(stages, score),
        labels=[int((stages.anchor_labels == label).sum()) for label in LABELS],
        fates=list(fates(stages, boxes, labels, names, score))[:MOST_OBJECTS],
        most=MOST_BOXES,
        pictures=drawings(stages, seen, boxes, detector.classes, score),
        cuts=list(cuts(stages, seen, names)),
        channels=stages.pooled.shape[1],
        bins=stages.pooled.shape[2],
    )


def drawings(
    stages: Stages, seen: np.ndarray, truth: np.ndarray | None, classes: Sequence[str], score: float
) -> dict[str, str]:
    """The pictures by their names on the page; what is annotated lies on top."""
    shown, certain = stages.found["scores"] >= score, np.flatnonzero(stages.scores >= score)
    boxes = {
        "cell": cell_of(stages),
        "positive": few(stages.anchors[stages.anchor_labels == POSITIVE]),
        "before": stages.moved[stages.best[:MOST_BOXES]],
        "after": stages.proposals[:MOST_BOXES],
        "answers": stages.answers[few(certain)],
    }
    pictures = {
        name: outlined(seen, [(group[::-1], FOUND), (None if name == "cell" else truth, TRUTH)])
        for name, group in boxes.items()
    }
    found = [stages.found["boxes"][shown] * scale_of(seen)]
    found += [stages.found[key][shown] for key in ("labels", "scores")]
    pictures["found"] = embedded(draw_detections(enlarged(seen), *found, classes))
    return pictures | {"objectness": embedded(glowing(seen, stages))}


def counts(stages: Stages, score: float) -> list[tuple[str, int]]:
    """How many boxes there are from stage to stage."""
    return [
        ("anchors", len(stages.anchors)),
        ("of them looked at", len(stages.best)),
        ("proposals", len(stages.proposals)),
        ("sure enough", int((stages.scores >= score).sum())),
        ("detections", int((stages.found["scores"] >= score).sum())),
    ]


def fates(
    stages: Stages,
    boxes: np.ndarray | None,
    labels: np.ndarray | None,
    names: Sequence[str],
    score: float,
) -> Iterator[Fate]:
    """What becomes of each object, none if it is not known what there is."""
    if boxes is None or not len(boxes):
        return
    anchors, moved, proposals = (
        box_iou(boxes, candidates).max(axis=1, initial=0)
        for candidates in (stages.anchors, stages.moved[stages.best], stages.proposals)
    )
    sure = stages.found["scores"] >= score
    found, found_labels = stages.found["boxes"][sure], stages.found["labels"][sure]
    overlap = box_iou(boxes, found) * (labels[:, None] == found_labels)
    for k, label in enumerate(labels.tolist()):
        said = int(stages.exact[k].argmax())
        yield Fate(
            names[label],
            float(anchors[k]),
            float(moved[k]),
            float(proposals[k]),
            names[said],
            float(stages.exact[k, said]),
            float(overlap[k].max(initial=0)),
        )


def cuts(stages: Stages, seen: np.ndarray, names: Sequence[str]) -> Iterator[Cut]:
    """The proposals that the head is surest of, each as it sees it."""
    order = np.argsort(-stages.scores, kind="stable")
    chosen: list[int] = []
    for k in order.tolist():  # of many on one object, one
        if box_iou(stages.proposals[[k]], stages.proposals[chosen]).max(initial=0) < 0.5:
            chosen.append(k)
        if len(chosen) == MOST_SHOWN:
            break
    sharpest = max(float(np.abs(stages.pooled[chosen]).max(initial=0)), 1e-9)
    for k in chosen:
        says = np.argsort(-stages.probabilities[k], kind="stable")[:3].tolist()
        yield Cut(
            embedded(cut_out(seen, stages.proposals[k])),
            embedded(tiles(stages.pooled[k] / sharpest), 95),
            float(stages.suspected[k]),
            [(names[label], float(stages.probabilities[k, label])) for label in says],
        )
