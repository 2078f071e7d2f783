"""What the detectors of a table cost: numbers to learn, multiply-adds, and time, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import nn
from detector.detectors.compiled import CompiledDetector
from detector.detectors.detector import Detector
from detector.experiments.experiment import Row
from detector.progress import Progress
from nn.models import NETWORKS

ROUNDS, SECONDS = 5, 0.5  # in each round everybody has so many seconds, and one picture at least
MULTIPLE = 32  # to which pictures are padded


class Cost(NamedTuple):
    """Numbers that are learned, and multiply-adds of one picture."""

    parameters: int
    multiply_adds: int


def cost_of_backbone(row: Row) -> Cost:
    """Of its backbone as a classifier of 1000 classes, at the side of its published figures."""
    with nn.init.skipped():
        model = NETWORKS[row.backbone]()
    costs = nn.summary(model, (1, 3, model.side, model.side))
    return Cost(costs.parameters, costs.multiply_adds)


def cost_of_detector(row: Row) -> Cost:
    """Of the detector for COCO's classes at its size, the head for all proposals included."""
    with nn.init.skipped():
        model = row.build()
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in row.size)
    costs = nn.summary(model, (1, 3, height, width))
    return Cost(costs.parameters, costs.multiply_adds + regions_multiply_adds(model))


def regions_multiply_adds(model: Detector) -> int:
    """Of what looks at single proposals, for as many as there may be; 0 without proposals."""
    each = region_multiply_adds(model)
    return model.settings.rpn.test_selector.post_nms * each if each else 0


def region_multiply_adds(model: Detector) -> int:
    """The same for one."""
    return model.head.multiply_adds if hasattr(model.settings, "rpn") else 0


def seconds_of(rows: Sequence[Row]) -> dict[str, float]:
    """The median time in which each row detects what is in a picture of its size.

    All are compiled first; then they take turns, every second round backwards, so that what else
    happens on the machine happens to all of them. Their weights are random: as many proposals come
    as there may be.
    """
    detectors, found = {}, {row.name: [] for row in rows}
    with Progress("compiling", len(rows), unit="detectors") as progress:
        for row in rows:
            nn.manual_seed(0)
            picture = np.random.default_rng(1).integers(0, 256, (*row.size, 3), np.uint8)
            detectors[row.name] = CompiledDetector(row.build()), picture
            detectors[row.name][0].predict([picture])
            progress.step(row.name)
    with Progress("taking turns", ROUNDS, unit="rounds") as progress:
        for number in range(ROUNDS):
            for row in rows[:: -1 if number % 2 else 1]:
                detector, picture = detectors[row.name]
                begin = now = time.perf_counter()
                while now - begin <= SECONDS:
                    detector.predict([picture])
                    found[row.name].append(time.perf_counter() - now)
                    now = time.perf_counter()
            progress.step()
    return {name: statistics.median(seconds) for name, seconds in found.items()}
