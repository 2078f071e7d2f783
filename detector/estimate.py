"""How long will training take? A few iterations are timed and the rest is multiplication."""

from __future__ import annotations

import time

from detector.datasets import Dataset
from detector.presets import Recipe
from detector.progress import format_seconds

TIMED = 3


def estimate_training(model, loader, recipe: Recipe, val: Dataset) -> str:
    """Time iterations of forward and backward, and a few predictions, after one of each.

    Args:
        model: the detector; its weights stay as they are, its batch norm's statistics do not.
        loader: the batches of training.
        recipe: how many epochs, and validations of
        val: this data set.

    Returns:
        a sentence.
    """
    model.train()
    step_times = []
    batches = loader.epoch(0)
    for batch in batches:
        started = time.monotonic()
        sum(model.loss(batch.images, batch.targets).values()).backward()
        model.zero_grad()
        step_times.append(time.monotonic() - started)
        if len(step_times) > TIMED:
            break
    batches.close()  # stops decoding ahead
    image_times = []
    for index in range(min(1 + TIMED, len(val))):
        image, _ = val.load(index)
        started = time.monotonic()
        model.predict([image])
        image_times.append(time.monotonic() - started)
    # The first of each compiles kernels; the least of the others is what a quiet machine takes.
    step, image = min(step_times[1:] or step_times), min(image_times[1:] or image_times)
    iterations = recipe.epochs * len(loader)
    # The last epoch is validated twice: for the choice of the best and for the report.
    validations = -(-recipe.epochs // recipe.evaluate_every) + 1
    training, validating = iterations * step, validations * len(val) * image
    return (
        f"{format_seconds(training + validating)}: {iterations} iterations of {step:.2f} s, and "
        f"{validations} validations on {len(val)} pictures of {image:.2f} s"
    )
