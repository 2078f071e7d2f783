"""The update core: who registered which name, who has committed, and the sum of what they sent.

Pure: no sockets, no files, no clock, no threads. The server feeds it from the network, the
in-process site calls it directly, and both get the same bits, because nothing here depends on
the order in which things arrive.

**The barrier is per name.** A name is waited for by the tasks that registered it and by no one
else. Each name has a version: W after ``version`` updates. It steps from version t to t + 1 as soon
as all its tasks have committed iteration t. A task may commit iteration t once all its own names
have version t. So with tasks A {shared, a} and B {shared, b}, the head ``a`` steps as soon as A
commits, while ``shared`` waits for both; a task that shares nothing never waits.

**The order of the sum** is the alphabetical order of the task names: the first contribution is
copied (0 + c would turn -0.0 into 0.0), the others are added to it one after the other.

**A name that nobody contributes to** in an iteration (no gradient reached it, or its tasks have
left) keeps W and its velocity as they are: it is frozen, not decayed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from multitask.core import registration as registering
from multitask.core.registration import Registration
from multitask.core.rules import Momentum, Rule
from multitask.core.segments import FINISHED, GIVEN_UP, Member, Segment, lay_out
from multitask.errors import (
    ConflictingCommitError,
    EarlyCommitError,
    LateCommitError,
    NonFiniteError,
    ProtocolError,
    RegistrationError,
    StaleSessionError,
    TrainingStoppedError,
)


class UpdateCore:
    """Parameters by name, updated once per iteration by all tasks that registered them.

    Args:
        rule: momentum unless told otherwise.
        on_conflict: what happens when tasks start a name from different values (see
            ``registration.initial_values``).
    """

    def __init__(self, rule: Rule | None = None, on_conflict: str = "error"):
        registering.check_policy(on_conflict)
        self.rule = rule or Momentum()
        self.on_conflict = on_conflict
        self.members: dict[str, Member] = {}
        self.segments: list[Segment] = []
        self.started = False

    # Joining

    def register(self, registration: Registration) -> None:
        """Add a task. All of it is accepted or nothing.

        Raises:
            RegistrationError: training has started, the task exists, or its names do not fit
                those of another (ShapeConflictError, InitialValueConflictError).
        """
        task = registration.task
        if self.started:
            raise RegistrationError(f"task {task} comes too late: training has started")
        if task in self.members:
            raise RegistrationError(f"there already is a task {task}")
        others = [member.registration for member in self.members.values()]
        registering.check_shapes(registration, others)
        if self.on_conflict == "error":
            registering.initial_values([*others, registration], "error")
        members = {**self.members, task: Member(registration)}
        self.members = {name: members[name] for name in sorted(members)}

    def withdraw(self, task: str) -> None:
        """Forget a task that went away before training started."""
        assert not self.started, "withdraw is for before the start; afterwards tasks leave"
        del self.members[task]

    def start(self) -> None:
        """Close registration and lay out the arenas.

        Raises:
            InitialValueConflictError: the owner does not have a name that others disagree on.
        """
        registrations = [member.registration for member in self.members.values()]
        values = registering.initial_values(registrations, self.on_conflict)
        self.segments = lay_out(list(self.members.values()), self.rule)
        for segment in self.segments:
            np.concatenate([values[name] for name in segment.names], out=segment.weight)
        for member in self.members.values():
            member.start()
        self.started = True

    def readmit(self, registration: Registration) -> None:
        """Look at what a task brings that joins after the start: it must be what it was.

        Raises:
            RegistrationError: there is no such task, or it has other names, shapes or types.
        """
        task = registration.task
        if task not in self.members:
            raise RegistrationError(
                f"no task {task} in this training, only {', '.join(self.members)}"
            )
        if self.members[task].digest != registration.digest():
            raise RegistrationError(
                f"task {task} comes back with other names, shapes or types than it had"
            )

    def join(self, task: str, nonce: int) -> int:
        """Open a new session of a task; commits of older ones no longer count.

        Returns:
            The iteration the task goes on with: 0, or the one after its last accepted commit.

        Raises:
            TrainingStoppedError: the others have gone on without the task.
        """
        member = self.members[task]
        if member.left == GIVEN_UP:
            raise TrainingStoppedError(f"the others have gone on without task {task}")
        member.nonce = nonce
        return member.committed + 1

    def leave(self, task: str, why: str = FINISHED) -> None:
        """The task is done, or given up: what it has committed counts, no one waits for more."""
        self.members[task].left = why

    # One iteration

    def accept(
        self,
        task: str,
        iteration: int,
        nonce: int,
        contributions: np.ndarray,
        absent: Iterable[str] = (),
        buffers: np.ndarray | None = None,
    ) -> bool:
        """Take in what a task contributes to an iteration.

        Args:
            iteration: t, the number of updates the task's weights had when it computed this.
            nonce: of the session, as given to ``join``.
            contributions: (nbytes,) uint8, the task's parameter layout filled with
                c = alpha (g + lambda W). Copied.
            absent: names without a contribution this time; their part of the buffer is ignored.
            buffers: (nbytes,) uint8, the task's buffers after the iteration; None if it has none.

        Returns:
            True, or False if the very same commit had already been accepted.

        Raises:
            StaleSessionError, TrainingStoppedError, LateCommitError, EarlyCommitError,
            ConflictingCommitError, NonFiniteError: the commit is refused and changes nothing.
        """
        member = self.members[task]
        self._check_session(member, nonce)
        absent = frozenset(absent)
        buffers = np.empty(0, np.uint8) if buffers is None else buffers
        sizes = (contributions.nbytes, buffers.nbytes)
        if sizes != (member.parameters.nbytes, member.buffers.nbytes):
            raise ProtocolError(f"task {task} commits {sizes} bytes, not what it registered")
        unknown = absent.difference(member.parameters)
        if unknown:
            raise ProtocolError(f"task {task} has not registered {sorted(unknown)[0]!r}")
        if not self._is_next(member, iteration):
            if member.holds(contributions, absent, buffers):
                return False
            raise ConflictingCommitError(
                f"task {task} commits iteration {iteration} a second time, with other contents"
            )
        spoilt = registering.non_finite_names(member.parameters, contributions)
        spoilt = [name for name in spoilt if name not in absent]
        if spoilt:
            raise NonFiniteError(
                f"task {task} commits NaN or infinity in iteration {iteration}, in {spoilt[0]}"
                + (f" and {len(spoilt) - 1} more" if spoilt[1:] else "")
            )
        member.take(iteration, contributions, absent, buffers)
        return True

    def _check_session(self, member: Member, nonce: int) -> None:
        if not self.started:
            raise EarlyCommitError("training has not started: not all tasks are here")
        if member.left:
            raise TrainingStoppedError(
                f"task {member.task} is no longer part of this: {member.left}"
            )
        if nonce != member.nonce:
            raise StaleSessionError(
                f"task {member.task} has joined again since, in another session or process"
            )

    def _is_next(self, member: Member, iteration: int) -> bool:
        """True for the commit that is due, False for a repetition of the last one."""
        if iteration < max(member.committed, 0):
            raise LateCommitError(
                f"task {member.task} commits iteration {iteration}, it is at {member.committed + 1}"
            )
        if iteration > min(member.committed + 1, self.version(member.task)):
            raise EarlyCommitError(
                f"task {member.task} commits iteration {iteration}, but its weights are at version "
                f"{self.version(member.task)}"
            )
        return iteration > member.committed

    def ready(self) -> list[str]:
        """Names whose tasks have all committed and that have not stepped yet."""
        return [name for segment in self.segments if segment.is_ready() for name in segment.names]

    def apply(self) -> list[str]:
        """Step every name that is ready; returns these names."""
        names = self.ready()
        for segment in self.segments:
            if segment.is_ready():
                segment.step(self.rule)
        return names

    # Looking

    def version(self, task: str) -> int:
        """The number of updates that all names of a task have had."""
        return min(segment.version for segment in self.members[task].segments)

    @property
    def iteration(self) -> int:
        """The number of updates that every name still in training has had."""
        live = [s.version for s in self.segments if not all(m.left for m in s.members)]
        return min(live) if live else max(s.version for s in self.segments)

    @property
    def finished(self) -> bool:
        """Whether training has started and every task has left."""
        return self.started and all(member.left for member in self.members.values())

    def waiting_for(self, task: str) -> list[str]:
        """The tasks whose commits a task needs before it can go on."""
        mine = self.members[task].segments
        late = {m.task for s in mine for m in s.members if not m.left and m.committed < s.version}
        return sorted(late - {task})

    def weights(self, task: str) -> list[np.ndarray]:
        """W of all names of a task, in the order of its layout, as uint8 views in a few pieces.

        They stay as they are until the task's next commit.
        """
        return [segment.weight for segment in self.members[task].segments]

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of W of all names."""
        return {name: w.copy() for segment in self.segments for name, w in segment.views().items()}

    def buffers(self, task: str) -> dict[str, np.ndarray]:
        """A copy of a task's buffers as of its last accepted commit."""
        member = self.members[task]
        return member.buffers.views(member.buffer_values.copy())
