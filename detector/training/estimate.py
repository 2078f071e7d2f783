"""How long will training take? A few iterations are timed and the rest is multiplication."""

from __future__ import annotations

import contextlib
import io
import time

from detector.datasets import Dataset, Loader
from detector.detectors.compiled import CompiledDetector
from detector.progress import format_seconds
from detector.training.objectives.crops import learn_from_crops
from detector.training.recipe import Recipe

TIMED = 3


def estimate_training(model, loader: Loader, recipe: Recipe, val: Dataset) -> str:
    """Time a few iterations and predictions, after one of each that compiles the kernels.

    Args:
        model: the detector; it is of no use afterwards.
        loader: the batches of training.
        recipe: how many epochs, validations and crops.
        val: the pictures to validate on.

    Returns:
        a sentence.
    """
    crop_time = 0.0
    for _ in range(2 if recipe.crops.iterations else 0):
        started = time.monotonic()
        short = recipe.changed("crops.iterations", TIMED)
        with contextlib.redirect_stdout(io.StringIO()):  # what it says of its success
            learn_from_crops(model, loader.dataset, short, loader.seed, lambda: None)
        crop_time = (time.monotonic() - started) / TIMED
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
    compiled = CompiledDetector(model)
    for index in range(min(1 + TIMED, len(val))):
        image, _ = val.load(index)
        started = time.monotonic()
        compiled.predict([image])
        image_times.append(time.monotonic() - started)
    # The least of the others is what a quiet machine takes.
    step, image = min(step_times[1:] or step_times), min(image_times[1:] or image_times)
    steps = recipe.steps.fitted(len(loader))
    iterations = steps.epochs * len(loader)
    # The last epoch is validated twice: for the choice of the best and for the report.
    validations = -(-steps.epochs // steps.evaluate_every) + 1
    seconds = iterations * step + validations * len(val) * image
    seconds += recipe.crops.iterations * crop_time
    crops = f"{recipe.crops.iterations} iterations on crops of {crop_time:.2f} s, "
    return (
        f"{format_seconds(seconds)}: {crops if crop_time else ''}{iterations} iterations of "
        f"{step:.2f} s, and {validations} validations on {len(val)} pictures of {image:.2f} s"
    )
