"""Train a detector on a data set.

Everything about the run stands in its folder --out: config.json (every option), metrics.csv (a row
an iteration), curves.png, last.ckpt (to go on with), best.ckpt (the weights with the best AP on
the validation split), evaluation.json, report.html (what it gets wrong, and from which score on to
believe it) and detections/ (examples to look at).

Ctrl-C finishes the iteration, saves and says how to go on; whatever else stops it, --resume goes
on from the last checkpoint, at most half a minute earlier, and ends in exactly the same weights as
a run that was never stopped. --resume needs nothing but --out; where the data set was moved since,
--data names its new place.

Presets: tiny is made for the built-in shapes and starts from random weights (its backbone first
learns to tell apart crops of the objects); laptop is made for photographs and a pretrained backbone
(--init-from); thesis-s and thesis-l are the thesis's own settings. Those with the name of another
detector (ssd, yolo-v2) train it as laptop does, with -tiny behind it (ssd-tiny) as tiny does. The
learning rate of a preset is for its batch and is scaled along with --batch; --lr sets it as it is.
"""

from __future__ import annotations

import argparse
import operator
from dataclasses import replace
from pathlib import Path

from detector.commands.options import (
    CLASSES_HELP,
    add_data,
    add_recipe,
    add_threads,
    changed_recipe,
    names,
    recipe_of,
)
from detector.errors import UserError
from detector.training.fitting import fit_side
from detector.training.objectives import OBJECTIVES
from detector.training.presets import FROM_RANDOM_WEIGHTS, INITIAL_WEIGHTS
from detector.training.published_weights import IMAGENET
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, choose_splits, read_session, run_session

EXAMPLES = """examples:
  lighthead train --data shapes --preset tiny --out runs/shapes
  lighthead train --data bccd --preset laptop --init-from shufflenet_v2_x0_5.pth --out runs/blood
  lighthead train --data bccd --preset ssd --out runs/blood-ssd
  lighthead train --resume --out runs/blood
  lighthead train --data coco-mini --train train2017 --val train2017 --limit 8 \\
      --preset laptop --init-from shufflenet_v2_x0_5.pth --out runs/few

--init-from also takes a run or a checkpoint of this program: its weights are taken as far as they
fit, so a detector trained on one data set is the start for another.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, required=False)
    parser.add_argument(
        "--task",
        choices=list(OBJECTIVES),
        default=None,
        help="detection (the default), or classification: --data is then a folder of pictures for "
        "each class, or such a folder for each of train and val",
    )
    parser.add_argument("--network", metavar="N", help="for classification: as --backbone")
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/DATA-PRESET)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--like",
        metavar="RUN",
        help="every option as in that run, but for those given here; its initial weights too",
    )
    data = parser.add_argument_group("which pictures")
    data.add_argument("--train", metavar="SPLIT", help="to learn from (default: the one named so)")
    data.add_argument("--val", metavar="SPLIT", help="to measure with (default: the one named so)")
    data.add_argument("--classes", type=names, metavar="A,B", help=CLASSES_HELP)
    data.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="refuse pictures that are missing or damaged (they are left out otherwise)",
    )
    data.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="learn from the first N pictures only; where --train and --val are the same split, "
        "these N are also what is measured",
    )
    add_recipe(parser)
    more = parser.add_argument_group("and")
    more.add_argument(
        "--init-from",
        metavar="WEIGHTS",
        help="start from these weights: a file, a run, imagenet (published ones of the backbone, "
        "downloaded once: what laptop does) or none",
    )
    more.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="train as long as that on this machine: a few iterations are timed, and the learning "
        "rate falls to 0 in time",
    )
    more.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="end after N validations without a better one (default: never)",
    )
    more.add_argument("--seed", type=int, metavar="N", help="of all random choices (default: 0)")
    add_threads(more)


def run(args: argparse.Namespace) -> int:
    if args.resume:
        session, run_folder = resumed(args)
    elif args.data is None and args.like is None:
        raise UserError("--data is missing: name a folder, or shapes for the built-in set")
    else:
        session = new_session(args)
        run_folder = RunFolder(args.out or default_out(session))
        run_folder.create()
    with run_folder.alone():
        run_session(session, run_folder)
    return 0


def new_session(args: argparse.Namespace) -> Session:
    """What the options say, on top of the run that ``--like`` names."""
    like = read_session(RunFolder(args.like)) if getattr(args, "like", None) else None
    task = getattr(args, "task", None) or (like.task if like else "detection")
    if like is not None and args.preset is None:
        name, recipe = like.preset, changed_recipe(like.recipe, args)
    elif task == "detection":
        name, recipe = recipe_of(args)
    else:
        name, recipe = task, changed_recipe(OBJECTIVES[task].Recipe(), args)
    data = args.data or like.data
    train, val = args.train or "train", args.val
    if task == "detection":
        train, val = choose_splits(data, args.train, args.val)
    source = args.init_from or (INITIAL_WEIGHTS.get(name) if like is None else None)
    initial = {} if source is None else {"init_from": weights_place(source)}
    if source == "none" and like is None:
        recipe = changed_recipe(recipe.updated(FROM_RANDOM_WEIGHTS.get(name, {})), args)
        print("starting from random weights")
    minutes = getattr(args, "minutes", None)
    refuse_two_lengths(args, task, minutes)
    try:
        if hasattr(args, "minutes") and args.patience is not None:  # a site's is another patience
            recipe = recipe.changed("steps.patience", args.patience)
        session = (like or Session()).updated(
            {
                "task": task,
                "data": place_of(data),
                "train": train,
                "val": val,
                "preset": name,
                "recipe": recipe,
                "seed": args.seed or 0,
                "minutes": minutes,
                **initial,
                **given(classes=args.classes, limit=args.limit),
                **given(strict=getattr(args, "strict", None)),
            }
        )
    except ValueError as error:
        raise UserError(f"--{error}") from error
    return fit_side(session) if task == "detection" else session


def refuse_two_lengths(args: argparse.Namespace, task: str, minutes: float | None) -> None:
    """A training has one length.

    Raises:
        UserError: --minutes, and an option that it would overwrite, or a task that it is not for.
    """
    if minutes is None:
        return
    if task != "detection":
        raise UserError(f"--minutes is not for {task}: --epochs says how long it learns")
    for option in ("epochs", "evaluate_every"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise UserError(f"--minutes settles --{name}: leave one of them out")


def given(**options) -> dict:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def weights_place(source: str) -> str | None:
    """A file's name in full; published weights have a name only, "none" has no place."""
    return {IMAGENET: IMAGENET, "none": None}.get(source, place_of(source))


def default_out(session: Session) -> Path:
    return Path("runs", f"{Path(session.data).name}-{session.preset}")


def resumed(args: argparse.Namespace) -> tuple[Session, RunFolder]:
    """The session of the run in --out; options given again must say the same.

    Only --data and --init-from may differ, for what was moved since.

    Raises:
        UserError: there is no run, its data are not where they were, or an option differs.
    """
    if args.out is None and args.data is None:
        raise UserError("--resume needs --out, the folder of the run to go on with")
    run_folder = RunFolder(args.out or default_out(new_session(args)))
    if args.data is not None and not run_folder.config.exists():
        wanted = new_session(args)
        print(f"there is no run in {run_folder.path} yet: starting it")
        run_folder.create()
        return wanted, run_folder
    session = read_session(run_folder)
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
    return moved(session, args, run_folder), run_folder


def moved(session: Session, args: argparse.Namespace, run_folder: RunFolder) -> Session:
    """The session with its files where they are now. (The trainer compares what is in them.)

    Raises:
        UserError: a file is not where it was, and nothing says where it is.
    """
    has_begun = run_folder.last.exists()
    if args.data is not None:
        session = replace(session, data=place_of(args.data))
    if args.init_from is not None and not has_begun:
        session = replace(session, init_from=weights_place(args.init_from))
    elif args.init_from and Path(args.init_from).name != Path(session.init_from or "").name:
        print("--init-from has no effect: the run goes on from its own last checkpoint")
    needed = {"--data": session.data if session.data != "shapes" else None}
    by_name = session.init_from == IMAGENET
    needed["--init-from"] = None if has_begun or by_name else session.init_from
    for option, place in needed.items():
        if place is not None and not Path(place).exists():
            raise UserError(
                f"the run in {run_folder.path} needs {place}, which is no longer there: say where "
                f"it is now with {option}"
            )
    return session


def place_of(path: str) -> str:
    """A file's or folder's name in full; the built-in set has none."""
    return path if path == "shapes" else str(Path(path).resolve())


def given_and_had(args: argparse.Namespace, session: Session) -> list[tuple[str, object, object]]:
    """(option, its value on the command line, its value in the run) for each option given."""
    had = {
        "task": session.task,
        "train": session.train,
        "val": session.val,
        "classes": session.classes and list(session.classes),
        "limit": session.limit,
        "strict": session.strict,
        "preset": session.preset,
        "seed": session.seed,
        "minutes": session.minutes,
    }
    for name, path in {**session.recipe.options, "patience": "steps.patience"}.items():
        had[name] = operator.attrgetter(path)(session.recipe)
    rows = []
    for name, value in had.items():
        given = getattr(args, name)
        if given is not None:
            rows.append((name, given, value))
    return rows
