"""Find objects in pictures and videos.

Writes each picture with its detections drawn in to the folder --out, where only results of earlier
runs are replaced: JPEG stays JPEG, anything else becomes PNG. And two tables for spreadsheets:
detections.csv, a row for each, and counts.csv, a row for each picture. A folder stands for all
pictures in it and below that are not hidden, a pattern like 'photos/*.jpg' for what fits it, and -
for a picture from standard input. A picture that cannot be read does not stop the others: it is
named on stderr, and the exit code is then 2.

A video is named itself (pip install 'lighthead[video]'); the word webcam, or webcam:1 for the
second, stands for a camera, and Ctrl-C ends it. It is written as MP4, without sound, and its boxes
are drawn without their trembling; the tables hold every frame as it was seen.

Drawn and counted is what scores at least --score. Training finds out which score is best on the
pictures it measures with, the one with the highest F1, and that is what counts if you say nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path

import numpy as np

from detector import own_files
from detector.commands.options import add_threads, add_weights, check_score, names
from detector.datasets.dataset import known_classes
from detector.datasets.video import Frame, is_webcam
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.evaluation.threshold import DEFAULT_SCORE
from detector.interruption import Interrupted, InterruptionWatch
from detector.progress import Progress, Stopwatch
from detector.results import LABELS, RESULTS
from detector.results.result import Job, Look, Result, Source
from detector.results.sources import count_looks, find_sources, frames_of
from detector.results.tables import DETECTIONS
from detector.training.loading import LoadedDetector, load_detector
from nn.printable import printable

EXAMPLES = """examples:
  lighthead detect --weights runs/blood photo.jpg
  lighthead detect --weights runs/blood/best.ckpt photos/ more/1.png --out found --score 0.3
  lighthead detect --weights runs/blood photos/ --out found --json found/results.json
  lighthead detect --weights runs/blood photos/ --crops --labels yolo
  lighthead detect --weights runs/blood clip.mp4

--labels writes the pictures and what is drawn in them as a data set, for a labelling tool to
correct and for train to learn from.

The JSON holds all detections above the detector's own floor, in the format of COCO's results with
the category ids of the training data. A picture named 000000000139.jpg gets the image_id 139, as in
COCO; if any name is not a number, or two are the same number, pictures are numbered from 1 in the
order in which they were given, and so are the frames of videos. Each entry has file_name too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    add_weights(parser)
    parser.add_argument(
        "--out", default="found", metavar="DIR", help="where the pictures go (default: found)"
    )
    parser.add_argument(
        "--score",
        type=float,
        metavar="P",
        help=f"draw and count detections from this score on (default: the best one on the pictures "
        f"that training measured with, else {DEFAULT_SCORE})",
    )
    parser.add_argument("--classes", type=names, metavar="A,B", help="draw and count only these")
    parser.add_argument(
        "--crops", action="store_true", help="also cut each detection out, to DIR/crops/CLASS"
    )
    parser.add_argument(
        "--labels",
        choices=list(LABELS),
        help="also write a data set with the detections as its labels, to DIR/labels-FORMAT",
    )
    parser.add_argument("--json", metavar="FILE", help="write all detections there (COCO results)")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    check_score(args.score)
    out = Path(args.out)
    with tempfile.TemporaryDirectory() as spool:
        sources, complaints = find_sources(args.images, out, Path(spool))
        detector = load_detector(args.weights)
        finder = Finder(detector, args.score, args.classes)
        job = Job(out, sources, detector.classes, detector.category_ids, args.json)
        results = [kind(job) for kind in wanted(args)]
        for result in results:
            result.check()
        own_files.make_folder(out)
        complaints += look_at_all(job, finder, results)
    for complaint in complaints:
        print(f"lighthead: {printable(complaint)}", file=sys.stderr)
    return 2 if complaints else 0


def wanted(args: argparse.Namespace) -> list[type[Result]]:
    """The kinds of results."""
    more = [name for name in ("crops", "json") if getattr(args, name)]
    labels = [LABELS[args.labels]] if args.labels else []
    return labels + [RESULTS[name] for name in ("pictures", "videos", "tables", *more)]


class Finder:
    """A detector, and which of its detections are worth showing."""

    def __init__(self, detector: LoadedDetector, score: float | None, classes: list[str] | None):
        self.detector = detector
        self.least = detector.least_score(score)
        shown = detector.classes
        if classes is not None:
            shown = known_classes(classes, detector.classes, "the detector")
        self.labels = [detector.classes.index(name) + 1 for name in shown]

    @cached_property
    def model(self) -> CompiledDetector:
        return CompiledDetector(self.detector.model)

    def look(self, source: Source, frame: Frame) -> Look:
        (found,) = self.model.predict([frame.image])
        sure = (found["scores"] >= self.least) & np.isin(found["labels"], self.labels)
        shown = {name: values[sure] for name, values in found.items()}
        moment = (frame.number, frame.seconds) if source.is_video else ()
        return Look(source, frame.image, found, shown, *moment)


def look_at_all(job: Job, finder: Finder, results: list[Result]) -> list[str]:
    """Look at everything and write the results, also of what was done before it had to stop.

    Returns:
        complaints.
    """
    complaints, total = [], 0
    with ExitStack() as stack:
        for result in reversed(results):
            stack.callback(conclude, result)
        progress = Progress("detecting", count_looks(job.sources), unit="images")
        stack.enter_context(progress)
        watch = stack.enter_context(InterruptionWatch())
        for source in job.sources:
            clock, frames, objects = Stopwatch(), 0, 0
            try:
                with closing(frames_of(source)) as all_frames:
                    for frame in all_frames:
                        look = finder.look(source, frame)
                        for result in results:
                            result.add(look)
                        frames, objects = frames + 1, objects + len(look.shown["scores"])
                        progress.step()
                        if watch.requested:
                            break
            except UserError as error:
                complaints.append(str(error))
            if frames:
                speed = f"{frames} frames, {frames / clock.lap():.1f} a second, "
                place = printable(job.out / source.result)
                progress.say(f"{place}  {speed * source.is_video}{objects} objects")
            total += objects
            if watch.requested and not is_webcam(source.path):
                raise Interrupted(f"stopped: what was found until then is in {job.out}")
            watch.requested = False  # a webcam has no other end
        if job.sources:
            found = f"{total} objects that score {finder.least:.2f} or more"
            progress.say(printable(f"{found}: {job.out / DETECTIONS}"))
    return complaints


def conclude(result: Result) -> None:
    for line in result.finish():
        print(printable(line))
