"""How long will training take? A few iterations are timed and the rest is multiplication."""

from __future__ import annotations

import contextlib
import copy
import io
import time
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from statistics import median
from typing import TYPE_CHECKING

import nn
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
    from detector.training.sessions import Session

TIMED, TIMED_STEPS = 3, 7
# Parts of the time that --minutes gives: at most so much for validations and lessons on crops.
FOR_VALIDATIONS, FOR_CROPS = 1 / 4, 1 / 3
MOST_VALIDATIONS = 10


@dataclass(frozen=True)
class Timing:
    """Seconds that an iteration, one on crops (0 if there are none) and a picture measured take."""

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
            f"{crops if self.crop else ''}{steps.iterations(batches)} "
            f"iterations of {self.step:.2f} s, and {validations(steps)} validations on {pictures} "
            f"pictures of {self.picture:.2f} s"
        )


def validations(steps: Steps) -> int:
    """The last epoch is validated twice: for the choice of the best and for the report."""
    return -(-steps.epochs // steps.evaluate_every) + 1


def fit_to_minutes(objective: Detection) -> Session:
    """Time the objective, which is left as it was, and give its session the iterations for which it
    has the ``minutes``.

    Raises:
        UserError: there is too little time.
    """
    print("timing a few iterations ...", flush=True)
    session, batches, pictures = objective.session, len(objective), len(objective.val)
    timing = time_training(objective)
    recipe = fit_minutes(session.recipe, timing, batches, pictures, session.minutes)
    print(f"it takes about {timing.sentence(recipe, batches, pictures)}")
    objective.session = replace(session, recipe=recipe)
    return objective.session


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
    if timing.crop:
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


def time_training(objective: Detection) -> Timing:
    """Time a few iterations and predictions, after one of each that compiles the kernels.

    Done to a copy of the model and beside the stream of initial values: what is trained afterwards
    is the same to the bit as if nothing had been timed.
    """
    keep_freed_memory()  # as in training
    model = copy.deepcopy(objective.model)
    objective = copy.copy(objective)
    objective.model = model
    with nn.init.fork_stream():
        crop = time_crops(objective) if objective.prepares else 0.0
        return Timing(time_steps(objective), crop, time_pictures(objective))


def time_crops(objective: Detection) -> float:
    """Seconds of an iteration on crops."""
    short = objective.session.recipe.changed("crops.iterations", TIMED)
    for _ in range(2):
        started = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):  # what it says of its success
            learn_from_crops(
                objective.model, objective.train, short, objective.session.seed, lambda: None
            )
    return (time.monotonic() - started) / TIMED


def time_steps(objective: Detection) -> float:
    """Seconds of an iteration, with the wait for its pictures where computing is the faster."""
    model, session = objective.model.train(), objective.session
    steps = session.recipe.steps
    optimizer = MomentumSGD(steps.groups(model), 0.0, steps.momentum, steps.weight_decay)
    batches = chain.from_iterable(map(objective.batches, count()))
    durations, watch = [], Stopwatch()
    for number, batch in enumerate(islice(batches, 1 + TIMED_STEPS)):
        rng = streams.generator(session.seed, streams.SAMPLING, index=number)
        take_step(objective, optimizer, batch, rng, steps.clip_norm)
        durations.append(watch.lap())
    return median(durations[1:])


def time_pictures(objective: Detection) -> float:
    """Seconds of a picture of a validation."""
    compiled, durations = CompiledDetector(objective.model), []
    for index in range(min(1 + TIMED, len(objective.val))):
        image, _ = objective.val.load(index)
        started = time.monotonic()
        compiled.predict([image])
        durations.append(time.monotonic() - started)
    return min(durations[1:] or durations)
