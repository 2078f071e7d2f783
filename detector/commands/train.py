"""Train a detector on a data set.

Everything about the run stands in its folder --out: config.json (every option), metrics.csv (a row
an iteration), curves.png, last.ckpt (to go on with), best.ckpt (the weights with the best AP50 on
the validation split), evaluation.json, and detections/ (examples to look at).

Ctrl-C finishes the iteration, saves and says how to go on; whatever else stops it, --resume goes
on from the last checkpoint, at most half a minute earlier, and ends in exactly the same weights as
a run that was never stopped. --resume needs nothing but --out.

Presets: tiny is made for the built-in shapes and starts from random weights (its backbone first
learns to tell apart crops of the objects); laptop is made for photographs and a pretrained backbone
(--init-from); thesis-s and thesis-l are the thesis's own settings. The learning rate of a preset is
for its batch and is scaled along with --batch; --lr sets it as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from detector.commands.options import (
    CLASSES_HELP,
    add_data,
    add_recipe,
    add_threads,
    names,
    recipe_of,
)
from detector.errors import UserError
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, choose_splits, run_session

EXAMPLES = """examples:
  lighthead train --data shapes --preset tiny --out runs/shapes
  lighthead train --data bccd --preset laptop --init-from shufflenet_v2_x0_5.pth --out runs/blood
  lighthead train --resume --out runs/blood
  lighthead train --data coco-mini --train train2017 --val train2017 --limit 8 \\
      --preset laptop --init-from shufflenet_v2_x0_5.pth --out runs/few

--init-from also takes a run or a checkpoint of this program: its weights are taken as far as they
fit, so a detector trained on one data set is the start for another.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, required=False)
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/DATA-PRESET)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    data = parser.add_argument_group("which pictures")
    data.add_argument("--train", metavar="SPLIT", help="to learn from (default: the one named so)")
    data.add_argument("--val", metavar="SPLIT", help="to measure with (default: the one named so)")
    data.add_argument("--classes", type=names, metavar="A,B", help=CLASSES_HELP)
    data.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="learn from the first N pictures only; where --train and --val are the same split, "
        "these N are also what is measured",
    )
    add_recipe(parser)
    more = parser.add_argument_group("and")
    more.add_argument("--init-from", metavar="WEIGHTS", help="start from these weights")
    more.add_argument("--seed", type=int, metavar="N", help="of all random choices (default: 0)")
    add_threads(more)


def run(args: argparse.Namespace) -> int:
    if args.resume:
        run_session(*resumed(args))
        return 0
    if args.data is None:
        raise UserError("--data is missing: name a folder, or shapes for the built-in set")
    session = new_session(args)
    run_folder = RunFolder(args.out or default_out(session))
    run_folder.create()
    run_session(session, run_folder)
    return 0


def new_session(args: argparse.Namespace) -> Session:
    """What the options say."""
    if args.seed is not None and not 0 <= args.seed < 2**64:
        raise UserError(f"--seed must be a whole number from 0 to 2^64 - 1, not {args.seed}")
    name, recipe = recipe_of(args)
    train, val = choose_splits(args.data, args.train, args.val)
    return Session(
        data=args.data if args.data == "shapes" else str(Path(args.data).resolve()),
        train=train,
        val=val,
        classes=args.classes,
        limit=args.limit,
        preset=name,
        init_from=str(Path(args.init_from).resolve()) if args.init_from else None,
        seed=args.seed or 0,
        recipe=recipe,
    )


def default_out(session: Session) -> Path:
    return Path("runs", f"{Path(session.data).name}-{session.preset}")


def resumed(args: argparse.Namespace) -> tuple[Session, RunFolder]:
    """The session of the run in --out; options given again must say the same.

    Raises:
        UserError: there is no run, or an option differs.
    """
    if args.out is None and args.data is None:
        raise UserError("--resume needs --out, the folder of the run to go on with")
    wanted = new_session(args) if args.data is not None else None
    run_folder = RunFolder(args.out or default_out(wanted))
    if wanted is not None and not run_folder.config.exists():
        print(f"there is no run in {run_folder.path} yet: starting it")
        run_folder.create()
        return wanted, run_folder
    session = Session.from_dict(run_folder.read_config())
    differences = [
        f"--{name.replace('_', '-')} {given} (the run has {had})"
        for name, given, had in given_and_had(args, session)
        if given != had
    ]
    if differences:
        raise UserError(
            f"the run in {run_folder.path} was started with other options: "
            f"{', '.join(differences)}; leave them out to go on with it, or start a new run with "
            f"--init-from {run_folder.path} --out ANOTHER"
        )
    return session, run_folder


def given_and_had(args: argparse.Namespace, session: Session) -> list[tuple[str, object, object]]:
    """(option, its value on the command line, its value in the run) for each option given."""
    had = {
        "data": session.data,
        "train": session.train,
        "val": session.val,
        "classes": session.classes,
        "limit": session.limit,
        "preset": session.preset,
        "init_from": session.init_from,
        "seed": session.seed,
        "backbone": session.recipe.backbone,
        "epochs": session.recipe.epochs,
        "batch": session.recipe.batch,
        "lr": session.recipe.lr,
        "short_side": session.recipe.short_side,
        "crop_iterations": session.recipe.crop_iterations,
        "evaluate_every": session.recipe.evaluate_every,
    }
    rows = []
    for name, value in had.items():
        given = getattr(args, name)
        if given is None:
            continue
        if name in ("data", "init_from") and given != "shapes":
            given = str(Path(given).resolve())
        rows.append((name, given, value))
    return rows
