"""Settings: the numbers of a part, in a frozen dataclass beside it, where each stands once.

A detector's settings are made of those of its parts. They are read from JSON (a run's
``config.json``, a checkpoint), which nobody guarantees: every value is held against its annotation,
and what does not fit is named by its path, ``rpn.matcher.positive_iou``. By the same path the
command line changes it.
"""

from __future__ import annotations

import contextlib
import reprlib
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as annotations_of

import numpy as np

from nn.printable import printable
from nn.table import did_you_mean

# There can be so many of anything, and so many values in a list; more is a damaged file.
MOST, MOST_VALUES = 2**20, 2**14
LEAST = 1e-12  # stands for everything greater than 0


class Range(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float

    def __str__(self) -> str:
        if self.high < MOST:
            return f"from {self.low} to {self.high}"
        return "greater than 0" if self.low == LEAST else f"at least {self.low}"


Count = Annotated[int, Range(1, MOST)]
Channels = Annotated[int, Range(1, 2**14)]  # of a layer
Side = Annotated[int, Range(1, 2**12)]  # of a picture as a network sees it, in pixels
Fraction = Annotated[float, Range(0.0, 1.0)]
Positive = Annotated[float, Range(LEAST, 1e12)]
NotNegative = Annotated[float, Range(0.0, 1e12)]

LARGEST = sys.float_info.max  # of all numbers; Python's whole ones do not end there

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """Base of all settings.

    Fields are numbers, words, tuples of them, or settings again; JSON's lists become tuples, and
    its objects settings.

    Raises:
        ValueError: a value is none that its field can have; names the field.
    """

    def __post_init__(self):
        kinds = annotations_of(type(self), include_extras=True)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(entry.default, Settings) and isinstance(value, Mapping):
                with _below(entry.name):
                    value = entry.default.updated(value)
            object.__setattr__(self, entry.name, fitting(value, kinds[entry.name], entry.name))

    @classmethod
    def of(cls: type[S], values: Mapping[str, Any]) -> S:
        """The defaults, ``updated`` with what ``as_dict`` returned, maybe by way of JSON."""
        return cls().updated(values)

    def updated(self: S, values: Mapping[str, Any]) -> S:
        """A copy with other values by name; where a value is a mapping, it updates a part.

        Raises:
            ValueError: a name is unknown (suggests the nearest), or a value does not fit.
        """
        new = {}
        for name, value in values.items():
            self._check_name(name)
            part = getattr(self, name)
            if isinstance(part, Settings) and isinstance(value, Mapping):
                with _below(name):
                    value = part.updated(value)
            new[name] = value
        return replace(self, **new)

    def as_dict(self) -> dict:
        """The fields by name in plain Python types, settings as dicts."""
        return {
            entry.name: value.as_dict() if isinstance(value, Settings) else value
            for entry in fields(self)
            for value in [getattr(self, entry.name)]
        }

    def changed(self: S, path: str, value: Any) -> S:
        """A copy in which the field that ``path`` leads to has another value.

        Raises:
            ValueError: the path leads nowhere (says what there is), or the value does not fit.
        """
        name, _, rest = path.partition(".")
        self._check_name(name)
        part = getattr(self, name)
        if rest and not isinstance(part, Settings):
            raise ValueError(f"{name} is a value: there is no {path}")
        if rest:
            with _below(name):
                value = part.changed(rest, value)
        elif isinstance(part, Settings) and not isinstance(value, Mapping | Settings):
            inside = ", ".join(entry.name for entry in fields(part))
            raise ValueError(f"{name} is no single value: choose one of its {inside}")
        return replace(self, **{name: value})

    @classmethod
    def _check_name(cls, name: str) -> None:
        known = [entry.name for entry in fields(cls)]
        if name not in known:
            raise ValueError(
                f"there is no {printable(name, 80)}{did_you_mean(name, known)}: choose one of "
                f"{', '.join(known)}"
            )


@contextlib.contextmanager
def _below(name: str) -> Iterator[None]:
    """Puts the name of a part before the complaint about what is in it."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        between = ": " if text.startswith("there is no ") else "."
        raise ValueError(f"{name}{between}{text}") from None


def fitting(value: Any, kind: Any, name: str) -> Any:
    """``value`` as the annotation ``kind`` of the field ``name`` wants it.

    Raises:
        ValueError: it cannot be that.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = fitting(value, arguments[0], name)
        allowed = arguments[1]
        if not allowed.low <= value <= allowed.high:
            is_too_much = value > allowed.high >= MOST  # of which the range itself says nothing
            wanted = f"at most {allowed.high}" if is_too_much else allowed
            raise ValueError(f"{name} must be {wanted}, not {shown(value)}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return fitting(value, kind, name)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ValueError(
                f"{name} must be one of {', '.join(map(str, arguments))}, not {shown(value)}"
                f"{did_you_mean(str(value)[:80], map(str, arguments)) * isinstance(value, str)}"
            )
        return value
    if origin is tuple:
        return _tuple(value, arguments, name)
    if isinstance(kind, type) and issubclass(kind, Settings):
        if not isinstance(value, kind):
            raise ValueError(f"{name} must hold settings by name, not {shown(value)}")
        return value
    return _plain(value, kind, name)


def _tuple(value: Any, arguments: tuple, name: str) -> tuple:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list, not {shown(value)}")
    if len(value) > MOST_VALUES:
        raise ValueError(f"{name} can be {MOST_VALUES} values at most, not {len(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ValueError(f"{name} must be {len(arguments)} values, not {len(value)}")
    return tuple(fitting(part, kind, name) for part, kind in zip(value, arguments, strict=True))


PLAIN = {
    bool: (bool, "true or false"),
    int: (int | np.integer, "a whole number"),
    float: (int | float | np.integer | np.floating, "a number"),
    str: (str, "a word"),
}


def _plain(value: Any, kind: type, name: str) -> Any:
    types_, word = PLAIN[kind]
    is_kind = isinstance(value, types_) and (kind is bool or not isinstance(value, bool))
    if not is_kind or (kind is float and not abs(value) <= LARGEST):
        raise ValueError(f"{name} must be {word}, not {shown(value)}")
    return kind(value)


def shown(value: Any) -> str:
    """A value in a message: however long and however deep, a few words."""
    return _short.repr(value)
