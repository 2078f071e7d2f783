"""The one exception whose message is meant for the user, and the hint that goes into many of them.

Raised anywhere in ``detector``; the command line prints the message on one line of stderr and exits
with code 2, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the message names the file and the way out."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'zebra'?)" when one of ``known`` resembles ``word``, else "".

    >>> did_you_mean("zebar", ["cat", "zebra"])
    " (did you mean 'zebra'?)"
    """
    by_lower_case = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f" (did you mean {by_lower_case[nearest[0]]!r}?)" if nearest else ""
