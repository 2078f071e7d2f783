"""What the processes do that ``launch`` starts, and the note that one leaves when it fails."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import nn
from detector.errors import UserError
from multitask.core.rules import Rule
from multitask.errors import MultitaskError, from_code
from multitask.server.events import Diary
from multitask.server.policy import Policy
from multitask.server.server import ParameterServer
from multitask.site.task import Task, TaskSite
from nn.files import write_json

SERVER = "the server"  # no task can have this name
FAILED = 3  # exit code of a process that has left a note
# On a machine with other work to do, a new process may be long busy with imports, with its data and
# with compiling before the others hear of it. They need not give up: whoever started them watches.
SECONDS_TO_START = 600.0


def serve(
    tasks: int, address: str, rule: Rule, on_conflict: str, policy: Policy | None, folder: str
) -> None:
    """The server: keeps snapshots and a diary in ``folder``; saves once more when terminated."""
    with noting_failure(folder, SERVER):
        nn.set_num_threads(1)
        server = ParameterServer(
            tasks,
            address,
            rule,
            on_conflict=on_conflict,
            policy=policy,
            snapshots=Path(folder) / "snapshots",
            report=Diary(Path(folder) / "events.jsonl"),
        )
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        server.serve()
        server.save()


def work(task: Task, address: str, iterations: int, seed: int, threads: int, folder: str) -> None:
    """The site of one task, with so many threads."""
    with noting_failure(folder, task.name):
        nn.set_num_threads(min(threads, nn.get_num_threads()))
        TaskSite(task, address, seed, patience=SECONDS_TO_START).run(iterations)


def read_note(folder: Path, name: str) -> MultitaskError | None:
    """Why a process has failed, if it had the time to say."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        note = json.loads(_note_path(folder, name).read_text(encoding="utf-8"))
        return from_code(note["code"], note["message"])
    return None


@contextlib.contextmanager
def noting_failure(folder: str, name: str) -> Iterator[None]:
    """Leave a note about an error for the parent and exit with FAILED. Ctrl-C is its affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    path = _note_path(Path(folder), name)
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        message = str(error)
        if not isinstance(error, (MultitaskError, UserError, OSError)):
            traceback.print_exc()
            message = f"{name} has failed: {error!r}"
        note = {"code": type(error).__name__, "message": message}
        write_json(path, note)
        raise SystemExit(FAILED) from None


def _leave_with_parent() -> None:
    """End when the parent is gone, even if it was killed: nobody else would end this process."""
    multiprocessing.parent_process().join()
    signal.raise_signal(signal.SIGTERM)


def _note_path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.failure"
