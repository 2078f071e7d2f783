"""The training loop: batches in, gradients down, checkpoints out.

Everything random in it (which pictures make a batch, how they are mirrored, which anchors are
sampled) is a function of the seed and of the place in the run. So a run needs no memory but its
weights, its velocities and that place: killed at any moment and resumed from its last checkpoint,
it ends in the same bits as a run that never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from statistics import fmean
from typing import Any, get_type_hints

import numpy as np

from detector.datasets import streams
from detector.errors import UserError
from detector.interruption import Interrupted, InterruptionWatch
from detector.progress import Progress, Stopwatch, format_seconds
from detector.settings import fitting
from detector.training import checkpoints
from detector.training.non_finite import NonFiniteError
from detector.training.objectives.objective import Objective
from detector.training.run_folder import MetricsLog, RunFolder, losses_of
from detector.training.step import take_step
from detector.training.steps import Steps
from nn.memory import keep_freed_memory
from nn.optim import MomentumSGD

SECONDS_BETWEEN_CHECKPOINTS = 30.0
MEASURED_FASTER = 0.25  # time to measure a picture / time to learn from it


@dataclass
class Position:
    """Where a run stands: ``batch`` batches of ``epoch`` (from 0) are done."""

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    seconds: float = 0.0  # spent so far, validation included, interruptions not
    best: float = -1.0  # highest validation figure
    metrics: int = 0  # bytes of metrics.csv
    worse: int = 0  # validations since the best
    by: str = "ap50"  # the figure that says which weights are best (version 0.1 had this one)

    @classmethod
    def of(cls, values: dict, batches_per_epoch: int, iterations: int) -> Position:
        """What ``asdict`` returned, by way of a checkpoint of a run of so many ``iterations``.

        Raises:
            ValueError: there is no such place in a run.
        """
        kinds = get_type_hints(cls)
        values = {name: fitting(value, kinds[name], name) for name, value in values.items()}
        position = cls(**values)
        at = min(position.epoch * batches_per_epoch + position.batch, iterations)
        counts = position.epoch, position.batch, position.metrics, position.worse
        if position.iteration != at or min(counts) < 0:
            raise ValueError(f"iteration {position.iteration} is in no epoch")
        return position


class Trainer:
    """Trains an objective in a run folder.

    Args:
        objective: what is learned.
        steps: how; more epochs if the objective is small.
        run: where everything is written.
        seed: of all random choices.

    Attributes:
        after_step: called after each iteration.
    """

    def __init__(self, objective: Objective, steps: Steps, run: RunFolder, seed: int):
        self.objective, self.run, self.seed = objective, run, seed
        self.model, self.batches_per_epoch = objective.model, len(objective)
        self.steps = steps.fitted(self.batches_per_epoch)
        self.iterations = self.steps.iterations(self.batches_per_epoch)
        self.learning_rate = self.steps.learning_rates(self.iterations)
        self.optimizer = MomentumSGD(
            steps.groups(self.model), steps.lr, steps.momentum, steps.weight_decay
        )
        self.position = Position(by=objective.best)
        self.seconds_a_validation: float | None = None
        self.watch = InterruptionWatch()
        self.after_step: Callable[[], None] = lambda: None

    def resume(self, tree: dict) -> None:
        """Take weights, velocities and place from the run's last checkpoint.

        Args:
            tree: what ``checkpoints.read`` found in it.

        Raises:
            UserError: it is damaged or of another model or data set.
        """
        changes = self.objective.changes(tree["about"])
        if changes:
            raise UserError(
                f"the data set or this program has changed since {self.run.path} was started "
                f"({'; '.join(changes)}): name the data of then with --data, or start a new run, "
                f"with --init-from {self.run.path} if you like"
            )
        checkpoints.restore(self.model, tree, self.run.last)
        self.optimizer.load_state_dict(tree["optimizer"])
        self.position = Position.of(tree["position"], self.batches_per_epoch, self.iterations)

    def fit(self) -> None:
        """Train to the end.

        Raises:
            NonFiniteError: a loss or gradient is not a finite number; the last checkpoint stays.
            Interrupted: Ctrl-C; everything is saved.
        """
        self.about = self.objective.describe()
        keep_freed_memory()  # each step asks for what the one before it freed
        self.started = self.saved = time.monotonic()
        self.started -= self.position.seconds
        self.metrics = MetricsLog(self.run.metrics, self.position.metrics)
        epoch = self.position.epoch + 1
        self.history = [losses_of(row) for row in self.metrics.kept if row["epoch"] == epoch]
        is_prepared = not self.objective.prepares or self.run.last.exists()
        try:
            with self.watch:
                if not is_prepared:
                    self.objective.prepare(self.watch.check)
                    is_prepared = True
                if not self.run.last.exists():
                    self.save()
            progress = Progress(
                "training", self.iterations, self.position.iteration, besides=self.besides
            )
            # NumPy need not warn of what ``step`` looks for and explains.
            quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
            with self.watch, quiet, progress as self.progress:
                while self.position.epoch < self.steps.epochs and not self.is_stuck():
                    self.train_epoch()
                    self.finish_epoch()
                    self.save_if_due()
                if self.is_stuck():
                    self.progress.say(f"no better in {self.position.worse} validations: it ends")
            self.save()
        except Interrupted:
            state = "stopped before the first iteration: the lessons before it start again"
            if is_prepared:
                self.save()
                done = f"iteration {self.position.iteration} of {self.iterations}"
                state = f"stopped and saved after {done}"
            raise Interrupted(
                f"{state}; to go on: lighthead train --resume --out {self.run.path}"
            ) from None
        finally:
            self.metrics.close()

    def train_epoch(self) -> None:
        """All batches of an epoch that are still to do."""
        self.model.train()
        batches = self.objective.batches(self.position.epoch, self.position.batch)
        for batch in islice(batches, self.iterations - self.position.iteration):
            losses = self.step(batch)
            self.history.append(losses)
            self.position.batch += 1
            self.position.iteration += 1
            self.progress.step(f"loss {losses['loss']:.3f}")
            self.after_step()
            self.progress.skip()
            self.watch.check()
            self.save_if_due()

    def step(self, batch: Any) -> dict[str, float]:
        """One iteration. Returns the losses and writes them down."""
        iteration = self.position.iteration
        lr = self.optimizer.lr = self.learning_rate(iteration)
        rng = streams.generator(self.seed, streams.SAMPLING, index=iteration)
        try:
            losses, norm = take_step(
                self.objective, self.optimizer, batch, rng, self.steps.clip_norm
            )
        except NonFiniteError as error:
            raise NonFiniteError(
                f"training stopped at iteration {iteration + 1}: {error}; the last checkpoint is "
                f"intact, a smaller --lr (now {lr:.3g}) usually helps"
            ) from None
        self.metrics.write(
            {
                "epoch": self.position.epoch + 1,
                "iteration": iteration + 1,
                "seconds": time.monotonic() - self.started,
                "lr": lr,
                **losses,
                "grad_norm": norm,
                **{f"val_{name}": "" for name in self.objective.figures},
            }
        )
        return losses

    def finish_epoch(self) -> None:
        """Validate, keep the best weights, say how it went and move on to the next epoch."""
        position = self.position
        epoch = position.epoch + 1
        line = f"epoch {epoch}/{self.steps.epochs}  "
        for name in self.history[0] if self.history else ():
            line += f"{name} {fmean(losses[name] for losses in self.history):.3f}  "
        line += f"lr {self.learning_rate(position.iteration - 1):.2g}"
        due = epoch % self.steps.evaluate_every == 0 or epoch == self.steps.epochs
        found = self.measure() if due else {}
        if found:
            titles = self.objective.figures
            best = position.by if position.by in titles else self.objective.best
            order = sorted(found, key=lambda name: name != best)
            line += "  val " + " ".join(f"{titles[name]} {found[name]:.3f}" for name in order)
            self.metrics.write(
                {"epoch": epoch, "iteration": position.iteration}
                | {f"val_{name}": value for name, value in found.items()}
            )
            position.worse += 1
            if found[best] >= position.best:
                position.best, position.worse = found[best], 0
                checkpoints.write(self.run.best, self.objective.task, self.model, self.about)
                line += " (best)"
        position.epoch, position.batch, self.history = epoch, 0, []
        self.progress.say(f"{line}  {format_seconds(time.monotonic() - self.started)}")

    def is_stuck(self) -> bool:
        """Whether so many validations were no better as there is patience for."""
        patience = self.steps.patience
        return patience is not None and self.position.worse >= patience

    def measure(self) -> dict[str, float]:
        """Validate, and see how long that takes."""
        watch = Stopwatch()
        found = self.objective.measure(self.watch.check)
        self.seconds_a_validation = watch.lap()
        self.progress.skip()
        return found

    def besides(self, step: float) -> float:
        """Seconds for the validations to come and the last figures, if an iteration takes ``step``.

        Before the first validation, a picture is taken to be measured in a part of the time in
        which it is learned from.
        """
        each = self.seconds_a_validation
        if each is None:
            each = MEASURED_FASTER * step / self.steps.batch * self.objective.measured
        every = self.steps.evaluate_every
        return each * (-(-self.steps.epochs // every) - self.position.epoch // every + 1)

    def save_if_due(self) -> None:
        if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def save(self) -> None:
        """Write ``last.ckpt``: everything that ``resume`` needs."""
        self.saved = time.monotonic()
        self.position.seconds = self.saved - self.started
        self.position.metrics = self.metrics.position()
        checkpoints.write(
            self.run.last,
            self.objective.task,
            self.model,
            self.about,
            optimizer=self.optimizer.state_dict(),
            position=asdict(self.position),
        )
