"""A task's end of the connection: joins, commits, pulls, and stays alive while it computes.

Every call sends one message and waits for the answer. A second thread gives signs of life, so that
a site that computes for a minute is not taken for dead (the kernels let other threads run).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence

import numpy as np

from multitask.core.registration import Registration
from multitask.errors import (
    AuthenticationError,
    ConnectionLostError,
    MultitaskError,
    ServerUnreachableError,
    from_code,
)
from multitask.wire import authentication, protocol, transport
from multitask.wire.frames import Allowed, Frame, FrameParser, Seal, encode
from multitask.wire.protocol import Kind

LAST_WORDS = 1.0  # seconds to read what a server said before it hung up: it is there already
SLICE = 2**20  # bytes sent at a time: the time limit is for a slice, not for a whole network


class Site:
    """The connection of one task to a parameter server.

    Args:
        address: of the server.
        registration: what the task joins with, now and whenever it has to join again.
        token: as the server's; None reads LIGHTHEAD_TOKEN.
        tls: from ``transport.site_tls``, if the server uses TLS.
        patience: seconds to keep trying when no server answers.
        silence: seconds without a byte from the server after which it counts as lost.
        heartbeat: seconds between signs of life.

    Attributes:
        finished: the task had left when it joined again: it can fetch its weights, and leave.
        done: the server has said that training is over.
        run: the training this site belongs to, once it has started.
        rule: what the server does with contributions, as its ``describe`` says.
        waiting_for: the tasks that the server last said it waits for.
    """

    def __init__(
        self,
        address: str,
        registration: Registration,
        *,
        token: bytes | str | None = None,
        tls: ssl.SSLContext | None = None,
        patience: float = 60.0,
        silence: float = 10.0,
        heartbeat: float = 2.0,
    ):
        self.address, self.registration = transport.parse_address(address), registration
        self.done = self.finished = False
        self.run, self.rule, self.waiting_for = "", {}, []
        self._name = authentication.new_nonce()
        self._token = authentication.token_or_default(token)
        self._tls, self._patience, self._silence = tls, patience, silence
        self._socket: socket.socket | None = None
        self._parser, self._seal = FrameParser({}), Seal()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._registered = False
        self._pulse = threading.Thread(target=self._beat, args=(heartbeat,), daemon=True)

    # Joining

    def register(self) -> None:
        """Connect and register; keeps trying while there is no server.

        Raises:
            ServerUnreachableError: for longer than ``patience``.
            MultitaskError: whatever the server has against it.
        """
        if self._closed.is_set():
            raise MultitaskError(f"task {self.registration.task} has hung up; make a new optimiser")
        deadline, pause = time.monotonic() + self._patience, 0.05
        while True:
            try:
                self._connect()
                break
            except ssl.SSLCertVerificationError as error:
                raise AuthenticationError(f"{self.address}: {error.verify_message}") from error
            except (OSError, ConnectionLostError) as error:
                self._hang_up()
                if type(error) is ssl.SSLError:  # and not one of those for connections that end
                    raise AuthenticationError(
                        f"the server at {self.address} does not speak TLS as we do ({error.reason})"
                    ) from error
                if time.monotonic() + pause > deadline:
                    raise ServerUnreachableError(self._unreachable(error)) from error
                time.sleep(pause)
                pause = min(2 * pause, 1.0)
        if not self._pulse.is_alive():
            self._pulse.start()

    def _unreachable(self, error: Exception) -> str:
        tried = f"{self.address}, tried for {self._patience:.0f} s ({error})"
        if isinstance(error, ConnectionLostError) and self._tls is None:
            return f"no sensible answer from {tried}: if it wants TLS, name a certificate to trust"
        return f"no parameter server at {tried}"

    def start(self) -> int:
        """Wait until training starts; the iteration to go on with.

        Raises:
            ConnectionLostError: join again.
            MultitaskError: the server refuses, or this is not the training it was.
        """
        frame = self._receive(protocol.START)
        run, self.rule = frame.metadata["run"], frame.metadata["rule"]
        if self.run and run != self.run:
            self.close()
            raise MultitaskError(
                f"the server at {self.address} has begun another training: it has lost this one "
                "(were there no snapshots?)"
            )
        self.run, self.finished = run, frame.metadata["finished"]
        return frame.iteration

    def join(self) -> int:
        """``register`` and ``start``, again if the connection is lost in between."""
        while True:
            self.register()
            with contextlib.suppress(ConnectionLostError):
                return self.start()

    # One iteration

    def commit(
        self,
        iteration: int,
        contributions: np.ndarray,
        buffers: np.ndarray,
        absent: Sequence[str] = (),
        report: dict | None = None,
    ) -> None:
        """Send what this task contributes to an iteration; returns when it has been counted.

        Args:
            contributions, buffers: flat uint8 arrays in the layouts that were registered.
            absent: names without a contribution this time.
            report: numbers about the iteration, for the log of the server.

        Raises:
            ConnectionLostError: it may or may not have been counted: joining again will tell.
        """
        metadata = {"absent": list(absent), "report": report or {}}
        self._send(Kind.COMMIT, iteration, metadata, [contributions, buffers])
        self._receive(protocol.ACK)

    def pull(self, iteration: int, buffers: bool = False) -> np.ndarray:
        """The weights of a version, when they exist: flat uint8, valid until the next call.

        Args:
            buffers: whether the task's buffers shall follow, as of its last commit.
        """
        layouts = self.registration.parameters, self.registration.buffers
        nbytes = layouts[0].nbytes + (layouts[1].nbytes if buffers else 0)
        self._send(Kind.PULL, iteration, {"buffers": buffers})
        return self._receive(protocol.parameters_allowed(nbytes)).payload

    def leave(self, wait: bool) -> None:
        """Say that all iterations are done; with ``wait``, return when all others are too."""
        self._send(Kind.LEAVE, 0, {"wait": wait})
        self._receive(protocol.DONE)
        self.done = True
        # So that the server need not stay for us; if it misses this, it stays a few seconds more.
        with contextlib.suppress(ConnectionLostError):
            self._send(Kind.BYE, 0, {})
        self.close()

    def close(self) -> None:
        """Hang up for good."""
        self._closed.set()
        self._hang_up()

    # The connection

    def _connect(self) -> None:
        self._hang_up()
        self._parser, self._seal = FrameParser({}), Seal()
        self._socket = transport.connect(self.address, self._silence, self._tls)
        nonce = authentication.new_nonce()
        self._send(Kind.HELLO, 0, {"nonce": nonce})
        nonces = nonce, self._receive(protocol.CHALLENGE).metadata["nonce"]
        proof = authentication.proof(self._token, "site", *nonces)
        self._send(Kind.PROOF, 0, {"proof": proof})
        welcome = self._receive(protocol.WELCOME).metadata
        role = authentication.server_role(welcome["sign_payload"])
        if not authentication.is_proof(welcome["proof"], self._token, role, *nonces):
            raise AuthenticationError(f"the server at {self.address} does not know our token")
        for seal, label in ((self._seal, "site"), (self._parser.seal, "server")):
            seal.key = authentication.session_key(self._token, label, *nonces)
            seal.sign_payload = welcome["sign_payload"]
        metadata, payload = protocol.registration_message(self.registration, self._name)
        self._send(Kind.REGISTER, 0, metadata, payload)
        self._registered = True

    def _hang_up(self) -> None:
        self._registered = False
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the other thread if it is sending
        with self._sending:
            self._socket.close()
            self._socket = None

    def _send(self, kind: Kind, iteration: int, metadata: dict, payload: Sequence = ()) -> None:
        try:
            with self._sending:
                self._transmit(kind, iteration, metadata, payload)
        except ConnectionLostError:
            self._hear_why()
            raise

    def _hear_why(self) -> None:
        """The server may have said why, and hung up, long before we had anything to send.

        Raises:
            MultitaskError: that is so.
        """
        if self._socket is None:
            return
        with contextlib.suppress(ConnectionLostError):
            self._socket.settimeout(LAST_WORDS)
            while True:
                self._receive(protocol.DONE)

    def _transmit(self, kind: Kind, iteration: int, metadata: dict, payload: Sequence) -> None:
        if self._socket is None:
            raise ConnectionLostError("there is no connection")
        try:
            for piece in encode(self._seal, kind, iteration, metadata, payload):
                view = memoryview(piece)
                for begin in range(0, len(view), SLICE):
                    self._socket.sendall(view[begin : begin + SLICE])
        except OSError as error:
            raise ConnectionLostError(f"the connection was lost: {error}") from error

    def _receive(self, allowed: dict[int, Allowed]) -> Frame:
        """The next message that is not just a sign of life."""
        self._parser.allowed = allowed
        try:
            while True:
                count = self._socket.recv_into(self._parser.buffer())
                if count == 0:
                    raise ConnectionLostError("the server has hung up")
                frame = self._parser.advance(count)
                if frame is None:
                    continue
                if frame.kind == Kind.ERROR:
                    raise from_code(frame.metadata["code"], frame.metadata["message"])
                if frame.kind != Kind.HEARTBEAT:
                    return frame
                self.waiting_for = frame.metadata["waiting_for"]
        except ConnectionLostError:
            raise
        except OSError as error:
            raise ConnectionLostError(f"the connection was lost: {error}") from error
        except MultitaskError:
            self.close()
            raise

    def _beat(self, interval: float) -> None:
        while not self._closed.wait(interval):
            with self._sending, contextlib.suppress(ConnectionLostError):
                if self._registered:
                    self._transmit(Kind.HEARTBEAT, 0, {}, ())
