"""Two processes in one folder: the second is told so; nothing that lies there leads elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from field_cases import complaint

from detector.errors import UserError
from detector.folder_lock import alone_in
from detector.training.presets import preset
from detector.training.run_folder import RunFolder, write_json
from detector.training.sessions import Session
from multitask.errors import MultitaskError
from multitask.server.events import Diary
from nn.files import ordinary

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
HOLDER = """
import sys, time
from detector.folder_lock import alone_in
with alone_in(sys.argv[1], "x"):
    print("in", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen:
    """A process that is at work in a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline().strip() == b"in"
    return process


def test_one_at_a_time(tmp_path):
    with alone_in(tmp_path, "another server", "--folder"):
        words = f"another server is at work in {tmp_path}: choose another --folder"
        with (
            pytest.raises(UserError, match=words),
            alone_in(tmp_path, "another server", "--folder"),
        ):
            pass
        (tmp_path / "below").mkdir()
        with alone_in(tmp_path / "below", "x"):
            pass
    with alone_in(tmp_path, "x"):
        pass
    if os.name == "posix":
        assert os.listdir(tmp_path) == ["below"]  # nothing is left


def test_the_lock_ends_with_its_process(tmp_path):
    process = holder(tmp_path)
    with pytest.raises(UserError, match="at work"), alone_in(tmp_path, "x"):
        pass
    process.kill()
    process.communicate()
    with alone_in(tmp_path, "x"):
        pass


def a_run(path: Path) -> RunFolder:
    """A run that has not come far."""
    run = RunFolder(path)
    run.create()
    recipe = preset("tiny").resized(64)
    run.write_config(Session(data="shapes", limit=2, recipe=recipe).as_dict())
    return run


def test_a_second_training_is_refused(capsys, tmp_path):
    run = a_run(tmp_path / "demo" / "run")
    process = holder(run.path)
    before = sorted(os.listdir(run.path))
    try:
        for command in (
            ["train", "--resume", "--out", run.path],
            ["demo", "--out", tmp_path / "demo"],
        ):
            line = complaint(capsys, *command)
            assert f"another training is at work in {run.path}" in line
    finally:
        process.kill()
        process.communicate()
    assert sorted(os.listdir(run.path)) == before


def test_a_second_training_of_several_tasks_is_refused(capsys, tmp_path):
    process = holder(tmp_path)
    try:
        for what in ("joint", "experiment"):
            options = ["--data", "shapes", "--preset", "tiny", "--iterations", 1]
            line = complaint(capsys, "multitask", what, *options, "--out", tmp_path)
            assert f"another training is at work in {tmp_path}" in line
    finally:
        process.kill()
        process.communicate()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_training_has_left_is_removed(tmp_path):
    run = a_run(tmp_path / "run")
    for name in (".last.ckpt.partial", ".best.ckpt.0123456789abcdef.partial", ".notes.partial"):
        (run.path / name).write_bytes(b"half")
    with run.alone():
        pass
    assert sorted(os.listdir(run.path)) == [".notes.partial", "config.json"]


@posix
def test_links_and_pipes_are_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    signal.alarm(60)  # a pipe that is waited for ends the test
    try:
        for name in ("link", "dangling", "loop", "pipe"):
            for mode in ("wb", "ab", "a+b", "rb"):
                with pytest.raises(OSError, match=f"a link or a pipe.*{name}"):
                    open(tmp_path / name, mode, opener=ordinary)
    finally:
        signal.alarm(0)
    assert victim.read_bytes() == b"precious" and not (tmp_path / "new").exists()
    with open(tmp_path / "file", "ab", opener=ordinary) as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@posix
@pytest.mark.parametrize("plant", ["link", "dangling", "pipe"])
@pytest.mark.parametrize("name", ["events.jsonl", ".lock", "curves.png"])
def test_a_server_follows_nothing_that_was_planted(capsys, tmp_path, name, plant):
    """An address that is none: where the name is harmless, that is what is complained of."""
    folder, victim = tmp_path / "folder", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"precious")
    if plant == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(victim if plant == "link" else tmp_path / "new")
    signal.alarm(60)
    try:
        line = complaint(capsys, "serve", "--tasks", 1, "--address", "no", "--folder", folder)
    finally:
        signal.alarm(0)
    assert (name in line) == (name != ".lock")
    assert victim.read_bytes() == b"precious" and not (tmp_path / "new").exists()


class TestDiary:
    def test_goes_on_in_its_own(self, tmp_path):
        path = tmp_path / "events.jsonl"
        for start in (b"", b'{"time": 1.5, "event": "a"}\n', b'{"ti', b'{"ti\n{"time": 2}\n'):
            path.write_bytes(start)
            diary = Diary(path)
            diary({"event": "b"})
            diary.close()
            assert path.read_bytes().startswith(start)
            last = path.read_text().splitlines()[-1]
            assert json.loads(last)["event"] == "b"

    def test_but_in_nothing_else(self, tmp_path):
        path = tmp_path / "events.jsonl"
        for content in (b'{"event": "a"}\n', b"mine", b"\x00" * 20):
            path.write_bytes(content)
            with pytest.raises(MultitaskError, match="no diary"):
                Diary(path)
            assert path.read_bytes() == content


def test_folders_with_other_files(capsys, tmp_path):
    """Each command that makes a folder of its own out of --out says what lies there."""
    options = ["--data", "shapes", "--preset", "tiny", "--iterations", 1, "--out", tmp_path]
    for name in ("best.ckpt", "results.json", "table.md", "report.md", "ops.png", "start"):
        (tmp_path / name).write_bytes(b"mine")
        for command in (
            ["multitask", "joint", *options],
            ["multitask", "experiment", *options],
            ["site", "detection", "--server", "127.0.0.1:9", "--patience", 0, *options],
            ["train", "--data", "shapes", "--preset", "tiny", "--out", tmp_path],
            ["bench", "ops", "--quick", "--out", tmp_path],
        ):
            assert "another --out" in complaint(capsys, *command)
        assert os.listdir(tmp_path) == [name]
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()
    write_json(tmp_path / "site.json", {"task": "other"})
    assert "was begun with task other, not detection" in complaint(
        capsys, "site", "detection", "--server", "127.0.0.1:9", *options
    )
