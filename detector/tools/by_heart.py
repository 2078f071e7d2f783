"""A few pictures learnt by heart: if that fails, which stage of the detector is it that fails?

What cannot be learnt from eight pictures without any chance in them cannot be learnt from eight
thousand. Afterwards each stage is asked by itself whether it does its part: whether there is an
anchor for every box, whether a proposal comes near it, whether the head knows a box that fits
exactly, and whether what is right is also what remains in the end.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from detector.boxes import box_iou
from detector.datasets import Dataset, streams
from detector.datasets.transforms import Augmentation
from detector.detectors.detector import Detector
from detector.evaluation.detections import to_coco
from detector.evaluation.threshold import best_threshold
from detector.parts.preprocess import scale_boxes
from detector.progress import Progress
from detector.training.objectives.detection import Detection
from detector.training.step import take_step
from nn.optim import MomentumSGD

NEAR = 0.5  # IoU of an anchor, a proposal or a detection that is one of its box
KNOWN = 0.9  # of F1: a tenth may be missed or invented
EVERY = 50  # iterations, then it is asked what it knows


class Knowledge(NamedTuple):
    """What a detector knows of some pictures, each figure in 0..1; None without such a stage.

    Attributes:
        anchors: the part of the boxes that overlap an anchor by ``NEAR`` or more.
        proposals: likewise a proposal.
        head: the part of the boxes whose class the head names if it is given the box exactly.
        f1: of the detections at the best score.
        loss: of the last iteration, 0 before the first.
    """

    anchors: float | None
    proposals: float | None
    head: float | None
    f1: float
    loss: float = 0.0

    @property
    def is_known(self) -> bool:
        return self.f1 >= KNOWN


def few_pictures(dataset: Dataset, count: int) -> Dataset:
    """``count`` pictures with objects, of as many classes as they can show, else evenly apart."""
    classes = {
        index: set(dataset.target(index)["labels"].tolist())
        for index in range(len(dataset))
        if len(dataset.target(index)["labels"])
    }
    chosen, seen = [], set()
    while len(chosen) < min(count, len(classes)):
        rest = [index for index in classes if index not in chosen]
        best = max(rest, key=lambda index: len(classes[index] - seen))
        if classes[best] <= seen:
            picks = np.linspace(0, len(rest) - 1, count - len(chosen)).astype(int)
            chosen += [rest[pick] for pick in np.unique(picks)]
            break
        chosen.append(best)
        seen |= classes[best]
    return dataset.part(np.array(sorted(chosen)))


def learn_by_heart(objective: Detection, few: Dataset, iterations: int) -> Knowledge:
    """Train the objective's detector on a few pictures as they are, until it knows them.

    Args:
        objective: with the detector as it is before a training.
        few: the pictures.
        iterations: then it ends in any case; the learning rate falls to 0 within them.

    Raises:
        NonFiniteError: a loss is not a finite number.
    """
    session = objective.session
    calm = Augmentation(horizontal_flip=0.0)  # what is learnt by heart must stay as it is
    recipe = session.recipe.changed("augmentation", calm)
    steps = replace(recipe.steps, batch=min(recipe.steps.batch, len(few)))
    pupil = Detection(replace(session, recipe=replace(recipe, steps=steps)))
    pupil.model, pupil.splits = objective.model, (few, few)
    optimizer = MomentumSGD(steps.groups(pupil.model), steps.lr, steps.momentum, steps.weight_decay)
    rate = steps.learning_rates(iterations)
    batches = itertools.chain.from_iterable(map(pupil.batches, itertools.count()))
    knowledge = examine(pupil.model, few)  # compiles what predicts
    with Progress("learning by heart", iterations) as progress:
        for iteration, batch in enumerate(itertools.islice(batches, iterations)):
            pupil.model.train()
            optimizer.lr = rate(iteration)
            rng = streams.generator(session.seed, streams.SAMPLING, index=iteration)
            losses, _ = take_step(pupil, optimizer, batch, rng, steps.clip_norm)
            progress.step(f"loss {losses['loss']:.3f}, F1 {knowledge.f1:.2f}")
            if (iteration + 1) % EVERY == 0 or iteration + 1 == iterations:
                knowledge = examine(pupil.model, few)._replace(loss=losses["loss"])
                progress.skip()
                if knowledge.is_known:
                    break
    return knowledge


def examine(model: Detector, few: Dataset) -> Knowledge:
    """Ask each stage what it knows of the pictures."""
    anchors, proposals, head, detections = [], [], [], []
    for index, record in enumerate(few.images):
        image, target = few.load(index)
        (found,) = model.predict([image])
        detections += to_coco(record.id, found, few.category_ids)
        if stages := model.stages(image, target):
            boxes = scale_boxes(target["boxes"], image.shape[:2], stages.size)
            anchors += reached(boxes, stages.anchors)
            proposals += reached(boxes, stages.proposals)
            head += (stages.exact.argmax(axis=1) == target["labels"]).tolist()
    best = best_threshold(few.coco_ground_truth(), detections)
    parts = (float(np.mean(part)) if part else None for part in (anchors, proposals, head))
    return Knowledge(*parts, best.f1 if best else 0.0)


def reached(boxes: np.ndarray, candidates: np.ndarray) -> list[bool]:
    """Of each box (G, 4) whether one of the candidates (M, 4) is near."""
    return (box_iou(boxes, candidates).max(axis=1, initial=0) >= NEAR).tolist()
