"""What a terminal gets to see, and what happens where there is none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from field_cases import run
from test_multitask_hostile import frame

from detector.datasets import write_shapes
from detector.progress import Progress
from detector.training.run_folder import read_metrics
from multitask.commands.view import View
from multitask.wire.protocol import Kind
from nn import checkpoint

ROOT = Path(__file__).parent.parent
EVIL = "\x1b[2J\x9b31mred\r\n\u202e\x07"
TINY = ["--preset", "tiny", "--batch", "2", "--short-side", "64", "--epochs", "1"]
TINY += ["--crop-iterations", "0", "--backbone", "shufflenet_v2_x0_5"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Pictures of shapes; one class has an evil name."""
    folder = tmp_path_factory.mktemp("terminal") / "data"
    write_shapes(folder, train=4, val=2, image_size=64)
    for path in (folder / "annotations").iterdir():
        document = json.loads(path.read_text())
        document["categories"][0]["name"] = f"circle{EVIL}"
        path.write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def trained(data) -> tuple[Path, str]:
    """A run on these, and what its training printed."""
    out = data.parent / "run"
    command = [sys.executable, "-m", "detector", "train", "--data", data, "--out", out, *TINY]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def assert_tame(text: str) -> None:
    acting = [c for c in text if unicodedata.category(c) == "Cc" and c != "\n" or c == "\u202e"]
    assert not acting, repr(text)


def tame_line(capsys, *arguments) -> str:
    """The one line of a mistake."""
    code, text, errors = run(capsys, *arguments)
    assert code == 2 and errors.count("\n") == 1, errors
    assert_tame(text + errors)
    return errors


def test_class_names(trained, data, capsys):
    out, told = trained
    assert_tame(told)
    assert "circle\\x1b[2J" in told
    code, text, errors = run(capsys, "evaluate", "--weights", out, "--data", data)
    assert code == 0 and "circle\\x1b[2J" in text
    assert_tame(text + errors)
    code, text, errors = run(capsys, "check-data", "--data", data, "--no-timing", *TINY)
    assert code == 0 and "circle\\x1b[2J" in text
    assert_tame(text + errors)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_file_names(trained, data, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(data / "val" / "00000.png", pictures / f"{EVIL}.png")
    (pictures / f"bad{EVIL}.png").write_bytes(b"not a picture")
    (pictures / f"other.{EVIL}").touch()
    out = ["--out", tmp_path / "out"]
    code, text, errors = run(capsys, "detect", "--weights", trained[0], pictures, *out)
    assert code == 2 and errors.count("\n") == 1 and "bad\\x1b[2J" in errors
    assert text.count("\n") == len(text.splitlines())
    assert_tame(text + errors)
    tame_line(capsys, "evaluate", "--weights", pictures / f"bad{EVIL}.png", "--data", data)


def test_problems_of_a_data_set(data, tmp_path, capsys):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    path = folder / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = f"{EVIL}.png"
    document["images"][1]["file_name"] = f"a{EVIL}.png"
    path.write_text(json.dumps(document))
    code, text, errors = run(
        capsys, "train", "--data", folder, "--out", tmp_path / "run", "--strict", *TINY
    )
    assert code == 2 and errors.startswith("lighthead: 2 mistakes in the data set:\n  ")
    assert errors.count("\n") == 3
    assert_tame(text + errors)


def test_tensor_names(trained, data, tmp_path, capsys):
    out = ["--data", data, "--out", tmp_path / "run", *TINY]
    np.savez(tmp_path / "w.npz", **{f"a{EVIL}": np.zeros(3), "b": np.zeros(2)})
    assert "a\\x1b[2J" in tame_line(capsys, "train", "--init-from", tmp_path / "w.npz", *out)
    tree = checkpoint.load(trained[0] / "best.ckpt")
    state = {
        name.removeprefix("backbone."): array
        for name, array in tree["model"].items()
        if name.startswith("backbone.")
    }
    np.savez(tmp_path / "w.npz", **state, **{f"more{EVIL}": np.zeros(3)})
    code, text, errors = run(capsys, "train", "--init-from", tmp_path / "w.npz", *out)
    assert code == 0 and "not in the model: more\\x1b[2J" in text
    assert_tame(text + errors)
    tree["model"][f"more{EVIL}"] = np.zeros(3)
    checkpoint.save(tmp_path / "evil.ckpt", tree)
    line = tame_line(capsys, "evaluate", "--weights", tmp_path / "evil.ckpt", "--data", data)
    assert "more\\x1b[2J" in line


def test_what_a_stranger_says_who_is_no_server(data, capsys):
    """Anybody may listen where the server should be; what it says comes before any proof."""
    listener = socket.create_server(("127.0.0.1", 0))

    def lie():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            text = json.dumps({"code": "TrainingStoppedError", "message": f"lies{EVIL}" * 100})
            connection.sendall(frame(Kind.ERROR, text.encode()))
            connection.recv(65536)

    liar = threading.Thread(target=lie, daemon=True)
    liar.start()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    line = tame_line(
        capsys, "site", "detection", "--server", address, "--data", data, *TINY, "--iterations", "1"
    )
    assert "lies\\x1b[2J" in line
    liar.join()
    listener.close()


def test_names_of_tasks(capsys):
    view = View(9)
    view({"event": "joined", "task": f"a{EVIL}"})
    view({"event": "stopped", "why": f"b{EVIL}"})
    view({"event": "commit", "task": f"c{EVIL}", "iteration": 1, "report": {}})
    view.close()
    assert_tame(capsys.readouterr().err)


@pytest.mark.skipif(os.name == "nt", reason="the shell's way to close a stream")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-"])
def test_closed_streams(data, tmp_path, closed):
    """What is opened first must not get the number of a stream, or what is printed goes there."""
    command = " ".join([sys.executable, "-m", "detector", "train", *TINY])
    done = subprocess.run(
        f"{command} --data {data} --out {tmp_path / 'run'} {closed}",
        shell=True, cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == 0
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["iteration"] for row in rows if "loss" in row] == [1, 2]
    assert b"epoch 1/1" in done.stdout or ">&- 2" in closed


def test_progress_without_a_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr("detector.progress.SECONDS_BETWEEN_LINES", 0.0)
    with Progress("training", 2) as progress:
        progress.step()
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_terminal_that_is_closed(tmp_path):
    """Saved as after Ctrl-C, though nothing can be printed any more."""
    import pty

    controlled = (
        "import fcntl, os, sys, termios\n"
        "os.setsid()\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    tests = Path(__file__).parent
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", controlled, str(tests / "standin_detector.py"),
         str(tmp_path / "run"), "--slow", "0.05"],
        stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(slave)
    assert os.read(master, 5) == b"ready"
    time.sleep(0.5)
    os.close(master)
    assert process.wait(timeout=60) == 1  # as after Ctrl-C; killed, it would be negative
    position = checkpoint.load(tmp_path / "run" / "last.ckpt")["position"]
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert 0 < position["iteration"] == max(row["iteration"] for row in rows)
