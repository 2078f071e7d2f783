"""How long the server waits for whom: who is gone since when, and whose turn it is since when."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from multitask.server.policy import Policy


class Patience:
    """Keeps the times of the tasks of one training. All times are seconds on the same clock."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self._lost: dict[str, float] = {}  # task -> since when
        self._owed: dict[str, float] = {}  # task -> since when it is its turn to commit
        self._warned: set[str] = set()

    def lost(self, task: str, now: float) -> None:
        self._lost[task] = now

    def found(self, task: str) -> None:
        self._lost.pop(task, None)

    def absent(self) -> set[str]:
        """The tasks that are gone and may come back."""
        return set(self._lost)

    def turn_of(self, task: str, now: float) -> None:
        self._owed[task] = now

    def committed(self, task: str) -> None:
        self._owed.pop(task, None)
        self._warned.discard(task)

    def forget(self, task: str) -> None:
        """The task has left, or was given up."""
        self.found(task)
        self.committed(task)

    def at_an_end(
        self, now: float, who_waits: Callable[[str], list[str]]
    ) -> Iterator[tuple[str, str]]:
        """Tasks that are waited for no longer, and why.

        Args:
            who_waits: for a task, the tasks that cannot go on without it.
        """
        for task, since in list(self._lost.items()):
            if now - since > self._policy.rejoin_timeout:
                yield task, f"has been gone for {now - since:.0f} s"
        limit = self._policy.straggler_timeout
        for task, since in list(self._owed.items()):
            late = limit is not None and now - since > limit and task not in self._lost
            if late and who_waits(task):
                yield task, f"has not committed for {now - since:.0f} s"

    def newly_slow(
        self, now: float, who_waits: Callable[[str], list[str]]
    ) -> Iterator[tuple[str, float, list[str]]]:
        """Tasks that keep others waiting: for how long, and whom. Each once an iteration."""
        for task, since in self._owed.items():
            late = now - since > self._policy.slow_warning and task not in self._lost
            waiting = who_waits(task) if late and task not in self._warned else []
            if waiting:
                self._warned.add(task)
                yield task, now - since, waiting
