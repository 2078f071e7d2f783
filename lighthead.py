"""The command line ``lighthead``: finds the command, runs it, and turns mistakes into one line.

Each command is a module with a docstring (its manual), ``EXAMPLES``, ``add_arguments(parser)`` and
``run(args)``, whose result is the exit code. The table names them all; none is imported before it
is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from detector.commands.synonyms import command_for, unknown_option
from detector.errors import UserError
from detector.interruption import Interrupted
from nn.printable import printable
from nn.table import Table

__version__ = "0.1.0"
MOST = 2000  # characters of a message
REPOSITORY = {"benchmarks": "bench", "teaching": "notebooks"}  # folders, and the extras they need

COMMANDS = Table(
    "command",
    {
        "demo": (
            "detector.commands.demo",
            "make pictures of shapes, train on them, and show what was learned",
        ),
        "train": ("detector.commands.train", "train a detector on a data set"),
        "evaluate": (
            "detector.commands.evaluate",
            "measure a trained detector: COCO's figures, and every class",
        ),
        "detect": ("detector.commands.detect", "find objects in pictures"),
        "dissect": (
            "detector.commands.dissect",
            "show what each stage of a detector makes of one picture",
        ),
        "export": (
            "detector.commands.export",
            "write a trained detector as a file for other programs: ONNX, PyTorch",
        ),
        "summary": (
            "detector.commands.summary",
            "print the layers, parameters and multiply-adds of a detector",
        ),
        "classify": (
            "detector.commands.classify",
            "say what pictures show, by a classifier's run or published weights",
        ),
        "networks": (
            "detector.commands.networks",
            "print what all networks cost, and how well they are said to do",
        ),
        "check-data": (
            "detector.commands.check_data",
            "look for mistakes in a data set, and how long training takes",
        ),
        "doctor": (
            "detector.commands.doctor",
            "find out why a detector does not learn a data set, in a few minutes",
        ),
        "experiment": (
            "detector.commands.experiment",
            "fill in a table of the thesis on this machine: costs, speed, precision",
        ),
        "bench": (
            "benchmarks.command",
            "measure speed and memory, side by side with PyTorch and ONNX Runtime",
        ),
        "grade": (
            "teaching.grade",
            "grade what students handed in: notebooks of the chapters",
        ),
        "serve": (
            "multitask.commands.serve",
            "run a parameter server for tasks on several machines",
        ),
        "site": ("multitask.commands.site", "run one task that learns together with others"),
        "multitask": (
            "multitask.commands.multitask",
            "learn a detector together with another task",
        ),
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 is success, 2 a mistake that the user can mend (one line on stderr, no traceback), 130 an
    interruption.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    open_closed_streams()
    print_any_name()
    try:
        parser, command, options = build_parser(arguments)
        if why := unknown_option(arguments, options):
            parser.error(why)
        args = parser.parse_args(arguments)
        # Only now: help and mistyped options need not wait for the kernels.
        from nn.kernels.machine.notice import compilation_notice

        with compilation_notice():
            return command.run(args) or 0
    except UserError as error:
        return complain(*error.lines)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return complain(f"{error.strerror or error}{where}")
    except MemoryError:
        return complain("not enough memory: a smaller --batch or --short-side needs less")
    except Interrupted as stop:
        tell(f"\nlighthead: {printable(stop, MOST)}")
        return 130
    except KeyboardInterrupt:
        tell("\nlighthead: aborted")
        return 130


def open_closed_streams() -> None:
    """A program may be started without stdin, stdout or stderr (``2>&-``).

    Printing must not end it then, nor must the next file that is opened get the number 2, under
    which libraries print.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)  # for the processes that it starts
    os.close(handle)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def print_any_name() -> None:
    """Whatever a file or a class is called, printing it must not end a run: what the output's
    encoding does not have is printed as ``\\u1234``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def build_parser(
    arguments: Sequence[str],
) -> tuple[argparse.ArgumentParser, object, list[str]]:
    """The parser, with the options of the one command that is asked for, its module, and the names
    of all options that may be given."""
    parser = Parser(
        prog="lighthead",
        description="Object detectors, light ones first, trained and run on a CPU.",
        epilog="lighthead COMMAND --help is its manual. Start with: lighthead demo",
    )
    parser.add_argument("--version", action="version", version=f"lighthead {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    module = None if wanted is None else find_command(wanted)
    for name in COMMANDS:
        if name == wanted:
            command = commands.add_parser(
                name,
                help=COMMANDS.line(name),
                description=module.__doc__,
                epilog=module.EXAMPLES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(command)
        else:
            commands.add_parser(name, help=COMMANDS.line(name))
    known = [parser, *([] if wanted is None else [commands.choices[wanted]])]
    parser.manual = known[-1].prog
    return parser, module, [name for each in known for name in each._option_string_actions]


def find_command(name: str):
    """The module of a command.

    Raises:
        UserError: there is none of that name, or it lies in the repository only.
    """
    repository = Path(__file__).resolve().parent
    if (repository / "benchmarks").is_dir() and str(repository) not in sys.path:
        sys.path.append(str(repository))  # an editable installation knows the packages alone
    try:
        return COMMANDS[name]
    except LookupError as error:
        raise UserError(f"{error}{command_for(name)}") from None
    except ModuleNotFoundError as error:
        if error.name not in REPOSITORY:
            raise
        raise UserError(
            f"{name} needs the folder {error.name} of the repository, which is not installed: "
            f"clone it, and there run: pip install -e '.[{REPOSITORY[error.name]}]'"
        ) from None


class Parser(argparse.ArgumentParser):
    """Wrong options are one line too, instead of a page of usage."""

    manual = ""  # the command's, where that is known

    def error(self, message: str):
        raise SystemExit(complain(f"{message} (see {self.manual or self.prog} --help)"))


def complain(*lines: str) -> int:
    """Say what is wrong on stderr, on one line or on several that were meant to be, and return the
    exit code that goes with it."""
    tell("lighthead: " + "\n".join(printable(line, MOST) for line in lines))
    return 2


def tell(text: str) -> None:
    """Print to stderr, unless nobody is there any more (the terminal was closed)."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
