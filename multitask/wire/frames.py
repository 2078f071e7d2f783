"""Frames: how one message lies in the stream of bytes, and the parser that trusts none of them.

::

    magic       4  b"LHMT"
    version     2  major, minor; another major version is refused
    kind        1  which message (see ``protocol``)
    flags       1  0
    sequence    8  0, 1, 2, ... in each direction of a connection
    iteration   8  what the message is about
    metadata    4  length of the metadata
    payload     8  length of the payload
    crc         4  CRC32 of the 36 bytes above, the metadata and the payload
    mac        32  HMAC-SHA256 with the key of the session, or zeros before there is one
    ... metadata   a JSON object
    ... payload    raw little-endian arrays

All numbers are little-endian. The MAC covers the 40 bytes before it and the metadata, and with them
through the CRC also the payload, against accidents; against forgers only where ``sign_payload`` is
set, which costs some 30 ms for 10 MB and is pointless on one host or inside TLS.

No input or output happens here: bytes go in, frames come out. What may come next, and how large it
must be, is known before a byte of it is read (``Allowed``), so a peer never chooses how much memory
it gets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from multitask.errors import ProtocolError

MAGIC = b"LHMT"
VERSION = (1, 0)
HEADER = struct.Struct("<4sBBBBQQIQI32s")
CHECKED = HEADER.size - 36  # bytes under the CRC
SIGNED = HEADER.size - 32  # bytes under the MAC
MAX_METADATA = 2**20


class Frame(NamedTuple):
    """One message. ``payload`` is (n,) uint8 and stays valid until the parser is fed again."""

    kind: int
    iteration: int
    metadata: dict
    payload: np.ndarray


class Allowed(NamedTuple):
    """What a frame of one kind must look like.

    Attributes:
        fields: the keys of the metadata, exactly these, each with a test of its value.
        payload: the exact length of the payload, or a function of the metadata that returns it.
        max_metadata: the most bytes of metadata.
    """

    fields: Mapping[str, Callable[[object], bool]]
    payload: int | Callable[[dict], int] = 0
    max_metadata: int = 1024


class Seal:
    """One direction of a connection: counts its frames and signs them once there is a key."""

    def __init__(self):
        self.sequence = 0
        self.key: bytes | None = None
        self.sign_payload = False

    def mac(self, signed: bytes, metadata: bytes, payload: Sequence) -> bytes:
        """The MAC of a frame: its first 40 bytes, its metadata, its payload in pieces."""
        if self.key is None:
            return bytes(32)
        digest = hmac.new(self.key, signed, hashlib.sha256)
        digest.update(metadata)
        for part in payload if self.sign_payload else ():
            digest.update(part)
        return digest.digest()


def encode(
    seal: Seal,
    kind: int,
    iteration: int = 0,
    metadata: dict | None = None,
    payload: Sequence[np.ndarray] = (),
) -> list[bytes | memoryview]:
    """A frame as pieces to be sent one after the other; the arrays are not copied."""
    text = json.dumps(metadata or {}, separators=(",", ":"), allow_nan=False).encode()
    parts = [memoryview(array).cast("B") for array in payload if array.nbytes]
    length = sum(part.nbytes for part in parts)
    fields = (MAGIC, *VERSION, kind, 0, seal.sequence, iteration, len(text), length)
    checked = HEADER.pack(*fields, 0, b"")[:CHECKED]
    crc = zlib.crc32(text, zlib.crc32(checked))
    for part in parts:
        crc = zlib.crc32(part, crc)
    signed = checked + crc.to_bytes(4, "little")
    seal.sequence += 1
    return [signed + seal.mac(signed, text, parts) + text, *parts]


class FrameParser:
    """Turns the bytes of one direction into frames.

    Either ``feed`` it bytes, or, without a copy, receive into ``buffer()`` and say how many with
    ``advance``. After an error the parser is of no use: close the connection.

    Attributes:
        allowed: what may come next, by kind. The owner changes it as the conversation goes on.
        seal: the sequence and the key to check against.
    """

    def __init__(self, allowed: Mapping[int, Allowed]):
        self.allowed = allowed
        self.seal = Seal()
        self._payload = np.empty(0, np.uint8)
        self._expect_header()

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that end within ``data``; their payloads are copies.

        Raises:
            ProtocolError: the bytes are not a frame that is allowed here.
        """
        frames, data = [], memoryview(data)
        while data:
            target = self.buffer()
            count = min(len(target), len(data))
            target[:count] = data[:count]
            data = data[count:]
            frame = self.advance(count)
            if frame:
                frames.append(frame._replace(payload=frame.payload.copy()))
        return frames

    def buffer(self) -> memoryview:
        """Where the next bytes go; at least one."""
        return self._target[self._filled :]

    def advance(self, count: int) -> Frame | None:
        """``count`` bytes have been put into ``buffer()``; the frame, if they complete one.

        Raises:
            ProtocolError: as in ``feed``.
        """
        self._filled += count
        if self._then == self._header_done:
            begun = bytes(self._target[: min(self._filled, len(MAGIC))])
            if not MAGIC.startswith(begun):
                raise ProtocolError(f"this is not our protocol: it begins with {begun!r}")
        frame = None
        while frame is None and self._filled == len(self._target):
            frame = self._then()
        return frame

    def _expect(self, target, then: Callable[[], Frame | None]) -> None:
        self._target, self._filled, self._then = memoryview(target), 0, then

    def _expect_header(self) -> None:
        self._expect(bytearray(HEADER.size), self._header_done)

    def _header_done(self) -> None:
        self._header = bytes(self._target)
        _, major, _, kind, flags, sequence, self._iteration, metadata, payload, _, _ = (
            HEADER.unpack(self._header)
        )
        if major != VERSION[0]:
            raise ProtocolError(f"version {major} of the protocol, we speak {VERSION[0]}")
        if kind not in self.allowed:
            raise ProtocolError(f"a message of kind {kind} is out of place here")
        if flags:
            raise ProtocolError(f"unknown flags {flags}")
        if sequence != self.seal.sequence:
            raise ProtocolError(f"message {sequence} where {self.seal.sequence} was due")
        self._kind, self._length = kind, payload
        allowed = self.allowed[kind]
        if metadata > min(allowed.max_metadata, MAX_METADATA):
            raise ProtocolError(f"{metadata} bytes of metadata, {allowed.max_metadata} are allowed")
        if not callable(allowed.payload):
            self._check_length(allowed.payload)
        self._expect(bytearray(metadata), self._metadata_done)

    def _metadata_done(self) -> None:
        self._text = bytes(self._target)
        self._metadata = parse_json(self._text)
        allowed = self.allowed[self._kind]
        if set(self._metadata) != set(allowed.fields):
            raise ProtocolError(f"a message of kind {self._kind} needs exactly {[*allowed.fields]}")
        for name, is_valid in allowed.fields.items():
            if not is_valid(self._metadata[name]):
                raise ProtocolError(f"{name} cannot be {str(self._metadata[name])[:80]!r}")
        if callable(allowed.payload):
            self._check_length(allowed.payload(self._metadata))
        if self._payload.nbytes != self._length:  # otherwise used again: no new pages to fill
            self._payload = np.empty(self._length, np.uint8)
        self._expect(self._payload, self._payload_done)

    def _check_length(self, due: int) -> None:
        if self._length != due:
            raise ProtocolError(f"a payload of {self._length} bytes where {due} are due")

    def _payload_done(self) -> Frame:
        crc = zlib.crc32(self._payload, zlib.crc32(self._text, zlib.crc32(self._header[:CHECKED])))
        if crc.to_bytes(4, "little") != self._header[CHECKED:SIGNED]:
            raise ProtocolError("the checksum is wrong: the message was damaged on its way")
        mac = self.seal.mac(self._header[:SIGNED], self._text, [self._payload])
        if not hmac.compare_digest(mac, self._header[SIGNED:]):
            raise ProtocolError("the signature is wrong: the message is not from this session")
        self.seal.sequence += 1
        self._expect_header()
        return Frame(self._kind, self._iteration, self._metadata, self._payload)


def parse_json(text: bytes) -> dict:
    """A JSON object without repeated keys, NaN or infinity, or ProtocolError."""
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the metadata is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError("the metadata is not a JSON object")
    return value


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
