"""The report as people meet it: on a laptop and a phone, light and dark, without a network."""

from __future__ import annotations

import pytest
from browsing import LAPTOP, PHONE, Reader, open_browser
from small_data_set import annotation, middling, write_coco
from small_detectors import small_detector

from detector.datasets import open_dataset
from detector.evaluation.figures import coco_evaluation
from detector.reporting.report import Subject, write_report

LONG = "a_name_without_any_place_to_break_it_which_goes_on_and_on_and_on_and_on_and_on"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a training with everything in it, and with names that are too long for a phone."""
    folder = tmp_path_factory.mktemp("report")
    names = ["cat", "dog", LONG, *(f"class {k}" for k in range(20))]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)],
        "annotations": [
            annotation(k, 1, 1 + k % len(names), [k % 50, k % 30, 12, 10])
            for k in range(1, 25 * len(names))
        ],
    }
    dataset = open_dataset(str(write_coco(folder / LONG, document)), "train")
    truth = dataset.coco_ground_truth()
    found = middling(truth)
    metrics = [
        {"epoch": 1, "iteration": k, "seconds": k, "lr": 1 / k, "loss": 2 / k, "box": 1 / k}
        for k in range(1, 900)
    ]
    metrics.append({"epoch": 1, "iteration": 900, "val_ap": 0.5})
    subject = Subject(
        small_detector("light-head-rcnn", len(names)), folder / LONG / "a.ckpt", dataset, True,
        coco_evaluation(truth, found), found, metrics, ["loss", "box"], {"ap": "AP"},
        {"path": "/" + LONG * 3, "recipe": {"lr": 0.1}},
    )  # fmt: skip
    write_report(folder / "report.html", subject)
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_it_fits_and_is_whole(browser, report, size, scheme):
    someone = Reader(browser, size, scheme)
    page = someone.open(report)
    someone.check_whole(scheme)
    pictures = page.locator(".pictures img")
    assert 0 < pictures.count() <= 24
    assert page.locator("svg").count() == 7
    for drawing in page.locator("svg").all():
        place = drawing.bounding_box()
        assert place["width"] > 250 and place["height"] > 150
    # Letters of the plots are of the page's colour, so that they are read on its ground.
    colours = page.evaluate(
        "[document.body, document.querySelector('svg text')].map("
        "e => e.tagName == 'text' ? getComputedStyle(e).fill : getComputedStyle(e).color)"
    )
    assert colours[0] == colours[1]
    first = page.locator("td:first-child").first.bounding_box()
    assert first["width"] > 60
    page.get_by_text("The configuration").click()
    assert page.get_by_text("recipe.lr").is_visible() and someone.overflow() == 0
    someone.context.close()
    assert someone.troubles == []
