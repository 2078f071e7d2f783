"""Numba's cache on disk, made to notice edits in the files that a kernel imports.

Numba recompiles a cached kernel when the kernel's own file has changed, but the machine code also
holds whatever the kernel called in other files: after an edit (or an upgrade) there, it would go
on running the old code. The locators below, Numba's own hook for this, let the stamp of a file
cover the kernel files it imports.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numba
from numba.core import caching, event
from numba.core.ccallback import CFunc

IMPORT = re.compile(r"^from nn\.kernels\.([\w.]+) import", re.MULTILINE)
KERNELS = Path(__file__).parent.parent


def sources(path: Path) -> set[Path]:
    """``path`` and all the kernel files it imports, directly or not."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            names = IMPORT.findall(file.read_text(encoding="utf-8"))
            waiting += [KERNELS.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    return found


@functools.cache
def stamp(path: Path) -> str:
    """A digest of everything the machine code of the kernels in ``path`` was made from."""
    digest = hashlib.sha256()
    for file in sorted(sources(path)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


class _Stamped:
    def get_source_stamp(self):
        return stamp(Path(self._py_file))


class UserProvided(_Stamped, caching.UserProvidedCacheLocator):
    """Where ``NUMBA_CACHE_DIR`` says."""


class InTree(_Stamped, caching.InTreeCacheLocator):
    """In ``__pycache__`` beside the source, if that can be written."""


class UserWide(_Stamped, caching.UserWideCacheLocator):
    """In the user's own cache folder: installations that only an administrator may write."""


def compile_cached(function, **flags):
    """``numba.njit`` with the cache above, or without any where no folder can be written."""
    return _with_cache(lambda cache: numba.njit(function, cache=cache, **flags))


def callback(function, signature, **flags):
    """``numba.cfunc`` likewise: machine code that has an ``address``, for these types only."""

    def compile(cache: bool) -> Callback:
        made = Callback(function, (signature.args, signature.return_type), {}, flags)
        if cache:
            made.enable_caching()
        made.compile()
        return made

    return _with_cache(compile)


class Callback(CFunc):
    """Numba's, of which listeners hear when it is compiled, as they do of everything else."""

    @property
    def py_func(self):
        return self._pyfunc

    def _compile_uncached(self):
        with event.trigger_event("numba:compile", {"dispatcher": self}):
            return super()._compile_uncached()


def _with_cache(compile: Callable):
    """``compile(cache)`` with the locators above."""
    before = getattr(numba.config, "CACHE_LOCATOR_CLASSES", "")
    numba.config.CACHE_LOCATOR_CLASSES = ",".join(
        f"{__name__}.{locator.__name__}" for locator in (UserProvided, InTree, UserWide)
    )
    try:
        return compile(True)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return compile(False)
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
