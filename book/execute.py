"""Execute chapters, each in a fresh kernel, and complain as a reader would.

``python -m book.execute [NOTEBOOK...]`` executes those chapters, or all of them, and writes them
with their outputs to ``build/chapters``. It fails when a cell fails, when one writes to stderr (as
every warning does), when an exercise does not accept its own reference answer, and when a chapter
takes more than three minutes (longer on a slow processor, see ``most_seconds``).
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from book.folders import CHAPTERS, EXECUTED, notebooks
from nn.files import atomic_file

MOST_SECONDS = 180
# Of one thread of the processor for which MOST_SECONDS is meant, in registers: an AMD EPYC, Zen 5.
MULTIPLY_ADDS = 132e9
CELL_SECONDS = 1200  # a cell that takes longer hangs, on any machine
ANSI = re.compile(r"\x1b\[[0-9;]*m")
CHECK = re.compile(r"\bexercises\.\w+\.check\(")
CLOCK = "import os\nprint(sum(os.times()[:4]))"


@dataclass
class Execution:
    """One chapter with its outputs, how long it took, and what is wrong with it."""

    notebook: nbformat.NotebookNode
    seconds: float = 0.0
    processor_seconds: float = 0.0  # of the kernel, all its threads and the processes it waited for
    complaints: list[str] = field(default_factory=list)

    @property
    def too_slow(self) -> bool:
        """More than three minutes, and not because the machine is busy with something else.

        A busy machine stretches the seconds, but hardly the processor's, which are no fewer than
        the seconds of a quiet machine unless a chapter sleeps: so the smaller of the two counts.
        """
        seconds = min(self.seconds, self.processor_seconds)
        return seconds > MOST_SECONDS and seconds > most_seconds()


def execute(path: Path) -> Execution:
    """Run all cells of a notebook in a fresh kernel, its folder being the working directory."""
    notebook = nbformat.read(path, as_version=4)
    execution = Execution(notebook)
    clock = nbformat.v4.new_code_cell(CLOCK)
    notebook.cells.append(clock)
    with tempfile.TemporaryDirectory() as settings, progress(notebook) as bar:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],  # the kernel's own warnings are not the reader's
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        started = time.perf_counter()
        try:
            client.execute(env=environment(settings))
            execution.processor_seconds = float(clock.outputs[0].text)
        except CellExecutionError:
            pass  # the cell's outputs say so
        except (CellTimeoutError, DeadKernelError) as error:
            execution.complaints.append(ANSI.sub("", str(error)).strip())
        execution.seconds = time.perf_counter() - started
    notebook.cells.pop()
    execution.complaints += [found for cell in notebook.cells for found in stumbling_blocks(cell)]
    if execution.too_slow:
        limit = f"the limit is {most_seconds():.0f}"
        execution.complaints.append(f"took {execution.seconds:.0f} s, {limit}")
    return execution


@functools.cache
def most_seconds() -> float:
    """MOST_SECONDS, and on a processor that multiplies more slowly as many times longer."""
    from support.peak import multiply_adds_per_second

    return MOST_SECONDS * max(1.0, MULTIPLY_ADDS / multiply_adds_per_second())


def environment(settings: str) -> dict[str, str]:
    """The kernel's environment: the user's, but for IPython's own settings and start-up files, and
    for the answers that a reader has kept: a book is the same for everyone, and changes none."""
    own = {"IPYTHONDIR": settings, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    own["LIGHTHEAD_MINE"] = str(Path(settings, "mine"))
    return {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | own


def progress(notebook: nbformat.NotebookNode) -> tqdm:
    """A bar that counts code cells, on a terminal only."""
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    return tqdm(total=cells, unit="cell", leave=False, disable=None)


def stumbling_blocks(cell: nbformat.NotebookNode) -> list[str]:
    """What a reader would stumble over in the outputs of a cell, with the cell's id."""
    outputs = cell.get("outputs", [])
    printed = [output for output in outputs if output.output_type == "stream"]
    found = [
        f"cell {cell.id} writes to stderr:\n{ANSI.sub('', output.text).strip()}"
        for output in printed
        if output.name == "stderr"
    ]
    # Also of what failed while an output was shown: the cell goes on then.
    found += [
        f"cell {cell.id} fails:\n{ANSI.sub('', chr(10).join(output.traceback))}"
        for output in outputs
        if output.output_type == "error"
    ]
    if cell.get("execution_count") and CHECK.search(cell.source):
        if not printed or not printed[0].text.startswith("Not answered yet"):
            found.append(f"cell {cell.id} asks a question that counts as answered")
    return found


def exercises(number: str) -> dict[str, object]:
    """The exercises of a chapter, by their names in ``chapters/exercises/chapter_NN.py``."""
    from exercises.exercise import Exercise

    module = importlib.import_module(f"exercises.chapter_{number}")
    return {name: each for name, each in vars(module).items() if isinstance(each, Exercise)}


def refused_references(number: str) -> list[str]:
    """A complaint for each exercise of a chapter that does not accept its reference answer."""
    complaints = []
    for name, exercise in exercises(number).items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                exercise.verify()
        except Exception as error:
            complaints.append(f"exercise {name} refuses its reference: {error!r}")
    return complaints


def main(arguments: Sequence[str]) -> int:
    """Execute the chapters named, or all; print a table of times and every complaint."""
    sys.path.insert(0, str(CHAPTERS))
    EXECUTED.mkdir(parents=True, exist_ok=True)
    paths = [Path(argument).resolve() for argument in arguments] or notebooks()
    if not paths:
        print(f"there are no chapters in {CHAPTERS}", file=sys.stderr)
        return 1
    print(f"{'chapter':42}{'seconds':>10}{'of processor':>14}", flush=True)
    total, complaints = 0.0, []
    for path in paths:
        execution = execute(path)
        found = execution.complaints + refused_references(path.name[:2])
        total += execution.seconds
        complaints += [f"{path.name}: {complaint}" for complaint in found]
        times = f"{execution.seconds:10.1f}{execution.processor_seconds:14.1f}"
        print(f"{path.stem:42}{times}{'   FAILED' if found else ''}", flush=True)
        if not found:
            with atomic_file(EXECUTED / path.name) as file:
                file.write(nbformat.writes(execution.notebook).encode())
    print(f"{'all':42}{total:10.1f}\n\n" + "\n\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
