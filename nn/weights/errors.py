"""The one error of the weight readers."""

from __future__ import annotations

import os


class WeightsError(ValueError):
    """A weight file is not what it claims to be. The message begins with the file's path."""

    def __init__(self, path: str | os.PathLike, problem: str):
        super().__init__(f"{os.fspath(path)}: {problem}")
