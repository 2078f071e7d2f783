"""The thesis's table 4.3 at the size of a laptop: alone, jointly with classification, two scales.

Every setting is trained with several seeds for the same number of iterations of the detection task
and measured once, after the last of them: no run is chosen by its result. Within a seed the
detection task starts from the same weights and sees the same pictures in the same order in all
three settings, so differences can be taken pair by pair.

Each run is one process with one thread that takes its tasks in turn (``launch.run_here``): the bits
are those of separate processes around a parameter server, and a core is never idle because one
task waits for another.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nn
from detector import CompiledDetector
from detector.errors import UserError
from detector.evaluation.validation import measure
from detector.progress import Progress
from detector.training import checkpoints
from detector.training.objectives.detection import build_model, describe, open_splits
from detector.training.plan_file import is_begun
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session
from multitask.experiment.table_4_3 import Row, write_table
from multitask.launch.launch import run_here, without_interrupts
from multitask.launch.workers import FAILED, noting_failure, read_note
from multitask.server.policy import Policy
from multitask.site.task import Task
from multitask.tasks import SETTINGS, make
from multitask.tasks.start import with_start_weights
from nn.files import write_json

SNAPSHOT_EVERY = 25  # iterations that a killed run repeats at most
START = "start"  # the run that makes the weights that the others of its seed start from


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    Attributes:
        session: data and recipe; its seed does not count.
        iterations: of the detection task, and so of every task.
        seeds: of initial values and orders of pictures.
        pictures: folder of the classification set; None: crops of the detection set's boxes.
        second_side: second input size of the multi-scale setting; None: three quarters.
    """

    session: Session
    iterations: int
    seeds: Sequence[int]
    pictures: str | None = None
    second_side: int | None = None

    def tasks(self, setting: str, session: Session) -> list[Task]:
        """What is trained in a setting, for the session of one seed."""
        return make(setting, session, self.iterations, self.pictures, self.second_side)

    def as_dict(self) -> dict:
        """As JSON keeps it."""
        session = {**self.session.as_dict(), "seed": None}
        values = {**vars(self), "session": session, "seeds": list(self.seeds)}
        return json.loads(json.dumps(values))


@dataclass(frozen=True)
class Run:
    """One training: a setting with a seed, in a folder of its own."""

    setting: str
    seed: int
    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / "result.json"


def run_experiment(experiment: Experiment, folder: Path, jobs: int) -> list[Row]:
    """Do all runs that are not done yet, ``jobs`` at a time, and make the table.

    Writes ``results.json`` and ``table.md`` into ``folder`` whenever a seed is complete.

    Raises:
        UserError: a run has failed, or ``folder`` holds another experiment or other files.
    """
    for setting in SETTINGS:
        experiment.tasks(setting, experiment.session)  # a mistake is better found now
    if not (folder / "plan.json").exists():
        RunFolder(folder).create()
    # More seeds are welcome: the runs that exist stay what they are.
    is_begun(folder / "plan.json", experiment.as_dict(), free=["seeds"])
    runs = [Run(START, seed, folder / START / f"seed-{seed}") for seed in experiment.seeds]
    if experiment.session.recipe.crops.iterations == 0 or experiment.session.init_from:
        runs = []
    # The longest setting first: the end, where a core may be idle, is short. Seed by seed: what is
    # interrupted has complete comparisons to show.
    runs += [
        Run(setting, seed, folder / setting / f"seed-{seed}")
        for seed in experiment.seeds
        for setting in ("multi-scale", "joint", "single")
    ]
    waiting = [run for run in runs if not run.result.exists()]
    with Processes(experiment, folder, jobs) as processes:
        for _ in processes.work(waiting):
            write_table(rows(experiment, folder), experiment.as_dict(), folder)
    write_table(rows(experiment, folder), experiment.as_dict(), folder)
    return rows(experiment, folder)


class Processes:
    """Does runs in processes of their own, a few at a time, and shows how far they are."""

    def __init__(self, experiment: Experiment, folder: Path, jobs: int):
        self._experiment, self._folder, self._jobs = experiment, folder, jobs
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Run, tuple] = {}
        self._seen: dict[Run, int] = {}  # iterations

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception) -> None:
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.join()

    def work(self, runs: Sequence[Run]) -> Iterator[Run]:
        """Do the runs; yields each when it is done."""
        waiting = list(runs)
        total = sum(run.setting != START for run in runs) * self._experiment.iterations
        with Progress("experiment", total) as progress:
            while waiting or self._running:
                while len(self._running) < self._jobs and (ready := self._first_ready(waiting)):
                    waiting.remove(ready)
                    self._start(ready)
                time.sleep(0.2)
                for run in list(self._running):
                    if self._advance(run, progress):
                        progress.say(f"{run.setting}, seed {run.seed}: {headline(run)}")
                        yield run

    def _first_ready(self, waiting: list[Run]) -> Run | None:
        """The first run whose start weights are there."""
        unmade = {run.seed for run in [*waiting, *self._running] if run.setting == START}
        ready = (run for run in waiting if run.setting == START or run.seed not in unmade)
        return next(ready, None)

    def _start(self, run: Run) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        done = self._context.Value("l", 0)
        arguments = (self._experiment, run, self._folder, done)
        process = self._context.Process(target=work, args=arguments, daemon=True)
        with without_interrupts():
            process.start()
            self._running[run] = (process, done)

    def _advance(self, run: Run, progress: Progress) -> bool:
        """Look after a run; True when it is done."""
        process, done = self._running[run]
        steps = done.value - self._seen.get(run, 0)
        if steps:
            self._seen[run] = done.value
            progress.step(f"{run.setting}, seed {run.seed}", steps)
        if process.exitcode is None:
            return False
        del self._running[run]
        if process.exitcode == FAILED:
            raise read_note(run.folder, run.setting)
        if process.exitcode != 0:
            raise UserError(
                f"{run.setting}, seed {run.seed}, was ended from outside (exit code "
                f"{process.exitcode}; out of memory?): the same command goes on"
            )
        return True


def work(experiment: Experiment, run: Run, folder: Path, done) -> None:
    """What the process of a run does."""
    with noting_failure(str(run.folder), run.setting):
        nn.set_num_threads(1)
        session = replace(experiment.session, seed=run.seed)
        starts = folder / START / f"seed-{run.seed}"
        if run.setting == START:
            lessons = io.StringIO()
            with contextlib.redirect_stdout(lessons), contextlib.redirect_stderr(io.StringIO()):
                with_start_weights(session, starts)
            write_json(run.result, {"lessons": lessons.getvalue().strip()})
            return
        train_and_measure(experiment, run, with_start_weights(session, starts), done)


def train_and_measure(experiment: Experiment, run: Run, session: Session, done) -> None:
    """One run: train, measure the last weights, leave ``result.json`` and ``best.ckpt``."""
    tasks = experiment.tasks(run.setting, session)

    def count(iteration: int) -> None:
        done.value = iteration

    policy = Policy(snapshot_every=SNAPSHOT_EVERY)
    result = run_here(
        tasks, experiment.iterations, seed=run.seed, folder=run.folder, policy=policy,
        after_iteration=count,
    )  # fmt: skip
    train, val = open_splits(session)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = build_model(session, train)
        model.load_state_dict(result.state_dict("detection"))
        evaluation, _ = measure(CompiledDetector(model), val)
    checkpoints.write(run.folder / "best.ckpt", "detection", model, describe(model, train))
    history = result.history
    seconds = sum(entry["processor"] for entries in history.values() for entry in entries)
    last = {task: entries[-1]["loss"] for task, entries in history.items()}
    write_json(run.result, {"processor_seconds": seconds, "losses": last, **evaluation.to_json()})
    shutil.rmtree(run.folder / "snapshots", ignore_errors=True)


def headline(run: Run) -> str:
    """A run's result in a few words."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    if run.setting == START:
        return result["lessons"]
    figures, minutes = result["figures"], result["processor_seconds"] / 60
    return (
        f"AP {figures['AP'] or 0:.3f}, AP50 {figures['AP50'] or 0:.3f}, "
        f"{minutes:.1f} minutes of a processor"
    )


def rows(experiment: Experiment, folder: Path) -> list[Row]:
    """The rows of the table, of the seeds that all three settings have done."""
    results: dict[str, list[dict]] = {setting: [] for setting in SETTINGS}
    for seed in experiment.seeds:
        paths = [folder / setting / f"seed-{seed}" / "result.json" for setting in SETTINGS]
        if all(path.exists() for path in paths):
            for setting, path in zip(SETTINGS, paths, strict=True):
                result = json.loads(path.read_text(encoding="utf-8"))
                results[setting].append({"seed": seed, **result})
    return [Row(setting, tuple(found)) for setting, found in results.items()]


def jobs_by_default() -> int:
    """As many runs at once as there are cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
