"""The training loop: its bits, its interruptions and its bad days, on a stand-in of a detector."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import standin_detector as standin

import nn
from detector.datasets import write_shapes
from detector.errors import UserError
from detector.interruption import Interrupted
from detector.training import trainer
from detector.training.non_finite import NonFiniteError
from detector.training.presets import preset
from detector.training.run_folder import MetricsLog, RunFolder, read_metrics
from detector.training.sessions import Session


def same_bits(a: dict, b: dict) -> bool:
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    standin.trainer(folder).fit()
    return folder


def without_seconds(path: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(path)]


def test_same_seed_same_bits(uninterrupted, tmp_path):
    standin.trainer(tmp_path).fit()
    assert same_bits(standin.weights(tmp_path), standin.weights(uninterrupted))
    # A guard on the test itself: training did change the weights, every one of them.
    untrained = standin.StandIn().state_dict()
    trained = standin.weights(uninterrupted)
    assert not any(np.array_equal(untrained[name], trained[name]) for name in trained)


def test_metrics_have_a_row_an_iteration(uninterrupted):
    rows = read_metrics(uninterrupted / "metrics.csv")
    steps = [row for row in rows if "loss" in row]
    assert [row["iteration"] for row in steps] == list(range(1, 21))
    assert [row["epoch"] for row in steps] == [1 + k // 5 for k in range(20)]
    for row in steps:
        assert row["loss"] == pytest.approx(row["first"] + row["second"], rel=1e-4)
    rate = standin.STEPS.learning_rates(20)
    assert [row["lr"] for row in steps] == pytest.approx([rate(k) for k in range(20)], rel=1e-4)
    validations = [row for row in rows if "val_ap50" in row]
    assert [row["iteration"] for row in validations] == [5, 10, 15, 20]


def test_learning_rate_warms_up_and_falls():
    rate = standin.STEPS.learning_rates(20)
    rates = [rate(iteration) for iteration in range(20)]
    assert rates[0] == pytest.approx(0.04 / 3)
    assert max(rates) < 0.04 and rates.index(max(rates)) == 3
    assert rates[3:] == sorted(rates[3:], reverse=True) and rates[-1] < 0.001
    steps = replace(standin.STEPS, schedule="steps", milestones=(0.5, 0.75)).learning_rates(20)
    assert [steps(9), steps(10), steps(15)] == pytest.approx([0.04, 0.004, 0.0004])


@pytest.mark.parametrize("stop_after", [None, 11])
def test_patience_ends_a_training(tmp_path, monkeypatch, stop_after):
    """The figures of the validations are made up: the best is the second."""
    steps = replace(standin.STEPS, epochs=8, patience=3)
    figures = iter([0.2, 0.4, 0.4 - 1e-9, 0.3, 0.1, 0.9, 0.9, 0.9])

    def measured(run):
        monkeypatch.setattr(run, "measure", lambda: {"ap": 0.0, "ap50": next(figures)})
        return run

    run = measured(standin.trainer(tmp_path, steps))
    if stop_after:
        standin.fit_until(run, stop_after)
        run = measured(standin.resumed(tmp_path, steps))
    run.fit()
    assert run.position.epoch == 5 and run.position.worse == 3
    again = standin.resumed(tmp_path, steps)
    again.fit()  # has nothing to do
    assert again.position.iteration == run.position.iteration == 25


@pytest.mark.parametrize("stop_after", [1, 5, 7, 20])
def test_stopped_and_resumed_is_the_same(uninterrupted, tmp_path, stop_after):
    """Stops as a signal does, mid-epoch, at the end of one, and after the last iteration."""
    standin.fit_until(standin.trainer(tmp_path), stop_after)
    resumed = standin.resumed(tmp_path)
    assert resumed.position.iteration == stop_after
    resumed.fit()
    assert same_bits(standin.weights(tmp_path), standin.weights(uninterrupted))
    assert without_seconds(tmp_path / "metrics.csv") == without_seconds(
        uninterrupted / "metrics.csv"
    )


def test_stopped_before_the_first_iteration_nothing_is_saved(tmp_path):
    run = standin.trainer(tmp_path)

    def prepare(check):
        run.watch.requested = True
        check()

    run.objective.prepares, run.objective.prepare = True, prepare
    with pytest.raises(Interrupted, match="before the first iteration.*--resume"):
        run.fit()
    assert not run.run.last.exists()


def test_rows_after_the_checkpoint_are_cut(uninterrupted, tmp_path):
    """Killed a while after the last checkpoint: metrics.csv is ahead of it, and half a row torn."""
    run = standin.trainer(tmp_path)
    run.steps = replace(run.steps, epochs=2)
    run.fit()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("3,11,1.0,0.1\n3,12,1.")
    resumed = standin.resumed(tmp_path)
    resumed.fit()
    assert without_seconds(tmp_path / "metrics.csv") == without_seconds(
        uninterrupted / "metrics.csv"
    )


@pytest.mark.parametrize(
    "lost", ["nothing", "a row", "a torn row", "header", "all", "zeros", "the file"]
)
@pytest.mark.parametrize("stop_after", [5, 7])
def test_rows_before_the_checkpoint_are_lost(uninterrupted, tmp_path, stop_after, lost):
    """A power cut takes the end of metrics.csv: the rest of the run is as it would have been."""
    standin.fit_until(standin.trainer(tmp_path), stop_after)
    path = tmp_path / "metrics.csv"
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    if lost == "the file":
        path.unlink()
    else:
        kept = {"nothing": content, "a row": b"".join(lines[:-1]), "a torn row": content[:-3]}
        kept |= {"header": content[:7], "all": b"", "zeros": bytes(len(content))}
        path.write_bytes(kept[lost])
    resumed = standin.resumed(tmp_path)
    resumed.fit()
    assert same_bits(standin.weights(tmp_path), standin.weights(uninterrupted))
    rows, whole = without_seconds(path), without_seconds(uninterrupted / "metrics.csv")
    steps, all_steps = ([row for row in r if "loss" in row] for r in (rows, whole))
    gone = {"nothing": 0, "a row": 1, "a torn row": 1}.get(lost, stop_after)
    assert steps == all_steps[: stop_after - gone] + all_steps[stop_after:]
    assert [row["iteration"] for row in rows if "val_ap" in row][-3:] == [10, 15, 20]


def test_rows_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def record(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    run = standin.trainer(tmp_path)
    run.fit()
    metrics, last = ((tmp_path / name).stat().st_ino for name in ("metrics.csv", "last.ckpt"))
    assert metrics in synced[: synced.index(last)]
    assert synced[len(synced) - 1 - synced[::-1].index(last) - 1] == metrics


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe" * 200 + b"\n",
        b"\0" * 400 + b"\n",
        b"a,b\n1,2\n" * 50,
        b"epoch,iteration\n1,2,3\n" * 20,
    ]
    + [b"epoch,iteration\n1,\xd0\xb0\n" * 20, b"epoch,iteration\n1," + b"x" * 200_000 + b"\n"],
)
def test_garbage_for_metrics_is_one_line(uninterrupted, tmp_path, content):
    shutil.copytree(uninterrupted, tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    path.write_bytes(content)
    resumed = standin.resumed(tmp_path / "run")
    resumed.position.metrics = len(content)
    with pytest.raises(UserError, match="metrics.csv is damaged.*move it away") as caught:
        resumed.fit()
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    with pytest.raises(UserError, match="is damaged"):
        read_metrics(path)
    path.rename(tmp_path / "away")
    resumed.fit()


def start(folder: Path, slow: float) -> subprocess.Popen:
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(tests / "standin_detector.py"), str(folder), "--slow", str(slow)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout.readline().strip() == b"ready", process.stderr.read().decode()
    return process


def kill_again_and_again(folder: Path, seed: int, most: int) -> int:
    """Kill and resume until a run ends by itself; how often it was killed."""
    rng = np.random.default_rng(seed)
    for kills in range(most):
        process = start(folder, slow=0.005)
        try:
            process.wait(timeout=rng.uniform(0.0, 0.25))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if process.returncode == 0:
            return kills
    process = start(folder, slow=0.0)
    process.communicate()
    assert process.returncode == 0
    return most


def test_killed_at_random_moments(uninterrupted, tmp_path):
    assert kill_again_and_again(tmp_path / "run", seed=0, most=4) >= 1
    assert same_bits(standin.weights(tmp_path / "run"), standin.weights(uninterrupted))
    best = (tmp_path / "run" / "best.ckpt").read_bytes()
    assert best == (uninterrupted / "best.ckpt").read_bytes()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 3))
def test_killed_at_many_random_moments(uninterrupted, tmp_path, seed):
    kill_again_and_again(tmp_path / "run", seed, most=20)
    assert same_bits(standin.weights(tmp_path / "run"), standin.weights(uninterrupted))
    assert without_seconds(tmp_path / "run" / "metrics.csv") == without_seconds(
        uninterrupted / "metrics.csv"
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for another process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_save(uninterrupted, tmp_path, name):
    process = start(tmp_path / "run", slow=0.05)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate()
    assert b"Interrupted" in errors and b"KeyboardInterrupt" not in errors
    resumed = standin.resumed(tmp_path / "run")
    assert 0 < resumed.position.iteration < 20
    resumed.fit()
    assert same_bits(standin.weights(tmp_path / "run"), standin.weights(uninterrupted))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no hang-ups")
def test_nohup_is_heeded(uninterrupted, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does, and children inherit
    try:
        process = start(tmp_path / "run", slow=0.02)
    finally:
        signal.signal(signal.SIGHUP, before)
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    process.communicate()
    assert process.returncode == 0
    assert same_bits(standin.weights(tmp_path / "run"), standin.weights(uninterrupted))


class TestNonFinite:
    def stop(self, run) -> str:
        with pytest.raises(NonFiniteError) as caught:
            run.fit()
        return str(caught.value)

    def test_layer_and_batch_are_named(self, tmp_path, monkeypatch):
        run = standin.trainer(tmp_path)
        forward = run.model.backbone[1].forward

        def broken(input, **options):
            output = forward(input, **options)
            return output * np.nan if run.position.iteration == 7 else output

        monkeypatch.setattr(run.model.backbone[1], "forward", broken)
        message = self.stop(run)
        assert "iteration 8" in message and "backbone.1 (BatchNorm2d) is NaN" in message
        assert "picture4.jpg, picture2.jpg" in message  # batch 2 of its epoch
        assert "\n" not in message

    def test_the_layer_before_a_spoilt_batch_norm_is_named(self, tmp_path, monkeypatch):
        """The failing pass leaves infinities in the running statistics: not they are to blame."""
        run = standin.trainer(tmp_path)
        forward = run.model.backbone[0].forward
        monkeypatch.setattr(run.model.backbone[0], "forward", lambda x: forward(x) * np.inf)
        assert "output of layer backbone.0 (Conv2d)" in self.stop(run)
        assert (tmp_path / "last.ckpt").exists()

    def test_last_good_checkpoint_stays(self, tmp_path, monkeypatch):
        monkeypatch.setattr(trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        run = standin.trainer(tmp_path)
        loss = run.model.loss

        def broken(images, targets, rng):
            losses = loss(images, targets, rng)
            if run.position.iteration == 7:
                losses["second"] = losses["second"] * np.inf
            return losses

        monkeypatch.setattr(run.model, "loss", broken)
        assert "the loss second is inf" in self.stop(run)
        resumed = standin.resumed(tmp_path)
        assert resumed.position.iteration == 7
        assert all(np.isfinite(array).all() for array in standin.weights(tmp_path).values())

    def test_weight_is_named(self, tmp_path):
        run = standin.trainer(tmp_path)
        run.model.head.bias.data[1] = np.inf
        assert "weight head.bias is infinite" in self.stop(run)

    def test_gradient_is_named(self, tmp_path, monkeypatch):
        """The square root of 0 is 0, its slope is not finite."""
        run = standin.trainer(tmp_path)
        monkeypatch.setattr(
            run.model,
            "loss",
            lambda images, targets, rng: {"root": ((run.model.head.bias * 0.0) ** 0.5).sum()},
        )
        assert "gradient of head.bias" in self.stop(run)


class TestRunFolder:
    def test_refuses_a_folder_in_use(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(UserError, match="not empty: choose another --out"):
            RunFolder(tmp_path).create()
        (tmp_path / "last.ckpt").touch()
        with pytest.raises(UserError, match="--resume"):
            RunFolder(tmp_path).create()

    def test_unwritable(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot write to"):
            RunFolder(tmp_path / "file" / "run").create()

    def test_damaged_config(self, tmp_path):
        with pytest.raises(UserError, match="holds no run"):
            RunFolder(tmp_path).read_config()
        (tmp_path / "config.json").write_text('{"seed": ')
        with pytest.raises(UserError, match="config.json is damaged"):
            RunFolder(tmp_path).read_config()

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
    def test_full_disk_names_the_file(self):
        with pytest.raises(OSError) as caught:
            MetricsLog("/dev/full").write({"loss": 1.0})
        assert caught.value.filename == "/dev/full"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=4, val=1, image_size=64)
    return str(folder)


class TestRealDetector:
    """Two iterations of the real thing on four pictures: what the stand-in cannot show."""

    def train(self, data: str, folder: Path, threads: int, seed: int = 0) -> dict:
        recipe = (
            preset("tiny")
            .resized(64)
            .updated({"steps": {"batch": 2, "epochs": 1}, "crops": {"iterations": 0}})
        )
        session = Session(data=data, seed=seed, recipe=recipe)
        before = nn.get_num_threads()
        nn.set_num_threads(threads)
        try:
            trainer.Trainer(session.objective(), recipe.steps, RunFolder(folder), seed).fit()
        finally:
            nn.set_num_threads(before)
        return standin.weights(folder)

    def test_same_seed_same_bits_for_any_number_of_threads(self, data, tmp_path):
        runs = []
        for name, threads in (("a", nn.get_num_threads()), ("b", nn.get_num_threads()), ("c", 1)):
            (tmp_path / name).mkdir()
            runs.append(self.train(data, tmp_path / name, threads))
        assert same_bits(runs[0], runs[1])
        assert same_bits(runs[0], runs[2])

    def test_another_seed_is_another_run(self, data, tmp_path):
        for name in "ab":
            (tmp_path / name).mkdir()
        runs = [self.train(data, tmp_path / name, 1, seed) for seed, name in enumerate("ab")]
        assert not same_bits(*runs)

    @pytest.mark.nightly
    def test_command_line_killed_at_twenty_random_moments(self, tmp_path):
        """From the start of the process on: imports, first checkpoint, validation and pictures."""
        write_shapes(tmp_path / "data", train=8, val=2, image_size=64)

        def command(out: str) -> list[str]:
            options = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / out)]
            options += ["--preset", "tiny", "--short-side", "64", "--batch", "2", "--epochs", "6"]
            options += ["--crop-iterations", "3"]
            program = (
                "import sys, lighthead; from detector.training import trainer\n"
                "trainer.SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
                "sys.exit(lighthead.main(sys.argv[1:]))"
            )
            return [sys.executable, "-c", program, *options, "--resume"]

        def start(out: str) -> subprocess.Popen:
            root = Path(__file__).parent.parent
            return subprocess.Popen(command(out), cwd=root, stdout=subprocess.DEVNULL)

        assert start("whole").wait() == 0
        began = time.monotonic()
        assert start("timed").wait() == 0
        duration = time.monotonic() - began
        rng = np.random.default_rng(0)
        for _ in range(20):
            process = start("killed")
            try:
                process.wait(timeout=rng.uniform(0.1, 0.6) * duration)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert start("killed").wait() == 0
        whole, killed = standin.weights(tmp_path / "whole"), standin.weights(tmp_path / "killed")
        assert same_bits(whole, killed)
        best = [(tmp_path / out / "best.ckpt").read_bytes() for out in ("whole", "killed")]
        assert best[0] == best[1]
