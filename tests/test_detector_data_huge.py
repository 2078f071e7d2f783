"""Photographs of hundreds of megapixels: fewer pixels are decoded, and boxes lie right in them."""

import json

import numpy as np
import pytest
from field_cases import QUICK, run
from PIL import Image
from small_data_set import annotation, picture

from detector.datasets import images, open_dataset, splits, write_shapes
from detector.datasets.images import read_image, read_size
from detector.tools.ground_truth import truth_of
from detector.tools.naming import AtNetworkSize
from detector.training.presets import preset

SIZE = (64, 48)
BOX = (10, 5, 31, 24)


def coco(folder, name, size, box):
    """A data set of one picture with one box."""
    x1, y1, x2, y2 = box
    document = {
        "images": [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}],
        "annotations": [annotation(1, 1, 1, [x1, y1, x2 - x1, y2 - y1])],
        "categories": [{"id": 1, "name": "box"}],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    return folder / "instances.json"


@pytest.mark.parametrize(("most", "factor"), [(2000, 2), (500, 4), (64 * 48, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".mpo"])
def test_they_are_decoded_smaller(monkeypatch, tmp_path, suffix, most, factor):
    monkeypatch.setattr(images, "MAX_PIXELS", most)
    whole = Image.fromarray(picture(*SIZE))
    path = tmp_path / f"a{suffix}"
    more = {"save_all": True, "append_images": [whole]} if suffix == ".mpo" else {}
    whole.save(path, quality=95, **more)
    dataset = open_dataset(coco(tmp_path, path.name, SIZE, BOX), "instances")
    assert read_size(path) == SIZE and dataset.problems == []
    image, target = dataset.load(0)
    assert image.shape == (48 // factor, 64 // factor, 3)
    assert target["boxes"].tolist() == [[side / factor for side in BOX]]
    assert dataset.coco_ground_truth()["annotations"][0]["bbox"] == [10, 5, 21, 19]
    small = np.asarray(whole.resize(image.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(image.astype(int) - small).mean() < 3


def test_they_are_usable_where_nothing_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    Image.fromarray(picture(*SIZE)).save(tmp_path / "a.jpg")
    place = coco(tmp_path, "a.jpg", SIZE, BOX)
    assert open_dataset(place, "instances", strict=True).load(0)[0].shape == (24, 32, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_of_odd_sides_and_turned(monkeypatch, tmp_path, orientation):
    """A box of the stored pixels where EXIF exchanges the sides, of the upright ones otherwise."""
    pixels = np.zeros((47, 63, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels[8:24, 16:40] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    rows, columns = np.nonzero(read_image(tmp_path / "a.jpg")[:, :, 0] > 127)
    upright = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    size, box = ((63, 47), (16, 8, 40, 24)) if orientation > 4 else ((63, 47), upright)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    dataset = open_dataset(coco(tmp_path, "a.jpg", size, [int(side) for side in box]), "instances")
    image, target = dataset.load(0)
    assert sorted(image.shape[:2]) == [24, 32]
    rows, columns = np.nonzero(image[:, :, 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(target["boxes"][0], found, atol=0.5)


def test_200_megapixels(capsys, tmp_path):
    """16,384 x 12,288 pixels, as phones make them: 38 MB are decoded instead of 604."""
    path = tmp_path / "a.jpg"
    Image.new("L", (16384, 12288), 90).save(path, quality=50)
    image = read_image(path)
    assert image.shape == (3072, 4096, 3) and image.nbytes == 37_748_736
    place = coco(tmp_path, "a.jpg", (16384, 12288), (1000, 2000, 9000, 8000))
    assert open_dataset(place, "instances").target(0)["boxes"].tolist() == [[250, 500, 2250, 2000]]
    code, text, errors = run(capsys, "check-data", "--data", place, "--no-timing", *QUICK)
    assert code == 0, errors
    assert "instances: 1 boxes to learn from" in text


@pytest.fixture
def searched(monkeypatch, tmp_path, capsys):
    """A run, and a photograph of which a half is decoded from now on."""
    write_shapes(tmp_path / "data", train=2, val=1, image_size=64)
    arguments = ["--data", tmp_path / "data", "--out", tmp_path / "run", *QUICK]
    assert run(capsys, "train", *arguments)[0] == 0
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48)
    large = tmp_path / "large.jpg"
    Image.fromarray(picture(128, 96)).save(large, quality=95)
    Image.fromarray(read_image(large)).save(tmp_path / "small.png")
    return tmp_path


def test_what_is_found_is_in_the_pixels_of_the_file(capsys, searched):
    """The same boxes, twice as large, whether a photograph or its half was searched."""
    found, tables = {}, {}
    for name in ("large.jpg", "small.png"):
        path, out = searched / f"{name}.json", searched / f"found {name}"
        options = ["--weights", searched / "run", "--score", 0, "--out", out, "--json", path]
        code, _, errors = run(capsys, "detect", searched / name, *options)
        assert code == 0, errors
        found[name] = np.array([entry["bbox"] for entry in json.loads(path.read_text())])
        tables[name] = np.genfromtxt(out / "detections.csv", delimiter=",", skip_header=1)
    assert len(found["large.jpg"]) > 0
    np.testing.assert_allclose(found["large.jpg"], 2 * found["small.png"], atol=1e-3)
    np.testing.assert_allclose(
        tables["large.jpg"][:, -4:], 2 * tables["small.png"][:, -4:], atol=0.11
    )


def test_what_is_measured_is_in_the_pixels_of_the_file(capsys, searched):
    document = json.loads((searched / "data/annotations/instances_val.json").read_text())
    boxes = {}
    for name, size in (("large.jpg", (128, 96)), ("small.png", (64, 48))):
        document["images"] = [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}]
        box = [0, 0, size[0] // 2, size[1] // 2]
        document["annotations"] = [annotation(1, 1, 1, box)]
        place, out = searched / f"{name}.data.json", searched / f"{name}.json"
        place.write_text(json.dumps(document))
        options = ["--data", place, "--weights", searched / "run", "--json", out]
        code, _, errors = run(capsys, "evaluate", "--split", f"{name}.data", *options)
        assert code == 0, errors
        boxes[name] = np.array([entry["bbox"] for entry in json.loads(out.read_text())])
    assert len(boxes["large.jpg"]) > 0
    np.testing.assert_allclose(boxes["large.jpg"], 2 * boxes["small.png"], atol=1e-3)


@pytest.mark.parametrize(("format", "within"), [("yolo", 0.01), ("coco", 0.01), ("voc", 1)])
def test_labels_fit_the_picture_beside_them(capsys, searched, format, within):
    out = searched / "found"
    options = ["--weights", searched / "run", "--score", 0, "--out", out, "--labels", format]
    code, _, errors = run(capsys, "detect", searched / "large.jpg", *options)
    assert code == 0, errors
    found = np.genfromtxt(out / "detections.csv", delimiter=",", skip_header=1)[:, -4:]
    place = out / f"labels-{format}"
    image, target = open_dataset(place, splits(place)[0]).load(0)
    assert image.shape == (48, 64, 3) and len(target["boxes"]) == len(found) > 0
    np.testing.assert_allclose(target["boxes"], found / 2, atol=within + 0.06)


def test_a_dissection_has_boxes_of_what_is_decoded(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    Image.fromarray(picture(*SIZE)).save(tmp_path / "a.jpg")
    place = coco(tmp_path, "a.jpg", SIZE, BOX)
    assert read_image(tmp_path / "a.jpg").shape == (24, 32, 3)
    target = truth_of(tmp_path / "a.jpg", str(place), ["box"])
    assert target["boxes"].tolist() == [[side / 2 for side in BOX]]


def test_pictures_at_the_networks_size_have_their_boxes(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    Image.fromarray(picture(*SIZE)).save(tmp_path / "a.jpg")
    dataset = open_dataset(coco(tmp_path, "a.jpg", SIZE, BOX), "instances")
    recipe = preset("tiny").changed("model.image.short_side", 96)
    image, target = AtNetworkSize(dataset, np.array([0]), recipe).load(0)
    assert image.shape == (96, 128, 3)
    assert target["boxes"].tolist() == [[2 * side for side in BOX]]
