"""Going on after something was moved: what a checkpoint holds is not read a second time."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import standin_detector as standin
from field_cases import complaint, run
from test_detector_classification import write_classes

import nn
from detector.datasets import ShapesDataset, write_shapes
from detector.datasets.class_folders import open_class_folders
from detector.training import trainer
from detector.training.objectives import classification, detection
from detector.training.run_folder import read_metrics
from nn import checkpoint

SMALL = ["--preset", "tiny", "--batch", "2", "--short-side", "64", "--epochs", "2"]


@pytest.fixture
def stop_after_an_epoch(monkeypatch):
    """Called, it makes the next training stop as Ctrl-C does, once."""
    finish = trainer.Trainer.finish_epoch

    def stop(self):
        finish(self)
        self.watch.requested = True
        monkeypatch.setattr(trainer.Trainer, "finish_epoch", finish)

    return lambda: monkeypatch.setattr(trainer.Trainer, "finish_epoch", stop)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Path:
    """A folder with a data set, weights, and the end of a run that started from both."""
    folder = tmp_path_factory.mktemp("places")
    write_shapes(folder / "data", train=4, val=1, image_size=64)
    nn.manual_seed(3)
    network = nn.models.NETWORKS["shufflenet_v2_star_x0_5"](num_classes=None)
    np.savez(folder / "w.npz", **network.state_dict())
    return folder


@pytest.fixture
def half(places, tmp_path, capsys, stop_after_an_epoch) -> Path:
    """Data, weights, and a run that was stopped after the first of two epochs."""
    shutil.copytree(places, tmp_path, dirs_exist_ok=True)
    stop_after_an_epoch()
    options = ["--data", tmp_path / "data", "--init-from", tmp_path / "w.npz", *backbone()]
    assert run(capsys, "train", *options, "--out", tmp_path / "run")[0] == 130
    return tmp_path


def backbone() -> list[str]:
    return [*SMALL, "--backbone", "shufflenet_v2_star_x0_5"]


def config(folder: Path) -> dict:
    return json.loads((folder / "run" / "config.json").read_text())


def test_what_the_checkpoint_holds_is_not_read_again(half, capsys, monkeypatch):
    """Neither the weights it started from nor the anchors that were fitted; the bits are those of
    a run that was never stopped."""
    options = ["--data", half / "data", "--init-from", half / "w.npz", *backbone()]
    assert run(capsys, "train", *options, "--out", half / "whole")[0] == 0
    (half / "w.npz").unlink()
    for name in ("load_initial_weights", "learn_from_crops"):
        monkeypatch.delattr(detection, name)
    monkeypatch.delattr(DetectorSettings, "fitted")
    code, text, errors = run(capsys, "train", "--resume", "--out", half / "run")
    assert code == 0, errors
    assert "going on after iteration" in text
    whole, ours = (checkpoint.load(half / name / "last.ckpt") for name in ("whole", "run"))
    for name, array in whole["model"].items():
        assert ours["model"][name].tobytes() == array.tobytes(), name
    assert ours["about"] == whole["about"]


def test_lessons_on_crops_are_not_taken_again(places, tmp_path, capsys, monkeypatch):
    learn, calls = detection.learn_from_crops, []

    def once(*arguments):
        calls.append(arguments)
        return learn(*arguments)

    monkeypatch.setattr(detection, "learn_from_crops", once)
    options = ["--data", places / "data", "--out", tmp_path / "run", *SMALL]
    assert run(capsys, "train", *options, "--crop-iterations", "1")[0] == 0
    assert run(capsys, "train", "--resume", "--out", tmp_path / "run")[0] == 0
    assert len(calls) == 1


def test_a_data_set_that_was_moved(half, capsys):
    (half / "data").rename(half / "elsewhere")
    line = complaint(capsys, "train", "--resume", "--out", half / "run")
    assert str(half / "data") in line and "--data" in line
    assert config(half)["data"] == str(half / "data")
    code, _, errors = run(
        capsys, "train", "--resume", "--data", half / "elsewhere", "--out", half / "run"
    )
    assert code == 0, errors
    assert config(half)["data"] == str(half / "elsewhere")
    assert run(capsys, "train", "--resume", "--out", half / "run")[0] == 0


def without_a_picture(document: dict) -> None:
    gone = document["images"].pop()["id"]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != gone]


def with_another_class(document: dict) -> None:
    document["categories"][0]["name"] = "ring"


def with_another_box(document: dict) -> None:
    document["annotations"][0]["bbox"][2] -= 1.5


def with_pictures_exchanged(document: dict) -> None:
    first, second = document["images"][:2]
    first["file_name"], second["file_name"] = second["file_name"], first["file_name"]


@pytest.mark.parametrize(
    "change, words",
    [
        (without_a_picture, r"pictures 4 then, 3 now"),
        (with_another_class, r"classes \['circle', .* then, \['ring', .* now"),
        (with_another_box, r"\(names or boxes of the pictures\)"),
        (with_pictures_exchanged, r"\(names or boxes of the pictures\)"),
    ],
)
def test_other_data_are_told_from_moved_ones(half, capsys, change, words):
    shutil.copytree(half / "data", half / "other")
    path = half / "other" / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    before = config(half), (half / "run" / "last.ckpt").read_bytes()
    line = complaint(
        capsys, "train", "--resume", "--data", half / "other", "--out", half / "run", "--threads", 1
    )
    assert "has changed since" in line and re.search(words, line) and "--data" in line
    assert (config(half), (half / "run" / "last.ckpt").read_bytes()) == before


def test_a_checkpoint_without_a_digest_is_compared_by_what_it_has(half, capsys):
    path = half / "run" / "last.ckpt"
    tree = checkpoint.load(path)
    assert len(tree["about"].pop("digest")) == 64
    tree["about"]["boxes"] += 1
    checkpoint.save(path, tree)
    line = complaint(capsys, "train", "--resume", "--out", half / "run")
    assert re.search(r"boxes \d+ then, \d+ now", line)
    tree["about"]["boxes"] -= 1
    checkpoint.save(path, tree)
    assert run(capsys, "train", "--resume", "--out", half / "run")[0] == 0


def test_another_recipe_is_noticed(half, capsys):
    path = half / "run" / "config.json"
    changed = config(half)
    changed["recipe"]["model"]["rpn"]["channels"] += 1
    path.write_text(json.dumps(changed))
    line = complaint(capsys, "train", "--resume", "--out", half / "run")
    assert "(the detector of the recipe)" in line


def test_initial_weights_named_again(half, capsys):
    """After the first checkpoint they have no effect: said, unless it is the same file's name."""
    (half / "w.npz").unlink()
    options = ["train", "--resume", "--out", half / "run", "--init-from"]
    code, text, _ = run(capsys, *options, "/other/machine/w.npz")
    assert code == 0 and "no effect" not in text
    code, text, _ = run(capsys, *options, half / "missing.pth")
    assert code == 0 and text.count("--init-from has no effect") == 1
    assert config(half)["init_from"] == str(half / "w.npz")


def test_initial_weights_moved_before_the_first_checkpoint(half, capsys):
    for name in ("last.ckpt", "metrics.csv"):
        (half / "run" / name).unlink()
    (half / "w.npz").rename(half / "moved.npz")
    options = ["train", "--resume", "--out", half / "run"]
    line = complaint(capsys, *options)
    assert str(half / "w.npz") in line and "--init-from" in line
    code, text, _ = run(capsys, *options, "--init-from", half / "moved.npz")
    assert code == 0 and "moved.npz" in text
    assert config(half)["init_from"] == str(half / "moved.npz")


def test_classification_goes_on_without_its_initial_weights(
    tmp_path, capsys, monkeypatch, stop_after_an_epoch
):
    write_classes(tmp_path / "data", 4)
    network = nn.models.NETWORKS["shufflenet_v2_x0_5"](num_classes=1000)
    np.savez(tmp_path / "w.npz", **network.state_dict())
    options = ["--task", "classification", "--short-side", "32", "--batch", "4", "--epochs", "2"]
    options += ["--init-from", tmp_path / "w.npz"]
    stop_after_an_epoch()
    out = ["--out", tmp_path / "run"]
    assert run(capsys, "train", "--data", tmp_path / "data", *options, *out)[0] == 130
    monkeypatch.delattr(classification, "load_weights")
    (tmp_path / "data").rename(tmp_path / "moved")
    code, _, errors = run(capsys, "train", "--resume", "--data", tmp_path / "moved", *out)
    assert code == 0, errors
    learned = open_class_folders(tmp_path / "moved")[0]
    red = next(path for path, label in learned.images if label == 3)
    red.rename(tmp_path / "moved" / "blue" / red.name)
    assert "has changed since" in complaint(capsys, "train", "--resume", *out)


def test_a_digest_is_of_the_contents(tmp_path):
    """Shapes in memory and on the disk, here and there, are the same pictures and boxes."""
    digests = {ShapesDataset(3).digest()}
    for name in ("a", "b"):
        write_shapes(tmp_path / name, train=3, val=1)
        digests.add(detection.open_dataset(str(tmp_path / name), "train").digest())
    assert len(digests) == 1
    assert digests != {ShapesDataset(4).digest()} and digests != {ShapesDataset(3, seed=1).digest()}


@pytest.mark.parametrize("stop_after", [5, 7, 9])
def test_the_line_about_an_epoch_is_of_the_whole_epoch(tmp_path, capsys, stop_after):
    """Stopped within it or at its end: the rate is the last one, the losses are the means."""
    standin.fit_until(standin.trainer(tmp_path), stop_after)
    before = capsys.readouterr().out.splitlines()
    standin.resumed(tmp_path).fit()
    lines = before + capsys.readouterr().out.splitlines()
    rows = [row for row in read_metrics(tmp_path / "metrics.csv") if "loss" in row]
    assert len(lines) == 4
    for epoch, line in enumerate(lines, start=1):
        own = [row for row in rows if row["epoch"] == epoch]
        for name in ("loss", "first", "second"):
            mean = np.mean([row[name] for row in own])
            assert f"  {name} {mean:.3f}  " in line
        assert f"lr {own[-1]['lr']:.2g}  val" in line
