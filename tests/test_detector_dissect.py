"""The dissection of a picture: what stands on the page, and what happens where there is none."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from browsing import LAPTOP, PHONE, Reader, open_browser
from field_cases import complaint, run
from PIL import Image
from small_detectors import SIZES, picture, small_detector

from detector.datasets import ShapesDataset, write_shapes
from detector.detectors.detector import Detector
from detector.tools.dissect import counts, cuts, dissect, fates
from detector.tools.stage_pictures import cell_of, cut_out, glowing, tiles
from detector.training import checkpoints
from detector.training.loading import LoadedDetector
from detector.training.objectives.detection import describe

SHAPES = ShapesDataset(4, image_size=64)
CLASSES = SHAPES.classes


@pytest.fixture(scope="module")
def model():
    return small_detector("light-head-rcnn", len(CLASSES))


@pytest.fixture(scope="module")
def place(tmp_path_factory, model):
    """A folder with data and the weights of a detector that has learnt nothing."""
    folder = tmp_path_factory.mktemp("dissect")
    write_shapes(folder / "data", train=4, val=2, image_size=64)
    checkpoints.write(folder / "some.ckpt", "detection", model, describe(model, SHAPES))
    return folder


def dissected(capsys, place, out, *arguments) -> str:
    arguments = [*arguments, "--weights", place / "some.ckpt", "--out", out]
    code, text, errors = run(capsys, "dissect", *arguments)
    assert code == 0, errors
    assert str(out) in text
    page = out.read_text(encoding="utf-8")
    fetched = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"|url\(|@import', page)
    assert not fetched and len(page) < 5_000_000
    return page


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())


# The page


def test_every_figure_says_how_to_read_it(capsys, place, tmp_path):
    file = place / "data" / "train" / "00000.png"
    page = dissected(capsys, place, tmp_path / "a.html", file, "--data", place / "data")
    words = words_of(page)
    assert page.count("<h2>") == 6 and page.count("How to read it.") == 10
    assert page.count("Explained in chapter") == page.count("How to read it.")
    assert "stage by stage" in words and "What becomes of every object" in words
    rows = re.findall(r"<tr><td>(\w+)</td>", page)
    labels = ShapesDataset(4, image_size=64).target(0)["labels"]
    assert sorted(rows) == sorted(CLASSES[label - 1] for label in labels)


def test_without_annotations_nothing_is_said_of_them(capsys, place, tmp_path):
    page = dissected(capsys, place, tmp_path / "a.html", place / "data" / "val" / "00000.png")
    assert "What becomes" not in page and "have to find" not in page and "--data" in page


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size(capsys, place, tmp_path, size):
    Image.fromarray(picture(*size)).save(tmp_path / "x.png")
    dissected(capsys, place, tmp_path / "a.html", tmp_path / "x.png", "--score", "0")


def test_the_page_is_written_again_but_nothing_else(capsys, place, tmp_path):
    file, out = place / "data" / "val" / "00001.png", tmp_path / "a.html"
    dissected(capsys, place, out, file)
    dissected(capsys, place, out, file)
    out.write_text("my diary")
    arguments = ["dissect", file, "--weights", place / "some.ckpt", "--out", out]
    assert "move it away" in complaint(capsys, *arguments)
    assert out.read_text() == "my diary"


# What stands on it


def test_counts_and_fates_are_those_of_the_stages(model):
    image, target = SHAPES.load(0)
    stages, names = model.stages(image, target), ["background", *CLASSES]
    assert [count for _, count in counts(stages, 0.0)][-1] == len(stages.found["scores"])
    assert [count for _, count in counts(stages, 1.1)][-2:] == [0, 0]
    for box, label, fate in zip(
        target["boxes"],
        target["labels"],
        fates(stages, target["boxes"], target["labels"], names, 0.0),
        strict=True,
    ):
        assert fate.name == names[label]
        for value, candidates in (
            (fate.anchor, stages.anchors),
            (fate.moved, stages.moved[stages.best]),
            (fate.proposal, stages.proposals),
            (fate.found, stages.found["boxes"][stages.found["labels"] == label]),
        ):
            best = max((overlap(box, other) for other in candidates), default=0.0)
            assert value == pytest.approx(best, abs=1e-4)
    assert list(fates(stages, None, None, names, 0.0)) == []


def overlap(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return both / (sum(areas) - both) if both else 0.0


def test_the_head_is_shown_different_places(model):
    stages = model.stages(SHAPES.read(0))
    shown = list(cuts(stages, SHAPES.read(0), ["background", *CLASSES]))
    assert 1 <= len(shown) <= 6
    for cut in shown:
        probabilities = [probability for _, probability in cut.says]
        assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) <= 1.001
        assert 0 <= cut.objectness <= 1


def test_the_light_falls_on_the_surest_cell(model):
    image = np.full((64, 64, 3), 200, np.uint8)
    stages = model.stages(image)
    centres = (stages.anchors[:, :2] + stages.anchors[:, 2:]) / 2
    here = (centres == [40, 24]).all(axis=1)
    light = glowing(image, stages._replace(objectness=here.astype(np.float32)))
    scale = len(light) / 64
    y, x = np.unravel_index(light.sum(axis=2).argmax(), light.shape[:2])
    assert abs(y / scale - 24) < 4 and abs(x / scale - 40) < 4
    assert light[-1, 0].max() < 40 < 180 < light.max()
    assert len(cell_of(stages)) == 9  # three sizes in three ratios


def test_the_light_of_a_pyramid_falls_on_the_surest_cell_of_any_map():
    model, image = small_detector("faster-rcnn", len(CLASSES)), np.full((64, 96, 3), 200, np.uint8)
    stages, start = model.stages(image), 0
    assert len(stages.levels) > 1 and sum(stages.levels) == len(stages.anchors)
    assert stages.size == image.shape[:2]
    for count, level in zip(stages.levels, model.anchor_generator.levels, strict=True):
        here = start + count // 2
        x, y = (stages.anchors[here, :2] + stages.anchors[here, 2:]) / 2
        surest = (np.arange(len(stages.anchors)) == here).astype(np.float32)
        light = glowing(image, stages._replace(objectness=surest)).sum(axis=2)
        bright = np.argwhere(light == light.max()) * (len(image) / len(light))
        assert np.abs(bright - [y, x]).max() <= level.stride
        start += count


def test_what_is_suppressed_is_the_best_of_each_map():
    model = small_detector("faster-rcnn", len(CLASSES))
    model.rpn.settings = model.rpn.settings.changed("test_selector.pre_nms", 2)
    stages = model.stages(SHAPES.read(0))
    ends = np.cumsum(stages.levels)
    assert np.bincount(np.searchsorted(ends, stages.best, "right")).tolist() == [2] * len(ends)
    assert (np.diff(stages.objectness[stages.best]) <= 0).all()


def test_numbers_become_colours():
    sheet = tiles(np.array([[[1.0, 0.0], [0.0, -1.0]]]), side=1)
    assert sheet.tolist() == [
        [[217, 95, 2], [255, 255, 255]],
        [[255, 255, 255], [31, 90, 180]],
    ]
    assert tiles(np.zeros((7, 3, 3))).shape == (8 * 7, 8 * 19, 3)
    assert cut_out(picture(30, 60), np.array([59.9, 29.9, 60.0, 30.0])).shape == (140, 140, 3)


# As people meet it


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def long_page(tmp_path_factory, model):
    """With names that are too long for a phone."""
    folder = tmp_path_factory.mktemp("long")
    names = ["a_name_without_any_place_to_break_it" * 3] * len(CLASSES)
    detector = LoadedDetector(model, names, [1, 2, 3, 4], folder / ("path" * 40))
    image, target = SHAPES.load(0)
    dissect(folder / "a.html", detector, "file" * 50, image, target, 0.0)
    return folder / "a.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_fits_and_is_whole(browser, long_page, size, scheme):
    someone = Reader(browser, size, scheme)
    page = someone.open(long_page)
    someone.check_whole(scheme)
    for drawing in page.locator(".plots img").all():
        assert drawing.bounding_box()["width"] > 250
    someone.context.close()
    assert someone.troubles == []


# Mistakes


def test_mistakes_are_one_line(capsys, monkeypatch, place, tmp_path):
    file, weights = place / "data" / "val" / "00000.png", ["--weights", place / "some.ckpt"]
    out = ["--out", tmp_path / "a.html"]
    copy = tmp_path / "00000.png"
    shutil.copy(file, copy)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "other.png").write_bytes(file.read_bytes())
    data = ["--data", place / "data"]
    assert "nowhere.png" in complaint(capsys, "dissect", "nowhere.png", *weights, *out)
    assert "broken.png" in complaint(capsys, "dissect", tmp_path / "broken.png", *weights, *out)
    assert "none.ckpt" in complaint(capsys, "dissect", file, "--weights", "none.ckpt", *out)
    assert "2 pictures called" in complaint(capsys, "dissect", copy, *weights, *out, *data)
    line = complaint(capsys, "dissect", tmp_path / "other.png", *weights, *out, *data)
    assert "no picture other.png" in line
    line = complaint(capsys, "dissect", file, *weights, "--out", tmp_path / "no" / "a.html")
    assert "no folder" in line
    monkeypatch.setattr(type(small_detector("light-head-rcnn")), "stages", Detector.stages)
    assert "no stages" in complaint(capsys, "dissect", file, *weights, *out)
    assert not (tmp_path / "a.html").exists()
