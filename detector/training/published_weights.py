"""Weights by name: the published file of a backbone, looked for on this machine, else downloaded.

The name of a file ends with the first digits of its SHA-256 (PyTorch's convention), so that a file
that was cut off, or is another one, is never taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

from detector.errors import UserError
from nn.models import NETWORKS

IMAGENET = "imagenet"
MAX_BYTES = 2**31
PIECE = 2**16
PATIENCE = 30.0  # seconds without a byte


def weights_file(source: str, network: str) -> str | Path:
    """The file that a run starts from: ``source`` itself, or what that name means for a network.

    Raises:
        UserError: see ``published_weights``.
    """
    return published_weights(network, source) if source == IMAGENET else source


def published_weights(backbone: str, name: str = IMAGENET) -> Path:
    """The file of a backbone's published weights.

    Looked for in the folder ``$LIGHTHEAD_WEIGHTS`` and in the user's cache, into which it is
    downloaded otherwise, once.

    Args:
        backbone: a name in ``NETWORKS``.
        name: of what it was trained on.

    Raises:
        UserError: there are none, or they cannot be had; says where to put the file.
    """
    known = NETWORKS[backbone](num_classes=None).weights
    if name not in known:
        raise UserError(
            f"no {name} weights of {backbone} are published that I know: name a file with "
            "--init-from, or --init-from none"
        )
    url = known[name]
    file = PurePosixPath(url).name
    own = os.environ.get("LIGHTHEAD_WEIGHTS")
    if own and (Path(own) / file).is_file():
        path = Path(own) / file
        if not is_whole(path):
            raise UserError(f"{path} is damaged (its SHA-256 is another): replace it by {url}")
        return path
    path = cache_folder() / file
    if path.is_file() and is_whole(path):
        return path
    download(url, path)
    return path


def cache_folder() -> Path:
    """Where this user's downloads are kept."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lighthead" / "weights"


def digits(path: str | os.PathLike) -> str:
    """The beginning of the SHA-256 that a file's name states."""
    return re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", PurePosixPath(path).name)[1]


def is_whole(path: Path) -> bool:
    """Whether a file is the one that its name says."""
    return sha256(path).startswith(digits(path))


def sha256(path: str | os.PathLike) -> str:
    """The hash of a file's bytes, in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def download(url: str, path: Path) -> None:
    """Get a file. It has its name only once it is whole and right; who else downloads it does so
    under a name of their own.

    Raises:
        UserError: it cannot be had, or is another one than its name says.
    """
    way_out = f"put {url} into {path.parent}, or start from random weights with --init-from none"
    print(f"downloading {path.name}, once ...", flush=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".part")
    except OSError as error:
        raise UserError(f"cannot write to {path.parent} ({error.strerror}): {way_out}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            fetch(url, file)
            file.flush()
            os.fsync(file.fileno())
        found = sha256(part)
        if not found.startswith(digits(path)):
            raise UserError(
                f"what came from {url} is cut off or another file (its SHA-256 begins with "
                f"{found[:10]}): try again, or {way_out}"
            )
        os.replace(part, path)
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(f"cannot download {path.name} ({reason}): {way_out}") from None
    finally:
        if os.path.exists(part):
            os.unlink(part)


def fetch(url: str, file) -> None:
    """Copy what a server sends into an open file.

    Raises:
        OSError, ValueError: it does not, or sends too much.
    """
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        size = 0
        while piece := answer.read(PIECE):
            size += len(piece)
            if size > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES >> 30} GiB came")
            file.write(piece)
