"""From nothing to a trained detector in a few minutes: no data, no weights, no network needed.

Draws pictures of circles, squares, triangles and stars, trains a detector on them from random
weights (preset tiny), measures it on pictures that it has never seen, and writes examples to look
at. The result is an ordinary run folder: evaluate, detect and train --resume work on it. Started
again, the demo goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from detector.commands.options import add_threads
from detector.datasets import write_shapes
from detector.datasets.shapes import DEFAULT_COUNTS
from detector.progress import Progress, format_seconds
from detector.training.presets import preset
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, read_session, run_session

EXAMPLES = """examples:
  lighthead demo
  lighthead demo --out elsewhere
  lighthead detect --weights demo/run demo/shapes/val --out demo/found
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="demo", metavar="DIR", help="(default: demo)")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    started = time.monotonic()
    folder = Path(args.out)
    run_folder = RunFolder(folder / "run")
    if not run_folder.config.exists():
        run_folder.create()
    with run_folder.alone():
        if run_folder.config.exists():
            session = replace(read_session(run_folder), data=new_session(folder).data)
            print(f"going on with the run in {run_folder.path}", flush=True)
        else:
            session = new_session(folder)
            print(f"drawing pictures of shapes into {session.data}", flush=True)
            with Progress("drawing", sum(DEFAULT_COUNTS.values()), unit="pictures") as progress:
                write_shapes(session.data, after_image=progress.step)
        figures = run_session(session, run_folder)
    took = format_seconds(time.monotonic() - started)
    print(f"\nAP50 {figures['AP50']:.3f} after {took}: look at {run_folder.report}")
    return 0


def new_session(folder: Path) -> Session:
    """The demo's options."""
    return Session(
        data=str((folder / "shapes").resolve()),
        val="val",
        preset="tiny",
        recipe=preset("tiny"),
    )
