"""The pictures as they came, with their detections drawn in."""

from __future__ import annotations

import os
from pathlib import Path

from detector import own_files
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.evaluation.fonts import legend
from detector.results.result import Job, Look, Result


class Pictures(Result):
    """JPEG stays JPEG and PNG stays PNG; what we do not write becomes PNG."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.others: set[str] = set()  # suffixes of what became PNG

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
            look.image, shown["boxes"], shown["labels"], shown["scores"], self.job.classes,
            shown.get("masks"),
        )  # fmt: skip
        own_files.write_picture(self.job.out / look.source.result, picture)
        if look.source.suffix != look.source.path.suffix:
            self.others.add(look.source.path.suffix.lower() or "without a suffix")

    def finish(self) -> list[str]:
        kinds = ", ".join(sorted(self.others))
        lines = [f"written as PNG: pictures that are {kinds}" if kinds else ""]
        return list(filter(None, [*lines, legend(self.job.classes)]))


def identity(path: Path) -> tuple[int, int] | Path:
    """The same for all names of a file."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino
