"""A non-blocking socket, plain or TLS, and the ``Peer`` behind it: bytes in, bytes out."""

from __future__ import annotations

import contextlib
import socket
import ssl

from multitask.server.peer import Peer

READS = 64  # in a row, before other connections get their turn
UNIX = getattr(socket, "AF_UNIX", None)


class Connection:
    """The server's end of a connection.

    Args:
        accepted: the socket, as ``accept`` returned it.
        peer: what gets the bytes and has some to send.
        tls: None for a plain connection.

    Attributes:
        draining_since: when the last byte was sent to a peer that is hung up on, or, where it has
            proved itself, received from it; None before.
    """

    def __init__(self, accepted: socket.socket, peer: Peer, tls: ssl.SSLContext | None):
        accepted.setblocking(False)
        if accepted.family != UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer, self.draining_since = peer, None
        self._is_shaking = tls is not None  # hands, in TLS
        self.socket = accepted
        if tls:
            self.socket = tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)

    @property
    def wants_to_write(self) -> bool:
        return bool(self.peer.outbox)

    def read(self, now: float) -> bool:
        """Receive what is there. False when the connection has ended."""
        try:
            if self._is_shaking:
                self.socket.do_handshake()
                self._is_shaking = False
            reads = 0
            # What TLS has decrypted and not handed out yet would not wake the selector.
            while reads < READS or (isinstance(self.socket, ssl.SSLSocket) and self._pending()):
                reads += 1
                if self.peer.closing:
                    if not self.socket.recv(65536):
                        return False
                    if self.draining_since is not None and self.peer.authenticated:
                        self.draining_since = now  # it reads why only when it has sent everything
                    continue
                count = self.socket.recv_into(self.peer.parser.buffer())
                if count == 0:
                    return False
                self.peer.advance(count, now)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        return True

    def _pending(self) -> bool:
        return self.socket.pending() > 0

    def write(self, now: float) -> bool:
        """Send what fits. False when the connection has ended."""
        outbox = self.peer.outbox
        try:
            while outbox and not self._is_shaking:
                sent = self.socket.send(outbox[0])
                outbox[0] = outbox[0][sent:]
                if not outbox[0]:
                    outbox.popleft()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        if self.peer.closing and not outbox and self.draining_since is None:
            # Say that nothing more will come, but read on for a moment: closing with unread input
            # would take the last message away from the peer.
            self.draining_since = now
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        return True
