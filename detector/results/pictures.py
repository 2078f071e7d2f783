"""The pictures as they came, with their detections drawn in."""

from __future__ import annotations

import os
from pathlib import Path

from detector import own_files
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.evaluation.fonts import legend
from detector.results.result import Look, Result


class Pictures(Result):
    """JPEG stays JPEG and PNG stays PNG; what we do not write becomes PNG."""

    def check(self) -> None:
        given = {identity(source.path) for source in self.job.sources}
        for source in self.job.sources:
            path = self.job.out / source.result
            if os.path.lexists(path) and identity(path) in given:
                raise UserError(
                    f"--out {self.job.out} holds {source.result} itself: choose another folder"
                )
            is_own = own_files.is_own_video if source.is_video else own_files.is_own_picture
            own_files.check_free(path, is_own)

    def add(self, look: Look) -> None:
        if look.source.is_video:
            return
        shown = look.shown
        picture = draw_detections(
            look.image, shown["boxes"], shown["labels"], shown["scores"], self.job.classes
        )
        own_files.write_picture(self.job.out / look.source.result, picture)

    def finish(self) -> list[str]:
        others = {
            source.path.suffix.lower()
            for source in self.job.sources
            if not source.is_video and source.suffix != source.path.suffix
        }
        lines = [f"as PNG: the pictures that are {', '.join(sorted(others))}"] if others else []
        return [*lines, *filter(None, [legend(self.job.classes)])]


def identity(path: Path) -> tuple[int, int] | Path:
    """The same for all names of a file."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino
