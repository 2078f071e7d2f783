"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import argparse
import csv
import os

import nn
from detector.errors import UserError
from detector.training.presets import PRESETS, Recipe, preset

CLASSES_HELP = "only these (default: all); a name with a comma in double quotes"


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--data",
        required=required,
        metavar="DIR",
        help="folder in COCO's layout (annotations/instances_*.json and pictures) or VOC's "
        "(Annotations/*.xml and JPEGImages), as downloaded from Roboflow, or with XML files beside "
        "the pictures; or the word shapes for the built-in synthetic set",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        metavar="RUN_OR_FILE",
        help="a run folder (its best.ckpt, else its last.ckpt) or a checkpoint",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The options that ``recipe_of`` understands."""
    group = parser.add_argument_group("how")
    group.add_argument(
        "--preset",
        metavar="P",
        help=f"{', '.join(PRESETS)} (default: laptop; tiny for --data shapes)",
    )
    group.add_argument("--backbone", metavar="B", help="shufflenet_v2_x0_5, _x1_0, _x1_5 or _x2_0")
    group.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="how often each picture is seen (default: the preset's, more for a very small set)",
    )
    group.add_argument("--batch", type=int, metavar="N", help="pictures an iteration")
    group.add_argument("--lr", type=float, metavar="X", help="the highest learning rate")
    group.add_argument("--short-side", type=int, metavar="S", help="of the pictures, in pixels")
    group.add_argument(
        "--crop-iterations",
        type=int,
        metavar="N",
        help="without --init-from, so long the backbone first learns to tell apart crops of the "
        "objects",
    )
    group.add_argument(
        "--evaluate-every", type=int, metavar="N", help="epochs between two validations"
    )


def recipe_of(args: argparse.Namespace) -> tuple[str, Recipe]:
    """The preset's name, and its recipe with what else was given.

    Raises:
        UserError: there is no such preset, or a number makes no sense.
    """
    name = args.preset or ("tiny" if args.data == "shapes" else "laptop")
    recipe = preset(name)
    try:
        recipe = recipe.changed(
            backbone=args.backbone,
            epochs=args.epochs,
            least_iterations=0 if args.epochs else None,
            batch=args.batch,
            crop_iterations=args.crop_iterations,
            evaluate_every=args.evaluate_every,
        )
        if args.lr is not None:
            recipe = recipe.changed(lr_per_image=args.lr / recipe.batch)
        if args.short_side is not None:
            recipe = recipe.resized(args.short_side)
    except ValueError as error:
        raise UserError(str(error)) from error
    return name, recipe


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=threads,
        metavar="N",
        help=f"how many threads compute (default: {os.cpu_count()}, all); results do not depend "
        "on it",
    )


def threads(text: str) -> int:
    """The option's type: takes effect at once."""
    count = int(text)
    if not 1 <= count <= nn.get_num_threads():
        raise argparse.ArgumentTypeError(
            f"{count} is not between 1 and {nn.get_num_threads()}, the number of processors"
        )
    nn.set_num_threads(count)
    return count


def names(text: str) -> list[str]:
    """``a,b`` as a list, blanks around the names left out; ``"a, b",c`` are two names."""
    row = next(csv.reader([" ".join(text.splitlines())], skipinitialspace=True), [])
    return [name.strip() for name in row if name.strip()]
