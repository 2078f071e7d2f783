"""Modules: functions with parameters, nested into networks, with PyTorch's names for everything.

Parameters, buffers and sub-modules are found by assignment (``self.weight = Parameter(...)``) and
keep the order in which they were assigned; that order is the order of ``state_dict``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from nn.kernels import one_at_a_time
from nn.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns. It requires gradients from birth."""

    __slots__ = ()

    def __init__(self, array, requires_grad: bool = True):
        super().__init__(array, requires_grad)


class LoadResult(NamedTuple):
    """What ``load_state_dict(strict=False)`` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Hook:
    """What ``register_forward_hook`` returns: ``remove()`` undoes it."""

    def __init__(self, hooks: list[Callable], hook: Callable):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        self._hooks.remove(self._hook)


class Module:
    """Base class of all layers and networks: subclass it, assign parts, write ``forward``."""

    def __init__(self):
        # Not through __setattr__, which needs these three to exist.
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_buffers", {})
        object.__setattr__(self, "_modules", {})
        object.__setattr__(self, "_hooks", [])
        self.training = True

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs, **options):
        output = self.forward(*inputs, **options)
        for hook in self._hooks:
            hook(self, inputs, output)
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, object], None]) -> Hook:
        """Call ``hook(module, inputs, output)`` after every forward until it is removed."""
        self._hooks.append(hook)
        return Hook(self._hooks, hook)

    def fused_with(self, following: Module) -> Callable | None:
        """A function that does ``following(self(input))`` faster, if there is one.

        ``Sequential`` asks. A module with hooks wants to be called by itself.
        """
        return None

    # Parts by assignment

    def __setattr__(self, name: str, value) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning")
        kinds = {Parameter: self._parameters, Module: self._modules}
        for kind, parts in kinds.items():
            if isinstance(value, kind):
                self.__dict__.pop(name, None)
                parts[name] = value
                return
            parts.pop(name, None)
        if name in self._buffers:
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str):
        for parts in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(parts, {}):
                return self.__dict__[parts][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def register_buffer(self, name: str, array: np.ndarray) -> None:
        """Keep an array that is not learned but belongs to the state, like running statistics."""
        self._buffers[name] = array

    # Walking the tree

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, parents first, with dotted names."""
        yield prefix, self
        for name, module in self._modules.items():
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return iter(self._modules.items())

    def children(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, under its first name."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{prefix}.{name}" if prefix else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    # State

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters and buffers by dotted name: the live arrays, not copies."""
        state = {}
        for prefix, module in self.named_modules():
            prefix = f"{prefix}." if prefix else ""
            for name, parameter in module._parameters.items():
                state[prefix + name] = parameter.data
            for name, buffer in module._buffers.items():
                state[prefix + name] = buffer
        return state

    def load_state_dict(self, state: dict[str, np.ndarray], strict: bool = True) -> LoadResult:
        """Copy arrays into the parameters and buffers of the same names.

        With ``strict``, names that are missing or too many are an error. Wrong shapes always are.
        Nothing is changed unless everything fits.

        Raises:
            ValueError: lists every name and shape that does not fit.
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        problems = [
            f"{name}: {np.shape(state[name])} given, {own[name].shape} expected"
            for name in own
            if name in state and np.shape(state[name]) != own[name].shape
        ]
        if strict:
            problems += [f"missing: {name}" for name in missing]
            problems += [f"unexpected: {name}" for name in unexpected]
        if problems:
            raise ValueError(
                f"these weights do not fit {type(self).__name__}:\n  " + "\n  ".join(problems)
            )
        for name, array in own.items():
            if name in state:
                array[...] = state[name]
        return LoadResult(missing, unexpected)

    # Modes

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training (or with False to evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or unfreeze all parameters below this module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    def double(self) -> Module:
        """Parameters and floating point buffers become float64, as gradient checks need."""
        for module in self.modules():
            for parameter in module._parameters.values():
                parameter.data = parameter.data.astype(np.float64)
            for name, buffer in module._buffers.items():
                if buffer.dtype.kind == "f":
                    module._buffers[name] = buffer.astype(np.float64)
        return self

    # Looks

    def extra_repr(self) -> str:
        """What a layer says about itself between its brackets."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}" for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}({self.extra_repr()}\n  {inside}\n)"


@contextlib.contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Evaluation mode inside this ``with`` block, for ``module`` and all below it.

    Afterwards each of them is in the mode it was in: a part frozen in evaluation stays so. Other
    threads that want to evaluate, or to run a kernel, wait until then.
    """
    with one_at_a_time:
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training


class Sequential(Module):
    """Modules one after the other, named "0", "1", ... or as in the one dict that is given."""

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else {}
        for name, module in named.items() or enumerate(modules):
            setattr(self, str(name), module)

    def forward(self, input):
        waiting = list(self.children())[::-1]
        while waiting:
            step = waiting.pop()
            together = step.fused_with(waiting[-1]) if waiting else None
            if together is not None:
                waiting.pop()
                step = together
            input = step(input)
        return input

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]


class ModuleList(Module):
    """Modules in a list, so that their parameters are found."""

    def __init__(self, modules=()):
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        setattr(self, str(len(self._modules)), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]
