"""Why does a detector not learn this data set? One stage after the other is asked.

The data first: whether the boxes lie on what stands out (``placement``) and whether the class names
of different pictures agree (``naming``). Then the detector, which has to learn a few pictures by
heart (``by_heart``); if it cannot, the first of its stages that does not do its part is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from detector.boxes import box_iou
from detector.datasets import Dataset
from detector.datasets.files import spelled
from detector.datasets.statistics import network_boxes
from detector.detectors.detector import Detector
from detector.tools.by_heart import KNOWN, Knowledge, few_pictures, learn_by_heart
from detector.tools.naming import LEAST_BOXES, Pair, contradictions, named_by_others
from detector.tools.placement import LEAST_PICTURES, SHIFTED, Placement, placement
from detector.training.objectives.detection import Detection
from nn.printable import printable

MOST_NAMED = 5

LOOK = "lighthead check-data --draw page.html shows the boxes"

# What to do about boxes that lie wrong, by the kinds of ``placement.KINDS``.
MEND = {
    "moved by their own size": "was a corner written where the centre belongs, or the centre "
    "where a corner does?",
    "moved": "were the pictures cropped, or framed, after they were annotated?",
    "of another size": "was half a width written for a whole one, or the other way round?",
    "of a picture of another size": "were the pictures resized after they were annotated? Boxes in "
    "pixels must be resized too",
}


class Finding(NamedTuple):
    """What is wrong: in which stage, how that shows in figures, and what to do."""

    stage: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return printable(f"{self.stage}: {self.what}; {self.remedy}", 1000)


def diagnose(
    objective: Detection, count: int, iterations: int, say: Callable[[str], None]
) -> list[Finding]:
    """Examine a data set and the detector that is to learn it.

    Args:
        objective: as it is before a training; its detector has learnt something else afterwards.
        count: of pictures to be learnt by heart.
        iterations: in which they have to be.
        say: is told every figure, a line each.

    Returns:
        what is wrong with the data, else with the detector; empty if both are healthy.
    """
    splits = {"train": objective.train}
    if objective.val is not objective.train:
        splits["val"] = objective.val
    is_trained = objective.session.init_from is not None
    trained = objective.model if is_trained else None
    found = [*wrong_places(splits, trained, say), *wrong_names(objective, say)]
    if found:
        return found
    few = few_pictures(objective.train, count)
    say(f"learning {len(few)} pictures by heart, with {len(few.annotations)} boxes")
    knowledge = learn_by_heart(objective, few, iterations)
    for line in lines_of(knowledge):
        say(line)
    return [] if knowledge.is_known else [failing(knowledge, objective, few)]


def wrong_places(
    splits: dict[str, Dataset], trained: Detector | None, say: Callable[[str], None]
) -> Iterator[Finding]:
    """What is wrong with the places and sizes of the boxes, for colours and a trained backbone."""
    for split, dataset in splits.items():
        seen = placement(dataset)
        if trained is not None and seen.kind in (None, *SHIFTED):
            blurred = placement(dataset, trained)
            seen = seen if blurred.kind is None else blurred
        if seen.pictures < LEAST_PICTURES:
            say(f"data: {split} has too few pictures with boxes to say where those lie")
            continue
        say(
            f"data: {seen.boxes} boxes in {seen.pictures} pictures of {split} stand out by "
            f"{seen.stands_out:.2f} (0 not at all, 1 as if cut out)"
        )
        if seen.kind is not None:
            yield Finding(
                "data",
                f"the boxes of {split} are {seen.kind}: {way_of(seen)}, they would stand out by "
                f"{seen.better:.2f} instead of {seen.stands_out:.2f}",
                f"{MEND[seen.kind]} ({LOOK})",
            )


def way_of(seen: Placement) -> str:
    """What would have to be done to the boxes, in words."""
    x, y = seen.way
    if "size" in seen.kind and "own" not in seen.kind:
        about = "about their centres" if seen.kind == "of another size" else "with their places"
        return f"made {x:.2g} times as large {about}"
    of = "of their own" if "own" in seen.kind else "of the picture's"
    return f"moved by {x:+.0%} {of} width and {y:+.0%} {of} height"


def wrong_names(objective: Detection, say: Callable[[str], None]) -> Iterator[Finding]:
    """What is wrong with the classes of the boxes."""
    train, val, session = objective.train, objective.val, objective.session
    val = None if val is train else val
    counts = np.bincount(train.annotations["label"], minlength=len(train.classes) + 1)
    if len(train) < LEAST_PICTURES or (counts >= LEAST_BOXES).sum() < 2:
        say(f"data: too few pictures, or classes of {LEAST_BOXES} boxes, to compare their names")
        return
    say("data: comparing the class names of each half of the pictures with the other half")
    named = named_by_others(train, val, objective.model, session)
    right = (named.scores.argmax(axis=1) + 1 == named.labels).mean()
    say(f"data: {right:.0%} of {len(named.labels)} objects are called what others like them are")
    for pair in contradictions(named):
        yield contradiction(pair, train, val)


def contradiction(pair: Pair, train: Dataset, val: Dataset | None) -> Finding:
    """Two classes that are exchanged in some pictures, or cannot be told apart."""
    names = " and ".join(repr(spelled(train.classes[label - 1])) for label in pair.labels)
    if not pair.pictures:
        return Finding(
            "data",
            f"nothing tells the classes {names} apart (AUC {pair.auc:.2f}, 0.5 is chance)",
            f"are they swapped in some of the pictures, or do they look the same? ({LOOK})",
        )
    files = [(train.images + (val.images if val else []))[number].path for number in pair.pictures]
    more = len(files) - MOST_NAMED
    shown = ", ".join(str(file) for file in files[:MOST_NAMED]) + f" and {more} more" * (more > 0)
    in_val = sum(number >= len(train) for number in pair.pictures)
    return Finding(
        "data",
        f"the classes {names} are swapped in some pictures: in {len(files)}, {in_val} of them in "
        f"val, each is taken for the other, more than chance would have it (AUC {pair.auc:.2f})",
        f"look at {shown}, the surest first, and mend the names ({LOOK})",
    )


def lines_of(knowledge: Knowledge) -> Iterator[str]:
    """The figures of a detector that has learnt, a line for each stage that it has."""
    if knowledge.anchors is not None:
        yield f"anchors: {knowledge.anchors:.0%} of the boxes overlap one by half or more"
        yield f"proposals: {knowledge.proposals:.0%} of the boxes overlap one by half or more"
        yield f"head: {knowledge.head:.0%} of the boxes, given exactly, are called by their names"
    yield f"detections: F1 {knowledge.f1:.2f} at the best score, loss {knowledge.loss:.3f}"


def failing(knowledge: Knowledge, objective: Detection, few: Dataset) -> Finding:
    """The first stage that does not do its part."""
    image = objective.session.recipe.model.image
    seen = network_boxes(few, image.short_side, image.max_side)
    side = float(np.median(np.sqrt(seen.widths_heights.prod(axis=1))))
    sizes = f"the median box measures {side:.0f} pixels as the network sees it"
    smaller = f"{sizes}: a larger --short-side than {image.short_side} shows more of small ones"
    if knowledge.anchors is not None and knowledge.anchors < KNOWN:
        return Finding(
            "anchors",
            f"only {knowledge.anchors:.0%} of the boxes overlap an anchor by half or more",
            f"{smaller}; --set fit_anchors=[8,5] fits more anchors to the boxes",
        )
    if knowledge.proposals is not None and knowledge.proposals < KNOWN:
        return Finding(
            "proposals",
            f"the anchors are there, but only {knowledge.proposals:.0%} of the boxes overlap a "
            f"proposal by half or more (loss {knowledge.loss:.3f})",
            f"--init-from imagenet learns faster than random weights, as do more --iterations; "
            f"{smaller}",
        )
    if knowledge.head is not None and knowledge.head < KNOWN:
        return Finding(
            "head",
            f"the proposals are there, but of the boxes, given exactly, only {knowledge.head:.0%} "
            f"are called by their names (loss {knowledge.loss:.3f})",
            f"look for objects with two names and names for two things ({LOOK}); more "
            "--iterations may help",
        )
    hidden = crowded(few)
    return Finding(
        "detections",
        f"every stage does its part, but in the end F1 is {knowledge.f1:.2f} "
        f"(loss {knowledge.loss:.3f})",
        f"{hidden:.0%} of the boxes overlap one of the same class by half or more, of which only "
        "one is kept: a higher iou_threshold of the last selector (--set) keeps more of them; more "
        "--iterations may help",
    )


def crowded(dataset: Dataset) -> float:
    """The part of the boxes that overlap another one of their class by half or more."""
    hidden = []
    for index in range(len(dataset)):
        target = dataset.target(index)
        boxes, labels = target["boxes"], target["labels"]
        iou = box_iou(boxes, boxes) * (labels[:, None] == labels) * (1 - np.eye(len(boxes)))
        hidden += (iou >= 0.5).any(axis=1).tolist()
    return float(np.mean(hidden)) if hidden else 0.0
