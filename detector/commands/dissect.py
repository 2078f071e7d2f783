"""Look into a detector: one picture through every stage, as a page to open in a browser.

Anchors and what training would tell them, proposals before and after non-maximum suppression, what
the head cuts out for them and what it says, and the last suppression. With --data, the annotated
boxes of the picture are drawn too, and a table says of each object where it was lost. Every figure
says how to read it and which chapter explains it. One file, which needs no network.
"""

from __future__ import annotations

import argparse

from detector import own_files
from detector.commands.options import add_data, add_threads, add_weights, check_score
from detector.datasets import read_image
from detector.tools.dissect import dissect
from detector.tools.ground_truth import truth_of
from detector.training.loading import load_detector
from nn.printable import printable

EXAMPLES = """examples:
  lighthead dissect photo.jpg --weights runs/blood
  lighthead dissect bccd/val/BloodImage_00007.jpg --weights runs/blood --data bccd --out blood.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", metavar="PICTURE")
    add_weights(parser)
    add_data(parser, required=False)
    parser.add_argument(
        "--out",
        default="dissection.html",
        metavar="FILE.html",
        help="where the page goes (default: %(default)s)",
    )
    parser.add_argument(
        "--score",
        type=float,
        metavar="P",
        help="show detections from this score on (default: the best one, as detect does)",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    check_score(args.score)
    own_files.check_results_file(args.out, "--out", own_files.is_own_page)
    image = read_image(args.picture)
    detector = load_detector(args.weights)
    score = detector.least_score(args.score)
    target = truth_of(args.picture, args.data, detector.classes) if args.data else None
    dissect(args.out, detector, args.picture, image, target, score)
    print(printable(f"the page is in {args.out}"))
    return 0
