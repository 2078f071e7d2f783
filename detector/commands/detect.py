"""Find objects in pictures.

Writes each picture with its detections drawn in, as PNG, to the folder --out. A folder stands for
all pictures in it and below that are not hidden. A picture that cannot be read does not stop the
others: it is named on stderr, and the exit code is then 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from detector.commands.options import add_threads, add_weights
from detector.datasets.files import files_below
from detector.datasets.images import SUFFIXES, read_image
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.evaluation.detections import to_coco, write_detections
from detector.evaluation.fonts import legend
from detector.evaluation.validation import write_picture
from detector.progress import Progress
from detector.training.loading import load_detector

EXAMPLES = """examples:
  lighthead detect --weights runs/blood photo.jpg --out found
  lighthead detect --weights runs/blood/best.ckpt photos/ more/1.png --out found --score 0.3
  lighthead detect --weights runs/blood photos/ --out found --json found/results.json

The JSON holds all detections above the detector's own floor, in the format of COCO's results with
the category ids of the training data. A picture named 000000000139.jpg gets the image_id 139, as in
COCO; if any name is not a number, pictures are numbered from 1 in the order in which they were
given, and each entry has file_name too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    add_weights(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument(
        "--score",
        type=float,
        default=0.5,
        metavar="P",
        help="draw detections from this score on (default: 0.5)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all detections there (COCO results)")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.score <= 1:
        raise UserError(f"--score is between 0 and 1, not {args.score}")
    out = Path(args.out)
    files, complaints = find_images(args.images, out)
    detector = load_detector(args.weights)
    model = CompiledDetector(detector.model)
    out.mkdir(parents=True, exist_ok=True)
    results = []
    pictures = picture_names(files)
    with Progress("detecting", len(files), unit="images") as progress:
        for number, (file, picture) in enumerate(zip(files, pictures, strict=True), start=1):
            progress.step()
            try:
                image = read_image(file)
            except UserError as error:
                complaints.append(str(error))
                continue
            (found,) = model.predict([image])
            write_picture(out / picture, image, found, detector.classes, args.score)
            results += [
                entry | {"file_name": str(file)}
                for entry in to_coco(number, found, detector.category_ids)
            ]
            count = int((found["scores"] >= args.score).sum())
            progress.say(f"{out / picture}  {count} objects")
    if legend(detector.classes):
        print(legend(detector.classes))
    if args.json:
        write_detections(args.json, with_image_ids(results))
        print(f"{len(results)} detections are in {args.json}")
    for complaint in complaints:
        print(f"lighthead: {complaint}", file=sys.stderr)
    return 2 if complaints else 0


def find_images(given: list[str], out: Path) -> tuple[list[Path], list[str]]:
    """All picture files that were meant, and a complaint for what is not there.

    Results of an earlier run, in ``out``, are not searched even if it is inside a given folder.
    """
    files: list[Path] = []
    complaints = []
    for name in given:
        path = Path(name)
        if path.is_dir():
            results = os.path.realpath(out)
            inside = [
                file
                for file in files_below(path)
                if results not in map(str, Path(os.path.realpath(file)).parents)
            ]
            pictures = [file for file in inside if file.suffix.lower() in SUFFIXES]
            if not pictures:
                complaints.append(f"there is no picture in {path} ({', '.join(SUFFIXES)})")
            others = Counter(file.suffix.lower() or "no suffix" for file in inside)
            counts = [
                f"{n} {suffix}" for suffix, n in sorted(others.items()) if suffix not in SUFFIXES
            ]
            if counts:
                print(f"passed over in {path}: {', '.join(counts)}")
            files += pictures
        elif os.path.lexists(path):
            files.append(path)  # what is no picture is complained about when it is read
        else:
            complaints.append(f"{path} does not exist")
    return list(dict.fromkeys(files)), complaints


def picture_names(files: list[Path]) -> list[str]:
    """A name for each result: the picture's own, numbered where two would be the same."""
    names: dict[str, None] = {}
    for file in files:
        name, count = f"{file.stem}.png", 1
        while name in names:
            count += 1
            name = f"{file.stem}-{count}.png"
        names[name] = None
    return list(names)


def with_image_ids(results: list[dict]) -> list[dict]:
    """Results with COCO's image ids where every file is named after its own."""
    stems = {entry["file_name"]: Path(entry["file_name"]).stem for entry in results}
    if all(stem.isascii() and stem.isdigit() for stem in stems.values()):
        return [entry | {"image_id": int(stems[entry["file_name"]])} for entry in results]
    return results
