"""Fill in a table of a paper on this machine: what detectors cost, how fast and how good they are.

table-4.2      the thesis's table of light-weight detectors: parameters, multiply-adds and frames a
               second at its test sizes (compiled, in turns), AP after equal trainings, and what the
               thesis says
heads          detectors of one and two stages on one backbone: the same columns
equal-budgets  four backbones of 140 to 150 million multiply-adds, learned alike

Everything is trained from random weights, with the same recipe, for the same number of iterations,
with several seeds, and measured once at the end. --out then holds table.md, table.csv, table.png,
speed.json and a run folder for each training.

Stopped by whatever, the same command goes on where it was; more --seeds are added to those that are
there. To measure the speed anew, remove speed.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nn
from detector import own_files
from detector.commands.options import add_data, add_threads, names
from detector.commands.train import place_of
from detector.errors import MALFORMED, UserError
from detector.experiments import EXPERIMENTS
from detector.experiments.costs import cost_of_backbone, cost_of_detector, seconds_of
from detector.experiments.experiment import CROPS, Experiment, Plan, results, train_all
from detector.experiments.report import Findings, as_markdown, comparisons, draw, table
from detector.folder_lock import alone_in
from detector.results.tables import write_table
from detector.training.objectives.detection import open_splits
from detector.training.plan_file import is_begun
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, choose_splits
from nn.files import atomic_file, read_json, write_json
from nn.printable import printable

EXAMPLES = """examples:
  lighthead experiment table-4.2 --speed-only --threads 1
  lighthead experiment equal-budgets --seeds 0,1,2 --iterations 400
  lighthead experiment table-4.2 --data bccd --preset laptop --out runs/table-blood
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--out", metavar="DIR", help="(default: runs/NAME)")
    parser.add_argument("--speed-only", action="store_true", help="train nothing: costs and speed")
    add_data(parser, required=False)
    parser.add_argument("--train", metavar="SPLIT", help="to learn from (default: train)")
    parser.add_argument("--val", metavar="SPLIT", help="to measure with (default: val)")
    parser.add_argument(
        "--preset",
        metavar="P",
        help="the recipe of all (default: tiny for --data shapes, which is the default, else "
        "laptop); initial weights are random",
    )
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="of each training (default: 400)"
    )
    parser.add_argument(
        "--seeds",
        type=names,
        default=["0", "1", "2"],
        metavar="A,B",
        help="of all random choices (default: 0,1,2)",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    try:
        experiment = EXPERIMENTS[args.name]
    except LookupError as error:
        raise UserError(str(error)) from None
    if args.speed_only and not experiment.is_timed:
        raise UserError(f"{args.name} times nothing: leave out --speed-only")
    plan = plan_of(args, experiment)
    out = Path(args.out or f"runs/{args.name}")
    own_files.make_folder(out)
    with alone_in(out, "another experiment"):
        if not (out / "plan.json").exists() and not (out / "speed.json").exists():
            RunFolder(out).create()  # a mistake, if there are other things in it
        if not args.speed_only or (out / "plan.json").exists():
            # Before a table is written that says what was trained.
            is_begun(out / "plan.json", plan.as_dict(), free=["seeds"])
        cost = cost_of_detector if experiment.is_timed else cost_of_backbone
        costs = {row.name: cost(row) for row in experiment.rows}
        seconds = speed(experiment, out) if experiment.is_timed else {}

        def findings() -> Findings:
            return Findings(experiment, costs, seconds, results(experiment, plan, out))

        write(findings(), plan, out)
        if not args.speed_only:
            open_splits(plan.session)  # a mistake in the data is one line now
            for _ in train_all(experiment, plan, out):
                write(findings(), plan, out)
        print("\n" + text(findings()))
    print(f"\ntable: {out / 'table.md'}\npicture: {out / 'table.png'}")
    return 0


def plan_of(args: argparse.Namespace, experiment: Experiment) -> Plan:
    """What is trained.

    Raises:
        UserError: an option makes no sense, or the data set has no such split.
    """
    iterations = args.iterations or experiment.iterations
    if args.iterations is not None and args.iterations < 1:
        raise UserError(f"--iterations must be at least 1, not {args.iterations}")
    if not all(text.isdecimal() for text in args.seeds) or len(set(args.seeds)) < len(args.seeds):
        raise UserError(f"--seeds takes different whole numbers, as in 0,1,2, not {args.seeds}")
    data = args.data or "shapes"
    train, val = choose_splits(data, args.train, args.val)
    session = Session(data=place_of(data), train=train, val=val)
    name = args.preset or ("tiny" if data == "shapes" else "laptop")
    try:
        plan = Plan(session, name, iterations, [int(text) for text in args.seeds])
        for row in experiment.rows:
            for seed in plan.seeds:
                plan.session_of(row, seed)  # a mistake is better found now
    except ValueError as error:
        raise UserError(f"--iterations or --seeds: {error}") from error
    return plan


def speed(experiment: Experiment, out: Path) -> dict[str, float]:
    """Seconds for a picture, by the rows' names: as ``speed.json`` has them, else measured now."""
    path, wanted = out / "speed.json", {row.name for row in experiment.rows}
    if path.exists():
        try:
            found = {name: float(value) for name, value in read_json(path)["seconds"].items()}
            if set(found) >= wanted and min(found.values()) > 0:
                return {name: found[name] for name in wanted}
        except MALFORMED as error:
            raise UserError(f"{path} is damaged ({error}): remove it") from error
    seconds = seconds_of(experiment.rows)
    write_json(path, {"threads": nn.get_num_threads(), "seconds": seconds})
    return seconds


def text(findings: Findings) -> str:
    return "\n".join([as_markdown(table(findings)), "", *comparisons(findings)]).rstrip()


def write(findings: Findings, plan: Plan, out: Path) -> None:
    """The table, three times."""
    experiment, seeds = findings.experiment, ", ".join(map(str, plan.seeds))
    recipe = (
        f"AP: {Path(plan.session.data).name}, measured on {plan.session.val or 'the same'}; preset "
        f"{plan.preset}, {plan.iterations} iterations, lessons on crops before them {CROPS} times "
        f"as long, from random weights, seeds {seeds}: mean ± standard deviation, in percent."
    )
    lines = [f"# {experiment.title}", "", text(findings), "", printable(recipe, 500), ""]
    with atomic_file(out / "table.md") as file:
        file.write("\n".join(lines).encode())
    heading, *cells = table(findings)
    write_table(out / "table.csv", [[own_files.EXPERIMENT.rstrip(","), *heading[1:]], *cells])
    own_files.write_picture(out / "table.png", draw(findings))
