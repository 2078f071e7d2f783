"""Sites without a network: all tasks in one process, on the same core, one after the other.

What a distributed training must equal bit for bit. Since nobody else is running meanwhile, all
tasks commit an iteration before the first of them pulls the next::

    server = LocalServer(tasks=2)
    a, b = (RemoteMomentum(..., task=task, server=server, start=False) for task in "ab")
    a.start(), b.start()
    for _ in range(100):
        ...                     # forward and backward of both
        a.commit(), b.commit()
        a.pull(), b.pull()
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence

import numpy as np

from multitask.core.registration import Registration
from multitask.core.rules import Rule
from multitask.core.state import restore, snapshot
from multitask.core.update_core import UpdateCore
from multitask.errors import EarlyCommitError, SnapshotError
from multitask.server.snapshots import SnapshotStore


class LocalServer:
    """An update core in this process.

    Args:
        tasks: how many there will be.
        rule, on_conflict, snapshots, report: as for ``ParameterServer``; but snapshots are taken
            when ``save`` is called, and events are commits only.

    Raises:
        SnapshotError: the snapshots are damaged or of another training.
    """

    def __init__(
        self,
        tasks: int,
        rule: Rule | None = None,
        on_conflict: str = "error",
        snapshots: str | os.PathLike | None = None,
        report: Callable[[dict], None] = lambda event: None,
    ):
        self.tasks, self.report = tasks, report
        self.core, self.run = UpdateCore(rule, on_conflict), secrets.token_hex(8)
        self._store = SnapshotStore(snapshots) if snapshots else None
        found = self._store.load() if self._store else None
        if found:
            self._restore(found[0], str(found[1]))

    @classmethod
    def restored(
        cls, tasks: int, rule: Rule, tree: dict | None, on_conflict: str = "error"
    ) -> LocalServer:
        """One that goes on from what ``state`` returned; a new one from None."""
        server = cls(tasks, rule, on_conflict)
        if tree is not None:
            server._restore(tree, "the snapshot")
        return server

    def _restore(self, tree: dict, source: str) -> None:
        self.core, self.run = restore(tree["core"], self.core.rule), tree["run"]
        members = self.core.members
        if len(members) != self.tasks:
            raise SnapshotError(
                f"{source} is of a training with {len(members)} tasks, not {self.tasks}"
            )
        ahead = [task for task in members if members[task].committed >= self.core.version(task)]
        if ahead:
            raise SnapshotError(
                f"{source} was taken while {ahead[0]} waited for the others, which only happens "
                "between processes: go on with processes"
            )

    def state(self) -> dict:
        """Everything, as a tree for ``SnapshotStore``."""
        return {"run": self.run, "core": snapshot(self.core)}

    def site(self, registration: Registration) -> LocalSite:
        return LocalSite(self, registration)

    def save(self) -> None:
        """Take a snapshot, if there is a place for it."""
        if self._store:
            self._store.save(self.state(), self.core.iteration)


class LocalSite:
    """What ``Site`` is to a socket, to a ``LocalServer``."""

    def __init__(self, server: LocalServer, registration: Registration):
        self.registration, self.done, self.finished = registration, False, False
        self._server, self._core, self._task = server, server.core, registration.task
        self.rule = server.core.rule.describe()

    def register(self) -> None:
        if self._core.started:
            self._core.readmit(self.registration)
            return
        self._core.register(self.registration)
        if len(self._core.members) == self._server.tasks:
            self._core.start()

    def start(self) -> int:
        if not self._core.started:
            raise EarlyCommitError(
                f"{len(self._core.members)} of {self._server.tasks} tasks are here: in one "
                "process, make all of them with start=False, then start them"
            )
        return self._core.join(self._task, nonce=0)

    def join(self) -> int:
        self.register()
        return self.start()

    def commit(
        self,
        iteration: int,
        contributions: np.ndarray,
        buffers: np.ndarray,
        absent: Sequence[str] = (),
        report: dict | None = None,
    ) -> None:
        self._core.accept(self._task, iteration, 0, contributions, absent, buffers)
        facts = {"task": self._task, "iteration": iteration, "report": report or {}}
        self._server.report({"event": "commit", **facts})
        self._core.apply()

    def pull(self, iteration: int, buffers: bool = False) -> np.ndarray:
        if self._core.version(self._task) < iteration:
            waiting = ", ".join(self._core.waiting_for(self._task))
            raise EarlyCommitError(
                f"task {self._task} waits for {waiting}: in one process, let all tasks commit "
                "before the first of them pulls"
            )
        parts = self._core.weights(self._task)
        if buffers:
            parts.append(self._core.members[self._task].buffer_values)
        return np.concatenate(parts)

    def leave(self, wait: bool) -> None:
        self._core.leave(self._task)
        self._core.apply()
        self.done = True

    def close(self) -> None:
        pass
