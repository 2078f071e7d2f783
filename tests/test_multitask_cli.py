"""The commands serve, site and multitask: what they leave behind, and one line for each mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from field_cases import complaint, run
from multitask_toys import toy_task

import multitask
from detector.datasets import write_shapes
from detector.training import checkpoints
from detector.training.presets import preset
from detector.training.sessions import Session
from multitask.commands import multitask as command
from multitask.commands import site as site_command
from multitask.commands.view import View
from multitask.experiment.table_4_3 import Row, as_markdown, as_text, with_spread
from multitask.server.events import Follower
from multitask.tasks import joint

ROOT = Path(__file__).parent.parent
RECIPE = ["--preset", "tiny", "--batch", "2", "--short-side", "64", "--crop-iterations", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, train=6, val=2, image_size=64)
    return folder


def start(*arguments):
    """A command as a process of its own; its stdout is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "detector", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process, timeout=300):
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return output


def test_a_server_and_two_sites_are_the_joint_training(data, tmp_path):
    iterations, options = 4, ["--data", data, *RECIPE, "--iterations", 4]
    server = start("serve", "--tasks", 2, "--address", "127.0.0.1:0", "--folder", tmp_path / "s")
    line = server.stdout.readline()
    address = line.split(" is at ")[1].split()[0]
    sites = [
        start("site", "detection", "--server", address, "--out", tmp_path / "run", *options),
        start("site", "classification", "--server", address, *options),
    ]
    told = [end(site) for site in sites]
    assert "waits for the others" in told[0] and "AP50" in told[0]
    assert "evaluation.json" in told[0] and "curves:" not in told[0]  # the server has them
    end(server)
    assert (tmp_path / "s" / "curves.png").stat().st_size > 1000
    # A site that died before it had written its detector comes back for it.
    late = start("serve", "--tasks", 2, "--address", address, "--folder", tmp_path / "s")
    late.stdout.readline()
    assert "had finished this training" in end(
        start("site", "detection", "--server", address, "--out", tmp_path / "late", *options)
    )
    end(start("site", "classification", "--server", address, *options))
    end(late)
    best = [(tmp_path / name / "best.ckpt").read_bytes() for name in ("run", "late")]
    assert best[0] == best[1]

    args = command_line("joint", "--data", data, *RECIPE, "--iterations", iterations)
    session, _ = command.session_of(args)
    expected = multitask.run(joint(session, iterations), iterations, processes=False)
    model = checkpoints.read(tmp_path / "run" / "best.ckpt")["model"]
    state = expected.state_dict("detection")
    assert sorted(model) == sorted(state)
    for name, array in state.items():
        assert model[name].tobytes() == array.tobytes(), name


@pytest.mark.skipif(os.name != "posix", reason="needs flock and kill -9")
def test_two_servers_in_one_folder(tmp_path, capsys):
    first = start("serve", "--tasks", 1, "--address", "127.0.0.1:0", "--folder", tmp_path)
    assert "waits for 1" in first.stdout.readline()
    second = ["serve", "--tasks", 1, "--address", "nonsense", "--folder", tmp_path]
    assert "another server is at work in" in complaint(capsys, *second)
    first.kill()
    first.communicate()
    assert "not an address" in complaint(capsys, *second)  # the folder is free again


def command_line(*arguments):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_joint_training_on_one_machine(data, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["multitask", "joint", "--data", data, *RECIPE, "--out", out, "--iterations"]
    code, text, errors = run(capsys, *options, 3)
    assert code == 0 and "AP50" in text
    assert "all tasks are here: classification, detection" in errors
    for task in ("classification", "detection"):
        assert any(line.split()[:2] == [task, "3/3"] for line in errors.splitlines()), task
    for name in ("best.ckpt", "curves.png", "evaluation.json", "events.jsonl", "start.ckpt"):
        assert (out / name).exists(), name
    # The same again has nothing left to do; JSON is for machines.
    (out / "best.ckpt").unlink()
    code, text, errors = run(capsys, *options, 3, "--json")
    assert code == 0 and "going on" in text and (out / "best.ckpt").exists()
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {"started", "finished", "commit"} <= {event["event"] for event in told}
    assert "begun with iterations 3, not 5" in complaint(capsys, *options, 5)
    # What train would do with this folder: say that it is none of its own.
    assert "holds no run" in complaint(capsys, "train", "--resume", "--out", out)


@pytest.mark.parametrize("content", [b'{"setting": "joint";}', b"[]", b"", b"\xff"])
def test_a_plan_with_a_typo(data, tmp_path, capsys, content):
    (tmp_path / "multitask.json").write_bytes(content)
    options = ["--data", data, *RECIPE, "--iterations", 3, "--out", tmp_path]
    line = complaint(capsys, "multitask", "joint", *options)
    assert "multitask.json is no plan any more" in line and "another --out" in line


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_an_experiment_goes_on_where_it_was_killed(data, tmp_path, capsys):
    arguments = ["multitask", "experiment", "--data", data, *RECIPE, "--iterations", 3]
    arguments += ["--jobs", 2, "--seeds", "1", "--out"]
    whole = run(capsys, *arguments, tmp_path / "whole")
    assert whole[0] == 0
    killed = start(*arguments, tmp_path / "killed")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("*/*/best.ckpt")) and time.monotonic() < deadline:
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()
    done = list((tmp_path / "killed").glob("*/*/result.json"))
    before = {path: path.stat().st_mtime_ns for path in done}
    again = run(capsys, *arguments, tmp_path / "killed")
    assert again[0] == 0
    assert {path: path.stat().st_mtime_ns for path in done} == before  # not done twice

    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")
    for line in ("On Single Machine", "Jointly Train with Classification", "Multiscale Training"):
        assert line in again[1] and line in (tmp_path / "killed" / "table.md").read_text()
    for setting in ("single", "joint", "multi-scale"):
        weights = [
            (tmp_path / name / setting / "seed-1" / "best.ckpt").read_bytes()
            for name in ("killed", "whole")
        ]
        assert weights[0] == weights[1]
    # More seeds may follow; another recipe may not.
    other = [*arguments[:-1], "--batch", 4, "--out", tmp_path / "whole"]
    assert "begun with session.recipe.steps.batch 2, not 4" in complaint(capsys, *other)


def without_seconds(folder):
    runs = json.loads((folder / "results.json").read_text())["runs"]
    for results in runs.values():
        for result in results:
            assert result.pop("processor_seconds") > 0
    return runs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("serve --tasks 2 --address 0.0.0.0:0", ["other machines", "token"]),
        ("serve --tasks 2 --address nonsense", ["not an address like"]),
        ("serve --tasks 1 --certificate a.pem", ["both --certificate and --key"]),
        ("serve --tasks 1 --certificate no.pem --key no.pem", ["No such file", "no.pem"]),
        ("serve --tasks 1 --rule adam", ["--lr"]),
        ("serve --tasks 1 --rule adam --lr nan", ["lr nan"]),
        ("serve --tasks 1 --lr 0.1", ["learning rate of its own", "--lr"]),
        ("serve --tasks 1 --on-conflict maybe", ["owner=TASK"]),
        ("serve --tasks 1 --token-file no.token", ["No such file", "no.token"]),
        ("site classification --server 127.0.0.1:9 --data shapes --out x", ["for detection"]),
        ("site detection --server 127.0.0.1:9 --data shapes --iterations 0", ["at least 1"]),
        ("site detection --server 127.0.0.1:9 --data shapes --authority no", ["No such file"]),
        ("multitask experiment --data shapes --seeds 0,0 --out x", ["different whole numbers"]),
        ("multitask multi-scale --data shapes --second-side 224 --iterations 1", ["must differ"]),
        ("multitask multi-scale --data shapes --second-side 0 --iterations 1", ["at least 32"]),
        ("site detection --server 127.0.0.1:9 --data shapes --input-side -3", ["at least 32"]),
        ("site classification --server 127.0.0.1:9 --data shapes --input-side 0", ["detection"]),
        ("multitask experiment --data shapes --jobs -1 --iterations 1", ["--jobs", "at least 1"]),
        ("serve --tasks 1 --token 0123456789abcdef", ["can read command lines", "--token-file"]),
    ],
)
def test_mistakes_get_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTHEAD_TOKEN", raising=False)
    line = complaint(capsys, *arguments.split())
    assert all(word in line for word in words), line


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_tokens_must_be_private_and_long(capsys, tmp_path):
    token = tmp_path / "token"
    token.write_text("a token of 24 characters")
    token.chmod(0o644)
    serve = ["serve", "--tasks", 1, "--token-file", token]
    assert "chmod 600" in complaint(capsys, *serve)
    token.chmod(0o600)
    token.write_text("short")
    assert "can be guessed" in complaint(capsys, *serve)


def test_nobody_there(capsys, data):
    options = ["--data", data, *RECIPE, "--iterations", 1, "--patience", 0.1]
    line = complaint(capsys, "site", "detection", "--server", "127.0.0.1:9", *options)
    assert "no parameter server at 127.0.0.1:9" in line


# The pieces


class Terminal:
    """A stream that is a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def commit(task, iteration, seconds, **report):
    return {"event": "commit", "task": task, "iteration": iteration, "time": seconds,
            "report": report}  # fmt: skip


def test_the_view_tells_speed_and_waiting():
    view = View(10, Terminal())
    for iteration in range(4):
        seconds = 100 + iteration * 2.0
        view(commit("a", iteration, seconds, loss=1.0, lr=0.25, images=8, waited=0.5))
        view(commit("b", iteration, seconds, loss=iteration))
    view({"event": "refused", "task": "", "why": "x", "count": 2})
    heading, a, b, left, refused = view.table()
    assert a.split() == ["a", "4/10", "1.000", "0.25", "4.0", "25%"]
    assert b.split() == ["b", "4/10", "2.000", "-", "-", "0%"]
    assert left == "0:12 left"  # six more iterations of two seconds
    assert refused == "connections refused: 2"


def test_the_view_tells_the_time_left_without_what_was_compiled():
    view = View(10, Terminal())
    for iteration, seconds in enumerate([100, 223, 225, 227]):
        view(commit("slow", iteration, seconds, loss=1.0))
        view(commit("fast", iteration, 100 + iteration, loss=1.0))
        assert ("left" in view.table()[-1]) == (iteration == 3)
    assert view.table()[-1] == "0:12 left"


@pytest.mark.skipif(os.name == "nt", reason="the view does not redraw there")
def test_the_view_is_redrawn_in_its_place_below_what_is_told():
    terminal = Terminal()
    view = View(None, terminal)
    view(commit("a", 0, 1.0, loss=1.0))
    view.draw()
    view({"event": "lost", "task": "a"})
    view.close()
    assert terminal.text.count("\x1b[2A\x1b[J") == 2
    assert terminal.text.rindex("a is gone") < terminal.text.rindex("iteration")


def test_a_follower_gets_each_event_once(tmp_path):
    path = tmp_path / "events.jsonl"
    follower = Follower(path)
    assert follower() == []
    path.write_text('{"event": "a"}\n{"event": "b"')
    assert [event["event"] for event in follower()] == ["a"]
    with path.open("a") as file:
        file.write('}\n\n{"event": "c"}\n')
    assert [event["event"] for event in follower()] == ["b", "c"]
    assert follower() == []


def test_table_4_3():
    def row(setting, *aps):
        return Row(setting, tuple(
            {"seed": s, "processor_seconds": 60.0 * (s + 1), "figures": {"AP": ap, "AP50": 2 * ap}}
            for s, ap in enumerate(aps)
        ))  # fmt: skip

    rows = [row("single", 0.2, 0.3), row("joint", 0.22, 0.34), row("multi-scale", 0.1, 0.2)]
    text = as_text(rows).splitlines()
    # 20 and 30: mean 25, deviation 7.07; differences 2 and 4, -10 and -10.
    assert text[1].split() == "On Single Machine 25.0 ± 7.1 50.0 ± 14.1 31.8 1.5".split()
    assert "28.0 ± 8.5" in text[2] and "+3.0 ± 1.4" in text[2] and "-10.0 ± 0.0" in text[3]
    assert with_spread([3.0], "+") == "+3.0" and with_spread([]) == "-"
    session = Session(data="/x/bccd", val="val", preset="laptop", recipe=preset("laptop"))
    page = as_markdown(rows, {"session": session.as_dict(), "iterations": 7})
    assert "| Multiscale Training | 15.0 ± 7.1 |" in page and "bccd" in page and "480 px" in page


def test_progress_goes_back_with_the_training(monkeypatch):
    class Optimizer:
        iteration = 3

    class Site:
        optimizer = Optimizer()
        task = toy_task("a")

        def run(self, iterations, after_iteration):
            for self.optimizer.iteration in (4, 5, 2, 3, 4, 5, 6):
                after_iteration({"loss": 1.0, "waited": 0.0})
                places.append(bars[0].done)

    bars, places = [], []

    class Recorded(site_command.Progress):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            bars.append(self)

    monkeypatch.setattr(site_command, "Progress", Recorded)
    site_command.follow(Site(), 6)
    assert places == [4, 5, 2, 3, 4, 5, 6]
