"""Print the layers of a detector, or of its backbone alone, for a picture of a given size.

Of every layer the shape of its output, its parameters, its multiply-adds (what the thesis calls
FLOPs) and its memory access (the thesis's equation 3-1). The layers of a second stage run once for
each proposal, not once for each picture: their multiply-adds stand below the table.
"""

from __future__ import annotations

import argparse
import inspect

import nn
from detector.commands.options import add_threads, assignments
from detector.detectors import DETECTORS
from detector.detectors.light_head_rcnn import LightHeadRCNN
from detector.errors import UserError
from detector.experiments.costs import region_multiply_adds
from nn.models import NETWORKS
from nn.table import did_you_mean

EXAMPLES = """examples:
  lighthead summary
  lighthead summary --backbone shufflenet_v2_x0_5 --setting S --classes 3 --size 480 640
  lighthead summary --detector ssd --classes 20
  lighthead summary --network resnet50
  lighthead summary --backbone shufflenet_v2_x1_0 --only-backbone --set first_block=paper
"""

DEFAULT_SIZE = (800, 1216)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector",
        default=LightHeadRCNN.Settings.detector,
        metavar="D",
        help=f"{', '.join(DETECTORS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--backbone",
        metavar="B",
        help="a network: `lighthead networks` lists them (default: shufflenet_v2_x1_0, or the "
        "detector's own)",
    )
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="the classification network alone, at its own size: short for --backbone NAME "
        "--only-backbone --size SIDE SIDE",
    )
    parser.add_argument(
        "--setting", default="S", choices=("S", "L"), help="of the thesis (default: %(default)s)"
    )
    parser.add_argument(
        "--classes", type=int, default=80, metavar="N", help="without background (default: 80)"
    )
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"),
        help="of the picture as the network sees it (default: 800 1216, or what the detector is "
        "made for)",
    )  # fmt: skip
    parser.add_argument(
        "--only-backbone", action="store_true", help="the classification network, 1000 classes"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="with --only-backbone: an argument of the network, as in first_block=paper (what the "
        "thesis's table 3.2 counts) or width_mult=0.5; may be given several times",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if args.network:
        args.backbone, args.only_backbone = args.network, True
        if args.backbone in NETWORKS and args.size is None:
            with nn.init.skipped():
                args.size = (NETWORKS[args.backbone](num_classes=None).side,) * 2
    if args.detector not in DETECTORS:
        raise UserError(DETECTORS.complaint(args.detector))
    settings = DETECTORS[args.detector].Settings()
    is_own = args.detector == LightHeadRCNN.Settings.detector
    args.backbone = args.backbone or settings.backbone
    side = settings.image.short_side
    height, width = args.size or (DEFAULT_SIZE if is_own else (side, side))
    if min(height, width) < 1 or args.classes < 1:
        raise UserError("--size and --classes must be at least 1")
    if args.backbone not in NETWORKS:
        raise UserError(NETWORKS.complaint(args.backbone))
    if args.only_backbone:
        print(summary_of_network(args.backbone, args.set, (1, 3, height, width)))
        return 0
    if args.set:
        raise UserError("--set is for --only-backbone")
    if height % 32 or width % 32:
        height, width = -(-height // 32) * 32, -(-width // 32) * 32
        print(f"padded to {height} x {width}, multiples of 32, as the detector does")
    options = {"setting": args.setting} if is_own else {}
    try:
        with nn.init.skipped():
            model = DETECTORS[args.detector](args.classes, backbone=args.backbone, **options)
    except ValueError as error:
        raise UserError(f"--detector {args.detector}: {error}") from error
    print(nn.summary(model, (1, 3, height, width)))
    if head := region_multiply_adds(model):
        print(f"and for each proposal {head:,} multiply-adds in the head")
    if model.has_masks:
        print(f"and for each detection {model.mask_head.multiply_adds:,} for its mask")
    return 0


def summary_of_network(name: str, given: list[str], shape: tuple[int, ...]) -> nn.Summary:
    """Of a row of ``NETWORKS``, made with what ``--set`` was given.

    Raises:
        UserError: the network does not take that.
    """
    make = NETWORKS[name]
    known = inspect.signature(make).parameters
    try:
        options = dict(assignments(given))
        for option in options:
            if option not in known:
                raise ValueError(
                    f"{name} has no argument {option!r}{did_you_mean(option, known)}, only "
                    f"{', '.join(known)}"
                )
        return nn.summary(make(**options), shape)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
