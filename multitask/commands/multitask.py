"""Learn a detector together with another task, all on this machine: the thesis's chapter 3.3.

joint        detection and classification, which share the backbone
multi-scale  the detector at two input sizes, which shares everything
experiment   both, and the detector alone, with several seeds: the thesis's table 4.3

joint and multi-scale start a parameter server and a process for each task, share the cores out and
restart what dies. --out then holds best.ckpt, evaluation.json, detections/, curves.png and
events.jsonl, a line of JSON for everything that happened.

experiment trains the three settings for the same number of iterations of the detection task, one
run to a core, and writes table.md and results.json. Within a seed all settings start from the
same weights and the detection task sees the same pictures.

Stopped by whatever, the same command goes on where it was and ends in the same bits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from detector.commands.options import names
from detector.errors import UserError
from detector.folder_lock import alone_in
from detector.interruption import Interrupted
from detector.own_files import make_folder
from detector.training import checkpoints
from detector.training.objectives.detection import (
    build_model,
    conclude,
    describe,
    open_splits,
)
from detector.training.plan_file import is_begun
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session
from multitask.commands.curves import draw_history
from multitask.commands.options import add_session, session_of, user_errors
from multitask.commands.view import View
from multitask.experiment.experiment import Experiment, jobs_by_default, run_experiment
from multitask.experiment.table_4_3 import as_text
from multitask.launch.launch import Launch, Result
from multitask.server.events import Follower
from multitask.tasks import make
from multitask.tasks.start import with_start_weights

PLAN = "multitask.json"  # not config.json: lighthead train cannot go on with it

EXAMPLES = """examples:
  lighthead multitask joint --data bccd --init-from shufflenet_v2_x0_5.pth --out runs/joint
  lighthead multitask multi-scale --data shapes --out runs/scales
  lighthead multitask experiment --data bccd --init-from shufflenet_v2_x0_5.pth \\
      --iterations 400 --seeds 0,1,2 --out runs/table
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("joint", "multi-scale", "experiment"))
    parser.add_argument("--out", metavar="RUN", help="(default: runs/DATA-WHAT)")
    parser.add_argument(
        "--json", action="store_true", help="print every event as a line of JSON, no table"
    )
    parser.add_argument(
        "--second-side",
        type=int,
        metavar="PX",
        help="shorter side of the second scale's pictures (default: 3/4 of the first)",
    )
    parser.add_argument(
        "--seeds",
        type=names,
        default=None,
        metavar="A,B",
        help="of all random choices; several for experiment (default: 0, for experiment 0,1,2)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"runs of experiment at a time (default: {jobs_by_default()}, a core each)",
    )
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    seeds = seeds_of(args)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {args.jobs}")
    out = Path(args.out or f"runs/{Path(args.data).name}-{args.what}")
    plan = out / ("plan.json" if args.what == "experiment" else PLAN)
    session, iterations = session_of(args, seeds[0], plan)
    make_folder(out)
    with user_errors(), alone_in(out, "another training"):
        try:
            if args.what == "experiment":
                experiment = Experiment(session, iterations, seeds, args.pictures, args.second_side)
                rows = run_experiment(experiment, out, args.jobs or jobs_by_default())
                print(f"\n{as_text(rows)}\n\ntable: {out / 'table.md'}\nruns: {out}")
            else:
                run_setting(args, session, iterations, out)
        except KeyboardInterrupt:
            raise Interrupted("stopped and saved; the same command goes on") from None
    return 0


def seeds_of(args: argparse.Namespace) -> list[int]:
    texts = args.seeds or (["0", "1", "2"] if args.what == "experiment" else ["0"])
    if not all(text.isdecimal() for text in texts) or len(set(texts)) < len(texts):
        raise UserError(f"--seeds takes different whole numbers, as in 0,1,2, not {args.seeds}")
    if len(texts) > 1 and args.what != "experiment":
        raise UserError(f"{args.what} is one run: give one seed")
    return [int(text) for text in texts]


def run_setting(args: argparse.Namespace, session: Session, iterations: int, out: Path) -> None:
    """Train the tasks of one setting as processes, and leave a run folder."""
    folder, options = RunFolder(out), (args.pictures, args.second_side)
    make(args.what, session, iterations, *options)  # a mistake is better found now
    plan = {
        "setting": args.what,
        "iterations": iterations,
        "pictures": args.pictures,
        "second_side": args.second_side,
        "session": session.as_dict(),
    }
    if not (out / PLAN).exists():
        folder.create()
    if is_begun(out / PLAN, plan):
        print(f"going on with the run in {out}", flush=True)
    session = with_start_weights(session, out)
    tasks = make(args.what, session, iterations, *options)
    follower, view = Follower(out / "events.jsonl"), View(iterations)

    def watch() -> None:
        for event in follower():
            if args.json:
                print(json.dumps(event), flush=True)
            else:
                view(event)

    with Launch(tasks, iterations, out, seed=session.seed) as launch:
        try:
            result = launch.wait(watch)
        finally:
            watch()
            if not args.json:
                view.close()
    leave_run(result, session, folder)


def leave_run(result: Result, session: Session, folder: RunFolder) -> None:
    """The detector, its figures and pictures, and the course of the training."""
    train, val = open_splits(session)
    model = build_model(session, train)
    model.load_state_dict(result.state_dict("detection"))
    checkpoints.write(folder.best, "detection", model, describe(model, train))
    draw_history(result.history, folder.curves)
    conclude(folder, val)
