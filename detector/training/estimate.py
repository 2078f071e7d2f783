"""How long will training take? A few iterations are timed and the rest is multiplication."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from detector.datasets import streams
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.progress import Stopwatch, format_seconds
from detector.training.objectives.crops import learn_from_crops
from detector.training.recipe import Recipe
from detector.training.step import take_step
from detector.training.steps import Steps
from nn.memory import keep_freed_memory
from nn.optim import MomentumSGD

if TYPE_CHECKING:
    from detector.training.objectives.detection import Detection

TIMED, TIMED_STEPS = 3, 7
# Parts of the time that --minutes gives: at most so much for validations and lessons on crops.
FOR_VALIDATIONS, FOR_CROPS = 1 / 4, 1 / 3
MOST_VALIDATIONS = 10


@dataclass(frozen=True)
class Timing:
    """Seconds that an iteration, an iteration on crops and a picture of a validation take."""

    step: float
    crop: float
    picture: float

    def seconds(self, recipe: Recipe, batches: int, pictures: int) -> float:
        """Of a whole training with ``batches`` an epoch, validated on ``pictures``."""
        steps = recipe.steps.fitted(batches)
        total = steps.iterations(batches) * self.step
        total += validations(steps) * pictures * self.picture
        return total + recipe.crops.iterations * self.crop

    def sentence(self, recipe: Recipe, batches: int, pictures: int) -> str:
        """What the ``seconds`` are made of."""
        steps = recipe.steps.fitted(batches)
        crops = f"{recipe.crops.iterations} iterations on crops of {self.crop:.2f} s, "
        return (
            f"{format_seconds(self.seconds(recipe, batches, pictures))}: "
            f"{crops if recipe.crops.iterations else ''}{steps.iterations(batches)} "
            f"iterations of {self.step:.2f} s, and {validations(steps)} validations on {pictures} "
            f"pictures of {self.picture:.2f} s"
        )


def validations(steps: Steps) -> int:
    """The last epoch is validated twice: for the choice of the best and for the report."""
    return -(-steps.epochs // steps.evaluate_every) + 1


def fit_minutes(
    recipe: Recipe, timing: Timing, batches: int, pictures: int, minutes: float
) -> Recipe:
    """The recipe with as many iterations as fit into so many minutes.

    The learning rate falls to 0 with the last of them, maybe in the middle of an epoch; warm-up and
    milestones follow, being parts of the run. There are up to ten validations, fewer where those
    would take more than a quarter of the time, and lessons on crops take a third at most.

    Raises:
        UserError: there is no time for anything.
    """
    whole, once = minutes * 60, pictures * timing.picture
    crops = recipe.crops.iterations
    if crops:
        crops = min(crops, int(whole * FOR_CROPS / timing.crop))
    times = int(min(MOST_VALIDATIONS, max(1, whole * FOR_VALIDATIONS // max(once, 1e-9))))
    for _ in range(2):  # the second time without validations for which there are too few epochs
        left = whole - crops * timing.crop - (times + 1) * once
        iterations = min(int(left / timing.step), 10**6 * batches)
        epochs = max(1, -(-iterations // batches))
        times = min(times, epochs)
    if iterations < 1:
        raise UserError(
            f"--minutes {minutes:g} is too little: an iteration takes {timing.step:.2f} s, and the "
            f"{pictures} pictures to measure with take {format_seconds(once)}, twice at least"
        )
    return recipe.updated(
        {
            "crops": {"iterations": crops},
            "steps": {
                "epochs": epochs,
                "least_iterations": 0,
                "most_iterations": iterations,
                "evaluate_every": -(-epochs // times),
            },
        }
    )


def time_training(objective: Detection, recipe: Recipe) -> Timing:
    """Time a few iterations and predictions, after one of each that compiles the kernels.

    Args:
        objective: its model is of no use afterwards.
        recipe: of its session.
    """
    keep_freed_memory()  # as in training
    model, train, steps = objective.model, objective.train, recipe.steps
    crop_time = 0.0
    for _ in range(2 if recipe.crops.iterations else 0):
        started = time.monotonic()
        short = recipe.changed("crops.iterations", TIMED)
        with contextlib.redirect_stdout(io.StringIO()):  # what it says of its success
            learn_from_crops(model, train, short, objective.loader.seed, lambda: None)
        crop_time = (time.monotonic() - started) / TIMED
    model.train()
    optimizer = MomentumSGD(steps.groups(model), 0.0, steps.momentum, steps.weight_decay)
    durations, number, epoch = [], 0, 0
    while len(durations) <= TIMED_STEPS:
        watch = Stopwatch()
        batches = objective.batches(epoch)
        for batch in batches:  # a lap also waits for the pictures, if computing is the faster
            rng = streams.generator(objective.loader.seed, streams.SAMPLING, index=number)
            take_step(objective, optimizer, batch, rng, steps.clip_norm)
            durations.append(watch.lap())
            number += 1
            if len(durations) > TIMED_STEPS:
                break
        batches.close()  # stops decoding ahead
        epoch += 1
    compiled, image_times = CompiledDetector(model), []
    for index in range(min(1 + TIMED, len(objective.val))):
        image, _ = objective.val.load(index)
        started = time.monotonic()
        compiled.predict([image])
        image_times.append(time.monotonic() - started)
    # The first of each also fills caches.
    return Timing(median(durations[1:]), crop_time, min(image_times[1:] or image_times))
