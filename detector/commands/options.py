"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Iterable, Iterator

import nn
from detector.errors import UserError
from detector.settings import Settings
from detector.training.presets import PRESETS, preset
from detector.training.recipe import Recipe

# In this order: the learning rate is for a batch.
ALL_OPTIONS = (
    *("backbone", "network", "epochs", "batch", "lr", "short_side", "crop_iterations"),
    "evaluate_every",
)

CLASSES_HELP = "only these (default: all); a name with a comma in double quotes"


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--data",
        required=required,
        metavar="DIR",
        help="a folder as annotation tools write it (YOLO, COCO, VOC, CVAT, LabelMe, CSV), or a "
        "file in it that describes it (data.yaml, result.json); or the word shapes for the "
        "built-in synthetic set",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        metavar="RUN_OR_FILE",
        help="a run folder (its best.ckpt, else its last.ckpt) or a checkpoint",
    )


def check_score(score: float | None) -> None:
    """UserError if ``--score`` is no probability."""
    if score is not None and not 0 <= score <= 1:
        raise UserError(f"--score is between 0 and 1, not {score}")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The options that ``recipe_of`` understands."""
    group = parser.add_argument_group("how")
    group.add_argument(
        "--preset",
        metavar="P",
        help=f"{', '.join(PRESETS)} (default: laptop; tiny for --data shapes)",
    )
    group.add_argument("--backbone", metavar="B", help="a network: `lighthead networks` lists them")
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
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change any other number by its path, as in rpn.matcher.positive_iou=0.6 or "
        "steps.momentum=0.95; a run's config.json shows them all; may be given several times",
    )


def recipe_of(args: argparse.Namespace) -> tuple[str, Recipe]:
    """The preset's name, and its recipe with what else was given.

    Raises:
        UserError: there is no such preset, or a number makes no sense.
    """
    name = args.preset or ("tiny" if args.data == "shapes" else "laptop")
    return name, changed_recipe(preset(name), args)


def changed_recipe(recipe: Settings, args: argparse.Namespace) -> Settings:
    """The recipe with what was given.

    Raises:
        UserError: a number makes no sense, a path leads nowhere, or an option is for another task.
    """
    try:
        for option in ALL_OPTIONS:
            value = getattr(args, option, None)
            if value is None:
                continue
            if option not in recipe.options:
                raise ValueError(f"--{option.replace('_', '-')} is not for this task")
            if option == "short_side":
                recipe = recipe.resized(value)
            elif option == "lr":
                recipe = recipe.changed("steps.lr_per_image", value / recipe.steps.batch)
            else:
                recipe = recipe.changed(recipe.options[option], value)
            if option == "epochs":
                recipe = recipe.changed("steps.least_iterations", 0)
                recipe = recipe.changed("steps.most_iterations", None)
        for path, value in assignments(args.set):
            recipe = recipe.changed(path, value)
    except ValueError as error:
        raise UserError(str(error)) from error
    return recipe


def assignments(texts: Iterable[str]) -> Iterator[tuple[str, object]]:
    """What ``--set PATH=VALUE`` was given, each path with its value.

    A value is JSON where it is that (0.6, true, null, [1, 2]), else a word.

    Raises:
        ValueError: one has no equals sign.
    """
    for assignment in texts:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes PATH=VALUE, not {assignment!r}")
        try:
            yield path, json.loads(text)
        except ValueError:
            yield path, text


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
