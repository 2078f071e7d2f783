"""``multitask.run``: everything as processes, killed at random moments, never a bit off."""

import collections
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from multitask_toys import die, explode, falling, toy_task

import multitask
from detector.folder_lock import alone_in
from multitask import Launch, Policy, errors
from multitask.launch.workers import SERVER
from multitask.server import events

# Starting from a process that has imported everything is much faster than spawning, for 20 kills.
QUICK = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
if QUICK == "forkserver":
    multiprocessing.set_forkserver_preload(["multitask", "multitask_toys"])


def digest(result):
    digest = hashlib.sha256()
    for arrays in (result.parameters, *(result.buffers[task] for task in sorted(result.buffers))):
        for name in sorted(arrays):
            digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


def tasks(seconds=0.0):
    return [toy_task("b", seconds), toy_task("a", 2 * seconds), toy_task("c", seconds)]


def test_processes_give_the_bits_of_one_process(tmp_path):
    """Spawned, as on every system."""
    expected = multitask.run(tasks(), 12, processes=False)
    result = multitask.run(tasks(), 12, folder=tmp_path)
    assert digest(result) == digest(expected)
    assert result.names["a"] == ["head_a", "shared"]
    assert sorted(result.state_dict("a")) == ["count", "head_a", "mean", "shared"]
    for task in "abc":
        told, known = result.history[task], expected.history[task]
        assert [entry["iteration"] for entry in told] == list(range(12))
        assert [entry["square"] for entry in told] == [entry["square"] for entry in known]
        assert told[3]["lr"] == pytest.approx(falling(3))
    # A finished training is not done again.
    assert digest(multitask.run(tasks(), 12, folder=tmp_path, start_method=QUICK)) == digest(
        expected
    )


def test_a_task_that_fails_ends_everything_with_its_reason(tmp_path):
    bad = toy_task("a", loss=explode)
    begun = time.monotonic()
    with pytest.raises(errors.MultitaskError, match="a has failed: ZeroDivisionError"):
        multitask.run([bad, toy_task("b")], 9, folder=tmp_path, start_method=QUICK)
    assert time.monotonic() - begun < 30
    assert multiprocessing.active_children() == []


def test_the_reason_of_the_server_comes_first(tmp_path):
    poisoned = toy_task("a", lr=float("nan"))
    with pytest.raises(errors.NonFiniteError, match="task a .* iteration 0"):
        multitask.run([poisoned, toy_task("b")], 9, folder=tmp_path, start_method=QUICK)


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_task_that_dies_again_and_again_is_not_started_for_ever(tmp_path):
    with pytest.raises(errors.MultitaskError, match="a has died 3 times .exit code -9"):
        multitask.run(
            [toy_task("a", loss=die), toy_task("b")],
            9, folder=tmp_path, start_method=QUICK, max_restarts=2,
        )  # fmt: skip


def test_what_cannot_run():
    with pytest.raises(ValueError, match="different names"):
        multitask.run([toy_task("a"), toy_task("a")], 1)
    with pytest.raises(ValueError, match="top level"):
        multitask.run([toy_task("a", lr=lambda iteration: 0.1)], 1)


def test_an_interrupted_training_goes_on(tmp_path):
    expected = multitask.run(tasks(), 30, processes=False)
    with Launch(tasks(0.01), 30, tmp_path, start_method=QUICK) as launch:
        wait_for_iteration(launch, 5)
    reached = max(e["iteration"] for e in events.read_events(tmp_path / "events.jsonl")
                  if e["event"] == "commit")  # fmt: skip
    assert 5 <= reached < 29
    result = multitask.run(tasks(), 30, folder=tmp_path, start_method=QUICK)
    assert digest(result) == digest(expected)


@pytest.mark.parametrize("processes", [True, False])
def test_one_training_in_a_folder(tmp_path, processes):
    with alone_in(tmp_path, "another training"):
        with pytest.raises(errors.MultitaskError, match="another training is at work in .*folder"):
            multitask.run(tasks(), 1, folder=tmp_path, processes=processes)
    assert not any(tmp_path.iterdir())
    assert multitask.run(tasks(), 1, folder=tmp_path / "new", processes=False)


def test_a_slow_start_is_no_loss(tmp_path):
    """Of a training that goes on the server is there first, and tasks import and compile for
    minutes where the machine is busy: it waits as long as the processes live."""
    launch = Launch(tasks(), 1, tmp_path)
    *_, policy, _ = launch._jobs[SERVER][1]
    assert policy.rejoin_timeout >= 600 and policy == replace(
        Policy(), rejoin_timeout=policy.rejoin_timeout
    )
    *_, own, _ = Launch(tasks(), 1, tmp_path, policy=Policy(rejoin_timeout=7))._jobs[SERVER][1]
    assert own.rejoin_timeout == 7


def wait_for_iteration(launch, iteration, timeout=30):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (launch.folder / "events.jsonl").exists():
            told = events.history(events.read_events(launch.folder / "events.jsonl"))
            if told and min(len(entries) for entries in told.values()) > iteration:
                return
        time.sleep(0.02)
    raise AssertionError("training does not get ahead")


class Killer(threading.Thread):
    """Kills processes of a launch at random moments, and the server in the midst of snapshots.

    ``done`` counts what was struck while it lived: "server", "snapshot", "site", "both".
    """

    def __init__(self, launch, kills, seed):
        super().__init__(daemon=True)
        self.launch, self.kills, self.rng, self.over = launch, kills, random.Random(seed), False
        self.done = collections.Counter()

    def run(self):
        self.wait_for_life()
        while self.done.total() < self.kills and not self.over:
            aim = self.rng.choice(["server", "snapshot", "site", "both"])
            time.sleep(self.rng.uniform(0.02, 0.25))
            if aim == "snapshot" and not self.wait_for_snapshot():
                continue
            victims = [] if aim == "site" else [SERVER]
            if aim in ("site", "both"):
                victims.append(self.rng.choice("abc"))
            if all([self.kill(name) for name in victims]):
                self.done[aim] += 1
            self.wait_for_life()

    def kill(self, name):
        process = self.launch.processes[name]
        alive = bool(process.pid) and process.is_alive()
        if alive:
            os.kill(process.pid, signal.SIGKILL)
        return alive

    def wait_for_snapshot(self):
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if list((self.launch.folder / "snapshots").glob(".*.partial")):
                return True
        return False

    def wait_for_life(self):
        """Until somebody commits again: otherwise the kills would only hit each other."""
        diary = self.launch.folder / "events.jsonl"
        size, deadline = diary.stat().st_size if diary.exists() else 0, time.monotonic() + 10
        while time.monotonic() < deadline and not self.over:
            if diary.exists() and b'"commit"' in diary.read_bytes()[size:]:
                return
            time.sleep(0.01)


def kill_and_compare(folder, seed, expected):
    """One training of 40 iterations, killed one to three times; returns what was killed."""
    options = {"policy": Policy(snapshot_every=2), "max_restarts": 1000, "start_method": QUICK}
    with Launch(tasks(0.02), 40, folder, **options) as launch:
        killer = Killer(launch, 1 + seed % 3, seed)
        killer.start()
        try:
            assert digest(launch.wait()) == expected, f"seed {seed}"
        finally:
            killer.over = True
            killer.join()
    return killer.done


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("trials", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_at_random_moments_and_never_a_bit_off(tmp_path, trials):
    """A trial in which nobody was struck before the training was over does not count."""
    expected = digest(multitask.run(tasks(), 40, processes=False))
    struck, trainings = [], 0
    while len(struck) < trials:
        seed = 1000 * trials + trainings
        done = kill_and_compare(tmp_path / str(seed), seed, expected)
        struck += [done] if done else []
        trainings += 1
    kills = sum(struck, collections.Counter())
    print(f"{trials} trials, {trainings} trainings, {dict(kills)}")
    assert set(kills) == {"server", "snapshot", "site", "both"}


def test_the_diary_survives_a_cut_line(tmp_path):
    path = tmp_path / "events.jsonl"
    diary = events.Diary(path)
    diary({"event": "commit", "task": "a", "iteration": 0, "report": {"loss": 2.0}})
    diary.close()
    with open(path, "a") as file:
        file.write(json.dumps({"event": "commit", "task": "a"})[:20])
    diary = events.Diary(path)
    for iteration, loss in ((1, 1.0), (2, 0.5), (2, 0.25)):  # the last was repeated
        report = {"loss": loss}
        diary({"event": "commit", "task": "a", "iteration": iteration, "report": report})
    diary.close()
    told = events.history(events.read_events(path))["a"]
    assert [entry["loss"] for entry in told] == [2.0, 1.0, 0.25]


def test_one_process_goes_on_too_and_so_do_several_where_it_stopped(tmp_path):
    expected = digest(multitask.run(tasks(), 20, processes=False))

    class Stop(Exception):  # noqa: N818
        pass

    def stop(done):
        if done == 7:
            raise Stop

    here = {"folder": tmp_path, "processes": False, "policy": Policy(snapshot_every=3)}
    with pytest.raises(Stop):
        multitask.run(tasks(), 20, after_iteration=stop, **here)
    assert digest(multitask.run(tasks(), 20, **here)) == expected
    done = [e["iteration"] for e in events.read_events(tmp_path / "events.jsonl")]
    assert done.count(5) == 3 and done.count(6) == 6  # of three tasks; 6 was not yet saved

    with pytest.raises(Stop):
        multitask.run(tasks(), 20, after_iteration=stop, **{**here, "folder": tmp_path / "b"})
    result = multitask.run(tasks(), 20, folder=tmp_path / "b", start_method=QUICK)
    assert digest(result) == expected
    assert [entry["iteration"] for entry in result.history["a"]] == list(range(20))


def test_a_finished_training_is_not_taken_for_a_longer_one(tmp_path):
    for processes in (False, True):
        folder = tmp_path / str(processes)
        multitask.run([toy_task("a")], 3, folder=folder, processes=False)
        with pytest.raises(errors.MultitaskError, match="of 3 iterations, not of 5.*another"):
            multitask.run([toy_task("a")], 5, folder=folder, processes=processes)


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM")
def test_a_server_that_was_told_to_leave_has_not_finished(tmp_path):
    with Launch(tasks(0.01), 1000, tmp_path, start_method=QUICK) as launch:
        wait_for_iteration(launch, 2)
        launch.processes[SERVER].terminate()
        with pytest.raises(errors.MultitaskError, match="of 1000 iterations: start it again"):
            launch.wait()


ORPHANS = """
import sys
from multitask import Launch
from multitask_toys import toy_task
if __name__ == "__main__":
    with Launch([toy_task("a", 0.01), toy_task("b")], 100_000, sys.argv[1]) as launch:
        print(*(process.pid for process in launch.processes.values()), flush=True)
        launch.wait()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc")
def test_nothing_outlives_a_launcher_that_is_killed(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([os.path.dirname(here), here])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, str(script), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as launcher:
        children = [int(pid) for pid in launcher.stdout.readline().split()]
        assert len(children) == 3
        launcher.kill()
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in children)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
