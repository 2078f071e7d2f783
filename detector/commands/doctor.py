"""Find out why a detector does not learn a data set, in a few minutes and before a long training.

First the data: do the boxes lie on what stands out from its surroundings, or would they if they
were moved or made larger or smaller? Are the objects of one half of the pictures called what those
of the other half are? Then the detector: a few pictures must be learnt by heart. If they are not,
the stage that fails is named (anchors, proposals, head, detections), with figures and what to do.

Nothing is written. The exit code is 0 if all is healthy, 2 if something has to be mended. What no
program can see: a class that has the wrong name in every picture, or boxes that lie wrong in a few
of the pictures only. lighthead check-data --draw makes a page to look at.
"""

from __future__ import annotations

import argparse

from detector.commands.options import CLASSES_HELP, add_data, add_recipe, add_threads, names
from detector.commands.train import new_session
from detector.errors import UserError
from detector.tools.doctor import diagnose
from nn.printable import printable

MOST_BY_HEART = 8

EXAMPLES = """examples:
  lighthead doctor --data bccd
  lighthead doctor --data shapes --limit 200
  lighthead doctor --data my-export --pictures 4 --iterations 600
  lighthead doctor --data my-export --short-side 640 --init-from shufflenet_v2_x0_5.pth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    data = parser.add_argument_group("which pictures")
    data.add_argument("--train", metavar="SPLIT", help="to learn from (default: the one named so)")
    data.add_argument("--val", metavar="SPLIT", help="to compare (default: the one named so)")
    data.add_argument("--classes", type=names, metavar="A,B", help=CLASSES_HELP)
    data.add_argument("--limit", type=int, metavar="N", help="only the first N of those of --train")
    data.add_argument(
        "--pictures",
        type=int,
        default=MOST_BY_HEART,
        metavar="N",
        help="so many are to be learnt by heart, from 1 to 8 (default: %(default)s)",
    )
    add_recipe(parser)
    more = parser.add_argument_group("and")
    more.add_argument(
        "--iterations",
        type=int,
        default=400,
        metavar="N",
        help="in which they have to be learnt (default: %(default)s)",
    )
    more.add_argument(
        "--init-from", metavar="WEIGHTS", help="start from these weights, as train does"
    )
    more.add_argument("--seed", type=int, metavar="N", help="of all random choices (default: 0)")
    add_threads(more)


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.pictures <= MOST_BY_HEART:
        raise UserError(f"--pictures must be from 1 to {MOST_BY_HEART}, not {args.pictures}")
    if args.iterations < 1:
        raise UserError(f"--iterations must be at least 1, not {args.iterations}")
    objective = new_session(args).objective()
    for line in objective.announce():
        print(printable(line), flush=True)
    findings = diagnose(
        objective, args.pictures, args.iterations, lambda line: print(printable(line), flush=True)
    )
    if not findings:
        print("healthy: these pictures can be learnt")
        return 0
    for finding in findings:
        print(f"\n{finding}")
    stages = ", ".join(dict.fromkeys(finding.stage for finding in findings))
    raise UserError(f"{args.data} is not healthy yet: {stages} (see above)")
