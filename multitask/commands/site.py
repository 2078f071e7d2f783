"""Run one task, which shares parameters by name with others through a parameter server.

detection is the training of lighthead train; classification is a classifier on the same backbone,
for crops of the detection set's boxes or, with --pictures, for a folder per class. Sites that
share parameters must start them from the same values: give all of them the same --data, --preset,
--init-from and --seed, or let the server decide (lighthead serve --on-conflict).

If the connection, the server or this process dies, the same command goes on where training is.
A detection site writes best.ckpt and evaluation.json into --out in the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from detector.errors import UserError
from detector.progress import Progress
from detector.training import checkpoints
from detector.training.objectives.detection import conclude, describe, open_splits
from detector.training.plan_file import is_begun
from detector.training.run_folder import RunFolder
from multitask.commands.options import add_session, add_token, session_of, token_of, user_errors
from multitask.site.task import TaskSite
from multitask.tasks import Classification, Detection
from multitask.wire import transport

SITE = "site.json"

EXAMPLES = """examples:
  lighthead site detection --server 127.0.0.1:29500 --data bccd --init-from w.pth --out runs/a
  lighthead site detection --server 127.0.0.1:29500 --data bccd --init-from w.pth \\
      --name detection-360 --input-side 360
  lighthead site classification --server 10.0.0.5:29500 --data bccd --init-from w.pth \\
      --token-file token --authority server.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", choices=("detection", "classification"), help="what to learn")
    parser.add_argument(
        "--server", required=True, metavar="A", help="HOST:PORT or unix:PATH of the server"
    )
    parser.add_argument("--name", help="of the task (default: detection or classification)")
    parser.add_argument(
        "--input-side",
        type=int,
        metavar="PX",
        help="of a detection task: the shorter side at which it sees pictures, while network and "
        "anchors are those of --short-side",
    )
    parser.add_argument("--out", metavar="RUN", help="where a detection task writes its detector")
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to keep trying while no server answers (default: %(default)g)",
    )
    safety = parser.add_argument_group("whom to trust")
    add_token(safety)
    safety.add_argument(
        "--authority",
        metavar="PEM",
        help="use TLS and trust this certificate, which may be the server's own",
    )
    safety.add_argument(
        "--tls", action="store_true", help="use TLS and trust what this system trusts"
    )
    add_session(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")


def run(args: argparse.Namespace) -> int:
    name = args.name or args.task
    if args.task == "classification" and (args.input_side is not None or args.out):
        raise UserError("--input-side and --out are for detection")
    try:
        transport.parse_address(args.server)
        tls = transport.site_tls(args.authority) if args.tls or args.authority else None
    except ValueError as error:
        raise UserError(str(error)) from error
    session, iterations = session_of(args, args.seed)
    if args.task == "detection":
        task = Detection(session, iterations, name, args.input_side).task()
    else:
        task = Classification(session, iterations, name, args.pictures).task()
    if args.out:
        if not Path(args.out, SITE).exists():
            RunFolder(args.out).create()
        is_begun(Path(args.out, SITE), {"task": name})
    with user_errors():
        site = TaskSite(
            task,
            args.server,
            session.seed,
            token=token_of(args),
            tls=tls,
            patience=args.patience,
            start=False,
        )
        print(f"{name} has reached {args.server} and waits for the others", flush=True)
        site.optimizer.start()
        if site.optimizer.site.finished:
            print(f"{name} had finished this training before: taking its weights", flush=True)
        follow(site, iterations)
    if args.out:
        leave_detector(site.model, session, RunFolder(args.out))
    return 0


def follow(site: TaskSite, iterations: int) -> None:
    """All iterations, with a progress bar."""
    with Progress(site.task.name, iterations, site.optimizer.iteration) as progress:

        def show(report: dict) -> None:
            # Not always one more: a server that was restarted may have gone back.
            steps = site.optimizer.iteration - progress.done
            progress.step(f"loss {report['loss']:.3f}, waited {report['waited']:.2f} s", steps)

        site.run(iterations, show)


def leave_detector(model, session, run: RunFolder) -> None:
    """Write the detector as a run folder that evaluate and detect understand, and measure it."""
    run.path.mkdir(parents=True, exist_ok=True)
    train, val = open_splits(session)
    checkpoints.write(run.best, "detection", model, describe(model, train))
    conclude(run, val)
