"""One connection as the server sees it: the handshake, then messages for the coordinator.

Bytes go into ``parser.buffer()`` and come out of ``outbox``; there is no socket and no clock here,
so that every conversation can be played in a test.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Protocol

import numpy as np

from multitask.core.registration import Registration
from multitask.errors import AuthenticationError, MultitaskError, RegistrationError
from multitask.wire import authentication, protocol
from multitask.wire.frames import Frame, FrameParser, Seal, encode
from multitask.wire.protocol import Kind

NO_MEMORY = "the server has no memory for what the task registers: run it on a larger machine"


class Listener(Protocol):
    """Who handles the messages of peers that have proved themselves: the coordinator."""

    def join(self, peer: Peer, registration: Registration, site: str, now: float) -> None: ...
    def commit(self, peer: Peer, frame: Frame, now: float) -> None: ...
    def pull(self, peer: Peer, frame: Frame, now: float) -> None: ...
    def leave(self, peer: Peer, frame: Frame, now: float) -> None: ...
    def farewell(self, peer: Peer) -> None: ...
    def refused(self, task: str, error: MultitaskError) -> None: ...


class Peer:
    """The server's end of one connection.

    Args:
        listener: is told of every message.
        token: what it must know.
        sign_payload: whether the payloads of this connection are signed.
        max_bytes: the most a task may register.
        now: the time, in seconds; as in all methods that take it.

    Attributes:
        authenticated: the peer knows the token.
        closing: nothing more will be read; close when the outbox is empty.
        task: what it has joined as, or "".
        nonce: the number of this session.
        wanted: the version it waits for, or None; ``wants_buffers``: and its buffers too.
        waits_for_start, waits_for_end: what else it may be waiting for.
    """

    def __init__(
        self, listener: Listener, token: bytes, sign_payload: bool, max_bytes: int, now: float
    ):
        self.parser = FrameParser(protocol.HELLO)
        self.outbox: deque[memoryview] = deque()
        self.authenticated = self.closing = False
        self.task = ""
        self.nonce = secrets.randbits(63)
        self.wanted: int | None = None
        self.wants_buffers = self.waits_for_start = self.waits_for_end = False
        self.born = self.heard = self.spoke = now
        self._listener, self._token, self._max_bytes = listener, token, max_bytes
        self._sign_payload = sign_payload
        self._seal = Seal()

    @property
    def is_waiting(self) -> bool:
        return self.wanted is not None or self.waits_for_start or self.waits_for_end

    def advance(self, count: int, now: float) -> None:
        """``count`` bytes have arrived in ``parser.buffer()``."""
        self.heard = now
        try:
            frame = self.parser.advance(count)
            if frame:
                self._handle(frame, now)
        except MultitaskError as error:
            self._refuse(error, now)
        except MemoryError:
            if self.task:
                raise  # perhaps from the midst of an update, which must not be gone on with
            self._refuse(RegistrationError(NO_MEMORY), now)

    def _refuse(self, error: MultitaskError, now: float) -> None:
        self._listener.refused(self.task, error)
        self.fail(error, now)

    def send(
        self,
        now: float,
        kind: Kind,
        iteration: int = 0,
        metadata: dict | None = None,
        payload: list[np.ndarray] | None = None,
    ) -> None:
        """Put a message into the outbox. The arrays must not change until it is empty."""
        self.spoke = now
        pieces = encode(self._seal, kind, iteration, metadata, payload or [])
        self.outbox.extend(memoryview(piece) for piece in pieces)

    def fail(self, error: MultitaskError, now: float) -> None:
        """Tell the peer what is wrong and hang up."""
        if not self.closing:
            metadata = {"code": type(error).__name__, "message": str(error)[:2000]}
            self.send(now, Kind.ERROR, 0, metadata)
            self.closing = True

    def _handle(self, frame: Frame, now: float) -> None:
        if frame.kind == Kind.HELLO:
            self._challenge(frame.metadata["nonce"], now)
        elif frame.kind == Kind.PROOF:
            self._welcome(frame.metadata["proof"], now)
        elif frame.kind == Kind.REGISTER:
            registration = protocol.read_registration(frame)
            size = registration.parameters.nbytes + registration.buffers.nbytes
            self.parser.allowed = protocol.training_allowed(size)
            self._listener.join(self, registration, frame.metadata["site"], now)
        elif frame.kind == Kind.COMMIT:
            self._listener.commit(self, frame, now)
        elif frame.kind == Kind.PULL:
            self._listener.pull(self, frame, now)
        elif frame.kind == Kind.LEAVE:
            self._listener.leave(self, frame, now)
        elif frame.kind == Kind.BYE:
            self._listener.farewell(self)
        else:
            assert frame.kind == Kind.HEARTBEAT, "the parser lets nothing else through"

    def _challenge(self, site_nonce: str, now: float) -> None:
        self._nonces = site_nonce, authentication.new_nonce()
        self.parser.allowed = protocol.PROOF
        self.send(now, Kind.CHALLENGE, 0, {"nonce": self._nonces[1]})

    def _welcome(self, proof: str, now: float) -> None:
        if not authentication.is_proof(proof, self._token, "site", *self._nonces):
            raise AuthenticationError(
                "this site does not know the token of the server: set the same LIGHTHEAD_TOKEN"
            )
        role = authentication.server_role(self._sign_payload)
        answer = authentication.proof(self._token, role, *self._nonces)
        self.send(now, Kind.WELCOME, 0, {"proof": answer, "sign_payload": self._sign_payload})
        for seal, label in ((self.parser.seal, "site"), (self._seal, "server")):
            seal.key = authentication.session_key(self._token, label, *self._nonces)
            seal.sign_payload = self._sign_payload
        self.authenticated = True
        self.parser.allowed = protocol.register_allowed(self._max_bytes)
