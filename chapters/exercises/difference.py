"""How what an answer returns differs from what is right, in half a sentence."""

from __future__ import annotations

import textwrap

import numpy as np

SHOWN = 110  # letters: a longer result is shown where it goes wrong, and there alone


def first_difference(got: object, wanted: object) -> str:
    """ "GOT, not WANTED", whole or at the first place where they differ; "" if they are equal."""
    place, mine, right = _differ(got, wanted)
    if place is None:
        return ""
    digits = 4 if show(mine) != show(right) else 12
    whole = f"{show(got, digits)}, not {show(wanted, digits)}"
    if place and (len(whole) > SHOWN or "an array (" in whole):
        return f"{show(mine, digits)} at {place}, not {show(right, digits)}"
    return whole


def _differ(got: object, wanted: object) -> tuple[str | None, object, object]:
    """The place of the first difference, None if there is none, and what is there in both."""
    if isinstance(wanted, np.ndarray):
        if np.shape(got) != wanted.shape:
            return "", got, wanted
        got = np.asarray(got)
        try:
            equal = np.isclose(got, wanted, equal_nan=True)
        except TypeError:  # no numbers
            equal = got == wanted
        if equal.all():
            return None, got, wanted
        place = np.unravel_index(np.argmin(equal), wanted.shape)
        return str(list(map(int, place))), got[place], wanted[place]
    if isinstance(wanted, (tuple, list, dict)):
        keys = list(wanted) if isinstance(wanted, dict) else range(len(wanted))
        kinds = dict if isinstance(wanted, dict) else (tuple, list, np.ndarray)
        if not isinstance(got, kinds) or len(got) != len(wanted):
            return "", got, wanted
        for key in keys:
            if isinstance(wanted, dict) and key not in got:
                return "", got, wanted
            place, mine, right = _differ(got[key], wanted[key])
            if place is not None:
                return f"[{key!r}]{place}", mine, right
        return None, got, wanted
    if isinstance(wanted, float) and isinstance(got, (int, float, np.number)):
        return (None if np.isclose(got, wanted, equal_nan=True) else ""), got, wanted
    if isinstance(wanted, (bytes, str)):
        return (None if got == wanted else ""), got, wanted
    return (None if np.array_equal(got, wanted) else ""), got, wanted


def show(value: object, digits: int = 4) -> str:
    """A value in one line, and large arrays by their shape alone."""
    if isinstance(value, np.ndarray):
        if value.size > 24:
            return f"an array {value.shape}"
        text = np.array2string(value, precision=digits, separator=", ", suppress_small=True)
    elif isinstance(value, (float, np.floating)):
        text = f"{value:.{digits}g}"
    elif isinstance(value, dict):
        text = (
            "{" + ", ".join(f"{key!r}: {show(item, digits)}" for key, item in value.items()) + "}"
        )
    elif isinstance(value, (tuple, list)):
        inside = ", ".join(show(item, digits) for item in value)
        text = f"[{inside}]" if isinstance(value, list) else f"({inside})"
    else:
        text = str(value) if isinstance(value, np.generic) else repr(value)
    return textwrap.shorten(" ".join(text.split()), 200, placeholder=" ...")
