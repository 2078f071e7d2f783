"""Print the layers of a detector, or of its backbone alone, for a picture of a given size.

Of every layer the shape of its output, its parameters, its multiply-adds (what the thesis calls
FLOPs) and its memory access (the thesis's equation 3-1). Of a detector this is the part that looks
at the whole picture; the head's cost is per proposal and stands below the table.
"""

from __future__ import annotations

import argparse

import nn
from detector.commands.options import add_threads

EXAMPLES = """examples:
  lighthead summary
  lighthead summary --backbone shufflenet_v2_x0_5 --setting S --classes 3 --size 480 640
  lighthead summary --backbone shufflenet_v2_x1_0 --only-backbone --size 224 224
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone", default="shufflenet_v2_x1_0", metavar="B", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--setting", default="S", choices=("S", "L"), help="of the thesis (default: %(default)s)"
    )
    parser.add_argument(
        "--classes", type=int, default=80, metavar="N", help="without background (default: 80)"
    )
    parser.add_argument(
        "--size", type=int, nargs=2, default=(800, 1216), metavar=("H", "W"),
        help="of the picture as the network sees it (default: 800 1216)",
    )  # fmt: skip
    parser.add_argument(
        "--only-backbone", action="store_true", help="the classification network, 1000 classes"
    )
    add_threads(parser)
