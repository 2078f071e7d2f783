"""How a training steps: batches, learning rates, what is clipped and how often it is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from detector.settings import Count, Fraction, NotNegative, Positive, Range, Settings
from nn import optim


@dataclass(frozen=True)
class Steps(Settings):
    """
    Attributes:
        batch: pictures a step.
        epochs: how often every picture is seen.
        least_iterations: a small set is seen more often, until there are about so many iterations.
        most_iterations: it ends after so many, within an epoch too; None: with the last epoch.
        lr_per_image: learning rate of a step = this * batch (Goyal et al. 2017: linear scaling).
        momentum, weight_decay: of MomentumSGD; biases and batch norm do not decay.
        backbone_lr_scale: the loaded backbone learns at this part of the rate.
        warmup: iterations from a third of the rate to all of it, at most a quarter of the run.
        schedule: "cosine" to 0, or "steps".
        milestones: for "steps", the parts of the run after which the rate becomes a tenth.
        clip_norm: the joint length to which longer gradients are cut; None leaves them.
        evaluate_every: epochs between two validations.
        patience: the training ends after so many validations without a better one; None: never
            before its time.
    """

    batch: Annotated[int, Range(1, 4096)] = 2
    epochs: Annotated[int, Range(1, 10**6)] = 30
    least_iterations: Annotated[int, Range(0, 10**6)] = 0
    most_iterations: Annotated[int, Range(1, 10**12)] | None = None
    lr_per_image: Positive = 0.00125
    momentum: Annotated[float, Range(0.0, 0.9999)] = 0.9
    weight_decay: NotNegative = 1e-4
    backbone_lr_scale: NotNegative = 1.0
    warmup: Annotated[int, Range(0, 10**8)] = 1000
    schedule: Literal["cosine", "steps"] = "steps"
    milestones: tuple[Fraction, ...] = ()
    clip_norm: Positive | None = None
    evaluate_every: Count = 1
    patience: Count | None = None

    @property
    def lr(self) -> float:
        """The highest learning rate of the run."""
        return self.lr_per_image * self.batch

    def fitted(self, batches_per_epoch: int) -> Steps:
        """A copy for a set of this size: more epochs if ``least_iterations`` asks for them.

        Validations become as much rarer, so that there are as many of them.
        """
        times = max(1, round(self.least_iterations / (self.epochs * batches_per_epoch)))
        epochs = min(self.epochs * times, 10**6)
        if self.most_iterations is not None:
            epochs = min(epochs, -(-self.most_iterations // batches_per_epoch))
        return replace(self, epochs=epochs, evaluate_every=min(self.evaluate_every * times, epochs))

    def iterations(self, batches_per_epoch: int) -> int:
        """How many a training makes; ``self`` is what ``fitted`` returned."""
        iterations = self.epochs * batches_per_epoch
        return min(iterations, self.most_iterations or iterations)

    def learning_rates(self, iterations: int) -> Callable[[int], float]:
        """The function from the iteration (0, 1, ...) to the learning rate of a run this long."""
        warmup = optim.warmup(min(self.warmup, iterations // 4))
        if self.schedule == "cosine":
            decay = optim.cosine_decay(iterations)
        else:
            decay = optim.step_decay(round(part * iterations) for part in self.milestones)
        factor = optim.product(warmup, decay)
        return lambda iteration: self.lr * factor(iteration)

    def groups(self, model) -> list[dict]:
        """The parameters that learn, in four groups: backbone or not, decaying or not.

        Vectors (biases, batch norm) do not decay: pulling them to 0 shrinks no function of the
        input.
        """
        groups: dict[tuple[bool, bool], list] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                key = (name.startswith("backbone."), parameter.ndim > 1)
                groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "lr_scale": self.backbone_lr_scale if in_backbone else 1.0,
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (in_backbone, decays), parameters in groups.items()
        ]
