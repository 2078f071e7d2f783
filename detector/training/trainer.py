"""The training loop: batches in, gradients down, checkpoints out.

Everything random in it (which pictures make a batch, how they are mirrored, which anchors are
sampled) is a function of the seed and of the place in the run. So a run needs no memory but its
weights, its velocities and that place: killed at any moment and resumed from its last checkpoint,
it ends in the same bits as a run that never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np

from detector.datasets import streams
from detector.errors import UserError
from detector.interruption import Interrupted, InterruptionWatch
from detector.progress import Progress, format_seconds
from detector.training import checkpoints
from detector.training.non_finite import NonFiniteError, explain_non_finite
from detector.training.presets import Recipe
from detector.training.run_folder import MetricsLog, RunFolder
from nn.memory import keep_freed_memory
from nn.optim import MomentumSGD, clip_grad_norm

SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass
class Position:
    """Where a run stands: ``batch`` batches of ``epoch`` (from 0) are done."""

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    seconds: float = 0.0  # spent so far, validation included, interruptions not
    best: float = -1.0  # highest validation AP50
    metrics: int = 0  # bytes of metrics.csv


class Trainer:
    """Trains a detector in a run folder.

    Args:
        model: ``loss(images, targets, rng)`` gives a dict of named losses to be added up.
        recipe: the numbers.
        batches: ``batches(epoch, start)`` iterates over the batches of an epoch from number
            ``start``; each has ``images``, ``targets`` and ``indices``.
        batches_per_epoch: how many there are.
        run: where everything is written.
        seed: of all random choices.
        detector: the entry of that name in every checkpoint (see ``checkpoints.describe``).
        validate: measures the model, returns (AP, AP50); calls its argument now and then, which
            may raise to stop it. None: no validation.
        name_image: from an index of the data set to the name of its file, for error messages.
        prepare: done to the model before the first iteration; gets the same argument as
            ``validate``. A run that stops in its middle starts it anew.
    """

    def __init__(
        self,
        model,
        recipe: Recipe,
        batches: Callable,
        batches_per_epoch: int,
        run: RunFolder,
        seed: int,
        detector: dict,
        validate: Callable[[Callable[[], None]], tuple[float, float]] | None = None,
        name_image: Callable[[int], str] = str,
        prepare: Callable[[Callable[[], None]], object] | None = None,
    ):
        recipe = recipe.fitted(batches_per_epoch)
        self.model, self.recipe, self.run, self.seed = model, recipe, run, seed
        self.batches, self.batches_per_epoch = batches, batches_per_epoch
        self.detector, self.validate, self.name_image = detector, validate, name_image
        self.prepare = prepare
        self.iterations = recipe.epochs * batches_per_epoch
        self.learning_rate = recipe.learning_rates(self.iterations)
        self.optimizer = MomentumSGD(
            parameter_groups(model, recipe), recipe.lr, recipe.momentum, recipe.weight_decay
        )
        self.position = Position()
        self.watch = InterruptionWatch()

    def resume(self) -> None:
        """Take weights, velocities and place from the run's last checkpoint.

        Raises:
            UserError: the checkpoint is missing, damaged or of another model or data set.
        """
        tree = checkpoints.read(self.run.last)
        then, now = tree["detector"], self.detector
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            raise UserError(
                f"the data set or this program has changed since {self.run.path} was started "
                f"({', '.join(changed)} differ): start a new run, with --init-from {self.run.path} "
                "if you like"
            )
        checkpoints.restore(self.model, tree, self.run.last)
        self.optimizer.load_state_dict(tree["optimizer"])
        self.position = Position(**tree["position"])

    def fit(self) -> None:
        """Train to the end.

        Raises:
            NonFiniteError: a loss or gradient is not a finite number; the last checkpoint stays.
            Interrupted: Ctrl-C; everything is saved.
        """
        keep_freed_memory()  # each step asks for what the one before it freed
        self.started = self.saved = time.monotonic()
        self.started -= self.position.seconds
        self.metrics = MetricsLog(self.run.metrics, self.position.metrics)
        is_prepared = self.prepare is None or self.run.last.exists()
        try:
            with self.watch:
                if not is_prepared:
                    self.prepare(self.watch.check)
                    is_prepared = True
                if not self.run.last.exists():
                    self.save()
            progress = Progress("training", self.iterations, self.position.iteration)
            # NumPy need not warn of what ``step`` looks for and explains.
            quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
            with self.watch, quiet, progress as self.progress:
                while self.position.epoch < self.recipe.epochs:
                    self.train_epoch()
                    self.finish_epoch()
                    self.save_if_due()
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
        self.history: list[dict[str, float]] = []
        for batch in self.batches(self.position.epoch, self.position.batch):
            losses = self.step(batch)
            self.history.append(losses)
            self.position.batch += 1
            self.position.iteration += 1
            self.progress.step(f"loss {losses['loss']:.3f}")
            self.watch.check()
            self.save_if_due()

    def step(self, batch) -> dict[str, float]:
        """One iteration: forward, backward, update. Returns the losses and writes them down."""
        iteration = self.position.iteration
        lr = self.optimizer.lr = self.learning_rate(iteration)
        losses = self.model.loss(batch.images, batch.targets, self.rng())
        total = sum(losses.values())
        values = {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}
        self.optimizer.zero_grad()
        total.backward()
        norm = clip_grad_norm(self.model.parameters(), self.recipe.clip_norm or math.inf)
        if not (math.isfinite(values["loss"]) and math.isfinite(norm)):
            self.stop(batch, values)
        self.optimizer.step()
        self.metrics.write(
            {
                "epoch": self.position.epoch + 1,
                "iteration": iteration + 1,
                "seconds": time.monotonic() - self.started,
                "lr": lr,
                **values,
                "grad_norm": norm,
                "val_ap": "",
                "val_ap50": "",
            }
        )
        return values

    def rng(self):
        """The generator of this iteration's samples."""
        return streams.generator(self.seed, streams.SAMPLING, index=self.position.iteration)

    def stop(self, batch, losses: dict[str, float]) -> None:
        """Find out where the first NaN or infinity came from, and raise."""
        reason = explain_non_finite(self.model, batch.images, batch.targets, self.rng(), losses)
        files = ", ".join(self.name_image(int(index)) for index in batch.indices)
        raise NonFiniteError(
            f"training stopped at iteration {self.position.iteration + 1}: {reason}; the batch was "
            f"{files}; the last checkpoint is intact, a smaller --lr (now {self.optimizer.lr:.3g}) "
            "usually helps"
        )

    def finish_epoch(self) -> None:
        """Validate, keep the best weights, say how it went and move on to the next epoch."""
        position = self.position
        epoch = position.epoch + 1
        line = f"epoch {epoch}/{self.recipe.epochs}  "
        for name in self.history[0] if self.history else ():
            line += f"{name} {fmean(losses[name] for losses in self.history):.3f}  "
        line += f"lr {self.optimizer.lr:.2g}"
        due = epoch % self.recipe.evaluate_every == 0 or epoch == self.recipe.epochs
        if self.validate is not None and due:
            ap, ap50 = self.validate(self.watch.check)
            line += f"  val AP50 {ap50:.3f} AP {ap:.3f}"
            self.metrics.write(
                {"epoch": epoch, "iteration": position.iteration, "val_ap": ap, "val_ap50": ap50}
            )
            if ap50 >= position.best:
                position.best = ap50
                checkpoints.write(self.run.best, self.model, self.detector)
                line += " (best)"
        position.epoch, position.batch = epoch, 0
        self.progress.say(f"{line}  {format_seconds(time.monotonic() - self.started)}")

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
            self.model,
            self.detector,
            optimizer=self.optimizer.state_dict(),
            position=asdict(self.position),
        )


def parameter_groups(model, recipe: Recipe) -> list[dict]:
    """The parameters that learn, in four groups: backbone or not, decaying or not.

    Vectors (biases, batch norm) do not decay: pulling them to 0 shrinks no function of the input.
    """
    groups: dict[tuple[bool, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("backbone."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr_scale": recipe.backbone_lr_scale if in_backbone else 1.0,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]
