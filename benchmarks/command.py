"""Measure speed and memory, side by side with PyTorch and other runtimes.

Every library runs in a process of its own and they take turns, a tenth of a second each, so that
what else the machine does hits all of them alike; the figures to trust are the ratios, medians over
the rounds with their quartiles. Before anything is timed, the libraries are given the same weights
and inputs and must agree with us about the outputs.

A library that is not installed is named and left out: pip install 'lighthead[bench]' has all of
them. The command needs the repository (its folder benchmarks), not only the installed packages.
benchmarks/README.md says how to read the tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nn
from benchmarks.run import GROUPS, Run
from detector.errors import UserError
from nn.table import did_you_mean

EXAMPLES = """examples:
  lighthead bench --quick
  lighthead bench bars
  lighthead bench classifier training --threads 1,4 --out speed

groups: bars (the project's own promises), classifier, networks, network, detector, training,
layers, ops, and busy (beside other programs); without any: all of them, more than an hour. --out
gets report.md, results.json and a picture for each group.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="what to measure (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="a few small cases of each group, under two minutes"
    )
    parser.add_argument(
        "--threads",
        type=counts,
        metavar="N,N",
        help="with how many threads, the largest counts as all (default: 1 and the processors)",
    )
    parser.add_argument("--out", default="bench", metavar="DIR", help="(default: %(default)s)")


def counts(text: str) -> list[int]:
    """``1,2`` as a list, smallest first."""
    found = sorted({int(word) for word in text.split(",")})
    if not 1 <= found[0] <= found[-1] <= nn.get_num_threads():
        raise argparse.ArgumentTypeError(
            f"{text}: between 1 and {nn.get_num_threads()}, the number of processors"
        )
    return found


def run(args: argparse.Namespace) -> int:
    for name in args.groups:
        if name not in GROUPS:
            raise UserError(
                f"there is no group {name!r}{did_you_mean(name, GROUPS)}: choose from "
                f"{', '.join(GROUPS)}"
            )
    default = [name for name in GROUPS if name != "bars" or not args.quick]
    threads = args.threads or sorted({1, nn.get_num_threads()})
    Run(threads, args.quick, Path(args.out)).groups(args.groups or default)
    return 0
