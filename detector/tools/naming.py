"""Do the class names of one half of the pictures agree with those of the other half?

A network can learn any names by heart, right or wrong. So a classifier of crops learns from half of
the pictures and names the objects of the other half, then the other way round. Names that were
exchanged in some of the pictures show there: everything in them that is called one class is taken
for the other, and the other way round. A class that is called something else *everywhere* cannot be
seen: to a network a name is a number.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

import nn
from detector.datasets import Dataset
from detector.datasets.crops import CropLessons, CropTransform
from detector.detectors.detector import Detector
from detector.parts.preprocess import network_size, resize, scale_boxes
from detector.training.objectives.crops import CropClassifier, learn_crops, squares
from detector.training.recipe import Recipe
from nn import functional as F

LESSONS = CropLessons(iterations=300, size=48, batch=32, lr=0.05)
CONTEXT = 1.3  # side of a crop, in longer sides of its object
MOST_PICTURES = 200  # of a split
LEAST_BOXES = 20  # of a class, fewer say nothing
LEAST_PICTURES = 3  # in which two classes are exchanged, fewer may be chance
TOLD_APART = 0.7  # two classes below are not, with the AUC of chance 0.5


class Named(NamedTuple):
    """The objects of some pictures, as they are called and as others of the data set would be.

    Attributes:
        pictures: (R,) the picture of each, as a number.
        labels: (R,) 1..num_classes.
        scores: (R, num_classes) log probabilities without the background's.
    """

    pictures: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class Pair(NamedTuple):
    """Two classes that contradict themselves.

    Attributes:
        labels: of both, the smaller first.
        auc: how surely the look tells which of the two an object is called, 0.5 for not at all.
        pictures: numbers of those in which both occur, each always taken for the other.
    """

    labels: tuple[int, int]
    auc: float
    pictures: list[int]


def contradictions(named: Named) -> list[Pair]:
    """Pairs of classes that are exchanged in some pictures, or that nothing tells apart."""
    counts = np.bincount(named.labels, minlength=named.scores.shape[1] + 1)
    usable = np.flatnonzero(counts[1:] >= LEAST_BOXES) + 1
    pairs = [pair_of(named, first, second) for first, second in combinations(usable.tolist(), 2)]
    return [pair for pair in pairs if pair is not None]


def pair_of(named: Named, first: int, second: int) -> Pair | None:
    """What is wrong with two classes, None if nothing is.

    The threshold between them lies where both are missed equally often: how frequent they are must
    not count.
    """
    chosen = np.isin(named.labels, (first, second))
    is_second = named.labels[chosen] == second
    margin = named.scores[chosen, second - 1] - named.scores[chosen, first - 1]
    auc = area_under_curve(margin[~is_second], margin[is_second])
    threshold = balanced(margin[~is_second], margin[is_second])
    is_wrong = (margin > threshold) != is_second
    exchanged, expected = [], 0.0
    wrong = [is_wrong[~is_second].mean(), is_wrong[is_second].mean()]
    for number in np.unique(named.pictures[chosen]):
        here = named.pictures[chosen] == number
        seconds = int(is_second[here].sum())
        if 0 < seconds < here.sum():
            expected += wrong[0] ** (here.sum() - seconds) * wrong[1] ** seconds
            if is_wrong[here].all():
                exchanged.append(int(number))
    is_exchanged = len(exchanged) >= max(LEAST_PICTURES, 3 * expected)
    if not is_exchanged and auc >= TOLD_APART:
        return None
    return Pair((first, second), auc, exchanged if is_exchanged else [])


def area_under_curve(low: np.ndarray, high: np.ndarray) -> float:
    """The probability that one of ``high`` is more than one of ``low``; equals count as half."""
    order = np.sort(low)
    below = np.searchsorted(order, high, "left") + np.searchsorted(order, high, "right")
    return float(below.mean() / 2 / len(low))


def balanced(low: np.ndarray, high: np.ndarray) -> float:
    """The value that as great a part of ``low`` exceeds as of ``high`` falls short of."""
    values = np.sort(np.concatenate([low, high]))
    above = 1 - np.searchsorted(np.sort(low), values, "right") / len(low)
    below = np.searchsorted(np.sort(high), values, "right") / len(high)
    return float(values[np.abs(above - below).argmin()])


def named_by_others(
    train: Dataset, val: Dataset | None, model: Detector, recipe: Recipe, seed: int
) -> Named:
    """The objects of up to ``MOST_PICTURES`` of each split, named by what other pictures teach.

    Args:
        train: each of its halves names the objects of the other; the first those of ``val`` too.
        val: of the same classes; its pictures are numbered after those of ``train``.
        model: where the classifiers' backbones start; it is left as it is.
        recipe: how crops are flipped, and the size of the pictures.
    """
    recipe = replace(recipe, crops=LESSONS)
    places = spread(len(train))
    halves = [AtNetworkSize(train, places[half::2], recipe) for half in (0, 1)]
    numbers = [places[1::2], places[::2]]
    parts = []
    for learnt, asked, number in zip(halves, halves[::-1], numbers, strict=True):
        pupil = CropClassifier(copy.deepcopy(model), model.num_classes).train()
        learn_crops(pupil, learnt, recipe, seed, lambda: None)
        pupil.eval()
        parts += name_objects(pupil, asked, number)
        if val is not None and learnt is halves[0]:
            places = spread(len(val))
            asked = AtNetworkSize(val, places, recipe)
            parts += name_objects(pupil, asked, len(train) + places)
    return Named(*map(np.concatenate, zip(*parts, strict=True)))


def spread(count: int) -> np.ndarray:
    """Places of up to ``MOST_PICTURES`` of so many, evenly apart."""
    return np.linspace(0, count - 1, min(MOST_PICTURES, count)).astype(int)


def name_objects(
    pupil: CropClassifier, dataset: Dataset, numbers: Sequence[int]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each picture what ``Named`` holds; ``numbers`` of the pictures."""
    cut = CropTransform(pupil.classifier.out_features - 1, LESSONS.size).cut
    for index, number in enumerate(numbers):
        image, target = dataset.load(index)
        boxes, labels = target["boxes"], target["labels"]
        if not len(boxes):
            continue
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        squares_ = np.column_stack([centres, CONTEXT * sides.max(axis=1)]).tolist()
        crops = [cut(image, square) for square in squares_]
        with nn.no_grad():
            logits = pupil(squares(crops, pupil.image))
        scores = F.log_softmax(logits[:, 1:], 1).data
        yield np.full(len(labels), number), labels, scores


class AtNetworkSize(Dataset):
    """Some pictures of a data set in memory, at the size at which the network sees them."""

    has_files = False

    def __init__(self, dataset: Dataset, places: np.ndarray, recipe: Recipe):
        part, image = dataset.part(places), recipe.model.image
        self.pixels, records, annotations = [], [], part.annotations.copy()
        for index, record in enumerate(part.images):
            pixels, _ = part.load(index)
            old, size = (
                pixels.shape[:2],
                network_size(pixels.shape[:2], image.short_side, image.max_side),
            )
            here = annotations["image"] == index
            annotations["box"][here] = scale_boxes(annotations["box"][here], old, size)
            records.append(replace(record, height=size[0], width=size[1]))
            self.pixels.append(resize(pixels, size))
        super().__init__(part.name, part.classes, part.category_ids, records, annotations)

    def read(self, index: int) -> np.ndarray:
        return self.pixels[index]
