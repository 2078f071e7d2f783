"""Everything that can go wrong between a parameter server and its sites, each with its own class.

An error travels over the wire as the name of its class and its message (never as an object), and
the site raises the same class again: see ``from_code``.
"""

from __future__ import annotations


class MultitaskError(Exception):
    """Base of all errors of this package. The message is one line that says the way out."""


class RegistrationError(MultitaskError):
    """A task asked for something that cannot be registered; nothing of it was registered."""


class ShapeConflictError(RegistrationError):
    """Two tasks use one name for arrays of different shape or type."""


class InitialValueConflictError(RegistrationError):
    """Two tasks start one name from different values."""


class CommitError(MultitaskError):
    """A commit that the server does not count."""


class LateCommitError(CommitError):
    """A commit for an iteration that is over."""


class EarlyCommitError(CommitError):
    """A commit for an iteration that has not begun."""


class ConflictingCommitError(CommitError):
    """A second commit for the same iteration, with other contents."""


class NonFiniteError(CommitError):
    """NaN or infinity in a contribution or in an initial value."""


class StaleSessionError(MultitaskError):
    """The same task has joined again since: this older session no longer counts."""


class ProtocolError(MultitaskError):
    """The bytes that arrived are not what the protocol allows at this point."""


class AuthenticationError(MultitaskError):
    """The other side does not know the token."""


class UnsafeAddressError(MultitaskError):
    """An address that strangers can reach, without what keeps them out."""


class SnapshotError(MultitaskError):
    """A snapshot that is not whole, or that belongs to another training."""


class TrainingStoppedError(MultitaskError):
    """The server has given up; the message says why."""


class ConnectionLostError(MultitaskError):
    """The connection has ended before the answer came. Sites join again by themselves."""


class ServerUnreachableError(MultitaskError):
    """No server answered within the time allowed."""


def from_code(code: str, message: str) -> MultitaskError:
    """The error that the other side named, or a plain ``MultitaskError`` if we do not know it."""
    kind = globals().get(code)
    if not (isinstance(kind, type) and issubclass(kind, MultitaskError)):
        kind = MultitaskError
    return kind(message)
