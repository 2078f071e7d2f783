"""What every optimiser does: keep parameters in groups, and one state for each of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nn.module import Parameter

SETTINGS = {"params", "lr", "lr_scale", "weight_decay"}


def as_groups(params: Iterable, lr: float, weight_decay: float) -> list[dict]:
    """``params`` of an optimiser as groups: dicts with params, lr_scale and weight_decay.

    Raises ValueError for a group with another setting.
    """
    groups = list(params)
    if groups and not isinstance(groups[0], dict):
        groups = [{"params": groups}]
    for group in groups:
        if unknown := group.keys() - SETTINGS:
            raise ValueError(f"a group's settings are {sorted(SETTINGS)}, not {sorted(unknown)}")
        if "lr" in group and not lr > 0:
            raise ValueError(f"beside a group's lr the optimiser's must be above 0, not {lr}")
    return [
        {
            "params": group["params"],
            "lr_scale": group["lr"] / lr if "lr" in group else group.get("lr_scale", 1.0),
            "weight_decay": group.get("weight_decay", weight_decay),
        }
        for group in groups
    ]


class Optimizer:
    """Base class: a rule names its arrays in ``arrays`` and writes ``update``.

    Args:
        params: parameters, or dicts ``{"params": [...], "lr_scale": 1.0, "weight_decay": ...}``
            for groups with settings of their own; ``"lr"``, as in PyTorch, stands for the
            ``lr_scale`` that makes it so. Parameters that do not require gradients stay as they
            are.
        lr: the learning rate; set ``optimizer.lr`` to change it (schedules do).
        weight_decay: lambda, added to the gradient as lambda W.
    """

    arrays: tuple[str, ...] = ()
    """Names of what is remembered for each parameter: arrays of its shape, zero at first."""

    counts: tuple[str, ...] = ()
    """Likewise whole numbers, one for each parameter."""

    def __init__(self, params: Iterable, lr: float, weight_decay: float = 0.0):
        if not (lr >= 0 and weight_decay >= 0):  # NaN is neither
            raise ValueError(
                f"{self.name}: lr {lr} and weight_decay {weight_decay} must be at least 0"
            )
        self.lr = lr
        self.groups = [
            group | {"params": list(group["params"])}
            for group in as_groups(params, lr, weight_decay)
        ]
        if not self.groups:
            raise ValueError(f"{self.name}: there are no parameters to learn")
        self.state: dict[str, list[np.ndarray]] = {
            name: [np.zeros_like(parameter.data) for parameter in self._parameters()]
            for name in self.arrays
        } | {name: [np.zeros((), np.int64) for _ in self._parameters()] for name in self.counts}

    @property
    def name(self) -> str:
        return type(self).__name__

    def _parameters(self) -> list[Parameter]:
        return [parameter for group in self.groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        states = zip(*self.state.values(), strict=True) if self.state else iter(())
        for group in self.groups:
            for parameter in group["params"]:
                state = next(states, ())
                if parameter.grad is not None and parameter.requires_grad:
                    lr = self.lr * group["lr_scale"]
                    self.update(parameter.data, parameter.grad, state, lr, group["weight_decay"])

    def update(
        self,
        weight: np.ndarray,
        grad: np.ndarray,
        state: tuple[np.ndarray, ...],
        lr: float,
        weight_decay: float,
    ) -> None:
        """Change ``weight`` and ``state`` (in the order of ``arrays``, ``counts``) in place."""
        raise NotImplementedError(f"{self.name} has no update")

    def state_dict(self) -> dict[str, list[np.ndarray]]:
        """What a checkpoint needs to go on, in parameter order: the live arrays, not copies."""
        return {name: list(arrays) for name, arrays in self.state.items()}

    def load_state_dict(self, state: dict) -> None:
        for name, arrays in self.state.items():
            given = [np.shape(array) for array in state.get(name, ())]
            if given != [array.shape for array in arrays]:
                raise ValueError(f"{self.name}: this state belongs to other parameters")
        for name, arrays in self.state.items():
            for own, array in zip(arrays, state[name], strict=True):
                own[...] = array
