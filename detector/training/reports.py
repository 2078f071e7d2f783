"""The report of a run: what stands in its folder, and what was measured just now."""

from __future__ import annotations

import os
from collections.abc import Sequence

from detector.datasets import Dataset
from detector.errors import UserError
from detector.evaluation.figures import Evaluation
from detector.reporting.report import Subject, write_report
from detector.training.loading import LoadedDetector
from detector.training.run_folder import RunFolder, losses_of, read_metrics

# Of the validations in metrics.csv, as in ``Detection.figures``.
TITLES = {"ap": "AP", "ap50": "AP50"}


def report(
    path: str | os.PathLike,
    detector: LoadedDetector,
    dataset: Dataset,
    evaluation: Evaluation,
    detections: Sequence[dict],
) -> None:
    """Write ``report.html`` with what is known of the training that left the weights, if anything.

    Args:
        dataset: what was measured with; ``evaluation`` and ``detections`` came out.

    Raises:
        UserError: it cannot be written; the weights and figures are where they were.
    """
    run = RunFolder(detector.path.parent)
    metrics = read_metrics(run.metrics) if run.metrics.exists() else []
    steps = [row for row in metrics if "loss" in row]
    subject = Subject(
        model=detector.model,
        weights=detector.path,
        dataset=dataset,
        was_learned=dataset.digest() == detector.learned_from,
        evaluation=evaluation,
        detections=detections,
        metrics=metrics,
        losses=list(losses_of(steps[0])) if steps else (),
        titles=TITLES,
        config=run.read_config() if run.config.exists() else {},
    )
    try:
        write_report(path, subject)
    except OSError as error:
        raise UserError(
            f"cannot write the report {path} ({error.strerror}); nothing else is lost, and "
            f"lighthead evaluate --weights {detector.path} --data DATA --report FILE makes it again"
        ) from error
