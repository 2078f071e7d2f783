"""``run`` on Ray (https://www.ray.io): the update core and every task as actors, on many machines.

Ray places the actors, starts them and notices when one has died; the arithmetic, and so every bit,
is that of ``multitask.run``. Ray is optional: ``pip install "lighthead[ray]"``.

Whoever can talk to a Ray cluster can run code in it. One that is started here listens on this
machine only, asks for a token, shows no dashboard and sends no usage statistics. One that is
already running is used as it is.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import sys
from collections.abc import Iterator, Sequence

import nn
from multitask.core.registration import Registration
from multitask.core.rules import Momentum, Rule
from multitask.errors import MultitaskError
from multitask.launch.launch import Result, environment
from multitask.server.events import stamped
from multitask.server.snapshots import SnapshotStore
from multitask.site.local import LocalServer, LocalSite
from multitask.site.task import Task, TaskSite
from nn.memory import keep_freed_memory

# Neither is retried by Ray: a step taken twice would be another step. We restart from known states.
ACTOR = {"max_restarts": 0, "max_task_retries": 0}

# Ray reads these from the environment, some of them when it is imported. The last one is what makes
# it listen on 127.0.0.1, on every system, in spite of its name.
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def run(
    tasks: Sequence[Task],
    iterations: int,
    *,
    rule: Rule | None = None,
    seed: int = 0,
    on_conflict: str = "error",
    folder: str | os.PathLike | None = None,
    snapshot_every: int = 100,
    max_restarts: int = 3,
    address: str | None = None,
) -> Result:
    """As ``multitask.run``, on Ray.

    Args:
        tasks, iterations, rule, seed, on_conflict: as there.
        folder: of this process, for snapshots; a training goes on from what is there.
        snapshot_every: iterations between snapshots, which are where a lost server starts again.
        max_restarts: how many actors may be lost in all.
        address: of a running cluster. None: the one this process is connected to, or else one on
            this machine that is stopped in the end.

    Raises:
        MultitaskError: Ray is not installed, a task has failed, or too many actors were lost.
    """
    ray = import_ray(private=address is None)
    store = SnapshotStore(folder) if folder else None
    with cluster(ray, address):
        driver = Driver(ray, tasks, rule or Momentum(), seed, on_conflict, max_restarts)
        try:
            return driver.train(iterations, store, snapshot_every)
        finally:
            driver.stop()


def import_ray(private: bool = False):
    """The package, or a MultitaskError that says how to get it.

    Args:
        private: with the settings for a cluster of our own, unless it is imported already.
    """
    if private and "ray" not in sys.modules:
        for name, value in PRIVATE.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise MultitaskError(
            'Ray is not installed: pip install "lighthead[ray]", or use multitask.run, which needs '
            "nothing else"
        ) from None
    return ray


@contextlib.contextmanager
def cluster(ray, address: str | None = None) -> Iterator[None]:
    """Connected to a cluster: the present one, that at ``address``, or a private one."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        ray.init(address=address, **quiet)
    else:
        if os.environ.get("RAY_AUTH_MODE") != "token":
            raise MultitaskError(
                "Ray would let every user of this machine run code as you: set RAY_AUTH_MODE=token "
                "before it is imported, or call ray.init yourself"
            )
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Actors inherit it, and so find the modules that tasks are defined in as this process does.
        with environment("PYTHONPATH", os.pathsep.join(filter(None, sys.path))):
            cores = nn.get_num_threads()
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


# What runs in the actors


class ServerActor:
    """The update core; answers one call at a time.

    The constructors of actors do next to nothing: an error in one would look like a death.
    """

    def begin(self, tasks: int, rule: Rule, on_conflict: str, tree: dict | None) -> int:
        """Start from a snapshot, or from nothing; the iteration to go on with."""
        nn.set_num_threads(1)
        self._local = LocalServer.restored(tasks, rule, tree, on_conflict)
        self._sites: dict[str, LocalSite] = {}
        return self._local.core.iteration if self._local.core.started else 0

    def register(self, registration: Registration) -> None:
        site = self._local.site(registration)
        site.register()
        self._sites[registration.task] = site

    def call(self, task: str, method: str, *arguments):
        return getattr(self._sites[task], method)(*arguments)

    def committed(self, task: str) -> int:
        return self._local.core.members[task].committed

    def state(self) -> dict:
        return self._local.state()


class SiteActor:
    """One task. Everything it knows can be had again from the server, so it may die."""

    def register(self, task: Task, server, seed: int, threads: int) -> None:
        nn.set_num_threads(min(threads, nn.get_num_threads()))
        self._site = TaskSite(task, RayServer(server), seed, start=False)

    def start(self) -> None:
        keep_freed_memory()  # each iteration asks for what the one before it freed
        self._site.optimizer.start()

    def commit(self) -> dict:
        """Forward, backward, commit; the event, for the history."""
        optimizer = self._site.optimizer
        report = self._site.backward()
        optimizer.commit(report)
        facts = {"task": self._site.task.name, "iteration": optimizer.iteration}
        return stamped({"event": "commit", **facts, "report": {"lr": optimizer.lr, **report}})

    def pull(self) -> None:
        self._site.optimizer.pull()

    def finish(self) -> None:
        self._site.optimizer.finish(wait=False)


class RayServer:
    """What ``RemoteMomentum`` takes as its server: the handle of a ``ServerActor``."""

    def __init__(self, actor):
        self._actor = actor

    def site(self, registration: Registration) -> RaySite:
        return RaySite(self._actor, registration)


class RaySite:
    """What ``Site`` is to a socket, to a ``ServerActor``."""

    def __init__(self, actor, registration: Registration):
        self.registration, self.rule = registration, {}
        self.done = self.finished = False
        self._actor, self._get = actor, import_ray().get

    def register(self) -> None:
        self._get(self._actor.register.remote(self.registration))

    def start(self) -> int:
        return self._call("start")

    def commit(self, iteration, contributions, buffers, absent=(), report=None) -> None:
        # The server has a copy before this returns, so the buffers may be filled again.
        self._call("commit", iteration, contributions, buffers, absent)

    def pull(self, iteration: int, buffers: bool = False):
        return self._call("pull", iteration, buffers)

    def leave(self, wait: bool) -> None:
        self._call("leave", wait)
        self.done = True

    def close(self) -> None:
        pass

    def _call(self, method: str, *arguments):
        return self._get(self._actor.call.remote(self.registration.task, method, *arguments))


# What leads them


class ServerLostError(MultitaskError):
    """The actor that holds the weights has died."""


class Driver:
    """Leads the actors through the iterations and replaces those that die.

    Attributes:
        server, sites: the actors, sites by the name of the task.
        restarts_left: how many may still die.
    """

    def __init__(
        self,
        ray,
        tasks: Sequence[Task],
        rule: Rule,
        seed: int,
        on_conflict: str,
        max_restarts: int,
    ):
        self._ray = ray
        self._tasks = {task.name: task for task in sorted(tasks, key=lambda task: task.name)}
        if not tasks or len(self._tasks) < len(tasks):
            raise ValueError(f"run needs tasks with different names, not {[t.name for t in tasks]}")
        self._rule, self._seed, self._on_conflict = rule, seed, on_conflict
        self.restarts_left = max_restarts
        cpus = ray.cluster_resources().get("CPU", 1.0) / len(tasks)
        self._threads = max(1, int(cpus))
        # Whole cores where there are enough; otherwise a fair part, rounded down as Ray counts.
        self._cpus = float(self._threads) if cpus >= 1 else math.floor(cpus * 1e4) / 1e4
        self.server, self.sites = None, {}

    def train(self, iterations: int, store: SnapshotStore | None, snapshot_every: int) -> Result:
        """All iterations, however often actors die."""
        found = store.load() if store else None
        tree, events = found[0] if found else None, {}
        while True:
            local = LocalServer.restored(len(self._tasks), self._rule, tree)
            if local.core.finished:
                return Result.of(local.core, iterations, events.values())
            try:
                iteration = self.start(tree)
                while iteration < iterations:
                    for event in self.step(iteration):
                        events[event["task"], iteration] = event
                    iteration += 1
                    if iteration == iterations:
                        self.finish()
                    if iteration % snapshot_every == 0 or iteration == iterations:
                        tree = self._get(self.server.state.remote())
                        if store:
                            store.save(tree, iteration)
            except ServerLostError:
                self._count_restart("the server")
                self.stop()

    def start(self, tree: dict | None) -> int:
        """Start all actors from a snapshot, or from nothing; the iteration to go on with."""
        self.server = self._ray.remote(num_cpus=0, **ACTOR)(ServerActor).remote()
        settings = (len(self._tasks), self._rule, self._on_conflict)
        iteration = self._get(self.server.begin.remote(*settings, tree))
        for task in self._tasks:
            self._make_site(task)
        for task in self._tasks:
            self._ask(task, "start")
        return iteration

    def step(self, iteration: int) -> list[dict]:
        """One iteration of all tasks; what they report."""
        reports: dict[str, dict] = {}
        late = []  # tasks that died after their commit had been counted
        todo = list(self._tasks)
        while todo:
            calls = {task: self.sites[task].commit.remote() for task in todo}
            todo = []
            for task, call in calls.items():  # in the order of the tasks, whoever is first
                try:
                    reports[task] = self._get(call)
                except self._ray.exceptions.RayActorError:
                    self._count_restart(f"task {task}")
                    if self._get(self.server.committed.remote(task)) == iteration:
                        late.append(task)
                    else:
                        self._make_site(task)
                        self._ask(task, "start")
                        todo.append(task)
        pulls = {task: self.sites[task].pull.remote() for task in self._tasks if task not in late}
        for task in self._tasks:
            try:
                if task in pulls:
                    self._get(pulls[task])
                    continue
            except self._ray.exceptions.RayActorError:
                self._count_restart(f"task {task}")
            self._make_site(task)
            self._ask(task, "start")
        return list(reports.values())

    def finish(self) -> None:
        """All tasks leave."""
        for task in self._tasks:
            self._ask(task, "finish")

    def stop(self) -> None:
        """End all actors."""
        for actor in filter(None, [self.server, *self.sites.values()]):
            self._ray.kill(actor)
        self.server, self.sites = None, {}

    def _make_site(self, task: str) -> None:
        """A new actor for a task, registered."""
        make = self._ray.remote(num_cpus=self._cpus, **ACTOR)(SiteActor).remote
        settings = (self._tasks[task], self.server, self._seed, self._threads)
        while True:
            self.sites[task] = make()
            try:
                self._get(self.sites[task].register.remote(*settings))
                return
            except self._ray.exceptions.RayActorError:
                self._count_restart(f"task {task}")

    def _ask(self, task: str, method: str) -> None:
        """Call a site that has just been made or has just answered; if it dies, once more."""
        while True:
            try:
                self._get(getattr(self.sites[task], method).remote())
                return
            except self._ray.exceptions.RayActorError:
                self._count_restart(f"task {task}")
                self._make_site(task)
                if method != "start":
                    self._ask(task, "start")

    def _get(self, call):
        """The result of a call.

        Raises:
            RayActorError: the actor that was called has died.
            ServerLostError: the server has died, whoever noticed it.
            MultitaskError: what the actor raised.
        """
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(call)
        except exceptions.RayTaskError as error:
            # Raised inside an actor that lives on.
            if isinstance(error.cause, exceptions.RayActorError) or isinstance(
                error, exceptions.RayActorError
            ):
                raise ServerLostError("the actor with the weights has died") from None
            if isinstance(error.cause, MultitaskError):
                raise error.cause from None
            raise MultitaskError(f"an actor has failed: {error.cause!r}") from error
        except exceptions.RayActorError as error:
            if self.server is not None and error.actor_id == self.server._actor_id.hex():
                raise ServerLostError("the actor with the weights has died") from None
            raise

    def _count_restart(self, who: str) -> None:
        if self.restarts_left == 0:
            raise MultitaskError(f"{who} has died, and no restarts are left (max_restarts)")
        self.restarts_left -= 1
