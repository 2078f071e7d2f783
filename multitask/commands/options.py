"""What the commands of this package have in common: options, and errors in one line."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from detector.commands.options import CLASSES_HELP, add_data, add_recipe, add_threads, names
from detector.commands.train import new_session
from detector.errors import UserError
from detector.training.objectives.detection import build_loader, open_splits
from detector.training.plan_file import as_begun
from detector.training.sessions import Session
from multitask.errors import MultitaskError
from multitask.wire import authentication


def add_session(parser: argparse.ArgumentParser, data_required: bool = True) -> None:
    """The options that say what a detector learns, as for ``lighthead train``."""
    add_data(parser, data_required)
    data = parser.add_argument_group("which pictures")
    data.add_argument("--train", metavar="SPLIT", help="to learn from (default: the one named so)")
    data.add_argument("--val", metavar="SPLIT", help="to measure with (default: the one named so)")
    data.add_argument("--classes", type=names, metavar="A,B", help=CLASSES_HELP)
    data.add_argument("--limit", type=int, metavar="N", help="learn from the first N pictures only")
    data.add_argument(
        "--pictures",
        metavar="DIR",
        help="for classification: a folder of pictures for each class in DIR (default: crops of "
        "the detection set's boxes)",
    )
    add_recipe(parser)
    more = parser.add_argument_group("and")
    more.add_argument("--init-from", metavar="WEIGHTS", help="start from these weights")
    more.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="of each task (default: as many as lighthead train would make)",
    )
    add_threads(more)


def session_of(
    args: argparse.Namespace, seed: int = 0, plan: Path | None = None
) -> tuple[Session, int]:
    """What ``add_session``'s options say, and the number of iterations.

    Args:
        plan: where the run that goes on, if one does, has its plan.

    Raises:
        UserError: a number makes no sense, or the data cannot be used.
    """
    # The session is the detector's, whichever task a site learns.
    session = new_session(argparse.Namespace(**{**vars(args), "task": "detection", "seed": seed}))
    if plan is not None:
        session = as_begun(plan, session)
    if args.iterations is not None and args.iterations < 1:
        raise UserError(f"--iterations must be at least 1, not {args.iterations}")
    train, _ = open_splits(session)  # here a mistake is one line, in a task's process it is not
    if args.iterations is not None:
        return session, args.iterations
    batches = len(build_loader(session, train))
    return session, session.recipe.steps.fitted(batches).iterations(batches)


def add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="holds the token that server and sites must share, readable by its owner alone "
        f"(chmod 600); default: the environment variable {authentication.TOKEN_VARIABLE}. There "
        "is no option for the token itself: everybody on a machine can read command lines",
    )
    # Without this, argparse would take --token for --token-file, and the token for a file's name.
    parser.add_argument("--token", type=refuse_token, help=argparse.SUPPRESS)


def refuse_token(token: str) -> None:
    raise argparse.ArgumentTypeError(
        "everybody on this machine can read command lines, so this token is none any more: put "
        f"another one into a file for --token-file, or into {authentication.TOKEN_VARIABLE}"
    )


def token_of(args: argparse.Namespace) -> bytes:
    return authentication.read_token(args.token_file)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Errors of this package become errors that the command line prints as one line."""
    try:
        yield
    except MultitaskError as error:
        raise UserError(str(error)) from error
