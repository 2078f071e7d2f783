"""The command line: what each command leaves behind, and one line for each mistake."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image

import lighthead
from detector.datasets import write_shapes
from detector.training.loading import load_detector
from nn import checkpoint

ROOT = Path(__file__).parent.parent
TINY = ["--preset", "tiny", "--epochs", "2", "--batch", "4", "--short-side", "64"]
TINY += ["--crop-iterations", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, train=8, val=4, image_size=64)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert lighthead.main(["train", "--data", str(data), "--out", str(folder), *TINY]) == 0
    return folder


def test_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "detector", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("lighthead ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["COMMAND"]),
        (["train", "--data", "DATA", "--epoch", "x"], ["invalid int value", "--help"]),
        (["train", "--data", "DATA", "--preset", "labtop"], ["labtop", "did you mean 'laptop'"]),
        (["train", "--data", "DATA", "--backbone", "shufflenet_x1_0"], ["shufflenet_v2_x1_0"]),
        (["train", "--data", "DATA", "--set", "detector=sdd"], ["'sdd' (did you mean 'ssd'?)"]),
        (["train", "--data", "DATA", "--preset", "yolo-v3"], ["did you mean 'yolo-v"]),
        (["train", "--data", "DATA", "--seed", "-1"], ["--seed must be", "not -1"]),
        (["train", "--data", "DATA", "--classes", "sqare"], ["sqare", "did you mean 'square'"]),
        (["train", "--data", "DATA", "--train", "test"], ["no split 'test'", "train, val"]),
        (["train", "--data", "DATA", "--limit", "0"], ["at least 1"]),
        (["train", "--data", "DATA", "--batch", "-1"], ["steps.batch must be from 1 to"]),
        (["train", "--data", "DATA", "--lr", "0"], ["lr", "greater than 0"]),
        (["train", "--data", "DATA", "--short-side", "9"], ["at least 32"]),
        (["train", "--data", "DATA", "--threads", "999"], ["999 is not between 1 and"]),
        (["train", "--data", "DATA", "--init-from", "nowhere.pth"], ["nowhere.pth"]),
        (["train", "--data", "nowhere"], ["no folder nowhere"]),
        (["train", "--resume"], ["--resume needs --out"]),
        (["train", "--resume", "--out", "nowhere"], ["nowhere holds no run"]),
        (["evaluate", "--weights", "nowhere", "--data", "DATA"], ["no checkpoint nowhere"]),
        (["detect", "x.jpg"], ["--weights"]),
        (
            ["detect", "--weights", "RUN", "x.jpg", "--out", "o", "--score", "7"],
            ["between 0 and 1"],
        ),
        (["detect", "--weights", "RUN", "x.jpg", "--out", "o"], ["x.jpg does not exist"]),
        (["summary", "--backbone", "resnet5"], ["no network 'resnet5' (did you mean 'resnet50'?)"]),
        (["summary", "--detector", "retinane"], ["no detector 'retinane'", "'retinanet'"]),
        (
            ["summary", "--detector", "ssd", "--backbone", "vgg16_reduced", "--size", "64", "0"],
            ["at least 1"],
        ),
        (["summary", "--detector", "retinanet", "--backbone", "vgg16_reduced"], ["of stride 32"]),
        (["summary", "--set", "first_block=paper"], ["--set is for --only-backbone"]),
        (
            ["summary", "--only-backbone", "--set", "first_blok=paper"],
            ["shufflenet_v2_x1_0 has no argument 'first_blok' (did you mean 'first_block'?)"],
        ),
        (["summary", "--only-backbone", "--set", "first_block=x"], ["'torchvision' or 'paper'"]),
        (["summary", "--only-backbone", "--set", "first_block"], ["PATH=VALUE, not"]),
    ],
)
def test_mistakes_are_one_line(capsys, data, trained, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    places = {"DATA": data, "RUN": trained}
    line = complaint(capsys, *[places.get(word, word) for word in arguments])
    for word in words:
        assert word in line


def test_train_leaves_everything_in_its_folder(trained, data):
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "config.json", "metrics.csv", "curves.png", "last.ckpt", "best.ckpt", "evaluation.json",
        "report.html", "detections",
    }  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["recipe"]["steps"]["epochs"] == 2 and config["data"] == str(data.resolve())
    assert len(list((trained / "detections").glob("*.png"))) == 4
    assert Image.open(trained / "curves.png").size[0] > 800
    evaluation = json.loads((trained / "evaluation.json").read_text())
    assert [entry["name"] for entry in evaluation["classes"]][:2] == ["circle", "square"]


def test_folder_in_use_is_refused(capsys, trained, data):
    line = complaint(capsys, "train", "--data", data, "--out", trained, *TINY)
    assert "not empty" in line and "--resume" in line


def test_a_refused_run_leaves_its_folder_free(capsys, data, tmp_path):
    options = ["train", "--data", data, "--out", tmp_path / "run", *TINY]
    assert "sqare" in complaint(capsys, *options, "--classes", "sqare")
    assert "missing.pth" in complaint(capsys, *options, "--init-from", tmp_path / "missing.pth")
    assert run(capsys, *options)[0] == 0


def test_resume(capsys, trained, data, tmp_path):
    """Stopped after the first of two epochs, a run goes on with nothing but its name."""
    half = tmp_path / "half"
    stop_after = f"""
import sys
import lighthead
from detector.training import trainer
finish = trainer.Trainer.finish_epoch
def stop(self):
    finish(self)
    self.watch.requested = True
trainer.Trainer.finish_epoch = stop
sys.exit(lighthead.main(["train", "--data", {str(data)!r}, "--out", {str(half)!r}, *{TINY!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", stop_after], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 130, done.stderr
    assert f"to go on: lighthead train --resume --out {half}" in done.stderr
    assert "Traceback" not in done.stderr

    line = complaint(capsys, "train", "--resume", "--out", half, "--lr", "0.5", "--epochs", "2")
    assert "--lr 0.5 (the run has" in line and "--epochs" not in line
    code, text, _ = run(capsys, "train", "--resume", "--out", half)
    assert code == 0 and "going on after iteration" in text
    ours, whole = (checkpoint.load(path / "last.ckpt")["model"] for path in (half, trained))
    assert all(ours[name].tobytes() == whole[name].tobytes() for name in whole)


def test_resume_notices_other_data(capsys, trained, data, tmp_path):
    """The folder of the data set is gone, or holds other boxes than when the run began."""
    folder, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained, folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"] = str(moved)
    (folder / "config.json").write_text(json.dumps(config))
    assert str(moved) in complaint(capsys, "train", "--resume", "--out", folder)
    shutil.copytree(data, moved)
    annotations = moved / "annotations" / "instances_train.json"
    document = json.loads(annotations.read_text())
    del document["annotations"][3]
    annotations.write_text(json.dumps(document))
    code, _, errors = run(capsys, "train", "--resume", "--out", folder)
    assert code == 2 and "has changed since" in errors and "boxes" in errors


def test_evaluate(capsys, trained, data, tmp_path):
    found = tmp_path / "found.json"
    code, text, _ = run(
        capsys, "evaluate", "--weights", trained, "--data", data, "--split", "val", "--json", found
    )
    assert code == 0
    figures = json.loads((trained / "evaluation.json").read_text())["figures"]
    (line,) = [line for line in text.splitlines() if line.startswith("AP50")]
    assert f"{figures['AP50']:.3f}" in line
    assert {"image_id", "category_id", "bbox", "score"} <= set(json.loads(found.read_text())[0])
    code, restricted, _ = run(
        capsys, "evaluate", "--weights", trained / "last.ckpt", "--data", data, "--min-box", "32"
    )
    assert code == 0 and restricted != text


def test_evaluate_needs_the_classes(capsys, trained, data, tmp_path):
    (tmp_path / "annotations").mkdir()
    document = json.loads((data / "annotations" / "instances_val.json").read_text())
    for category in document["categories"]:
        category["name"] = category["name"].replace("star", "sun")
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(document))
    (tmp_path / "val").symlink_to(data / "val")
    assert "star" in complaint(capsys, "evaluate", "--weights", trained, "--data", tmp_path)


def test_detect(capsys, trained, data, tmp_path):
    """One damaged picture of three: the others are done, it is named, the exit code says so."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.open(data / "val" / "00000.png").save(pictures / "000000000139.png")
    Image.open(data / "val" / "00001.png").convert("L").save(pictures / "000000000140.jpg")
    whole = (pictures / "000000000139.png").read_bytes()
    (pictures / "000000000141.png").write_bytes(whole[:500])
    out, results = tmp_path / "pictures" / "out", tmp_path / "results.json"
    code, text, errors = run(
        capsys, "detect", "--weights", trained, pictures, "--out", out, "--json", results
    )
    assert code == 2
    assert errors.count("\n") == 1 and "000000000141.png" in errors and "truncated" in errors
    tables = {"detections.csv", "counts.csv"}
    assert {path.name for path in out.iterdir()} == {
        "000000000139.png", "000000000140.jpg", *tables
    }  # fmt: skip
    entries = json.loads(results.read_text())
    assert {entry["image_id"] for entry in entries} == {139, 140}
    assert {entry["category_id"] for entry in entries} <= {1, 2, 3, 4}
    # A second time, the results of the first are not taken for pictures to look at.
    run(capsys, "detect", "--weights", trained, pictures, "--out", out, "--score", 0.1)
    assert len(list(out.iterdir())) == 4
    with open(out / "detections.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    sure = [entry for entry in entries if entry["score"] >= 0.1]
    assert [row["picture (lighthead)"] for row in rows] == [entry["file_name"] for entry in sure]
    for row, entry in zip(rows, sure, strict=True):
        x, y, w, h = entry["bbox"]
        corners = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
        assert corners == pytest.approx([x, y, x + w, y + h], abs=0.051)
        assert float(row["score"]) == pytest.approx(entry["score"], abs=1e-4)
    with open(out / "counts.csv", encoding="utf-8-sig", newline="") as file:
        counts = list(csv.DictReader(file))
    assert [int(row["all"]) for row in counts] == [
        sum(row["picture (lighthead)"] == str(file) for row in rows)
        for file in sorted(pictures.glob("0000000001[34]*")) if "141" not in file.name
    ]  # fmt: skip
    # A pattern, as a terminal without its own hands it on; and one class alone.
    code, text, errors = run(
        capsys, "detect", "--weights", trained, pictures / "*139.png", "--out", out,
        "--score", "0", "--classes", "circle",
    )  # fmt: skip
    assert code == 0 and "000000000139.png" in text, errors
    with open(out / "detections.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} <= {"circle"}
    line = complaint(
        capsys, "detect", "--weights", trained, pictures, "--out", out, "--classes", "circel"
    )
    assert "did you mean 'circle'" in line


def test_the_best_score_is_kept_and_used(capsys, trained, data, tmp_path):
    loaded = load_detector(trained)
    assert 0 < loaded.score < 1
    (picture, *_) = sorted((data / "val").glob("*.png"))
    for options, score in ([], loaded.score), (["--score", "0.9"], 0.9):
        _, text, _ = run(
            capsys, "detect", "--weights", trained, picture, "--out", tmp_path, *options
        )
        assert f"that score {score:.2f} or more" in text
    tree = checkpoint.load(trained / "best.ckpt")
    for score in ("0.5", 2.0, -1.0, True, [0.5]):
        checkpoint.save(
            tmp_path / "evil.ckpt", {**tree, "about": {**tree["about"], "score": score}}
        )
        line = complaint(capsys, "detect", "--weights", tmp_path / "evil.ckpt", picture)
        assert "evil.ckpt is damaged" in line
    del tree["about"]["score"]
    checkpoint.save(tmp_path / "old.ckpt", tree)
    assert load_detector(tmp_path / "old.ckpt").score is None


def test_damaged_and_foreign_checkpoints(capsys, trained, data, tmp_path):
    broken, foreign = tmp_path / "broken.ckpt", tmp_path / "foreign.ckpt"
    broken.write_bytes((trained / "best.ckpt").read_bytes()[:-100])
    checkpoint.save(foreign, {"weights": np.zeros(3)})
    for path, word in ((broken, "not a whole checkpoint"), (foreign, "not of a training")):
        line = complaint(capsys, "evaluate", "--weights", path, "--data", data)
        assert word in line and path.name in line
    other = tmp_path / "other.ckpt"
    tree = checkpoint.load(trained / "best.ckpt")
    tree["about"]["config"]["rpn"]["channels"] = 32
    checkpoint.save(other, tree)
    assert "another model" in complaint(capsys, "evaluate", "--weights", other, "--data", data)
    tree["about"]["config"]["a_new_option"] = 1
    checkpoint.save(other, tree)
    assert "another version" in complaint(capsys, "evaluate", "--weights", other, "--data", data)


def test_init_from_a_run(capsys, trained, data, tmp_path):
    code, text, _ = run(
        capsys, "train", "--data", data, "--out", tmp_path / "run", *TINY, "--epochs", "1",
        "--classes", "square,circle", "--init-from", trained,
    )  # fmt: skip
    assert code == 0
    assert "best.ckpt: loaded" in text and "2 classes" in text


def test_summary(capsys):
    code, text, _ = run(capsys, "summary", "--only-backbone", "--size", "224", "224")
    assert code == 0 and "2,278,604" in text and "144,907,992" in text
    options = ["--backbone", "mobilenet_v2", "--size", "224", "224", "--set", "width_mult=0.5"]
    code, text, _ = run(capsys, "summary", "--only-backbone", *options)
    assert code == 0 and "1,968,680" in text and "97,131,840" in text
    code, text, _ = run(capsys, "summary", "--detector", "ssdlite", "--size", "64", "64")
    assert code == 0 and "head.classes.0.0" in text and "for each proposal" not in text
    small = ["--backbone", "shufflenet_v2_x0_5", "--size", "64", "64"]
    _, text, _ = run(capsys, "summary", "--detector", "cascade-rcnn", *small)
    each = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (81 + 4)
    assert f"for each proposal {3 * each:,} multiply-adds" in text
    _, text, _ = run(capsys, "summary", "--detector", "faster-rcnn-c4", *small)
    assert f"for each proposal {5_630_688 + 192 * (81 + 4 * 81):,} multiply-adds" in text
    _, text, _ = run(capsys, "summary", "--detector", "mask-rcnn", *small)
    assert "for each detection 529,858,560 for its mask" in text
    code, text, _ = run(capsys, "summary", "--size", "65", "64", "--classes", "3")
    assert code == 0 and "padded to 96 x 64" in text and "rpn.conv.0" in text


def test_check_data(capsys, data, tmp_path):
    code, text, _ = run(capsys, "check-data", "--data", data, *TINY)
    assert code == 0 and "no mistakes" in text and "triangle" in text
    assert "4 iterations of" in text and "2 validations on 4 pictures" in text


def test_check_data_lists_all_mistakes(capsys, data, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(data, folder)
    path = folder / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"][2] = -5
    document["annotations"][1]["category_id"] = 99
    path.write_text(json.dumps(document))
    (folder / "val" / "00002.png").write_bytes(b"not a picture")
    (folder / "train" / "00003.png").unlink()
    for strict, mistakes in ([], 2), (["--strict"], 4):
        code, text, errors = run(capsys, "check-data", "--data", folder, *TINY, *strict)
        assert code == 2 and errors.count("\n") == 1 and f"{mistakes} mistakes" in errors
        for word in ("negative", "99", "00002.png", "00003.png"):
            assert word in text


def test_ctrl_c_while_a_command_is_being_imported(capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    code, _, errors = run(capsys, "summary")
    assert code == 130 and errors.strip() == "lighthead: aborted"
