"""The messages between a site and the parameter server, and what each must contain.

::

    site                                  server
    HELLO      its nonce            ->
                                    <-    CHALLENGE   the server's nonce
    PROOF      it knows the token   ->
                                    <-    WELCOME     so does the server
    REGISTER   names, shapes, values->
                                    <-    START       iteration t to begin with, when all are there
    PULL t                          ->
                                    <-    PARAMETERS t, and the buffers if asked for
    COMMIT t   contributions        ->
                                    <-    ACK t       counted
    PULL t + 1                      ->                ... answered when all others have committed
    LEAVE                           ->
                                    <-    DONE        when everyone has left, or at once
    BYE                             ->                it has heard that

Both send HEARTBEAT while they let the other wait. An ERROR ends the connection. A task that lost
its connection begins again with HELLO; START then tells it the iteration after its last commit
that counted, and whether it had left: then it may pull its weights once more, and leave.
"""

from __future__ import annotations

import enum
import re

import numpy as np

from multitask.core.layout import BUFFER_DTYPES, MAX_NAMES, MAX_RANK, Layout
from multitask.core.registration import Registration
from multitask.errors import RegistrationError
from multitask.wire.frames import MAX_METADATA, Allowed, Frame


class Kind(enum.IntEnum):
    """The number of each message on the wire."""

    HELLO = 1
    PROOF = 2
    REGISTER = 3
    PULL = 4
    COMMIT = 5
    LEAVE = 6
    HEARTBEAT = 7
    BYE = 8
    CHALLENGE = 65
    WELCOME = 66
    START = 67
    PARAMETERS = 68
    ACK = 69
    DONE = 70
    ERROR = 71


HEX_32_BYTES = re.compile(r"[0-9a-f]{64}")
MAX_REPORT = 64  # numbers that a site tells about one iteration: losses, seconds, images


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and bool(HEX_32_BYTES.fullmatch(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _are_specs(value: object) -> bool:
    """[[name, dtype, [size, ...]], ...]; whether they make sense is for ``Layout`` to say."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_NAMES
        and all(isinstance(spec, list) and len(spec) == 3 for spec in value)
        and all(isinstance(name, str) and isinstance(dtype, str) for name, dtype, _ in value)
        and all(isinstance(shape, list) and len(shape) <= MAX_RANK for _, _, shape in value)
        and all(type(size) is int for _, _, shape in value for size in shape)
    )


def _is_report(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MAX_REPORT
        and all(len(name) <= 64 for name in value)
        # Not math.isfinite, which an integer of 400 digits overflows.
        and all(type(number) in (int, float) and abs(number) < 1e300 for number in value.values())
    )


# From the site. The payload of COMMIT is filled in when the task has registered.

HELLO = {Kind.HELLO: Allowed({"nonce": _is_hex})}
PROOF = {Kind.PROOF: Allowed({"proof": _is_hex})}
HEARTBEAT = {Kind.HEARTBEAT: Allowed({})}
LEAVING = {**HEARTBEAT, Kind.BYE: Allowed({})}


def register_allowed(max_bytes: int) -> dict[int, Allowed]:
    """What the server takes after the handshake: REGISTER with at most this much payload."""

    def size(metadata: dict) -> int:
        return sum(layout.nbytes for layout in _layouts(metadata, max_bytes))

    fields = {
        "task": _is_text,
        "site": _is_hex,
        "parameters": _are_specs,
        "buffers": _are_specs,
    }
    return {**HEARTBEAT, Kind.REGISTER: Allowed(fields, size, MAX_METADATA)}


def training_allowed(commit_bytes: int) -> dict[int, Allowed]:
    """What the server takes from a task whose commits have this size."""
    commit = Allowed({"absent": _are_texts, "report": _is_report}, commit_bytes, MAX_METADATA)
    return {
        **HEARTBEAT,
        Kind.COMMIT: commit,
        Kind.PULL: Allowed({"buffers": _is_bool}),
        Kind.LEAVE: Allowed({"wait": _is_bool}),
    }


# From the server.

FAILURE = {Kind.ERROR: Allowed({"code": _is_text, "message": _is_text}, max_metadata=2**16)}
CHALLENGE = {**FAILURE, Kind.CHALLENGE: Allowed({"nonce": _is_hex})}
WELCOME = {**FAILURE, Kind.WELCOME: Allowed({"proof": _is_hex, "sign_payload": _is_bool})}
WAITING = {**FAILURE, Kind.HEARTBEAT: Allowed({"waiting_for": _are_texts}, max_metadata=2**16)}
DONE = {**WAITING, Kind.DONE: Allowed({})}
ABOUT = {"run": _is_text, "rule": _is_object, "finished": _is_bool}
START = {**WAITING, Kind.START: Allowed(ABOUT, max_metadata=2**16)}
ACK = {**WAITING, Kind.ACK: Allowed({})}


def parameters_allowed(nbytes: int) -> dict[int, Allowed]:
    """What a site takes after PULL."""
    return {**WAITING, Kind.PARAMETERS: Allowed({}, nbytes)}


# The one message with a structure of its own.


def registration_message(registration: Registration, site: str) -> tuple[dict, list[np.ndarray]]:
    """Metadata and payload of REGISTER; ``site`` tells one process of a task from the next."""
    metadata = {
        "task": registration.task,
        "site": site,
        "parameters": registration.parameters.specs(),
        "buffers": registration.buffers.specs(),
    }
    return metadata, [registration.values, registration.buffer_values]


def read_registration(frame: Frame) -> Registration:
    """The registration in a REGISTER frame; its arrays are copies.

    Raises:
        RegistrationError, NonFiniteError: as ``Registration`` does.
    """
    parameters, buffers = _layouts(frame.metadata)
    values = frame.payload.copy()
    return Registration(
        frame.metadata["task"],
        parameters,
        values[: parameters.nbytes],
        buffers,
        values[parameters.nbytes :],
    )


def _layouts(metadata: dict, max_bytes: int | None = None) -> tuple[Layout, Layout]:
    parameters = Layout([tuple(spec) for spec in metadata["parameters"]])
    buffers = Layout([tuple(spec) for spec in metadata["buffers"]], BUFFER_DTYPES)
    total = parameters.nbytes + buffers.nbytes
    if max_bytes is not None and total > max_bytes:
        raise RegistrationError(f"{total} bytes to register, this server takes {max_bytes}")
    return parameters, buffers
