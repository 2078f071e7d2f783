"""Files of our own formats that somebody else wrote: one line each, soon, and in little memory.

A checkpoint whose checksum is right, a ``config.json`` and a ``multitask.json`` may hold anything;
``evil_trees`` makes them. What a command accepts, it may use: then it ends with 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from evil_trees import evil_json, write_evil_checkpoint
from field_cases import complaint, run

import lighthead
import multitask.commands.multitask as joint
from detector.datasets import write_shapes
from detector.training.objectives.detection import Detection
from detector.training.trainer import Trainer
from multitask.launch.launch import Launch
from nn import checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no alarm and no resource")

TINY = ["--preset", "tiny", "--batch", "2", "--short-side", "64", "--backbone"]
TINY += ["shufflenet_v2_x0_5"]
MOST_MEMORY = 2**30
MOST_SECONDS = 30  # a guard against hanging, many times what anything here takes
LONGEST_LINE = 3000


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A data set, a finished run, and a joint training that has begun."""
    folder = tmp_path_factory.mktemp("evil")
    write_shapes(folder / "data", train=2, val=1, image_size=64)
    options = ["--data", str(folder / "data"), *TINY]
    out = ["--out", str(folder / "run"), "--epochs", "1", "--crop-iterations", "0"]
    assert lighthead.main(["train", *options, *out]) == 0
    return folder


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    """What was accepted is not carried out: that would take its time, rightly."""
    monkeypatch.setattr(Trainer, "fit", lambda self: None)
    monkeypatch.setattr(Detection, "conclude", lambda self, run: {})


class TooSlowError(Exception):
    pass


@contextlib.contextmanager
def bounded():
    """Not for ever, and not in more memory than ``MOST_MEMORY``."""

    def stop(number, frame):
        raise TooSlowError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY


def survives(capsys, *arguments) -> bool:
    """Whether the command refused, in one line; anything else that is no success fails."""
    with bounded():
        code, _, errors = run(capsys, *arguments)
    lines = [line for line in errors.splitlines() if "compiling kernels" not in line]
    assert code in (0, 2), errors
    if code == 0:
        return False
    assert len(lines) == 1 and lines[0].startswith("lighthead: "), errors
    assert len(lines[0]) < LONGEST_LINE and "not enough memory" not in lines[0]
    return True


def evil_config(place: Path, folder: Path, capsys, number: int) -> bool:
    rng = np.random.default_rng([1, number])
    out = folder / "run"
    shutil.copytree(place / "run", out)
    if rng.random() < 0.3:
        (out / "last.ckpt").unlink()
    tree = json.loads((out / "config.json").read_text())
    (out / "config.json").write_bytes(evil_json(tree, rng))
    return survives(capsys, "train", "--resume", "--out", out)


def evil_checkpoint(place: Path, folder: Path, capsys, number: int) -> bool:
    rng = np.random.default_rng([2, number])
    tree = checkpoint.load(place / "run" / "last.ckpt")
    command = ["detect", "evaluate", "resume", "init"][number % 4]
    out = folder / "run"
    shutil.copytree(place / "run", out)
    path = out / ("last.ckpt" if command == "resume" else "best.ckpt")
    write_evil_checkpoint(path, tree, rng)
    data = ["--data", place / "data"]
    if command == "detect":
        picture = place / "data" / "val" / "00000.png"
        return survives(capsys, "detect", "--weights", out, picture, "--out", folder / "found")
    if command == "evaluate":
        return survives(capsys, "evaluate", "--weights", out, *data)
    if command == "resume":
        return survives(capsys, "train", "--resume", "--out", out)
    options = [*data, *TINY, "--out", folder / "new"]
    return survives(capsys, "train", "--init-from", path, *options)


def evil_plan(place: Path, folder: Path, capsys, number: int) -> bool:
    rng = np.random.default_rng([3, number])
    out = folder / "joint"
    out.mkdir()
    options = ["multitask", "joint", "--data", place / "data", *TINY, "--iterations", "2"]
    options += ["--crop-iterations", "0", "--out", out]
    assert not survives(capsys, *options)
    tree = json.loads((out / "multitask.json").read_text())
    (out / "multitask.json").write_bytes(evil_json(tree, rng))
    return survives(capsys, *options)


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("", None, "not of a training"),
        ("", [1, 2], "not of a training"),
        ("about", None, "has no 'about'"),
        ("model", [], "has no 'model'"),
        ("about/detector", ["a"], "no detector '['a']'"),
        ("about/detector", "yolo", "no detector 'yolo'"),
        ("about/config", None, "damaged, or of another version"),
        ("about/config/num_classes", 10**9, "weights, more than"),
        ("about/config/num_classes", "4", "damaged, or of another version"),
        ("about/config/image/mean", [], "image.mean must be 3 values"),
        ("about/config/image/std", [0.2, 0.2, float("nan")], "image.std must be a number, not nan"),
        ("about/config/image/short_side", 10**6, "image.short_side must be from 1 to 4096"),
        ("about/config/rpn/anchors/shapes", [[8.0, 8.0]] * 2**18, "16384 values at most"),
        ("about/config/rpn/anchors/shapes", [[8.0, 8.0]] * 600, "from 1 to 512 anchors, not 600"),
        ("about/config/rpn/anchors/shapes", [], "from 1 to 512 anchors, not 0"),
        ("about/config/rpn/anchors/shapes", [[8.0, 8.0]] * 500, "holds another model"),
        ("about/config/rpn/test_selector/post_nms", 10**6, "must be from 1 to 16384"),
        ("about/config/thin_map/mid_channels", 10**6, "mid_channels must be from 1 to 16384"),
        ("about/config/thin_map/mid_channels", 2**14, "weights, more than 134,217,728"),
        ("about/config/head/sampling_ratio", 10**9, "sampling_ratio must be from 0 to 64"),
        (
            "about/config/head",
            {"pooled_size": 16, "pooled_channels": 16, "sampling_ratio": 64},
            "samples of regions in a picture, more than",
        ),
        ("about/config/head/hidden_channels", 10**400, "must be from 1 to 16384"),
        ("about/classes", None, "damaged, or of another version"),
        ("about/classes", ["a", "b", "c", 4], "a class name is no text"),
        ("about/category_ids", None, "damaged, or of another version"),
        ("about/category_ids", [1, 2, 3, float("inf")], "a category id is no whole number"),
        ("model/head.hidden.weight", "x", "head.hidden.weight holds something else than finite"),
        ("model/head.hidden.bias", np.full(1024, np.nan), "head.hidden.bias holds something else"),
        ("model/head.hidden.bias", np.zeros((2, 3)), "holds another model"),
    ],
)
def test_what_is_said_of_a_checkpoint(place, tmp_path, capsys, path, value, words):
    tree = {"tree": checkpoint.load(place / "run" / "best.ckpt")}
    inner, names = tree, ["tree", *path.split("/")] if path else ["tree"]
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    checkpoint.save(tmp_path / "evil.ckpt", tree["tree"])
    with bounded():
        line = complaint(
            capsys, "evaluate", "--weights", tmp_path / "evil.ckpt", "--data", place / "data"
        )
    assert words in line and "evil.ckpt" in line


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("optimizer", None, "damaged, or of another version"),
        ("optimizer", {"velocities": []}, "this state belongs to other parameters"),
        ("position", None, "damaged, or of another version"),
        ("position", {"epoch": 1, "iteration": 10**9}, "iteration 1000000000 is in no epoch"),
        ("position", {"epoch": -1, "batch": 1}, "iteration 0 is in no epoch"),
        ("position", {"metrics": -1}, "iteration 0 is in no epoch"),
        ("position", {"seconds": float("nan")}, "seconds must be a number"),
        ("position", {"place": 3}, "'place'"),
    ],
)
def test_what_is_said_of_the_end_of_a_run(place, tmp_path, capsys, path, value, words):
    shutil.copytree(place / "run", tmp_path / "run")
    tree = checkpoint.load(tmp_path / "run" / "last.ckpt")
    tree[path] = value
    checkpoint.save(tmp_path / "run" / "last.ckpt", tree)
    line = complaint(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert words in line and "last.ckpt" in line


@pytest.mark.parametrize(
    "text, words",
    [
        (b"null", "it must hold the options of a run by name"),
        (b"[" * 100_000, "config.json is damaged (it is nested too deeply)"),
        (b"\xff\xfe", "config.json is damaged"),
        (b" " * 2**23, "config.json is damaged (it is longer than"),
        (b'{"recipe": {"steps": {"batch": -1}}}', "recipe.steps.batch must be from 1 to 4096"),
        (b'{"recipe": {"steps": {"epochs": 1e999}}}', "epochs must be a whole number, not inf"),
        (b'{"recipe": {"steps": {"epochs": 1000000000}}}', "epochs must be from 1 to 1000000"),
        (b'{"recipe": {"steps": {"momentum": NaN}}}', "momentum must be a number, not nan"),
        (b'{"recipe": {"steps": {"lr_per_image": 1%s}}}' % (b"0" * 400), "must be a number"),
        (b'{"recipe": {"backbone": "resnet18", "short_sides": []}}', "no options of a run"),
        (b'{"recipe": {"model": {"rpn": 3}}}', "recipe.model.rpn must hold settings by name"),
        (b'{"recipe": {"model": {"backbone": ["a"]}}}', "backbone must be a word"),
        (b'{"recipe": {"detector": {}}}', "there is no detector '{}'"),
        (b'{"data": "a\\u0000b"}', "data can be no file's name"),
        (b'{"data": "\\ud800"}', "data can be no file's name"),
        (b'{"task": ["detection"]}', "there is no task"),
        (b'{"\\u001b[2J\\n": 1}', "there is no \\x1b[2J\\n"),
    ],
)
def test_what_is_said_of_a_config(place, tmp_path, capsys, text, words):
    (tmp_path / "config.json").write_bytes(text)
    with bounded():
        line = complaint(capsys, "train", "--resume", "--out", tmp_path)
    assert words in line and str(tmp_path) in line


def test_a_pipe_for_a_config_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "config.json")
    with bounded():
        assert "it is no file" in complaint(capsys, "train", "--resume", "--out", tmp_path)


@pytest.fixture
def nothing_is_launched(monkeypatch):
    monkeypatch.setattr(Launch, "__init__", lambda self, *arguments, **options: None)
    monkeypatch.setattr(Launch, "__enter__", lambda self: self)
    monkeypatch.setattr(Launch, "__exit__", lambda self, *exception: None)
    monkeypatch.setattr(Launch, "wait", lambda self, watch: None)
    monkeypatch.setattr(joint, "leave_run", lambda result, session, folder: None)


KINDS = [evil_config, evil_checkpoint, evil_plan]


def try_all(kind, place, tmp_path, capsys, numbers) -> int:
    refused = 0
    for number in numbers:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            refused += kind(place, folder, capsys, number)
        except BaseException as error:
            raise AssertionError(f"{kind.__name__} {number}: {type(error).__name__}") from error
        shutil.rmtree(folder)
    return refused


@pytest.mark.parametrize("kind", KINDS)
def test_evil_files(kind, place, tmp_path, capsys, nothing_is_launched):
    assert try_all(kind, place, tmp_path, capsys, range(50)) >= 25


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hundred", range(10))
def test_thousands_of_evil_files(kind, hundred, place, tmp_path, capsys, nothing_is_launched):
    numbers = range(100 * hundred, 100 * (hundred + 1))
    assert try_all(kind, place, tmp_path, capsys, numbers) >= 50
