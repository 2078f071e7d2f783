"""Addresses and sockets: where a server listens, who can reach it, and how a site gets there.

An address is a text: ``unix:/path/to/socket``, ``host:port`` or ``[ipv6]:port``. Only this host is
allowed by default. An address that others can reach needs a token and TLS; ``insecure_lan`` gives
up TLS: then everybody on the way can read the weights, though not change them unnoticed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from multitask.errors import UnsafeAddressError

HAS_UNIX = hasattr(socket, "AF_UNIX")
MAX_UNIX_PATH = 100  # bytes; systems allow 104 to 108


class Address(NamedTuple):
    """A parsed address. ``host`` is "" for a Unix socket, whose path is in ``path``."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """ValueError, with an example, if the text is not an address."""
    if text.startswith("unix:"):
        path = os.path.abspath(text.removeprefix("unix:"))
        if not HAS_UNIX:
            raise ValueError(f"{text}: this system has no Unix sockets; use 127.0.0.1:0")
        if Path(path).is_dir():
            raise ValueError(f"{text}: a path for the socket in this folder, please")
        if len(os.fsencode(path)) > MAX_UNIX_PATH:
            raise ValueError(f"{text}: a path of at most {MAX_UNIX_PATH} bytes, please")
        return Address("", 0, path)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address like 127.0.0.1:29500 or unix:/tmp/server")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def local_address(folder: str | os.PathLike) -> str:
    """An address for a server in ``folder`` that only this host reaches: Unix socket, else TCP."""
    path = Path(folder).absolute() / "server.socket"
    fits = HAS_UNIX and len(os.fsencode(path)) <= MAX_UNIX_PATH
    return f"unix:{path}" if fits else "127.0.0.1:0"


def is_local(address: Address) -> bool:
    """Whether only this host can reach a server at ``address``."""
    if address.path:
        return True
    if not address.host:
        return False  # every interface
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"{address}: unknown host ({error})") from None
    return all(ipaddress.ip_address(entry[4][0].split("%")[0]).is_loopback for entry in found)


def check_safe(address: Address, token: bytes, tls: bool, insecure_lan: bool) -> None:
    """UnsafeAddressError unless strangers are kept out of a server at ``address``."""
    if is_local(address):
        return
    if not token:
        raise UnsafeAddressError(
            f"{address} can be reached from other machines: set a token (LIGHTHEAD_TOKEN or a "
            "token file), or listen on 127.0.0.1"
        )
    if not (tls or insecure_lan):
        raise UnsafeAddressError(
            f"{address} can be reached from other machines: give a TLS certificate, or say "
            "--insecure-lan (insecure_lan=True) if everyone on this network may read the weights"
        )


def listen(address: Address) -> socket.socket:
    """A listening, non-blocking socket.

    Raises:
        OSError: the address is taken or not of this machine.
    """
    if address.path:
        _remove_dead_socket(address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        # So that a restarted server gets its port back. On Windows the same option would let two
        # servers share a port, and nothing is needed.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if address.path:
            before = os.umask(0o177)  # the socket is born readable by its owner alone
            try:
                listener.bind(address.path)
            finally:
                os.umask(before)
        else:
            listener.bind((address.host, address.port))
        listener.listen(256)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{address}: {error.strerror or error}") from error
    return listener


def _remove_dead_socket(address: Address) -> None:
    """Remove the file that a killed server left; a living server keeps its own."""
    if not Path(address.path).is_socket():
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(address.path)
        except ConnectionRefusedError:
            os.unlink(address.path)
        except OSError:
            pass  # whatever it is, binding will tell


def bound_address(listener: socket.socket, asked: Address) -> Address:
    """The address with the port that the system chose for port 0."""
    return asked if asked.path else Address(asked.host, listener.getsockname()[1])


def connect(address: Address, timeout: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connected socket that gives up on any operation after ``timeout`` seconds.

    Raises:
        OSError: nobody listens there, or not in time, or the certificate is not trusted.
    """
    if address.path:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(address.path)
        except OSError:
            connection.close()
            raise
        return connection
    connection = socket.create_connection((address.host, address.port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # On failure wrap_socket closes what it was given.
    return tls.wrap_socket(connection, server_hostname=address.host) if tls else connection


def server_tls(certificate: str | os.PathLike, key: str | os.PathLike) -> ssl.SSLContext:
    """TLS for a server, from two PEM files.

    Raises:
        OSError: one cannot be read; ValueError: they are not a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (certificate, key):
        open(path, "rb").close()  # ssl itself does not say which file is missing
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(
            f"{certificate} and {key} are not a certificate and its key in PEM ({_why(error)})"
        ) from error
    return context


def site_tls(authority: str | os.PathLike | None = None) -> ssl.SSLContext:
    """TLS for a site that trusts ``authority`` (a PEM file; may be the server's own certificate).

    With None the certificates that this system trusts.

    Raises:
        OSError: the file cannot be read; ValueError: it holds no certificate.
    """
    if authority is not None:
        open(authority, "rb").close()
    try:
        context = ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise ValueError(f"{authority} is not a certificate in PEM ({_why(error)})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _why(error: ssl.SSLError) -> str:
    return error.reason or "no PEM at all"
