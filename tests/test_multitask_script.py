"""``multitask.run`` from where users call it: a careless script, a prompt, a busy terminal."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from multitask_toys import toy_task

import multitask
from multitask import errors

ROOT = Path(__file__).parent.parent

SCRIPT = """
import numpy as np
import multitask
import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.ones(3, np.float32))

def loss(network, iteration):
    return (network.weight * network.weight).sum()

multitask.run([multitask.Task("a", Network, loss, 0.1)], 2)
"""


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    told = python(path).stderr
    assert 'put the call under if __name__ == "__main__":' in told
    assert told.count("Traceback") == 1 and "could not begin: it has printed why" in told


def test_what_was_typed_in_cannot_go_to_another_process():
    told = python("-", input=SCRIPT).stderr
    assert told.count("Traceback") == 1 and "processes=False" in told.splitlines()[-1]
    assert python("-", input=SCRIPT.replace(", 2)", ", 2, processes=False)")).returncode == 0


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize(
    ("names", "iterations", "words"),
    [
        ([], 3, "different names"),
        (["a", "a"], 3, "different names"),
        (["a"], -1, "number of iterations, not -1"),
    ],
)
def test_plans_that_make_no_sense(processes, names, iterations, words):
    with pytest.raises(ValueError, match=words):
        multitask.run([toy_task(name) for name in names], iterations, processes=processes)


def test_the_name_of_a_task_becomes_no_path(tmp_path):
    with pytest.raises(errors.RegistrationError, match="cannot be the name of a task"):
        multitask.run([toy_task("../outside")], 1, folder=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_a_folder_that_cannot_be_written():
    with pytest.raises(OSError, match="/proc/self"):
        multitask.run([toy_task("a")], 3, folder="/proc/self")


def test_a_file_that_a_task_cannot_read_is_no_mystery(tmp_path, capfd):
    task = toy_task("a", loss=functools.partial(read_missing, str(tmp_path / "missing")))
    with pytest.raises(errors.MultitaskError, match="No such file.*missing"):
        multitask.run([task], 3)
    assert "Traceback" not in capfd.readouterr().err


def read_missing(path, model, iteration):
    open(path)


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize("what", ["joint", "experiment"])
def test_ctrl_c_is_heard_by_one_process_alone(tmp_path, what):
    """A terminal sends it to all of them, also to those that are just importing."""
    command = [sys.executable, "-m", "detector", "multitask", what, "--data", "shapes"]
    command += ["--crop-iterations", "0", "--iterations", "100", "--out", str(tmp_path / "run")]
    command += ["--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(_group(process.pid)) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.15)  # they have begun to import
    os.killpg(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in told, told
    assert "the same command goes on" in told


def _group(leader):
    """The processes of a group; of none where there is no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += [path] * (int(fields[2]) == leader)
    return found
