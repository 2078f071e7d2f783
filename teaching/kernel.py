"""A hand-in in a fresh kernel, in a folder of its own, with limits: it is another's program.

The limits keep an endless loop or a greedy program from stopping the grading. They are no prison:
the program may read what you may read, and use the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError

from book.folders import ROOT
from nn.printable import printable
from teaching.hand_in import HandIn
from teaching.student import write_student

VERDICT = Path(__file__).with_name("verdict.py")
SETUP = """
try:
    import resource
    _most = {memory}
    resource.setrlimit(resource.RLIMIT_DATA, (_most, _most))
except (ImportError, AttributeError, OSError, ValueError):
    pass  # a system without such a limit
from exercises import chapter_{number} as exercises
"""
ASK = "import runpy as _r; _r.run_path({verdict!r})['judge'](globals(), {arguments})"


@dataclass
class Limits:
    """What a hand-in may use."""

    cell_seconds: float  # a cell with an answer, and its check
    seconds: float  # all cells together
    memory: int  # bytes, where the system has such a limit


class Client(NotebookClient):
    """Keeps of the outputs the errors alone: a loop that prints must not fill our memory."""

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "error":
            super().output(outs, msg, display_id, cell_index)


def grade(hand_in: HandIn, chapters: Path, limits: Limits) -> tuple[dict[str, str], str]:
    """Run a hand-in and ask our checks.

    Args:
        chapters: the folder of our chapters, whose exercises and support it imports.

    Returns:
        By exercise "right", "unanswered", "wrong: " and why, or "not asked: " and what stopped the
        kernel before, with what was done to its check; and what stopped it, "" if nothing did.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as theirs, \
            tempfile.TemporaryDirectory() as ours:  # fmt: skip
        write_student(chapters, Path(theirs, "chapters"), with_notebooks=False)
        shutil.copytree(chapters / "exercises", Path(ours, "exercises"))
        notebook = _notebook(hand_in, ours, limits)
        stop = _run(notebook, theirs, limits)
        return {name: _found(hand_in, name, notebook, ours, stop) for name in
                hand_in.chapter.answers}, stop  # fmt: skip


def _notebook(hand_in: HandIn, ours: str, limits: Limits) -> nbformat.NotebookNode:
    """The cells to run: ours first, and after the cell of each answer the question for it."""
    number = hand_in.chapter.number
    sources = [("setup", SETUP.format(memory=limits.memory, number=number))]
    for index, cell in enumerate(hand_in.cells):
        sources.append((f"cell-{index}", cell.source))
        for name in cell.exercises:
            answer = hand_in.chapter.answers[name]
            arguments = [ours, number, name, answer, str(Path(ours, f"{name}.json"))]
            arguments = ", ".join(map(repr, arguments))
            sources.append((f"ask-{name}", ASK.format(verdict=str(VERDICT), arguments=arguments)))
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in sources]
    return nbformat.v4.new_notebook(cells=cells)


def _run(notebook: nbformat.NotebookNode, folder: str, limits: Limits) -> str:
    """Run all cells, whatever they raise. Returns what stopped them before the end, or ""."""
    asked = {
        before.id
        for before, after in zip(notebook.cells, notebook.cells[1:], strict=False)
        if after.id.startswith("ask-")
    }

    def seconds(cell) -> float:
        short = cell.id in asked or cell.id.startswith("ask-")
        return limits.cell_seconds if short else limits.seconds

    client = Client(
        notebook,
        timeout_func=seconds,
        interrupt_on_timeout=True,
        allow_errors=True,
        kernel_name="python3",
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(Path(folder, "chapters"))}},
    )
    client.log.setLevel("CRITICAL")
    started = time.monotonic()
    try:
        asyncio.run(_within(client, folder, limits.seconds))
    except (asyncio.TimeoutError, CellTimeoutError, RuntimeError):
        # Whoever notices first: at the limit the kernel is ended, which looks like a dead one. (A
        # RuntimeError is a kernel that died, or that did not come up.)
        is_late = time.monotonic() - started >= limits.seconds
        return f"stopped after {limits.seconds:.0f} s" if is_late else "the kernel died"
    return ""


async def _within(client: Client, folder: str, seconds: float) -> None:
    """Run the cells within so many seconds, and end every process of the kernel's group."""
    group = None

    def remember(**_) -> None:
        nonlocal group
        group = group or getattr(client.km.provisioner, "pgid", None)

    client.on_cell_start = remember
    dropped = ("MPLBACKEND", "LIGHTHEAD_MINE")  # answers are kept in the temporary folder
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"IPYTHONDIR": folder, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {"VECLIB_MAXIMUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    try:
        await asyncio.wait_for(client.async_execute(env=environment), seconds)
    finally:
        if group and hasattr(os, "killpg") and group != os.getpgrp():
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)


def _found(hand_in: HandIn, name: str, notebook, ours: str, stop: str) -> str:
    """What is written into the column of an exercise."""
    note = hand_in.notes.get(name)
    try:
        state, why = json.loads(Path(ours, f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        placed = any(name in cell.exercises for cell in hand_in.cells)
        state, why = ("not asked", stop or "no verdict") if placed else ("unanswered", "")
    if state not in ("right", "not asked") and (error := _error_before(notebook, f"ask-{name}")):
        state, why = "wrong", f"its cell stops with {error}"
    text = f"{state}: {why}" if why else state
    return printable(f"{text} ({note})" if note else text, 400)


def _error_before(notebook: nbformat.NotebookNode, name: str) -> str:
    """What the cell with the answer stopped with, "" if it did not."""
    cells = {cell.id: index for index, cell in enumerate(notebook.cells)}
    if name not in cells:
        return ""
    index = cells[name] - 1
    while notebook.cells[index].id.startswith("ask-"):
        index -= 1
    errors = [each for each in notebook.cells[index].outputs if each.output_type == "error"]
    if errors and errors[0].ename == "KeyboardInterrupt":
        return "the limit of time: it does not come to an end"
    return f"{errors[0].ename}: {errors[0].evalue}" if errors else ""
