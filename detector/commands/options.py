"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import argparse
import os

import nn


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--data",
        required=required,
        metavar="DIR",
        help="folder in COCO's layout (annotations/instances_*.json and pictures) or VOC's "
        "(Annotations/*.xml and JPEGImages), or the word shapes for the built-in synthetic set",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        metavar="RUN_OR_FILE",
        help="a run folder (its best.ckpt, else its last.ckpt) or a checkpoint",
    )


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
    """``a,b`` as a list, blanks around the names left out."""
    return [name.strip() for name in text.split(",") if name.strip()]
