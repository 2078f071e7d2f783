"""Find objects in pictures.

Writes each picture with its detections drawn in, as PNG, to the folder --out, where only results of
earlier runs are replaced, and two tables for spreadsheets: detections.csv, a row for each, and
counts.csv, a row for each picture. A folder stands for all pictures in it and below that are not
hidden, and a pattern like 'photos/*.jpg' for what fits it. A picture that cannot be read does not
stop the others: it is named on stderr, and the exit code is then 2.

Drawn and counted is what scores at least --score. Training finds out which score is best on the
pictures it measures with, the one with the highest F1, and that is what counts if you say nothing.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from detector import own_files
from detector.commands.options import add_threads, add_weights, names
from detector.datasets.dataset import known_classes
from detector.datasets.files import files_below
from detector.datasets.images import SUFFIXES, read_image
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.evaluation.detections import to_coco, write_detections
from detector.evaluation.fonts import legend
from detector.evaluation.tables import (
    COUNTS,
    DETECTIONS,
    Row,
    write_count_table,
    write_detection_table,
)
from detector.evaluation.threshold import DEFAULT_SCORE
from detector.evaluation.validation import picture_names, write_picture
from detector.progress import Progress
from detector.training.loading import load_detector
from nn.printable import printable

EXAMPLES = """examples:
  lighthead detect --weights runs/blood photo.jpg
  lighthead detect --weights runs/blood/best.ckpt photos/ more/1.png --out found --score 0.3
  lighthead detect --weights runs/blood photos/ --out found --json found/results.json

The JSON holds all detections above the detector's own floor, in the format of COCO's results with
the category ids of the training data. A picture named 000000000139.jpg gets the image_id 139, as in
COCO; if any name is not a number, or two are the same number, pictures are numbered from 1 in the
order in which they were given. Each entry has file_name too.
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
    parser.add_argument("--json", metavar="FILE", help="write all detections there (COCO results)")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if args.score is not None and not 0 <= args.score <= 1:
        raise UserError(f"--score is between 0 and 1, not {args.score}")
    out = Path(args.out)
    files, complaints = find_images(args.images, out)
    pictures = picture_names(files)
    check_results(files, out, pictures, args.json)
    detector = load_detector(args.weights)
    least = next(s for s in (args.score, detector.score, DEFAULT_SCORE) if s is not None)
    wanted = list(range(1, len(detector.classes) + 1))
    if args.classes is not None:
        own = known_classes(args.classes, detector.classes, "the detector")
        wanted = [detector.classes.index(name) + 1 for name in own]
    own_files.make_folder(out)
    if args.json:
        own_files.check_results_file(args.json, "--json")
    model = CompiledDetector(detector.model)
    results, rows = [], []
    work = zip(files, pictures, image_ids(files), strict=True)
    with Progress("detecting", len(files), unit="images") as progress:
        for file, picture, image_id in work:
            progress.step()
            try:
                image = read_image(file)
                (found,) = model.predict([image])
                sure = (found["scores"] >= least) & np.isin(found["labels"], wanted)
                shown = {name: values[sure] for name, values in found.items()}
                write_picture(out / picture, image, shown, detector.classes, 0.0)
            except UserError as error:
                complaints.append(str(error))
                continue
            results += [
                entry | {"file_name": str(file)}
                for entry in to_coco(image_id, found, detector.category_ids)
            ]
            rows.append(Row(file, shown["boxes"], shown["scores"], shown["labels"]))
            progress.say(f"{printable(out / picture)}  {len(shown['scores'])} objects")
    if files:
        write_detection_table(out / DETECTIONS, rows, detector.classes)
        write_count_table(out / COUNTS, rows, detector.classes)
        total = sum(len(row.scores) for row in rows)
        print(printable(f"{total} objects that score {least:.2f} or more: {out / DETECTIONS}"))
    if legend(detector.classes):
        print(legend(detector.classes))
    if args.json:
        write_detections(args.json, results)
        print(f"{len(results)} detections are in {args.json}")
    for complaint in complaints:
        print(f"lighthead: {printable(complaint)}", file=sys.stderr)
    return 2 if complaints else 0


def find_images(given: list[str], out: Path) -> tuple[list[Path], list[str]]:
    """All picture files that were meant, and a complaint for what is not there.

    Results of an earlier run, in ``out``, are not searched even if it is inside a given folder.
    """
    files: list[Path] = []
    complaints = []
    place = real_path(out)
    for name in given:
        path = Path(name)
        if path.is_dir():
            if place in (real_path(path), *real_path(path).parents):
                complaints.append(f"{path} is where results go: choose another --out than {out}")
                continue
            inside = [file for file in files_below(path) if place not in real_path(file).parents]
            pictures = [file for file in inside if file.suffix.lower() in SUFFIXES]
            if not pictures:
                complaints.append(f"there is no picture in {path} ({', '.join(SUFFIXES)})")
            others = Counter(file.suffix.lower() or "no suffix" for file in inside)
            counts = [
                f"{n} {suffix}" for suffix, n in sorted(others.items()) if suffix not in SUFFIXES
            ]
            if counts:
                print(printable(f"passed over in {path}: {', '.join(counts)}"))
            files += pictures
        elif os.path.lexists(path):
            files.append(path)  # what is no picture is complained about when it is read
        elif matches := sorted(Path(match) for match in glob.glob(name, recursive=True)):
            files += [match for match in matches if match.is_file()]
        else:
            complaints.append(f"{path} does not exist")
    return list(dict.fromkeys(files)), complaints


def real_path(path: Path) -> Path:
    """Where links lead. ``Path.resolve`` does not bear one that leads to itself."""
    return Path(os.path.realpath(path))


def check_results(files: list[Path], out: Path, pictures: list[str], json: str | None) -> None:
    """UserError where a result would replace one of the pictures or what is no earlier result."""
    given = {identity(file) for file in files}
    for picture in pictures:
        path = out / picture
        if os.path.lexists(path) and identity(path) in given:
            raise UserError(f"--out {out} holds {picture} itself: choose another folder")
        own_files.check_free(path, own_files.is_own_picture)
    own_files.check_free(out / DETECTIONS, own_files.is_own_table)
    own_files.check_free(out / COUNTS, own_files.is_own_table)
    if json and real_path(Path(json)) in {real_path(out / picture) for picture in pictures}:
        raise UserError(f"--json {json} is the name of a picture: choose another")


def identity(path: Path) -> tuple[int, int] | Path:
    """The same for all names of a file."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def image_ids(files: list[Path]) -> list[int]:
    """COCO's image ids where every file is named after its own, else 1, 2, ..."""
    stems = [file.stem for file in files]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(files) + 1))
