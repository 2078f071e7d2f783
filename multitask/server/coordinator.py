"""What the server does with each message: the course of a training, without sockets.

Joins tasks until all are there, starts them, feeds their commits to the update core, answers their
pulls when the barrier opens, takes snapshots, and decides about tasks that are lost or slow.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np

from multitask.core.registration import Registration
from multitask.core.segments import FINISHED, GIVEN_UP
from multitask.core.state import restore, snapshot
from multitask.core.update_core import UpdateCore
from multitask.errors import (
    MultitaskError,
    NonFiniteError,
    ProtocolError,
    RegistrationError,
    SnapshotError,
    StaleSessionError,
    TrainingStoppedError,
)
from multitask.server.patience import Patience
from multitask.server.peer import NO_MEMORY, Peer
from multitask.server.policy import Policy
from multitask.server.snapshots import SnapshotStore
from multitask.wire import protocol
from multitask.wire.frames import Frame
from multitask.wire.protocol import Kind

ALL_NOTED = 100  # refusals


class Coordinator:
    """The course of one training.

    Args:
        tasks: how many there are; training starts when all have joined.
        core: fresh; replaced by the newest snapshot of ``store`` if there is one.
        store: where snapshots go, or None.
        policy: what happens to tasks that are lost, slow or wrong.
        report: is called with a dict for everything that happens: ``event`` and what belongs to it.

    Attributes:
        failure: why training was stopped, or None.
        over: training is finished or stopped; ``untold``: the tasks that have yet to hear of it.
    """

    def __init__(
        self,
        tasks: int,
        core: UpdateCore,
        store: SnapshotStore | None,
        policy: Policy,
        report: Callable[[dict], None],
        now: float,
    ):
        self.tasks, self.core, self.store, self.policy = tasks, core, store, policy
        self.failure: MultitaskError | None = None
        self.over = False
        self.untold: set[str] = set()
        self.peers: dict[str, Peer] = {}
        self.run = secrets.token_hex(8)
        self._report = report
        self._refused = 0
        self._patience = Patience(policy)
        self._sites: dict[str, str] = {}  # task -> the process that last joined as it
        self._replaced: set[str] = set()
        if store:
            self._restore(now)
        self._saved = self.core.iteration if self.core.started else 0

    def note(self, event: str, **facts) -> None:
        self._report({"event": event, **facts})

    def refused(self, task: str, error: MultitaskError) -> None:
        """Note it; of many only the 128th, 256th, ...: strangers shall not fill the disk."""
        self._refused += 1
        if self._refused <= ALL_NOTED or self._refused.bit_count() == 1:
            why = f"{type(error).__name__}: {error}"
            self.note("refused", task=task, why=why, count=self._refused)

    def _restore(self, now: float) -> None:
        found = self.store.load()
        if found is None:
            return
        tree, path = found
        self.core = restore(tree["core"], self.core.rule)
        self.run = tree["run"]
        if len(self.core.members) != self.tasks:
            raise SnapshotError(
                f"{path} is of a training with {len(self.core.members)} tasks, not {self.tasks}"
            )
        for task, member in self.core.members.items():
            if not member.left:
                self._patience.lost(task, now)
            elif member.left == FINISHED:
                self.untold.add(task)
        self.over = self.core.finished
        self.note("restored", file=str(path), iteration=self.core.iteration)
        if self.over:
            self.note("finished", iteration=self.core.iteration)

    # Messages

    def join(self, peer: Peer, registration: Registration, site: str, now: float) -> None:
        """A peer registers as a task, for the first time or again.

        ``site`` is the name of its process. The newest process of a task counts; an older one that
        was thought dead and wakes up is told so, lest the two take the place from each other.
        """
        task = registration.task
        if self.failure:
            self.untold.discard(task)
            raise self.failure
        if site in self._replaced:
            raise StaleSessionError(f"task {task} has joined again, from elsewhere")
        member = self.core.members.get(task)
        if self.core.started:
            self.core.readmit(registration)
        before = self.peers.pop(task, None)
        if before:
            before.task = ""
            before.fail(StaleSessionError(f"task {task} has joined again, from elsewhere"), now)
        if not self.core.started:
            if member:
                self.core.withdraw(task)
            self.core.register(registration)
        if self._sites.get(task, site) != site:
            self._replaced.add(self._sites[task])
        self._sites[task] = site
        peer.task, peer.waits_for_start = task, True
        self.peers[task] = peer
        self._patience.found(task)
        self.note("joined", task=task)
        if not self.core.started and len(self.core.members) == self.tasks:
            self._start(now)
        if self.core.started:
            for waiting in list(self.peers.values()):
                if waiting.waits_for_start:
                    self._send_start(waiting, now)

    def _start(self, now: float) -> None:
        try:
            self.core.start()
        except MemoryError:
            self.stop(RegistrationError(NO_MEMORY), now)
            return
        except MultitaskError as error:
            self.stop(error, now)
            return
        self.note("started", tasks=list(self.core.members))
        self.save()

    def _send_start(self, peer: Peer, now: float) -> None:
        peer.waits_for_start = False
        iteration = self.core.join(peer.task, peer.nonce)
        # A task that is done may come back for its weights: its process died before it kept them.
        finished = bool(self.core.members[peer.task].left)
        about = {"run": self.run, "rule": self.core.rule.describe(), "finished": finished}
        peer.send(now, Kind.START, iteration, about)
        if not finished:
            self._patience.turn_of(peer.task, now)

    def commit(self, peer: Peer, frame: Frame, now: float) -> None:
        """A contribution to an iteration; the last one to arrive completes the iteration."""
        task, iteration, absent = peer.task, frame.iteration, frame.metadata["absent"]
        if not self.core.started or peer.wanted is not None:
            raise ProtocolError(f"task {task} commits while it waits for something else")
        split = self.core.members[task].parameters.nbytes
        contributions, buffers = frame.payload[:split], frame.payload[split:]
        try:
            self.core.accept(task, iteration, peer.nonce, contributions, absent, buffers)
        except NonFiniteError as error:
            if self.policy.on_non_finite == "stop":
                self.stop(error, now)
                return
            self.note("skipped", task=task, iteration=iteration, why=str(error))
            nothing = np.zeros_like(contributions), list(self.core.members[task].parameters)
            self.core.accept(task, iteration, peer.nonce, *nothing, buffers)
        self._patience.committed(task)
        peer.send(now, Kind.ACK, iteration)
        self.note("commit", task=task, iteration=iteration, **{"report": frame.metadata["report"]})
        self._proceed(now)

    def pull(self, peer: Peer, frame: Frame, now: float) -> None:
        """A wish for the weights of a version; answered at once or when it exists."""
        due = self.core.members[peer.task].committed + 1
        if not self.core.started or peer.wanted is not None or frame.iteration != due:
            raise ProtocolError(
                f"task {peer.task} pulls version {frame.iteration}, version {due} is its next"
            )
        peer.wanted, peer.wants_buffers = frame.iteration, frame.metadata["buffers"]
        self._answer(peer, now)

    def leave(self, peer: Peer, frame: Frame, now: float) -> None:
        """A task has done all its iterations."""
        if not self.core.started:
            raise ProtocolError(f"task {peer.task} leaves before the start")
        self.core.leave(peer.task)
        self._patience.forget(peer.task)
        self.untold.add(peer.task)
        self.note("left", task=peer.task)
        if frame.metadata["wait"]:
            peer.waits_for_end = True
        else:
            self._dismiss(peer, now)
        self._proceed(now)

    def farewell(self, peer: Peer) -> None:
        """The task has heard that it is done."""
        self.untold.discard(peer.task)
        peer.closing = True

    def gone(self, peer: Peer, now: float) -> None:
        """The connection of a peer has ended, for whatever reason."""
        task = peer.task
        if self.peers.get(task) is not peer:
            return
        del self.peers[task]
        if not self.core.started:
            self.core.withdraw(task)
        elif not self.core.members[task].left:
            self._patience.lost(task, now)
        if not self.over:
            self.note("lost", task=task)

    # The course of things

    def _proceed(self, now: float) -> None:
        self.core.apply()
        for peer in list(self.peers.values()):
            self._answer(peer, now)
        if self.core.iteration >= self._saved + self.policy.snapshot_every:
            self.save()
        self._finish(now)

    def _answer(self, peer: Peer, now: float) -> None:
        if peer.wanted is None or self.core.version(peer.task) < peer.wanted:
            return
        payload = self.core.weights(peer.task)
        if peer.wants_buffers:
            payload.append(self.core.members[peer.task].buffer_values)
        peer.send(now, Kind.PARAMETERS, peer.wanted, {}, payload)
        peer.wanted = None
        self._patience.turn_of(peer.task, now)

    def save(self) -> None:
        """Take a snapshot, if there is something to keep and a place for it."""
        if not self.store or not self.core.started:
            return
        self._saved = self.core.iteration
        try:
            path = self.store.save({"run": self.run, "core": snapshot(self.core)}, self._saved)
            self.note("snapshot", file=str(path), iteration=self._saved)
        except OSError as error:
            # The older generations are intact: better to go on than to lose the training.
            self.note("snapshot failed", why=str(error), iteration=self._saved)

    def _finish(self, now: float) -> None:
        if not self.core.finished:
            return
        if not self.over:
            self.over = True
            self.save()
            self.note("finished", iteration=self.core.iteration)
        for peer in self.peers.values():
            if peer.waits_for_end:
                self._dismiss(peer, now)

    def _dismiss(self, peer: Peer, now: float) -> None:
        peer.waits_for_end = False
        peer.parser.allowed = protocol.LEAVING
        peer.send(now, Kind.DONE, self.core.members[peer.task].committed + 1)

    def stop(self, error: MultitaskError, now: float) -> None:
        """Give up: keep what there is, tell everyone."""
        if self.over:
            return
        self.over, self.failure = True, error
        self.untold = self._patience.absent()
        self.note("stopped", why=f"{type(error).__name__}: {error}")
        self.save()
        for peer in self.peers.values():
            peer.fail(error, now)

    def tick(self, now: float) -> None:
        """What happens because time passes: signs of life, and the end of patience."""
        if self.over:
            return
        for peer in self.peers.values():
            idle = not peer.outbox and now - peer.spoke >= self.policy.heartbeat
            if idle and peer.is_waiting:
                peer.send(now, Kind.HEARTBEAT, 0, {"waiting_for": self._waiting_for(peer)})
        for task, seconds, waiting in self._patience.newly_slow(now, self._who_waits):
            self.note("slow", task=task, seconds=round(seconds, 1), waiting=waiting)
        for task, why in self._patience.at_an_end(now, self._who_waits):
            self._give_up(task, why, now)

    def _who_waits(self, task: str) -> list[str]:
        return [
            peer.task for peer in self.peers.values()
            if peer.wanted is not None and task in self.core.waiting_for(peer.task)
        ]  # fmt: skip

    def _waiting_for(self, peer: Peer) -> list[str]:
        if not self.core.started:
            return [f"{self.tasks - len(self.core.members)} more to join"]
        if peer.waits_for_end:
            return [task for task, member in self.core.members.items() if not member.left]
        return self.core.waiting_for(peer.task)

    def _give_up(self, task: str, why: str, now: float) -> None:
        error = TrainingStoppedError(f"task {task} {why}")
        self._patience.forget(task)
        if self.policy.on_lost == "stop":
            self.stop(error, now)
            return
        self.note("evicted", task=task, why=why, iteration=self.core.members[task].committed + 1)
        self.core.leave(task, GIVEN_UP)
        peer = self.peers.pop(task, None)
        if peer:
            peer.task = ""
            peer.fail(error, now)
        self._proceed(now)
