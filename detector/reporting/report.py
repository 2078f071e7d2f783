"""``report.html``: what a detector learned, what it gets wrong, and where to draw the line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detector.datasets import Dataset
from detector.datasets.statistics import anchor_fit, network_boxes
from detector.detectors.detector import Detector
from detector.evaluation.confusion import confusion
from detector.evaluation.figures import Evaluation
from detector.evaluation.matches import judge
from detector.evaluation.mistakes import KINDS, costs
from detector.evaluation.threshold import DEFAULT_SCORE, Curve, Threshold, best_of, curve
from detector.progress import format_seconds
from detector.reporting import facts
from detector.reporting.curves import (
    anchor_plot,
    f1_plot,
    fit_plot,
    loss_plot,
    precision_recall_plot,
    rate_plot,
    validation_plot,
)
from detector.reporting.page import write_page
from detector.reporting.pictures import show, worst_mistakes

FEWEST = 20  # boxes of a class that say something about it
MOST_CLASSES = 14  # of a confusion matrix
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes:
        model: the detector.
        weights: the file it comes from.
        dataset: what it was measured with.
        was_learned: whether it learned from those very pictures.
        evaluation, detections: what came out.
        metrics: the rows of its training's ``metrics.csv``, none if there was none.
        losses: the names of the losses in them.
        titles: how the figures of the validations in them are printed, by their names.
        config: of its training, by names.
    """

    model: Detector
    weights: str | os.PathLike
    dataset: Dataset
    was_learned: bool
    evaluation: Evaluation
    detections: Sequence[dict]
    metrics: Sequence[Mapping[str, float]] = ()
    losses: Sequence[str] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A class, or all of them: how many boxes, and what happens over the score.

    ``points`` and ``best`` are None where nothing can be said.
    """

    name: str
    boxes: int
    ap: float | None
    ap50: float | None
    recall: float | None
    points: Curve | None
    best: Threshold | None

    @property
    def is_too_few(self) -> bool:
        return self.boxes < FEWEST


def write_report(path: str | os.PathLike, subject: Subject) -> None:
    """Write the page.

    Raises:
        UserError: something lies at ``path`` that is no page of ours, or a picture cannot be read.
        OSError: it cannot be written.
    """
    dataset, detections = subject.dataset, subject.detections
    truth = dataset.coco_ground_truth()
    rows = class_rows(subject, truth)
    whole = rows[-1]
    score = whole.best.score if whole.best else DEFAULT_SCORE
    place = {record.id: index for index, record in enumerate(dataset.images)}
    worst = worst_mistakes(truth, detections, score)
    write_page(
        path,
        "report.html",
        subject=subject,
        figures=subject.evaluation.figures,
        rows=rows,
        whole=whole,
        score=score,
        fewest=FEWEST,
        sizes=size_rows(subject, truth),
        training=training_plots(subject),
        precision_recall=precision_recall_plot(rows),
        f1=f1_plot(rows, score),
        matrix=matrix(truth, dataset.classes, detections, score),
        kinds=KINDS,
        costs=costs(truth, detections),
        mistakes=[show(mistake, dataset, place) for mistake in worst],
        anchors=anchor_plots(subject),
        facts=all_facts(subject),
        config=list(facts.flat(subject.config)),
    )


def class_rows(subject: Subject, truth: dict) -> list[Row]:
    """A row for each class, and last one for all."""
    evaluation, dataset = subject.evaluation, subject.dataset
    judged = judge(truth["annotations"], subject.detections)
    rows = []
    for entry, category in zip(evaluation.classes, dataset.category_ids, strict=True):
        points = curve(judged.of(category), entry.boxes) if entry.boxes else None
        best = best_of(points) if points else None
        rows.append(Row(entry.name, entry.boxes, entry.AP, entry.AP50, entry.recall, points, best))
    boxes, found = sum(row.boxes for row in rows), evaluation.figures
    points = curve(judged, boxes) if boxes else None
    best = best_of(points) if points else None
    rows.append(Row("all", boxes, found["AP"], found["AP50"], found["AR100"], points, best))
    return rows


def size_rows(subject: Subject, truth: dict) -> list[tuple[str, int, float | None, float | None]]:
    """Of each size how many boxes there are, AP and recall."""
    areas = [entry["area"] for entry in truth["annotations"] if not entry["iscrowd"]]
    figures = subject.evaluation.figures
    return [
        (
            size,
            sum(low <= area < high for area in areas),
            figures[f"AP_{size}"],
            figures[f"AR_{size}"],
        )
        for size, (low, high) in SIZES.items()
    ]


def matrix(
    truth: dict, classes: Sequence[str], detections: Sequence[dict], score: float
) -> tuple[list[str], list[list[int]]]:
    """The names and the counts of ``confusion``; of many classes those that go wrong most."""
    _, counts = confusion(truth, detections, score)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    order = sorted(range(len(classes)), key=lambda k: -wrong[k])
    kept = sorted(order[:MOST_CLASSES])
    others = sorted(order[MOST_CLASSES:])
    names = [classes[k] for k in kept]
    groups = [[k] for k in kept]
    if others:
        names, groups = [*names, f"{len(others)} other classes"], [*groups, others]
    groups.append([len(classes)])
    return names, [[int(counts[rows][:, cols].sum()) for cols in groups] for rows in groups]


def training_plots(subject: Subject) -> list:
    """Losses, learning rate and validations, none without a training."""
    if not subject.losses:
        return []
    plots = [
        loss_plot(subject.metrics, subject.losses),
        validation_plot(subject.metrics, subject.titles),
    ]
    return [plot for plot in [*plots, rate_plot(subject.metrics)] if plot is not None]


def anchor_plots(subject: Subject) -> list:
    """The boxes beside the anchors, and how well they fit; none without anchors or boxes."""
    generator, image = subject.model.anchor_generator, subject.model.image
    boxes = network_boxes(subject.dataset, image.short_side, image.max_side)
    if generator is None or not len(boxes.boxes):
        return []
    fit = anchor_fit(boxes, generator.shapes, generator.stride)
    return [anchor_plot(boxes.widths_heights, generator.shapes), fit_plot(fit)]


def all_facts(subject: Subject) -> dict[str, str]:
    """What was measured, with what, on what."""
    model, took = subject.model, facts.times(subject.metrics)
    found = {
        "measured with": f"{len(subject.dataset)} pictures of {subject.dataset.name}",
        "detector": f"{model.settings.detector} on {model.settings.backbone}",
        "parameters": f"{sum(p.data.size for p in model.parameters()):,}",
        "weights": str(subject.weights),
        "SHA-256 of the weights": facts.weights_digest(model),
    }
    if took:
        found["training took"] = (
            f"{format_seconds(took['training'])}, {took['iteration']:.2f} s an iteration"
        )
    found["machine"] = facts.machine()
    found["versions"] = ", ".join(f"{name} {number}" for name, number in facts.versions().items())
    return found
