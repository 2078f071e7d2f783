"""What ``detect`` writes beside the drawn pictures: crops and labels, which our readers and other
people's open again."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image
from small_data_set import picture
from test_detector_own_files import contents, weights  # noqa: F401

from detector import own_files
from detector.datasets import open_dataset
from detector.results import LABELS, RESULTS
from detector.results.crops import cut_out
from detector.results.names import safe_name
from detector.results.result import Job, Look, Result, Source

CLASSES = ["zebra", "Größe: a/b", "cat"]
BOXES = np.float32([[3.2, 4.7, 30.5, 40.1], [0, 0, 64, 48], [60.1, 46.9, 60.3, 47.2]])


@pytest.fixture
def photos(tmp_path) -> Path:
    """A JPEG, a PNG of the same name, a JPEG on its side, a WebP; one of them shows nothing."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    Image.fromarray(picture()).save(folder / "one.JPG", quality=90)
    Image.fromarray(picture(seed=1)).save(folder / "one.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(48, 64, seed=2)).save(folder / "side.jpg", exif=exif)
    Image.fromarray(picture(seed=3)).save(folder / "zebra.webp")
    return folder


def looks(folder: Path) -> list[Look]:
    """What a detector might have seen: all boxes in every picture but the last."""
    found = []
    for path in sorted(folder.iterdir()):
        source = Source(path, str(path), f"{path.stem}{path.suffix[1:2]}")
        image = np.asarray(Image.open(path).convert("RGB"))
        image = np.rot90(image, -1) if path.stem == "side" else image
        count = 0 if path.suffix == ".webp" else len(BOXES)
        values = {"boxes": BOXES[:count], "labels": np.int64([1, 2, 3])[:count]}
        values["scores"] = np.float32([0.9, 0.8, 0.7])[:count]
        found.append(Look(source, image, values, values))
    return found


def written(kind: type[Result], folder: Path, out: Path) -> Job:
    seen = looks(folder)
    job = Job(out, [look.source for look in seen], CLASSES, [7, 2, 90])
    result = kind(job)
    result.check()
    for look in seen:
        result.add(look)
    assert all(isinstance(line, str) for line in result.finish())
    return job


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_are_a_data_set(name, photos, tmp_path):
    written(LABELS[name], photos, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out" / f"labels-{name}", "train")
    assert not dataset.problems and len(dataset) == 4
    assert sorted(dataset.classes) == sorted(CLASSES)
    empty = []
    for index, record in enumerate(dataset.images):
        image, target = dataset.load(index)
        assert image.shape == (48, 64, 3)
        names = [dataset.classes[label - 1] for label in target["labels"]]
        if not names:
            empty.append(record.path.stem)
            continue
        order = [names.index(each) for each in CLASSES]
        boxes = target["boxes"][order]
        if name == "voc":  # whole pixels, at least one
            np.testing.assert_allclose(boxes[:2], BOXES[:2], atol=0.5)
            np.testing.assert_array_equal(boxes[2], [60, 47, 61, 48])
        else:
            np.testing.assert_allclose(boxes, BOXES, atol=0.006)
    assert [stem.startswith("zebra") for stem in empty] == [True]
    if name == "coco":
        assert [dataset.category_ids[dataset.classes.index(each)] for each in CLASSES] == [7, 2, 90]


def test_labels_of_masks_are_outlines(photos, tmp_path):
    """Polygons of whole pixels: the boxes that are read from them are those of the pixels."""
    look = looks(photos)[0]
    masks = np.ones((3, 28, 28), np.float32)
    masks[1, :, 14:] = 0  # the left half of the picture
    masks[2] = 0  # nothing: the box is left
    look.shown["masks"] = masks
    for name in ("coco", "yolo"):
        result = LABELS[name](Job(tmp_path, [look.source], CLASSES, [7, 2, 90]))
        result.add(look)
        result.finish()
    about = json.loads((tmp_path / "labels-coco/annotations/instances_train.json").read_text())
    first, half, nothing = [entry["segmentation"] for entry in about["annotations"]]
    assert first == [[3, 5, 30, 5, 30, 40, 3, 40]] and nothing == []
    assert half == [[0, 0, 32, 0, 32, 48, 0, 48]]
    (path,) = (tmp_path / "labels-yolo" / "labels").iterdir()
    assert [len(line.split()) for line in path.read_text().splitlines()] == [9, 9, 5]
    dataset = open_dataset(tmp_path / "labels-yolo", "train")
    expected = [[3, 5, 30, 40], [0, 0, 32, 48], BOXES[2]]
    np.testing.assert_allclose(dataset.target(0)["boxes"], expected, atol=0.006)


@pytest.mark.parametrize("name", list(LABELS))
def test_pictures_of_labels_are_as_they_came(name, photos, tmp_path):
    """Byte for byte, but for those that tools would show on their side or not at all."""
    written(LABELS[name], photos, tmp_path / "out")
    kind = LABELS[name]
    places = {
        p.suffix + p.stem[:1]: p
        for p in (tmp_path / "out" / f"labels-{name}" / kind.pictures).iterdir()
    }
    assert places[".JPGo"].read_bytes() == (photos / "one.JPG").read_bytes()
    assert places[".pngo"].read_bytes() == (photos / "one.png").read_bytes()
    turned = Image.open(places[".jpgs"])
    assert turned.size == (64, 48) and turned.getexif().get(0x0112, 1) == 1
    assert Image.open(places[".pngz"]).format == "PNG"


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_may_have_been_corrected(name, photos, tmp_path):
    written(LABELS[name], photos, tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(own_files.UserError, match="may have been corrected"):
        written(LABELS[name], photos, tmp_path / "out")
    assert contents(tmp_path) == before


def test_coco_labels_in_pycocotools(photos, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    written(LABELS["coco"], photos, tmp_path / "out")
    path = tmp_path / "out" / "labels-coco" / "annotations" / "instances_train.json"
    truth = coco.COCO(str(path))
    assert len(truth.getImgIds()) == 4 and len(truth.getAnnIds(catIds=[90])) == 3
    for entry in truth.loadImgs(truth.getImgIds()):
        with Image.open(tmp_path / "out" / "labels-coco" / "images" / entry["file_name"]) as image:
            assert image.size == (entry["width"], entry["height"])
    (box,) = {tuple(entry["bbox"]) for entry in truth.loadAnns(truth.getAnnIds(catIds=[7]))}
    assert box == pytest.approx((3.2, 4.7, 27.3, 35.4), abs=0.006)


def test_yolo_labels_are_what_ultralytics_reads(photos, tmp_path):
    """The text file of images/NAME is labels/NAME.txt, read without our reader."""
    yaml = pytest.importorskip("yaml")
    written(LABELS["yolo"], photos, tmp_path / "out")
    folder = tmp_path / "out" / "labels-yolo"
    about = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert about == {"train": "images", "names": dict(enumerate(CLASSES))}
    for path in (folder / "images").iterdir():
        text = (folder / "labels" / path.name).with_suffix(".txt").read_text()
        rows = [[float(word) for word in line.split()] for line in text.splitlines()]
        assert [row[0] for row in rows] == ([] if path.stem.startswith("zebra") else [0, 1, 2])
        if rows:
            centre = [(3.2 + 30.5) / 128, (4.7 + 40.1) / 96, 27.3 / 64, 35.4 / 48]
            assert rows[0][1:] == pytest.approx(centre, abs=1e-6)


def test_crops(photos, tmp_path):
    job = written(RESULTS["crops"], photos, tmp_path / "out")
    folder = tmp_path / "out" / "crops"
    assert {path.name for path in folder.iterdir()} == {"zebra", "Größe_ a_b", "cat"}
    assert {path.name for path in (folder / "zebra").iterdir()} == {
        "oneJ-1.JPG", "onep-1.png", "sidej-1.jpg",
    }  # fmt: skip
    crop = np.asarray(Image.open(folder / "zebra" / "onep-1.png"))
    np.testing.assert_array_equal(crop, picture(seed=1)[4:41, 3:31])
    assert np.asarray(Image.open(folder / "cat" / "onep-3.png")).shape == (2, 1, 3)
    assert all(own_files.is_own_picture(path) for path in folder.rglob("*.*"))
    with pytest.raises(own_files.UserError, match="is there already"):
        RESULTS["crops"](job).check()


@pytest.mark.parametrize(
    "box", [(-5, -5, 0.5, 0.5), (63.5, 47.5, 80, 80), (10, 10, 10, 10), (64, 48, 64, 48)]
)
def test_a_crop_has_a_pixel(box):
    image = picture()
    crop = cut_out(image, box)
    assert crop.size and crop.shape[0] <= 48


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat", "cat"), ("../../x", "_.._x"), ("a/b\\c:d", "a_b_c_d"), ("", "_"), ("..", "_"),
        ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("a. ", "a"), ("x\x1b[2J\n", "x_[2J_"),
        ("\ud800", "_"), ("o\u0308", "ö"), (200 * "ö", 60 * "ö"), (".hidden", "hidden"),
        ("com1", "_com1"), ("\u202egnp", "_gnp"),
    ],
)  # fmt: skip
def test_safe_names(name, safe):
    assert safe_name(name) == safe and safe_name(safe) == safe


def test_classes_whose_names_are_the_same_when_safe(tmp_path):
    job = Job(tmp_path, [], ["a/b", "a:b", "A_B", "/etc/passwd"], [1, 2, 3, 4])
    names = [path.name for path in RESULTS["crops"](job).folders]
    assert names == ["a_b", "a_b-2", "A_B-3", "_etc_passwd"]


def test_a_jpeg_of_ours_is_known_and_looks_the_same(tmp_path):
    path, image = tmp_path / "a.jpeg", picture(200, 100)
    own_files.write_picture(path, image)
    with Image.open(path) as opened:
        assert opened.format == "JPEG"
        difference = np.abs(np.asarray(opened, np.int64) - image)
    assert difference.max() <= 6 and difference.mean() < 1
    assert own_files.is_own_picture(path)
    Image.fromarray(image).save(tmp_path / "b.jpeg", quality=95)
    assert not own_files.is_own_picture(tmp_path / "b.jpeg")
    with pytest.raises(own_files.UserError, match="is there already"):
        own_files.write_picture(tmp_path / "b.jpeg", image)
    with pytest.raises(own_files.UserError, match="rename the picture to .png"):
        own_files.write_picture(tmp_path / "c.jpg", np.zeros((1, 66_000, 3), np.uint8))
    assert not (tmp_path / "c.jpg").exists()


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_standard_input(capsys, monkeypatch, weights, tmp_path, kind):  # noqa: F811
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, kind)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(file.getvalue())))
    out, found = tmp_path / "out", tmp_path / "found.json"
    options = ["--out", out, "--score", 0, "--json", found]
    code, text, errors = run(capsys, "detect", "--weights", weights, "-", *options)
    assert code == 0, errors
    name = "stdin.jpg" if kind == "jpeg" else "stdin.png"
    assert Image.open(out / name).format.lower() == kind and str(out / name) in text
    with open(out / "counts.csv", encoding="utf-8-sig", newline="") as table:
        assert [row["picture (lighthead)"] for row in csv.DictReader(table)] == ["-"]
    assert {entry["file_name"] for entry in json.loads(found.read_text())} == {"-"}


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"text", "is no picture")])
def test_standard_input_that_is_none(capsys, monkeypatch, weights, tmp_path, content, words):  # noqa: F811
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    line = complaint(capsys, "detect", "--weights", weights, "-", "--out", tmp_path / "out")
    assert f"standard input {words}" in line


def test_labels_and_crops_by_the_command(capsys, weights, photos, tmp_path):  # noqa: F811
    """What is drawn, of the classes that are wanted; nothing that is there is replaced."""
    out = tmp_path / "out"
    options = [photos, "--out", out, "--score", 0, "--classes", "c"]
    code, _, errors = run(
        capsys, "detect", "--weights", weights, *options, "--crops", "--labels", "coco"
    )
    assert code == 0, errors
    with open(out / "detections.csv", encoding="utf-8-sig", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == len(list((out / "crops" / "c").iterdir())) > 0
    dataset = open_dataset(out / "labels-coco", "train")
    assert dataset.classes == ["a", "b", "c"] and len(dataset) == 4
    before = contents(out)
    for more in (["--crops"], ["--labels", "coco"]):
        assert "is there already" in complaint(
            capsys, "detect", "--weights", weights, *options, *more
        )
        assert contents(out) == before
    (out / "labels-yolo").symlink_to(photos)
    complaint(capsys, "detect", "--weights", weights, *options, "--labels", "yolo")
    assert contents(out) == before
