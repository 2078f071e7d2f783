"""Who may join: both sides prove that they know the token, and neither ever sends it.

::

    site   -> server   n_s                                  32 random bytes
    server -> site     n_p                                  32 random bytes
    site   -> server   HMAC(token, "site" n_s n_p)          SHA-256 throughout
    server -> site     HMAC(token, "server" n_s n_p), and whether payloads are signed too

Then each direction has a key of its own, made from the token and both nonces, and every frame is
signed and counted (``frames.Seal``): what was recorded elsewhere or earlier does not fit. The site
goes first, so a stranger gets nothing to try tokens on.

The token comes from the environment or from a file that only its owner can read; never from the
command line, which every user of the machine can see. Without a token (on one host, where the
operating system keeps others out) the same exchange runs with an empty one.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping

from multitask.errors import AuthenticationError

TOKEN_VARIABLE = "LIGHTHEAD_TOKEN"
MIN_TOKEN = 16  # characters
ADVICE = 'make one with python -c "import secrets; print(secrets.token_hex(32))"'


def new_token() -> str:
    """A token of 32 random bytes in hexadecimal."""
    return secrets.token_hex(32)


def new_nonce() -> str:
    """32 random bytes in hexadecimal."""
    return secrets.token_hex(32)


def read_token(
    file: str | os.PathLike | None = None, environment: Mapping[str, str] = os.environ
) -> bytes:
    """The token in ``file``, else in the environment variable LIGHTHEAD_TOKEN, else b"".

    The same text is the same token in both: its bytes in UTF-8, without blanks around it.

    Raises:
        AuthenticationError: others can read the file, it holds no text, or the token is too short
            to be safe.
        OSError: the file cannot be read.
    """
    if file is None:
        where, token = TOKEN_VARIABLE, os.fsencode(environment.get(TOKEN_VARIABLE, ""))
    else:
        where, token = file, _read_private(file)
    token = token.removeprefix(codecs.BOM_UTF8).strip()
    try:
        token.decode()
    except UnicodeDecodeError:
        # Bytes that no editor shows, or an encoding in which another machine may not write it.
        raise AuthenticationError(f"{where} is not text in UTF-8; {ADVICE}") from None
    if token or file is not None:
        check_token(token)
    return token


def token_or_default(token: bytes | str | None) -> bytes:
    """The token that someone was given; None reads LIGHTHEAD_TOKEN, b"" is none.

    Raises:
        AuthenticationError: it is too short to be safe.
    """
    if token is None:
        return read_token()
    token = token.encode() if isinstance(token, str) else token
    if token:
        check_token(token)
    return token


def check_token(token: bytes) -> None:
    """AuthenticationError if the token could be guessed.

    Characters count, of which one may take several bytes.
    """
    try:
        characters: str | bytes = token.decode()
    except UnicodeDecodeError:
        characters = token  # random bytes, from a program
    if len(characters) < MIN_TOKEN:
        raise AuthenticationError(
            f"a token of {len(characters)} characters can be guessed, {MIN_TOKEN} are needed; "
            f"{ADVICE}"
        )


def _read_private(path: str | os.PathLike) -> bytes:
    # Looking at the open file: nobody can exchange it between the look and the read. O_NONBLOCK:
    # opening a pipe would wait for its other end.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise AuthenticationError(
            f"{path} is a link, which others may be able to exchange: name the file itself"
        ) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > 4096:
            raise AuthenticationError(f"{path} is not a file that holds a token")
        if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthenticationError(f"others can read {path}; close it with chmod 600 {path}")
        return os.read(handle, status.st_size)
    finally:
        os.close(handle)


def server_role(sign_payload: bool) -> str:
    """The server's label; it depends on what the server announces, so nobody can alter that."""
    return "server that signs payloads" if sign_payload else "server"


def proof(token: bytes, role: str, site_nonce: str, server_nonce: str) -> str:
    """How ``role`` (``"site"``, or ``server_role``) shows that it knows the token, hex."""
    return _keyed(token, role, site_nonce, server_nonce).hex()


def session_key(token: bytes, role: str, site_nonce: str, server_nonce: str) -> bytes:
    """The key with which ``"site"`` or ``"server"`` signs what it sends in this session."""
    return _keyed(token, f"key of the {role}", site_nonce, server_nonce)


def is_proof(given: str, token: bytes, role: str, site_nonce: str, server_nonce: str) -> bool:
    """Whether ``given`` is the proof, compared in constant time."""
    return hmac.compare_digest(given, proof(token, role, site_nonce, server_nonce))


def _keyed(token: bytes, label: str, site_nonce: str, server_nonce: str) -> bytes:
    text = f"lighthead multitask 1\n{label}\n{site_nonce}\n{server_nonce}"
    return hmac.new(token, text.encode(), hashlib.sha256).digest()
