"""Look for mistakes in a data set before training on it, all of them at once.

Reads the annotations of every split, decodes every picture, and lists whatever makes the data
unusable and whatever was left out, clipped or looks suspicious. Then says how large the objects are
at the size at which the network sees them and how well its anchors fit them, and estimates how long
training takes from a few timed iterations. The exit code is 2 if something has to be mended.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from detector.commands.options import (
    CLASSES_HELP,
    add_data,
    add_recipe,
    add_threads,
    names,
    recipe_of,
)
from detector.datasets import Dataset, Problem, open_dataset, read_dataset, splits
from detector.datasets.inspection import (
    check_pictures,
    doubled_annotations,
    duplicate_pictures,
    similar_classes,
)
from detector.datasets.layout import WITHOUT_VAL, find_split, seen_line
from detector.datasets.learnable import learning_line, measuring_line
from detector.datasets.problems import WITHOUT
from detector.datasets.statistics import summarize, summary_table
from detector.errors import UserError
from detector.progress import Progress
from detector.reporting.data_page import write_data_page
from detector.training.estimate import time_training
from detector.training.fitting import fit_side
from detector.training.sessions import Session, choose_splits
from nn.printable import printable

EXAMPLES = """examples:
  lighthead check-data --data bccd
  lighthead check-data --data my-export --draw my-export.html
  lighthead check-data --data bccd --preset laptop --short-side 640 --classes RBC,Platelets
  lighthead check-data --data coco --split val2017 --no-timing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--split", metavar="NAME", help="look at this split only")
    parser.add_argument("--classes", type=names, metavar="A,B", help=CLASSES_HELP)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="pictures that are missing or damaged are mistakes too",
    )
    parser.add_argument(
        "--draw",
        metavar="FILE.html",
        help="write a page of pictures with their boxes: some of every class, and all suspicious",
    )
    parser.add_argument(
        "--no-timing", action="store_true", help="do not run the iterations that are timed"
    )
    add_recipe(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    name, recipe = recipe_of(args)
    known = splits(args.data)
    wanted = known if args.split is None else [find_split(args.split, known, args.data, "--split")]
    datasets = {split: read_dataset(args.data, split) for split in wanted}
    problems = find_problems(datasets, args.strict)
    if args.draw is not None:
        count = write_data_page(datasets, Path(args.draw))
        print(f"{count} pictures with their boxes: {args.draw}")
    fatal = [problem for problem in problems if problem.fatal]
    mended = [problem for problem in problems if not problem.fatal]
    for title, found in (("left out, clipped or suspicious", mended), ("to be mended", fatal)):
        if found:
            print(f"{len(found)} {title}:\n  " + "\n  ".join(map(str, found)))
    if fatal:
        raise UserError(
            f"{args.data} cannot be used yet: {len(fatal)} mistakes are to be mended (listed above)"
        )
    train, val = choose_splits(args.data, train_split(args), args.split)
    session = fit_side(
        Session(
            data=args.data, train=train, val=val, classes=args.classes, preset=name, recipe=recipe
        )
    )
    recipe, objective = session.recipe, session.objective()
    if line := seen_line(args.data, train, objective.train, objective.val):
        print(printable(line))
    image, anchors = recipe.model.image, objective.model.anchor_generator
    if not problems:
        print(printable(f"no mistakes in {' and '.join(wanted)}"))
    for split in wanted:
        dataset = open_dataset(args.data, split, args.classes)
        count = anchors.count_text() if anchors else "no anchors"
        print(
            f"\n{printable(split)}: {len(dataset)} pictures; seen by the network with a shorter "
            f"side of {image.short_side} pixels; {count}"
        )
        sizes = (image.short_side, image.max_side)
        if split == train.removesuffix(WITHOUT_VAL):
            print(printable(learning_line(dataset, split, *sizes)))
        else:
            print(printable(measuring_line(dataset, split)))
        print(summary_table(summarize(dataset, *sizes, *anchors_of(anchors))))
    if not args.no_timing:
        print("\ntiming a few iterations ...", flush=True)
        timing = time_training(objective)
        estimate = timing.sentence(recipe, len(objective), len(objective.val))
        print(f"training with the preset {name} takes about {estimate}")
    return 0


def anchors_of(generator) -> tuple[np.ndarray, int | np.ndarray]:
    """The shapes of the anchors and their strides; no shapes if there are no anchors."""
    return (np.zeros((0, 2)), 1) if generator is None else (generator.shapes, generator.stride)


def train_split(args: argparse.Namespace) -> str | None:
    """The split that the network is made for: --split, or "train" if there is such a one."""
    if args.split is not None:
        return args.split
    known = splits(args.data)
    return None if any(name.startswith("train") for name in known) else known[0]


def find_problems(datasets: dict[str, Dataset], strict: bool = False) -> list[Problem]:
    """Everything wrong with some splits: what their readers noticed, pictures, twins.

    Args:
        strict: what would be left out is to be mended.
    """
    problems = [problem for dataset in datasets.values() for problem in dataset.problems]
    pictures = sum(len(dataset) for dataset in datasets.values())
    with Progress("decoding", pictures, unit="images") as progress:
        for dataset in datasets.values():
            problems += similar_classes(dataset) + doubled_annotations(dataset)
            problems += check_pictures(dataset, after_image=progress.step)
    # What concerns all splits, each of their readers has found.
    problems = list(dict.fromkeys(problems + duplicate_pictures(datasets)))
    if strict:
        problems = [replace(p, fatal=p.fatal or p.outcome == WITHOUT) for p in problems]
    return problems
