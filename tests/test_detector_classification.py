"""Classification from a folder per class: what it learns, what it keeps, how it is told wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image

from detector.datasets.class_folders import open_class_folders
from detector.errors import UserError

COLOURS = {"blue": (40, 60, 220), "green": (50, 180, 60), "red": (220, 50, 40)}


def write_classes(folder, count=12, colours=COLOURS):
    """Pictures of one noisy colour each."""
    rng = np.random.default_rng(0)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.normal(0, 20, (40, 56, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{Path(name).name}{number}.png")
    return folder


OPTIONS = ["--task", "classification", "--short-side", "32", "--batch", "8", "--epochs", "24"]
OPTIONS += ["--evaluate-every", "12"]


def test_colours_are_learned(capsys, tmp_path):
    data, out = write_classes(tmp_path / "data"), tmp_path / "run"
    code, text, _ = run(capsys, "train", "--data", data, *OPTIONS, "--out", out)
    assert code == 0 and "val accuracy" in text and "learn 3 classes" in text
    figures = json.loads((out / "evaluation.json").read_text())
    assert figures["figures"]["accuracy"] == 1.0
    assert [entry["name"] for entry in figures["classes"]] == list(COLOURS)
    assert json.loads((out / "config.json").read_text())["recipe"]["side"] == 32
    line = complaint(capsys, "evaluate", "--weights", out, "--data", data)
    assert "of the task classification" in line


def test_mistakes(capsys, tmp_path):
    data, out = write_classes(tmp_path / "data", 3), ["--out", tmp_path / "run"]
    options = ["train", "--data", data, *OPTIONS, *out]
    assert "--backbone is not for" in complaint(capsys, *options, "--backbone", "x")
    assert "no network 'x'" in complaint(capsys, *options, "--network", "x")
    assert "there is no stepz" in complaint(capsys, *options, "--set", "stepz.batch=3")
    single = write_classes(tmp_path / "one", 3, {"red": COLOURS["red"]})
    line = complaint(capsys, "train", "--data", single, *OPTIONS, "--out", tmp_path / "other")
    assert "two classes" in line


def test_a_fifth_is_kept_by_name_alone(tmp_path):
    train, val = open_class_folders(write_classes(tmp_path / "data", 40))
    assert 0.1 < len(val) / (len(train) + len(val)) < 0.3
    kept = {path.name for path, _ in val.images}
    assert not kept & {path.name for path, _ in train.images}
    for name in list(COLOURS):
        (tmp_path / "data" / name / f"{name}0.png").unlink()
    assert {path.name for path, _ in open_class_folders(tmp_path / "data")[1].images} <= kept


def test_splits_in_folders(tmp_path):
    write_classes(tmp_path / "data" / "train", 4)
    with pytest.raises(UserError, match="none to measure with"):
        open_class_folders(tmp_path / "data")
    write_classes(tmp_path / "data" / "val", 2, {"red": COLOURS["red"], "blue": COLOURS["blue"]})
    train, val = open_class_folders(tmp_path / "data")
    assert (len(train), len(val)) == (12, 4) and val.classes == train.classes
    assert {label for _, label in val.images} == {1, 3}
    write_classes(tmp_path / "data" / "val" / "..", 1, {"val/mauve": (200, 100, 200)})
    with pytest.raises(UserError, match="mauve"):
        open_class_folders(tmp_path / "data")


def test_auxiliary_classifiers_learn_too(capsys, tmp_path):
    data, out = write_classes(tmp_path / "data", 6), tmp_path / "run"
    settings = ["auxiliary=true", "label_smoothing=0.1", "steps.least_iterations=2"]
    options = [word for setting in settings for word in ("--set", setting)]
    options += [*OPTIONS[:6], "--epochs", "1", "--out", out, *options]
    code, _, _ = run(capsys, "train", "--data", data, "--network", "googlenet", *options)
    assert code == 0
    header, first = (out / "metrics.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    for name in ("auxiliary_1", "auxiliary_2"):  # 0.3 times a loss of about log 3
        assert 0.1 < float(row[name]) < 1.5
    line = complaint(
        capsys, "train", "--data", data, "--network", "resnet18", *options[:-8], "--out",
        tmp_path / "other", "--set", "auxiliary=true",
    )  # fmt: skip
    assert "resnet18 has no auxiliary classifiers" in line
