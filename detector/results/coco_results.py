"""All detections above the detector's own floor, in the format of COCO's results."""

from __future__ import annotations

import os
from pathlib import Path

from detector import own_files
from detector.errors import UserError
from detector.evaluation.detections import to_coco, write_detections
from detector.results.result import Job, Look, Result, Source


class CocoResults(Result):
    """The JSON of ``--json``; entries also have ``file_name``, and those of videos ``frame`` (from
    1) and ``seconds``."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.ids = image_ids(job.sources)
        self.entries: list[dict] = []
        self.looks = 0

    def check(self) -> None:
        path, out = self.job.json, self.job.out
        places = {os.path.realpath(out / source.result) for source in self.job.sources}
        if os.path.realpath(path) in places:
            raise UserError(f"--json {path} is the name of a picture: choose another")
        own_files.make_folder(out)  # where it may go
        own_files.check_results_file(path, "--json")

    def add(self, look: Look) -> None:
        self.looks += 1
        more = {"file_name": look.source.given}
        if look.frame is not None:
            more |= {"frame": look.frame, "seconds": look.seconds}
        number = self.ids.get(look.source, self.looks)
        found = to_coco(number, look.in_file(look.found), self.job.category_ids, look.file_size)
        self.entries += [entry | more for entry in found]

    def finish(self) -> list[str]:
        write_detections(Path(self.job.json), self.entries)
        return [f"{len(self.entries)} detections are in {self.job.json}"]


def image_ids(sources: list[Source]) -> dict[Source, int]:
    """COCO's image ids where every file is named after its own, else 1, 2, ...; {} for the order in
    which frames come, if there are videos."""
    if any(source.is_video for source in sources):
        return {}
    stems = [source.path.stem for source in sources]
    numbers = list(range(1, len(sources) + 1))
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        own = [int(stem) for stem in stems]
        numbers = own if len(set(own)) == len(own) else numbers
    return dict(zip(sources, numbers, strict=True))
