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
from detector.training.sessions import Session
from nn import functional as F

# With loaded weights; without, the recipe's own lessons as far as FROM_NOTHING.
LESSONS = CropLessons(iterations=300, size=48, batch=32, lr=0.02)
FROM_NOTHING = 800
CONTEXT = 1.3  # side of a crop, in longer sides of its object
MOST_PIXELS = 6e7  # of a split, at the size at which the network sees it: 180 MB
LEAST_BOXES = 20  # of a class, fewer say nothing
# In so many pictures two classes are exchanged, and by so many standard errors in more than chance
# would have it.
LEAST_PICTURES, ERRORS = 3, 4.0
# AUC, where chance is 0.5: two classes below are not told apart. That means something where most
# pairs are.
TOLD_APART, MOST_ARE = 0.7, 0.85


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
    """Two classes, and how they agree.

    Attributes:
        labels: of both, the smaller first.
        auc: how surely the look tells which of the two an object is called, 0.5 for not at all.
        pictures: numbers of those in which both occur, each always taken for the other, the surest
            first; empty if chance may have it so.
    """

    labels: tuple[int, int]
    auc: float
    pictures: list[int]


def contradictions(named: Named) -> list[Pair]:
    """Pairs of classes that are exchanged in some pictures, or that alone are not told apart."""
    counts = np.bincount(named.labels, minlength=named.scores.shape[1] + 1)
    usable = np.flatnonzero(counts[1:] >= LEAST_BOXES) + 1
    pairs = [pair_of(named, first, second) for first, second in combinations(usable.tolist(), 2)]
    is_clear = bool(pairs) and np.median([pair.auc for pair in pairs]) >= MOST_ARE
    return [pair for pair in pairs if pair.pictures or (is_clear and pair.auc < TOLD_APART)]


def pair_of(named: Named, first: int, second: int) -> Pair:
    """How well two classes are told apart, and in which pictures they are exchanged.

    The threshold between them lies where both are missed equally often: how frequent they are must
    not count. Where two classes only look alike, one of them is missed in a picture; that both are,
    more often than each by itself would have it, is what an exchange does.
    """
    chosen = np.isin(named.labels, (first, second))
    is_second = named.labels[chosen] == second
    margin = named.scores[chosen, second - 1] - named.scores[chosen, first - 1]
    auc = area_under_curve(margin[~is_second], margin[is_second])
    margin = margin - balanced(margin[~is_second], margin[is_second])
    is_wrong = (margin > 0) != is_second
    wrong = is_wrong[~is_second].mean(), is_wrong[is_second].mean()
    exchanged, expected = {}, 0.0
    for number in np.unique(named.pictures[chosen]).tolist():
        here = named.pictures[chosen] == number
        seconds, both = is_second[here].sum(), here.sum()
        if 0 < seconds < both:
            expected += wrong[0] ** (both - seconds) * wrong[1] ** seconds
            if is_wrong[here].all():
                exchanged[number] = np.abs(margin[here]).sum()
    if len(exchanged) < max(LEAST_PICTURES, expected + ERRORS * expected**0.5):
        exchanged = {}
    return Pair((first, second), auc, sorted(exchanged, key=exchanged.get, reverse=True))


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
    train: Dataset, val: Dataset | None, model: Detector, session: Session
) -> Named:
    """The objects of up to ``MOST_PIXELS`` of each split, named by what other pictures teach.

    Args:
        train: each of its halves names the objects of the other; the first those of ``val`` too.
        val: of the same classes; its pictures are numbered after those of ``train``.
        model: where the classifiers' backbones start; it is left as it is.
        session: its recipe says how crops are flipped, and the size of the pictures.
    """
    recipe, lessons = session.recipe, LESSONS
    if session.init_from is None and recipe.crops.iterations:
        lessons = replace(recipe.crops, iterations=min(recipe.crops.iterations, FROM_NOTHING))
    recipe = replace(recipe, crops=lessons)
    places = spread(len(train), recipe)
    halves = [AtNetworkSize(train, places[half::2], recipe) for half in (0, 1)]
    numbers = [places[1::2], places[::2]]
    parts = []
    for learnt, asked, number in zip(halves, halves[::-1], numbers, strict=True):
        pupil = CropClassifier(copy.deepcopy(model), model.num_classes).train()
        learn_crops(pupil, learnt, recipe, session.seed, lambda: None)
        pupil.eval()
        parts += name_objects(pupil, asked, number, lessons.size)
        if val is not None and learnt is halves[0]:
            places = spread(len(val), recipe)
            asked = AtNetworkSize(val, places, recipe)
            parts += name_objects(pupil, asked, len(train) + places, lessons.size)
    return Named(*map(np.concatenate, zip(*parts, strict=True)))


def spread(count: int, recipe: Recipe) -> np.ndarray:
    """Places of some of so many pictures, evenly apart, which have ``MOST_PIXELS`` at most."""
    most = int(MOST_PIXELS // (recipe.model.image.short_side * recipe.model.image.max_side))
    return np.linspace(0, count - 1, min(most, count)).astype(int)


def name_objects(
    pupil: CropClassifier, dataset: Dataset, numbers: Sequence[int], size: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each picture what ``Named`` holds; ``numbers`` of the pictures, ``size`` of a crop."""
    cut = CropTransform(pupil.classifier.out_features - 1, size).cut
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
            size = network_size(pixels.shape[:2], image.short_side, image.max_side)
            here, whole = annotations["image"] == index, (record.height, record.width)
            annotations["box"][here] = scale_boxes(annotations["box"][here], whole, size)
            records.append(replace(record, height=size[0], width=size[1], reduction=1))
            self.pixels.append(resize(pixels, size))
        super().__init__(part.name, part.classes, part.category_ids, records, annotations)

    def read(self, index: int) -> np.ndarray:
        return self.pixels[index]
