"""Measure a trained detector on annotated pictures.

Prints COCO's twelve figures and a table with average precision and recall of every class. The
detector's classes are found in the data set by their names; annotations of other classes are left
out, but not their pictures: what is found there counts as wrong. A class without a box in the split
shows "-".
"""

from __future__ import annotations

import argparse

from detector.commands.options import add_data, add_threads, add_weights
from detector.datasets import open_dataset, splits
from detector.datasets.layout import find_split
from detector.datasets.learnable import measuring_line
from detector.datasets.outlines import NoOutlinesError, with_outlines
from detector.datasets.problems import left_out, warning
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.evaluation.detections import write_detections
from detector.evaluation.validation import measure
from detector.own_files import check_results_file, is_own_page
from detector.training.loading import load_detector
from detector.training.reports import report
from nn.printable import printable

EXAMPLES = """examples:
  lighthead evaluate --weights runs/blood --data bccd --split val
  lighthead evaluate --weights runs/blood/last.ckpt --data bccd --split val --json found.json
  lighthead evaluate --weights runs/blood --data bccd --split test --report test.html
  lighthead evaluate --weights runs/few --data coco-mini --split train2017 --limit 8 --min-box 32
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    add_data(parser)
    parser.add_argument("--split", metavar="NAME", help="which part of the data set (default: val)")
    parser.add_argument("--limit", type=int, metavar="N", help="only its first N pictures")
    parser.add_argument(
        "--min-box",
        type=float,
        default=0.0,
        metavar="PX",
        help="leave out objects whose area is below PX x PX pixels at the size at which the "
        "network sees them; small, medium and large are then meant at that size too",
    )
    parser.add_argument("--json", metavar="FILE", help="write all detections there (COCO results)")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write a page there: curves, the best score, what is taken for what, kinds of "
        "mistakes, and the worst of them as pictures (training leaves one in its run)",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if args.json:
        check_results_file(args.json, "--json")
    if args.report:
        check_results_file(args.report, "--report", is_own_page)
        if args.min_box:
            raise UserError("--report is about objects of every size: leave out --min-box")
    detector = load_detector(args.weights)
    split = find_split(
        args.split or "val", splits(args.data, with_set_aside=True), args.data, "--split"
    )
    dataset = open_dataset(args.data, split, detector.classes, args.limit, with_others=True)
    if detector.model.has_masks:
        try:
            dataset = with_outlines(dataset)
        except NoOutlinesError:
            print(printable(f"{split} has boxes only: the masks that are found are not measured"))
    problems = dataset.problems
    for line in (measuring_line(dataset, split), left_out(problems), warning(problems)):
        if line:
            print(printable(line))
    evaluation, detections = measure(CompiledDetector(detector.model), dataset, args.min_box)
    print(evaluation.table())
    if args.json:
        write_detections(args.json, detections)
        print(f"detections are in {args.json}")
    if args.report:
        report(args.report, detector, dataset, evaluation, detections)
        print(f"the report is in {args.report}")
    return 0
