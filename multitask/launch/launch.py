"""``run``: a server and all tasks as processes of this machine, watched and restarted.

Every process is a fresh Python (``spawn``: the only way that all systems have), so a script that
calls ``run`` needs ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.errors import UserError
from detector.folder_lock import alone_in
from multitask.core.registration import check_task_name
from multitask.core.rules import Momentum, Rule
from multitask.core.segments import FINISHED
from multitask.core.state import restore
from multitask.core.update_core import UpdateCore
from multitask.errors import MultitaskError, SnapshotError
from multitask.launch import workers
from multitask.launch.workers import SERVER
from multitask.server.events import Diary, history, read_events, stamped
from multitask.server.policy import Policy
from multitask.server.snapshots import SnapshotStore
from multitask.site.local import LocalServer
from multitask.site.task import Task, TaskSite
from multitask.wire import authentication, transport

UNGUARDED = (
    "every process of a task imports this script, which calls multitask.run again: put the call "
    'under if __name__ == "__main__":'
)


@dataclass
class Result:
    """What a training has left.

    Attributes:
        parameters: all weights by name.
        buffers: of each task, its buffers by name.
        names: of each task, the names of its parameters.
        history: of each task, what it reported in each iteration (see ``events.history``).
    """

    parameters: dict[str, np.ndarray]
    buffers: dict[str, dict[str, np.ndarray]]
    names: dict[str, list[str]]
    history: dict[str, list[dict]]

    @classmethod
    def of(cls, core: UpdateCore, iterations: int, events: Iterable[dict]) -> Result:
        """What ``core`` holds after so many iterations, and what the events tell.

        Raises:
            MultitaskError: training was stopped before, or had gone further.
        """
        for task, member in core.members.items():
            if not member.left:
                raise MultitaskError(
                    f"training was stopped when task {task} had done {member.committed + 1} of "
                    f"{iterations} iterations: start it again to go on"
                )
            if member.left == FINISHED and member.committed + 1 != iterations:
                raise MultitaskError(
                    f"this is a finished training of {member.committed + 1} iterations, not of "
                    f"{iterations}: start a new one in another folder"
                )
        return cls(
            core.parameters(),
            {task: core.buffers(task) for task in core.members},
            {task: list(member.parameters) for task, member in core.members.items()},
            history(events),
        )

    def state_dict(self, task: str) -> dict[str, np.ndarray]:
        """The state of a task's network, for ``model.load_state_dict``."""
        return {name: self.parameters[name] for name in self.names[task]} | self.buffers[task]


def run(
    tasks: Sequence[Task],
    iterations: int,
    *,
    rule: Rule | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    processes: bool = True,
    **options,
) -> Result:
    """Learn several tasks together on this machine, for so many iterations each.

    Args:
        tasks: with different names; what they name alike, they share.
        rule: of the server; ``Momentum()`` unless told otherwise.
        seed: of the initial values and all random numbers of ``nn``.
        folder: for snapshots and the diary. A training that was interrupted goes on from what is
            there. None: a temporary folder, removed in the end.
        processes: False runs all tasks in turn in this process: the same bits, no speed-up.
        options: more for ``Launch``, or without processes for ``run_here``.

    Raises:
        MultitaskError: a task or the server has failed; the message says which and why. Or another
            training is at work in the folder.
    """
    _check_plan(tasks, iterations)
    with contextlib.ExitStack() as stack:
        if folder is not None:
            stack.enter_context(_alone_in(Path(folder)))
        if not processes:
            return run_here(tasks, iterations, rule=rule, seed=seed, folder=folder, **options)
        if folder is None:
            folder = tempfile.mkdtemp(prefix="multitask-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        launch = stack.enter_context(
            Launch(tasks, iterations, folder, rule=rule, seed=seed, **options)
        )
        return launch.wait()


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone_in(folder, "another training", "folder"))
        except UserError as error:
            raise MultitaskError(str(error)) from None
        yield


def run_here(
    tasks: Sequence[Task],
    iterations: int,
    *,
    rule: Rule | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    on_conflict: str = "error",
    policy: Policy | None = None,
    after_iteration: Callable[[int], None] = lambda iteration: None,
) -> Result:
    """``run`` without processes: all tasks in turn, on the threads that this process has.

    Args:
        tasks, iterations, rule, seed, folder, on_conflict: as for ``run``.
        policy: of which ``snapshot_every`` counts.
        after_iteration: is called with the number of iterations done; may raise to stop.
    """
    _check_plan(tasks, iterations)
    told: list[dict] = []
    path = Path(folder) if folder is not None else None
    if path:
        path.mkdir(parents=True, exist_ok=True)
    report = Diary(path / "events.jsonl") if path else lambda event: told.append(stamped(event))
    snapshots = path / "snapshots" if path else None
    every = (policy or Policy()).snapshot_every
    server = LocalServer(len(tasks), rule, on_conflict, snapshots, report)
    if not server.core.finished:
        _train_here(server, tasks, iterations, seed, every, after_iteration)
    return Result.of(server.core, iterations, read_events(report.path) if path else told)


def _train_here(
    server: LocalServer,
    tasks: Sequence[Task],
    iterations: int,
    seed: int,
    save_every: int,
    after_iteration: Callable[[int], None],
) -> None:
    sites = [TaskSite(task, server, seed, start=False) for task in tasks]
    for site in sites:
        site.optimizer.start()
    for iteration in range(server.core.iteration, iterations):
        for site in sites:
            site.optimizer.commit(site.backward())
        for site in sites:
            site.optimizer.pull()
        if (iteration + 1) % save_every == 0:
            server.save()
        after_iteration(iteration + 1)
    for site in sites:
        site.optimizer.finish(wait=False)
    server.save()


class Launch:
    """A server and the sites of all tasks, as processes; ends them when the ``with`` block ends.

    Args:
        tasks, iterations, rule, seed: as for ``run``.
        folder: for snapshots, diary and socket; must be given.
        on_conflict, policy: as for ``ParameterServer``; a lost task is waited for much longer here
            unless the policy says something else: what dies is seen and started again.
        max_restarts: how often each process is started again after it was killed.
        address: of the server. None: a Unix socket in ``folder`` where there is one, else a free
            port of this machine.
        start_method: of ``multiprocessing``.

    Attributes:
        processes: by the name of the task, and ``SERVER``.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        iterations: int,
        folder: str | os.PathLike,
        *,
        rule: Rule | None = None,
        seed: int = 0,
        on_conflict: str = "error",
        policy: Policy | None = None,
        max_restarts: int = 3,
        address: str | None = None,
        start_method: str = "spawn",
    ):
        _check_plan(tasks, iterations)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self.folder).close()  # OSError now, not in every process
        self.processes: dict[str, multiprocessing.Process] = {}
        self._rule, self._iterations = rule or Momentum(), iterations
        self._context = multiprocessing.get_context(start_method)
        self._max_restarts = max_restarts
        self._token = authentication.new_token()
        address = address or transport.local_address(self.folder)
        if address.endswith(":0"):
            address = _free_port()
        threads = max(1, _cores() // len(tasks))
        policy = policy or Policy(rejoin_timeout=workers.SECONDS_TO_START)
        server = (len(tasks), address, self._rule, on_conflict, policy, str(self.folder))
        self._jobs = {SERVER: (workers.serve, server)} | {
            task.name: (workers.work, (task, address, iterations, seed, threads, str(self.folder)))
            for task in tasks
        }
        self._restarts = dict.fromkeys(self._jobs, 0)
        _check_portable(self._jobs, start_method)

    def __enter__(self) -> Launch:
        try:
            for name in self._jobs:
                self._start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    def wait(self, watch: Callable[[], None] = lambda: None) -> Result:
        """Watch over the processes until all tasks are done.

        Args:
            watch: is called many times a second.

        Raises:
            MultitaskError: one has failed, or was killed too often.
        """
        while self.processes[SERVER].exitcode != 0:
            for name, process in list(self.processes.items()):
                if process.exitcode not in (None, 0):
                    self._revive(name, process.exitcode)
            watch()
            time.sleep(0.02)
        deadline = time.monotonic() + 10
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
        found = SnapshotStore(self.folder / "snapshots").load()
        if found is None:
            raise SnapshotError(
                f"{self.folder} holds no snapshot although training is over: make room on the disk "
                "and start it again"
            )
        core = restore(found[0]["core"], self._rule)
        return Result.of(core, self._iterations, read_events(self.folder / "events.jsonl"))

    def _start(self, name: str) -> None:
        function, arguments = self._jobs[name]
        process = self._context.Process(target=function, args=arguments, name=name, daemon=True)
        with environment(authentication.TOKEN_VARIABLE, self._token), without_interrupts():
            try:
                process.start()
            except RuntimeError as error:
                if "bootstrapping" not in str(error):
                    raise
                # We are one of the processes that are being started, and import the user's script.
                raise SystemExit(UNGUARDED) from None
            self.processes[name] = process

    def _revive(self, name: str, exitcode: int) -> None:
        if exitcode == workers.FAILED:
            # If the server has stopped the training, its reason is the one that matters.
            self.processes[SERVER].join(1.0)
            notes = [workers.read_note(self.folder, who) for who in (SERVER, name)]
            raise next(filter(None, notes), MultitaskError(f"{name} has failed"))
        if exitcode == 1:  # an exception before its work began: it would come again
            raise MultitaskError(f"the process of {name} could not begin: it has printed why")
        if self._restarts[name] == self._max_restarts:
            raise MultitaskError(
                f"{name} has died {self._max_restarts + 1} times (exit code {exitcode})"
            )
        self._restarts[name] += 1
        self._start(name)


# Of this machine


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _free_port() -> str:
    # The server may have to come back to the same port, so it must be known beforehand.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A variable that processes started inside inherit."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C, which goes to all of a terminal: we end them.

    We hear it afterwards: a start that is broken off leaves a process without its orders.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # A helper of multiprocessing, not on Windows, whose own start would unblock the signal.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    heard: list[int] = []
    in_main_thread = threading.current_thread() is threading.main_thread()
    # What is blocked stays blocked in the new process. Our own other threads may still be hit.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    if in_main_thread:
        handler = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _check_plan(tasks: Sequence[Task], iterations: int) -> None:
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"run needs tasks with different names, not {names}")
    for name in names:
        check_task_name(name)  # before a file is called so
    if iterations < 0:
        raise ValueError(f"run needs a number of iterations, not {iterations}")


def _check_portable(jobs: dict, start_method: str) -> None:
    """ValueError unless a process of its own can get, and import, what each job needs."""
    main = sys.modules["__main__"]
    has_file = main.__spec__ or Path(getattr(main, "__file__", "")).is_file()
    for name, job in jobs.items():
        try:
            text = pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{name} cannot be started in a process of its own: {error}; define its functions "
                "at the top level of a module"
            ) from None
        if start_method != "fork" and not has_file and b"__main__" in text:
            raise ValueError(
                f"{name} cannot be started in a process of its own, which would not find what was "
                "defined in a notebook or at the prompt: put it into a module, or run with "
                "processes=False"
            )
