"""The parameter server: sockets in one loop, so that one thread owns the weights.

A single thread accepts connections, receives, sums, steps, answers and watches the clock, in a
selector loop. There are no locks because there is nothing to lock, and hundreds of silent
connections cost a file handle each. What the messages mean is for ``peer`` and ``coordinator``.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable

import numpy as np

from multitask.core.layout import MAX_BYTES
from multitask.core.rules import Rule
from multitask.core.update_core import UpdateCore
from multitask.errors import MultitaskError
from multitask.server.connection import Connection
from multitask.server.coordinator import Coordinator
from multitask.server.peer import Peer
from multitask.server.policy import Policy
from multitask.server.snapshots import SnapshotStore
from multitask.wire import authentication, transport

HANDSHAKE_DEADLINE = 5.0  # seconds to prove that one knows the token
MAX_STRANGERS = 64  # connections that have not done so yet
LINGER = 5.0  # seconds after the end in which tasks that missed it can still hear of it, and why
LINGER_AGAIN = 60.0  # the same for a server that is started on the folder of a finished training
DRAIN = 1.0  # seconds for a stranger to read its last message


class ParameterServer:
    """Holds parameters by name and updates them by what the tasks contribute.

    ::

        server = ParameterServer(tasks=2, address="127.0.0.1:29500")
        server.serve()                    # until all tasks have left

    or, in a thread of this process, ``with ParameterServer(tasks=2) as server:``, where
    ``server.address`` is what the sites are told.

    Args:
        tasks: training starts when this many have joined.
        address: ``host:port`` (port 0: any) or ``unix:/path``.
        rule: ``Momentum()`` unless told otherwise.
        on_conflict: when tasks start a name from different values: ``"error"``,
            ``"lowest-task"`` or ``"owner=TASK"``.
        token: what sites must know; None reads LIGHTHEAD_TOKEN, b"" is none.
        tls: from ``transport.server_tls``; needed for an address that others can reach,
        insecure_lan: unless this is set.
        snapshots: folder for snapshots; a server started on a folder that has some goes on there.
        policy: what happens to tasks that are lost, slow or wrong.
        report: called with a dict for everything that happens.

    Raises:
        UnsafeAddressError: strangers could reach the address.
        SnapshotError: the snapshots are damaged or of another training.
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        tasks: int,
        address: str = "127.0.0.1:0",
        rule: Rule | None = None,
        *,
        on_conflict: str = "error",
        token: bytes | str | None = None,
        tls: ssl.SSLContext | None = None,
        insecure_lan: bool = False,
        snapshots: str | os.PathLike | None = None,
        policy: Policy | None = None,
        report: Callable[[dict], None] | None = None,
    ):
        if tasks < 1:
            raise ValueError(f"ParameterServer: {tasks} tasks, at least 1 is needed")
        self._token = authentication.token_or_default(token)
        asked = transport.parse_address(address)
        transport.check_safe(asked, self._token, tls is not None, insecure_lan)
        if asked.path and tls:
            raise ValueError(f"{asked} needs no TLS: only its owner can open it")
        self._tls = tls
        self._sign_payload = not transport.is_local(asked) and tls is None
        self._coordinator = Coordinator(
            tasks,
            UpdateCore(rule, on_conflict),
            SnapshotStore(snapshots) if snapshots else None,
            policy or Policy(),
            report or (lambda event: None),
            time.monotonic(),
        )
        self._listener = transport.listen(asked)
        self._bound = transport.bound_address(self._listener, asked)
        self.address = str(self._bound)
        self._connections: dict[socket.socket, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._linger = LINGER_AGAIN if self.over else LINGER
        self._over_since: float | None = None

    # Running

    def serve(self) -> None:
        """Run until all tasks have left.

        Raises:
            MultitaskError: training was stopped; the error says why.
        """
        try:
            while not self._is_over() and not self._stopping.is_set():
                self._turn(0.05)
        finally:
            self._close()
        if self._coordinator.failure:
            raise self._coordinator.failure

    def __enter__(self) -> ParameterServer:
        self._thread = threading.Thread(target=self._serve_quietly, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def stop(self) -> None:
        """Let ``serve`` return, wherever training is; ends the thread that ``with`` started."""
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _serve_quietly(self) -> None:
        # The sites get the error, each through its connection.
        with contextlib.suppress(MultitaskError):
            self.serve()

    @property
    def over(self) -> bool:
        """Whether training is finished or stopped."""
        return self._coordinator.over

    def save(self) -> None:
        """Take a snapshot of a server that was stopped before the end, if it has a folder."""
        if not self._coordinator.over:
            self._coordinator.save()

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of all weights by name. Only when the server is not running."""
        return self._coordinator.core.parameters()

    def buffers(self, task: str) -> dict[str, np.ndarray]:
        """A copy of the buffers of a task. Only when the server is not running."""
        return self._coordinator.core.buffers(task)

    def _is_over(self) -> bool:
        if not self._coordinator.over:
            return False
        now = time.monotonic()
        if self._over_since is None:
            self._over_since = now
        everyone_knows = not self._coordinator.untold
        quiet = not any(connection.peer.task for connection in self._connections.values())
        return (everyone_knows and quiet) or now - self._over_since > self._linger

    # One turn of the loop

    def _turn(self, timeout: float) -> None:
        events = self._selector.select(timeout)
        now = time.monotonic()
        for key, mask in events:
            if key.fileobj is self._listener:
                self._accept(now)
            elif mask & selectors.EVENT_READ:
                connection = self._connections.get(key.fileobj)
                if connection and not connection.read(now):
                    self._drop(connection, now)
        self._coordinator.tick(now)
        for connection in list(self._connections.values()):
            if self._is_overdue(connection, now) or not connection.write(now):
                self._drop(connection, now)
                continue
            wanted = selectors.EVENT_READ
            if connection.wants_to_write:
                wanted |= selectors.EVENT_WRITE
            if self._selector.get_key(connection.socket).events != wanted:
                self._selector.modify(connection.socket, wanted)

    def _accept(self, now: float) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of file handles, or gone again already
            self._drop_oldest_stranger(now)
            return
        strangers = sum(not c.peer.authenticated for c in self._connections.values())
        if strangers >= MAX_STRANGERS:
            self._drop_oldest_stranger(now)
        peer = Peer(self._coordinator, self._token, self._sign_payload, MAX_BYTES, now)
        connection = Connection(accepted, peer, self._tls)
        self._connections[connection.socket] = connection
        self._selector.register(connection.socket, selectors.EVENT_READ)

    def _drop_oldest_stranger(self, now: float) -> None:
        """Make room: a site proves itself at once, so the oldest is the least likely to be one."""
        strangers = [c for c in self._connections.values() if not c.peer.authenticated]
        if strangers:
            self._drop(min(strangers, key=lambda connection: connection.peer.born), now)

    def _is_overdue(self, connection: Connection, now: float) -> bool:
        peer = connection.peer
        if connection.draining_since is not None:
            # A site may be computing, and hear us when it is done.
            return now - connection.draining_since > (LINGER if peer.authenticated else DRAIN)
        if not peer.authenticated:
            return now - peer.born > HANDSHAKE_DEADLINE
        last = peer.spoke if peer.closing else peer.heard
        return now - last > self._coordinator.policy.silence

    def _drop(self, connection: Connection, now: float) -> None:
        self._selector.unregister(connection.socket)
        del self._connections[connection.socket]
        connection.socket.close()
        self._coordinator.gone(connection.peer, now)

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._selector.close()
        self._listener.close()
        if self._bound.path:
            with contextlib.suppress(OSError):
                os.unlink(self._bound.path)
