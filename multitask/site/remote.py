"""``RemoteMomentum``: the optimiser of a task site, in the place of ``nn.optim.MomentumSGD``.

``step`` commits alpha (g + lambda W) to the parameter server and pulls the new weights (steps 4 to
6 of the thesis's chapter 3.3). The velocities live in the server.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping

import numpy as np

from multitask.core.registration import Registration
from multitask.errors import ConnectionLostError, RegistrationError
from multitask.site.local import LocalServer
from multitask.site.site import Site
from nn.module import Parameter
from nn.optim import as_groups, contribution


class RemoteMomentum:
    """Momentum whose weights are shared, by name, with other tasks.

    Args:
        params: ``model.named_parameters()``, pairs of a name and a parameter, or groups of settings
            as for ``MomentumSGD``: dicts ``{"params": pairs, "lr_scale": 1.0, ...}``.
        lr: alpha of this task; set ``optimizer.lr`` to change it.
        momentum: beta, which belongs to the server: if given, the server's must equal it.
            As an attribute it is the server's, None where the rule has none.
        weight_decay: lambda of this task.
        task: the name of the task; tasks are summed in alphabetical order.
        server: address of a ``ParameterServer``, or a ``LocalServer``.
        buffers: arrays by name that change during training but are no parameters (the running
            statistics of batch norm): kept safe with the server, not shared.
        start: wait for the other tasks now; if False, call ``start`` before the first iteration.
        connection: more arguments for ``Site``: token, tls, patience.

    Attributes:
        iteration: the number of updates the weights have had. It goes on from where the task
            was when it joins again, and goes *back* if the server was restarted from a snapshot:
            what a task does in an iteration must depend on this number alone.
        waited: the seconds that the last ``step`` took.

    Raises:
        MultitaskError: see ``errors``.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        *,
        task: str,
        server: str | LocalServer,
        buffers: Mapping[str, np.ndarray] | None = None,
        start: bool = True,
        **connection,
    ):
        if lr < 0 or weight_decay < 0:
            raise ValueError(
                f"RemoteMomentum: lr {lr} and weight_decay {weight_decay} must be at least 0"
            )
        self.lr, self.momentum = lr, momentum
        self.groups = []
        for group in as_groups(params, lr, weight_decay):
            named = _named(group["params"])
            self.groups.append(group | {"params": list(named.values()), "names": list(named)})
        self._buffers = dict(buffers or {})
        arrays = {name: parameter.data for name, parameter in self._parameters().items()}
        registration = Registration.of(task, arrays, self._buffers)
        self._layout, self._buffer_layout = registration.parameters, registration.buffers
        self._contributions = np.zeros(self._layout.nbytes, np.uint8)
        self._parts = self._layout.views(self._contributions)
        self.site = (
            Site(server, registration, **connection)
            if isinstance(server, str)
            else server.site(registration)
        )
        self.iteration = 0
        self._next: int | None = None  # the version that the next pull is for
        self.waited = 0.0
        self.site.register()
        if start:
            self.start()

    def _parameters(self) -> dict[str, Parameter]:
        parameters = {}
        for group in self.groups:
            for name, parameter in zip(group["names"], group["params"], strict=True):
                if name in parameters:
                    raise RegistrationError(f"the name {name!r} occurs in two groups")
                parameters[name] = parameter
        return parameters

    def start(self) -> None:
        """Wait until all tasks are there; then the weights are the server's."""
        try:
            self._next = self.site.start()
        except ConnectionLostError:
            self._next = self.site.join()
        rule = self.site.rule
        if self.momentum is not None and rule and rule.get("momentum") != self.momentum:
            raise RegistrationError(f"momentum {self.momentum} here, but the server does {rule}")
        self.momentum = rule.get("momentum", self.momentum)
        self._fetch(usual=None)

    # The interface of MomentumSGD

    def zero_grad(self) -> None:
        for parameter in self._parameters().values():
            parameter.grad = None

    def step(self, report: Mapping[str, float] | None = None) -> None:
        """Commit this iteration's gradients and pull the new weights.

        Args:
            report: numbers about the iteration (losses, images) for the log of the server, which
                takes those that are finite.
        """
        self.commit(report)
        self.pull()

    def commit(self, report: Mapping[str, float] | None = None) -> None:
        """The first half of ``step``."""
        absent = self._fill()
        buffers = self._buffer_layout.pack(self._buffers)
        facts = {"lr": float(self.lr), "waited": round(self.waited, 4), **(report or {})}
        facts = {name: _plain(number) for name, number in facts.items() if math.isfinite(number)}
        begun = time.perf_counter()
        while True:
            try:
                self.site.commit(self.iteration, self._contributions, buffers, absent, facts)
                self._next = self.iteration + 1
                break
            except ConnectionLostError:
                self._next = self.site.join()
                if self._next != self.iteration:
                    break  # it had been counted; or the server went back, and so shall we
        self.waited = time.perf_counter() - begun

    def pull(self) -> None:
        """The second half of ``step``."""
        begun = time.perf_counter()
        self._fetch(usual=self.iteration + 1)
        self.waited += time.perf_counter() - begun

    def finish(self, wait: bool = True) -> bool:
        """Leave the training; with ``wait``, return when all other tasks are done too.

        Returns:
            True; or False if the server has been restarted meanwhile and gone back to an earlier
            ``iteration``: then repeat the iterations since and finish again.
        """
        while not self.site.done:
            try:
                self.site.leave(wait)
            except ConnectionLostError:
                due, self._next = self.iteration, self.site.join()
                if self._next != due:
                    self._fetch(usual=None)
                    return False
        self.site.close()
        return True

    def state_dict(self) -> dict:
        """The iteration. Everything else is with the server, which keeps its own snapshots."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict) -> None:
        """Take the server's weights, buffers and iteration once more, whatever ``state`` says.

        They are what counts: a model that was just loaded from a checkpoint must not go on from it.
        """
        if self._next is not None:
            self._fetch(usual=None)

    # Inside

    def _fill(self) -> list[str]:
        """Write this iteration's contributions; returns the names that have none."""
        absent = []
        for group in self.groups:
            lr = self.lr * group["lr_scale"]
            for name, parameter in zip(group["names"], group["params"], strict=True):
                if parameter.grad is None or not parameter.requires_grad:
                    absent.append(name)
                    continue
                contribution(
                    parameter.data, parameter.grad, lr, group["weight_decay"], out=self._parts[name]
                )
        return absent

    def _fetch(self, usual: int | None) -> None:
        """Pull version ``_next`` into the parameters; and the buffers, if it is not the usual one.

        Ours are those of the iteration we have just done, which is right for the version after it.
        """
        while True:
            try:
                payload = self.site.pull(self._next, buffers=self._next != usual)
                break
            except ConnectionLostError:
                self._next = self.site.join()
        self._unpack(payload)
        self.iteration = self._next

    def _unpack(self, payload: np.ndarray) -> None:
        values = self._layout.views(payload[: self._layout.nbytes])
        for name, parameter in self._parameters().items():
            parameter.data[...] = values[name]
        if payload.nbytes > self._layout.nbytes:
            kept = self._buffer_layout.views(payload[self._layout.nbytes :])
            for name, value in kept.items():
                self._buffers[name][...] = value


def _named(params: Iterable) -> dict[str, Parameter]:
    """Pairs of names and parameters, or a dict of them, as a dict."""
    pairs = list(params.items() if isinstance(params, Mapping) else params)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError(
            "RemoteMomentum: parameters are shared by name: pass model.named_parameters(), not "
            "model.parameters()"
        )
    return dict(pairs)


def _plain(number) -> int | float:
    """As JSON knows it: NumPy has numbers of its own."""
    return number.item() if isinstance(number, np.generic) else number
