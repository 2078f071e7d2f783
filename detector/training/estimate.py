"""How long will training take? A few iterations are timed and the rest is multiplication."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass

from detector.datasets import Dataset, Loader
from detector.detectors.compiled import CompiledDetector
from detector.progress import format_seconds
from detector.training.objectives.crops import learn_from_crops
from detector.training.recipe import Recipe
from detector.training.steps import Steps

TIMED = 3


@dataclass(frozen=True)
class Timing:
    """Seconds that an iteration, an iteration on crops and a picture of a validation take."""

    step: float
    crop: float
    picture: float

    def seconds(self, recipe: Recipe, batches: int, pictures: int) -> float:
        """Of a whole training with ``batches`` an epoch, validated on ``pictures``."""
        steps = recipe.steps.fitted(batches)
        total = steps.epochs * batches * self.step
        total += validations(steps) * pictures * self.picture
        return total + recipe.crops.iterations * self.crop


def validations(steps: Steps) -> int:
    """The last epoch is validated twice: for the choice of the best and for the report."""
    return -(-steps.epochs // steps.evaluate_every) + 1


def estimate_training(model, loader: Loader, recipe: Recipe, val: Dataset) -> str:
    """A sentence about how long a training takes; see ``time_training``."""
    timing = time_training(model, loader, recipe, val)
    steps = recipe.steps.fitted(len(loader))
    seconds = timing.seconds(recipe, len(loader), len(val))
    crops = f"{recipe.crops.iterations} iterations on crops of {timing.crop:.2f} s, "
    return (
        f"{format_seconds(seconds)}: {crops if timing.crop else ''}{steps.epochs * len(loader)} "
        f"iterations of {timing.step:.2f} s, and {validations(steps)} validations on {len(val)} "
        f"pictures of {timing.picture:.2f} s"
    )


def fit_minutes(
    recipe: Recipe, timing: Timing, batches: int, pictures: int, minutes: float
) -> Recipe:
    """The recipe with as many epochs as fit into so many minutes, at least one.

    The learning rate falls to 0 within them. There are up to ten validations, fewer where they
    would take more than a quarter of the time.
    """
    seconds, once = minutes * 60 - recipe.crops.iterations * timing.crop, pictures * timing.picture
    often = int(min(10, max(1, seconds / 4 // max(once, 1e-9))))
    left = seconds - (often + 1) * once
    epochs = max(1, int(left / (batches * timing.step)))
    every = -(-epochs // often)
    recipe = recipe.changed("steps.least_iterations", 0).changed("steps.epochs", epochs)
    return recipe.changed("steps.evaluate_every", every)


def time_training(model, loader: Loader, recipe: Recipe, val: Dataset) -> Timing:
    """Time a few iterations and predictions, after one of each that compiles the kernels.

    Args:
        model: the detector; it is of no use afterwards.
        loader: the batches of training.
        recipe: whether there are crops.
        val: the pictures to validate on.
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
    return Timing(step, crop_time, image)
